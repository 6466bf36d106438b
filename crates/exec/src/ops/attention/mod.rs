//! Attention.

mod gradient;
mod sizes;
#[cfg(test)]
mod tests;

use bantam_graph::ops::Attention;
use bantam_kernels::Real;
use bantam_kernels::attention::{self as kernel, AttentionMask, Heads, ScoreStage, Visible};
use bantam_tensor::Element;

pub(super) use self::gradient::gradient;
use self::sizes::{Located, Mask, Sizes};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::floats::{convert, in_real, read};
use crate::{Context, OpError};

/// q, k, v, mask, past key, past value, number of valid keys. Outputs: y, present key, present value, scores.
///
/// Computed in `f32` (`f64` for `f64`) whatever `softmax_precision` says.
pub(super) fn attention(
    op: &Attention,
    inputs: &Inputs<'_>,
    outputs: usize,
    context: &Context,
) -> Result<Outputs, OpError> {
    let sizes = Sizes::new(op, inputs)?;
    let stage = match op.qk_matmul_output_mode {
        0 => ScoreStage::Products,
        1 => ScoreStage::Capped,
        2 => ScoreStage::Masked,
        3 => ScoreStage::Probabilities,
        other => {
            return Err(OpError::value(format!(
                "qk_matmul_output_mode must be 0 to 3, got {other}"
            )));
        }
    };
    let visible = sizes.visible(op, inputs)?;
    let dtype = inputs.required(0)?.dtype();
    in_real!(dtype, 0, T => {
        let (k, present_k) = sizes.keys_or_values::<T>(sizes.k, [1, 4], outputs > 1, inputs, context)?;
        let (v, present_v) = sizes.keys_or_values::<T>(sizes.v, [2, 5], outputs > 1, inputs, context)?;
        let (q, mask) = (read::<T>(inputs, 0)?, sizes.mask::<T>(inputs)?);
        let args = arguments(op, &sizes, &visible, &q, [&k, &v], mask.as_ref());
        let shape = [sizes.q.batch, sizes.q.heads, sizes.q.rows, sizes.keys];
        let mut scores = (outputs > 3).then(|| context.uninitialized(T::DTYPE, &shape)).transpose()?;
        let stage_scores = match &mut scores {
            Some(scores) => Some((stage, scores.values_mut::<T>()?)),
            None => None,
        };
        let y = sizes.output(dtype, context, |y: &mut [T]| kernel::attention(&args, y, stage_scores))?;
        let scores = scores.map(|scores| convert::<T>(context, scores, dtype)).transpose()?;
        Ok(vec![Some(y), present_k, present_v, scores])
    })
}

/// The kernel's arguments.
fn arguments<'a, T: Real>(
    op: &Attention,
    sizes: &Sizes,
    visible: &'a [Visible],
    q: &'a [T],
    [k, v]: [&'a Located<'_, T>; 2],
    mask: Option<&'a Mask<'_, T>>,
) -> kernel::Attention<'a, T> {
    let scale = op.scale.map_or((sizes.q.width as f64).sqrt().recip(), f64::from);
    kernel::Attention {
        q: Heads {
            values: q,
            strides: sizes.q.strides(),
        },
        k: Heads {
            values: &k.0,
            strides: k.1,
        },
        v: Heads {
            values: &v.0,
            strides: v.1,
        },
        query_heads: sizes.q.heads,
        key_heads: sizes.k.heads,
        queries: sizes.q.rows,
        keys: sizes.keys,
        width: sizes.q.width,
        value_width: sizes.v.width,
        scale: T::from_f64(scale),
        soft_cap: (op.softcap > 0.0).then(|| T::from_f64(f64::from(op.softcap))),
        mask: mask.map(|(values, strides, keys)| AttentionMask {
            values,
            strides: *strides,
            keys: *keys,
        }),
        visible,
    }
}
