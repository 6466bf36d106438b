//! Normalizations that changed their meaning.

use bantam_graph::{Attribute, ValueId};
use bantam_tensor::{DType, Tensor};

use super::bounds::number;
use super::known::Facts;
use super::{Fault, Lifted, Lifter, RawNode};

/// BatchNormalization before 9 with `spatial` 0, whose statistics were per element: written out, as no later op does
/// it.
pub(super) fn spatial(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    if raw.take::<i64>("spatial")?.unwrap_or(1) != 0 {
        return Ok(Lifted::Node);
    }
    let [x, scale, bias, mean, variance] = [0, 1, 2, 3, 4].map(|index| raw.required(index));
    let (x, scale, bias, mean, variance) = (x?, scale?, bias?, mean?, variance?);
    let dtype = lifter.known_of(x).dtype.unwrap_or(DType::F32);
    let epsilon = raw.take::<f32>("epsilon")?.unwrap_or(1e-5);
    let epsilon = lifter.constant(raw, "epsilon", number(dtype, epsilon)?);
    let mut emit = |op: &str, inputs: &[ValueId]| {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        lifter.emit(raw, op, &[], &inputs)
    };
    let stable = emit("Add", &[variance, epsilon])?;
    let deviation = emit("Sqrt", &[stable])?;
    let factor = emit("Div", &[scale, deviation])?;
    let centred = emit("Sub", &[x, mean])?;
    let scaled = emit("Mul", &[centred, factor])?;
    raw.op = "Add".to_owned();
    raw.attributes = Default::default();
    raw.inputs = vec![Some(scaled), Some(bias)];
    raw.outputs.truncate(1);
    Ok(Lifted::Node)
}

/// BatchNormalization before 14: outputs beside the first meant training.
pub(super) fn training_outputs(_: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    if raw.outputs.iter().skip(1).all(Option::is_none) {
        raw.outputs.truncate(1);
        return Ok(Lifted::Node);
    }
    // What opset 14 dropped may be named as long as nothing reads it; the check for undefined values follows.
    raw.outputs.truncate(3);
    raw.set("training_mode", &1i64);
    Ok(Lifted::Node)
}

/// MeanVarianceNormalization before 9, an experimental op with other attributes.
pub(super) fn mean_variance(_: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    if raw.take::<i64>("normalize_variance")?.unwrap_or(1) == 0 {
        return Err(Fault {
            fact: "it does not divide by the deviation, which no later opset can say".to_owned(),
            hint: "export the model again at opset 9 or later",
        });
    }
    let axes = match raw.take::<i64>("across_channels")?.unwrap_or(0) {
        0 => vec![0, 2, 3],
        _ => vec![0, 1, 2, 3],
    };
    raw.set("axes", &axes);
    Ok(Lifted::Node)
}

/// GroupNormalization before 21: scale and bias were per group, and are per channel since.
pub(super) fn group_normalization(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    let groups = match raw.attributes.get("num_groups") {
        Some(Attribute::Int(groups)) if *groups > 0 => *groups,
        _ => {
            return Err(Fault {
                fact: "`num_groups` is not a positive integer".to_owned(),
                hint: super::DAMAGED,
            });
        }
    };
    let x = raw.required(0)?;
    let channels = lifter
        .graph
        .value(x)
        .ty
        .shape()
        .and_then(|dims| dims.get(1)?.known());
    let fixed = channels
        .and_then(|channels| i64::try_from(channels).ok())
        .filter(|channels| channels % groups == 0);
    let mut repeated_shape = None;
    for index in [1, 2] {
        let per_group = raw.required(index)?;
        let constant = fixed.and_then(|channels| repeat(lifter.constant_of(per_group)?, channels / groups));
        let per_channel = match constant {
            Some(tensor) => lifter.constant(raw, ["x", "scale", "bias"][index], tensor),
            None => {
                let shape = match repeated_shape {
                    Some(shape) => shape,
                    None => channels_by_group(lifter, raw, x, groups)?,
                };
                repeated_shape = Some(shape);
                repeat_in_graph(lifter, raw, per_group, shape)?
            }
        };
        raw.set_input(index, per_channel);
    }
    Ok(Lifted::Node)
}

/// Each element `times` times in a row.
fn repeat(tensor: &Tensor, times: i64) -> Option<Tensor> {
    let times = usize::try_from(times).ok()?;
    let width = tensor.dtype().bits() / 8;
    let length = tensor.len().checked_mul(times)?;
    let mut bytes = Vec::with_capacity(length.checked_mul(width)?);
    for element in tensor.as_bytes().chunks_exact(width.max(1)) {
        (0..times).for_each(|_| bytes.extend_from_slice(element));
    }
    Tensor::from_raw(tensor.dtype(), &[length], &bytes).ok()
}

/// Nodes that compute `[groups, channels / groups]`.
fn channels_by_group(
    lifter: &mut Lifter<'_>,
    raw: &RawNode,
    x: ValueId,
    groups: i64,
) -> Result<ValueId, Fault> {
    let bounds = [("start", Attribute::Int(1)), ("end", Attribute::Int(2))];
    let channels = lifter.emit(raw, "Shape", &bounds, &[Some(x)])?;
    let groups = lifter.constant(raw, "groups", Tensor::from_vec1(&[groups]));
    let per_group = lifter.emit(raw, "Div", &[], &[Some(channels), Some(groups)])?;
    lifter.emit(
        raw,
        "Concat",
        &[("axis", Attribute::Int(0))],
        &[Some(groups), Some(per_group)],
    )
}

/// Nodes that repeat each element of `per_group` along a new axis of `shape` and flatten the result.
fn repeat_in_graph(
    lifter: &mut Lifter<'_>,
    raw: &RawNode,
    per_group: ValueId,
    shape: ValueId,
) -> Result<ValueId, Fault> {
    let one = lifter.constant(raw, "axis", Tensor::from_vec1(&[1i64]));
    let column = lifter.emit(raw, "Unsqueeze", &[], &[Some(per_group), Some(one)])?;
    let expanded = lifter.emit(raw, "Expand", &[], &[Some(column), Some(shape)])?;
    let flat = lifter.constant(raw, "flat", Tensor::from_vec1(&[-1i64]));
    lifter.emit(raw, "Reshape", &[], &[Some(expanded), Some(flat)])
}
