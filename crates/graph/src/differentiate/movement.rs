//! Shapes and movement of data.

use bantam_tensor::DType;

use super::error::Problem;
use super::tape::{Site, Tape};
use crate::ValueId;
use crate::ops::{
    Cast, Concat, DepthToSpace, Pad, PadGradient, PadMode, Resize, ResizeGradient, ReverseSequence,
    SliceGradient, SpaceToDepth, Split, Transpose, Trilu, Unsqueeze,
};

type Done = Result<(), Problem>;

/// A conversion to a float.
pub(super) fn cast(to: DType) -> Cast {
    Cast {
        saturate: true,
        to,
        round_mode: "up".to_owned(),
    }
}

/// Reshape and its kin.
pub(super) fn reshaped(tape: &mut Tape, site: &Site) -> Done {
    let (x, dy) = (site.x(0), site.dy()?);
    let dx = tape.reshape_like(dy, x);
    tape.give(x, dx);
    Ok(())
}

/// The output is the input.
pub(super) fn unchanged(tape: &mut Tape, site: &Site) -> Done {
    let dy = site.dy()?;
    tape.give(site.x(0), dy);
    Ok(())
}

pub(super) fn transpose(tape: &mut Tape, site: &Site, op: &Transpose) -> Done {
    let (x, dy) = (site.x(0), site.dy()?);
    let perm = match &op.perm {
        None => None,
        Some(perm) => {
            let mut inverse = vec![0; perm.len()];
            for (to, &from) in perm.iter().enumerate() {
                let from = usize::try_from(from).ok().filter(|&from| from < perm.len());
                inverse[from.ok_or_else(|| Problem::new("its permutation is none"))?] = to as i64;
            }
            Some(inverse)
        }
    };
    let dx = tape.node(Transpose { perm }, &[dy]);
    tape.give(x, dx);
    Ok(())
}

/// Expand: the sum over what was repeated.
pub(super) fn expand(tape: &mut Tape, site: &Site) -> Done {
    let dy = site.dy()?;
    tape.give_summed(site, site.x(0), dy)
}

/// Tile: each dimension becomes two, repeats and size, and the repeats are summed.
pub(super) fn tile(tape: &mut Tape, site: &Site) -> Done {
    let (x, repeats, dy) = (site.x(0), site.x(1), site.dy()?);
    let rank = tape.rank(x)?;
    let shape = tape.shape_of(x);
    let known = tape.constant_integers(Some(repeats));
    let known = known.zip(tape.graph.value(x).ty.static_shape());
    let pairs = match known {
        Some((repeats, sizes)) => {
            let pairs: Vec<i64> = repeats
                .iter()
                .zip(sizes)
                .flat_map(|(&r, size)| [r, size as i64])
                .collect();
            tape.integers(&pairs)
        }
        None => {
            let columns = tape.integers(&[1]);
            let repeats = tape.node(Unsqueeze {}, &[repeats, columns]);
            let sizes = tape.node(Unsqueeze {}, &[shape, columns]);
            let both = tape.node(Concat { axis: 1 }, &[repeats, sizes]);
            let list = tape.integers(&[-1]);
            tape.node(crate::ops::Reshape { allowzero: false }, &[both, list])
        }
    };
    let apart = tape.node(crate::ops::Reshape { allowzero: true }, &[dy, pairs]);
    let axes: Vec<i64> = (0..rank as i64).map(|axis| 2 * axis).collect();
    let dx = tape.sum_over(apart, &axes, false);
    tape.give(x, dx);
    Ok(())
}

pub(super) fn concat(tape: &mut Tape, site: &Site, op: &Concat) -> Done {
    let dy = site.dy()?;
    let inputs: Vec<ValueId> = site.node.inputs.iter().flatten().copied().collect();
    if let [only] = inputs.as_slice() {
        tape.give(*only, dy);
        return Ok(());
    }
    let sizes = inputs
        .iter()
        .map(|&input| {
            let axis = tape.axis(input, op.axis)?;
            Ok(tape.dims(input)?[axis].known().map(|size| size as i64))
        })
        .collect::<Result<Vec<Option<i64>>, Problem>>()?;
    let sizes = match sizes.into_iter().collect::<Option<Vec<i64>>>() {
        Some(sizes) => tape.integers(&sizes),
        None => {
            let mut each = Vec::with_capacity(inputs.len());
            for &input in &inputs {
                let axis = tape.axis(input, op.axis)?;
                each.push(tape.sizes_of(input, axis, axis + 1));
            }
            tape.node(Concat { axis: 0 }, &each)
        }
    };
    let wanted: Vec<bool> = inputs.iter().map(|&input| tape.needs(input)).collect();
    let split = Split {
        axis: op.axis,
        num_outputs: None,
    };
    // All outputs are named: their number is that of the sizes.
    let parts = tape.node_with(split, vec![Some(dy), Some(sizes)], &vec![true; inputs.len()]);
    for ((input, part), wanted) in inputs.into_iter().zip(parts).zip(wanted) {
        if let Some(part) = part.filter(|_| wanted) {
            tape.give(input, part);
        }
    }
    Ok(())
}

