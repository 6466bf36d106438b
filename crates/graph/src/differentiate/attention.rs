//! Attention and rotary embedding.

use super::error::Problem;
use super::tape::{Site, Tape};
use crate::ops::{Attention, AttentionGradient, RotaryEmbedding};

pub(super) fn attention(tape: &mut Tape, site: &Site, op: &Attention) -> Result<(), Problem> {
    let dy = site.dy()?;
    if site.dy.iter().skip(1).any(Option::is_some) {
        return Err(Problem::new(
            "only through its first output the gradient can pass",
        ));
    }
    if tape.wanted(site, 4).or(tape.wanted(site, 5)).is_some() {
        return Err(Problem::new(
            "the gradient of past keys and values is not written",
        ));
    }
    let gradient = AttentionGradient {
        is_causal: op.is_causal,
        kv_num_heads: op.kv_num_heads,
        left_window_size: op.left_window_size,
        q_num_heads: op.q_num_heads,
        right_window_size: op.right_window_size,
        scale: op.scale,
        softcap: op.softcap,
    };
    let mut inputs: Vec<_> = (0..7).map(|position| site.node.input(position)).collect();
    inputs.push(Some(dy));
    let wanted = [0, 1, 2, 3].map(|position| tape.wanted(site, position).is_some());
    let gradients = tape.node_with(gradient, inputs, &wanted);
    for (position, gradient) in gradients.into_iter().enumerate() {
        let Some(gradient) = gradient else { continue };
        let input = site.x(position);
        match position {
            3 => {
                // Of all scores; the mask was repeated.
                let shape = tape.shape_of(input);
                let summed = tape.node(crate::ops::SumTo {}, &[gradient, shape]);
                tape.give(input, summed);
            }
            _ => tape.give(input, gradient),
        }
    }
    Ok(())
}

/// The rotation back.
pub(super) fn rotary(tape: &mut Tape, site: &Site, op: &RotaryEmbedding) -> Result<(), Problem> {
    let (x, cosines, sines, dy) = (site.x(0), site.x(1), site.x(2), site.dy()?);
    if tape.needs(cosines) || tape.needs(sines) {
        return Err(Problem::new("the gradient of the caches is not written"));
    }
    let back = tape.neg(sines);
    let mut inputs = vec![Some(dy), Some(cosines), Some(back)];
    inputs.extend(site.node.inputs.iter().skip(3));
    let dx = tape.node_with(op.clone(), inputs, &[true])[0];
    dx.into_iter().for_each(|dx| tape.give(x, dx));
    Ok(())
}