pub(super) fn split(tape: &mut Tape, site: &Site, op: &Split) -> Done {
    let mut parts = Vec::with_capacity(site.dy.len());
    for (position, dy) in site.dy.iter().enumerate() {
        parts.push(match dy {
            Some(dy) => *dy,
            None => {
                let output = site.y(position)?;
                tape.zeros_like(output)
            }
        });
    }
    let dx = match parts.as_slice() {
        [only] => *only,
        parts => tape.node(Concat { axis: op.axis }, parts),
    };
    tape.give(site.x(0), dx);
    Ok(())
}

pub(super) fn slice(tape: &mut Tape, site: &Site) -> Done {
    let (x, dy) = (site.x(0), site.dy()?);
    let shape = tape.shape_of(x);
    let mut inputs = vec![Some(dy), Some(shape)];
    inputs.extend(site.node.inputs.iter().skip(1));
    let dx = tape.node_with(SliceGradient {}, inputs, &[true])[0];
    dx.into_iter().for_each(|dx| tape.give(x, dx));
    Ok(())
}

pub(super) fn pad(tape: &mut Tape, site: &Site, op: &Pad) -> Done {
    let (x, dy) = (site.x(0), site.dy()?);
    let shape = tape.shape_of(x);
    let inputs = vec![Some(dy), Some(shape), Some(site.x(1)), site.node.input(3)];
    let dx = tape.node_with(PadGradient { mode: op.mode }, inputs, &[true])[0];
    let Some(dx) = dx else { return Ok(()) };
    tape.give(x, dx);
    if let Some(constant) = tape.wanted(site, 2).filter(|_| op.mode == PadMode::Constant) {
        // What did not go to x.
        let rank = tape.rank(x)? as i64;
        let axes: Vec<i64> = (0..rank).collect();
        let (all, inside) = (tape.sum_over(dy, &axes, false), tape.sum_over(dx, &axes, false));
        let outside = tape.sub(all, inside);
        let outside = tape.reshape_like(outside, constant);
        tape.give(constant, outside);
    }
    Ok(())
}

pub(super) fn depth_to_space(tape: &mut Tape, site: &Site, op: &DepthToSpace) -> Done {
    let dy = site.dy()?;
    let back = SpaceToDepth {
        blocksize: op.blocksize,
        mode: op.mode,
    };
    let dx = tape.node(back, &[dy]);
    tape.give(site.x(0), dx);
    Ok(())
}

pub(super) fn space_to_depth(tape: &mut Tape, site: &Site, op: &SpaceToDepth) -> Done {
    let dy = site.dy()?;
    let back = DepthToSpace {
        blocksize: op.blocksize,
        mode: op.mode,
    };
    let dx = tape.node(back, &[dy]);
    tape.give(site.x(0), dx);
    Ok(())
}

pub(super) fn triangle(tape: &mut Tape, site: &Site, op: &Trilu) -> Done {
    same_op(tape, site, op.clone())
}

/// The order within each sequence is reversed again.
pub(super) fn reverse_sequence(tape: &mut Tape, site: &Site, op: &ReverseSequence) -> Done {
    same_op(tape, site, op.clone())
}

/// An op that is its own gradient, with the same further inputs.
pub(super) fn same_op(tape: &mut Tape, site: &Site, op: impl Into<crate::Op>) -> Done {
    let dy = site.dy()?;
    let mut inputs = vec![Some(dy)];
    inputs.extend(site.node.inputs.iter().skip(1));
    let dx = tape.node_with(op, inputs, &[true])[0];
    dx.into_iter().for_each(|dx| tape.give(site.x(0), dx));
    Ok(())
}

pub(super) fn resize(tape: &mut Tape, site: &Site, op: &Resize) -> Done {
    let (x, dy) = (site.x(0), site.dy()?);
    let gradient = ResizeGradient {
        antialias: op.antialias,
        axes: op.axes.clone(),
        coordinate_transformation_mode: op.coordinate_transformation_mode,
        cubic_coeff_a: op.cubic_coeff_a,
        exclude_outside: op.exclude_outside,
        extrapolation_value: op.extrapolation_value,
        keep_aspect_ratio_policy: op.keep_aspect_ratio_policy,
        mode: op.mode,
        nearest_mode: op.nearest_mode,
    };
    let shape = tape.shape_of(x);
    let mut inputs = vec![Some(dy), Some(shape)];
    inputs.extend(site.node.inputs.iter().skip(1));
    let dx = tape.node_with(gradient, inputs, &[true])[0];
    dx.into_iter().for_each(|dx| tape.give(x, dx));
    Ok(())
}
