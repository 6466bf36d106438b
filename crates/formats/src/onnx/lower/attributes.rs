//! Inputs that used to be attributes. An input that is not constant stays, and the check then says which opset has it.

use bantam_graph::AttributeValue;

use super::{Lowerer, Need, RawNode};
use crate::onnx::lift::known::Facts;

fn not_constant(opset: i64, what: &str) -> Need {
    Need {
        opset,
        why: format!("`{what}` had to be a constant"),
    }
}

/// Turns a constant input of integers into an attribute. Gives false where the input is absent.
fn list(
    lowerer: &mut Lowerer<'_>,
    raw: &mut RawNode,
    index: usize,
    name: &str,
    since: i64,
) -> Result<bool, Need> {
    if raw.input(index).is_none() {
        return Ok(false);
    }
    let values = lowerer
        .integers(raw, index)
        .ok_or_else(|| not_constant(since, name))?;
    raw.set(name, &values);
    lowerer.forget(raw, index);
    Ok(true)
}

/// Squeeze and Unsqueeze before 13.
pub(super) fn input_to_axes(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    list(lowerer, raw, 1, "axes", 13)?;
    Ok(())
}

/// Reductions: axes were an attribute, and none of them always meant all.
pub(super) fn reduction(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    let since = if raw.op == "ReduceSum" { 13 } else { 18 };
    list(lowerer, raw, 1, "axes", since)?;
    let none = raw.get::<Vec<i64>>("axes").is_none_or(|axes| axes.is_empty());
    let keep_all = raw
        .attributes
        .take("noop_with_empty_axes")
        .and_then(bool::from_attribute)
        == Some(true);
    if none {
        raw.attributes.take("axes");
    }
    if none && keep_all {
        raw.op = "Identity".to_owned();
        raw.attributes = Default::default();
    }
    Ok(())
}

/// From 18 on, Split says its number of outputs unless it has sizes.
pub(super) fn split_outputs(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    if raw.input(1).is_none() && lowerer.opset >= 18 {
        raw.set("num_outputs", &(raw.outputs.len() as i64));
    }
    Ok(())
}

/// Before 18 Split without sizes needed parts of one size.
pub(super) fn split_evenly(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    if raw.attributes.take("num_outputs").is_none() {
        return Ok(());
    }
    let axis = raw.get::<i64>("axis").unwrap_or(0);
    let size = raw.input(0).and_then(|id| {
        let shape = lowerer.graph.value(id).ty.shape()?;
        let rank = i64::try_from(shape.len()).ok()?;
        shape
            .get(usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?)?
            .known()
    });
    match size {
        Some(size) if size.is_multiple_of(raw.outputs.len().max(1)) => Ok(()),
        _ => Err(Need {
            opset: 18,
            why: "parts of different size had to be given".to_owned(),
        }),
    }
}

/// Sizes of Split before 13.
pub(super) fn split_sizes(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    list(lowerer, raw, 1, "split", 13)?;
    Ok(())
}

/// DFT before 20, whose axis was 1 unless given, and -2 since.
pub(super) fn dft(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    let axis = match raw.input(2) {
        Some(_) => lowerer.integers(raw, 2).and_then(|axis| axis.first().copied()),
        None => Some(-2),
    };
    let mut axis = axis.ok_or_else(|| not_constant(20, "axis"))?;
    if axis < 0 {
        let rank = raw
            .input(0)
            .and_then(|id| lowerer.known_of(id).rank)
            .and_then(|rank| i64::try_from(rank).ok());
        axis += rank.ok_or_else(|| Need {
            opset: 20,
            why: "its axis could not be negative".to_owned(),
        })?;
    }
    raw.set("axis", &axis);
    lowerer.forget(raw, 2);
    Ok(())
}

/// Pad before 18: pads were of all axes.
pub(super) fn pad_axes(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    if raw.input(3).is_none() {
        return Ok(());
    }
    let need = || Need {
        opset: 18,
        why: "pads had to be of all axes".to_owned(),
    };
    let rank = raw
        .input(0)
        .and_then(|id| lowerer.known_of(id).rank)
        .ok_or_else(need)?;
    let axes = lowerer.integers(raw, 3).ok_or_else(need)?;
    let pads = lowerer
        .integers(raw, 1)
        .filter(|pads| pads.len() == 2 * axes.len())
        .ok_or_else(need)?;
    let mut all = vec![0i64; 2 * rank];
    for (index, &axis) in axes.iter().enumerate() {
        let from_start = if axis < 0 { axis + rank as i64 } else { axis };
        let axis = usize::try_from(from_start)
            .ok()
            .filter(|&axis| axis < rank)
            .ok_or_else(need)?;
        all[axis] = pads[index];
        all[rank + axis] = pads[axes.len() + index];
    }
    lowerer.forget(raw, 3);
    lowerer.forget(raw, 1);
    raw.inputs[1] = Some(lowerer.constant(raw, "pads", bantam_tensor::Tensor::from_vec1(&all)));
    Ok(())
}

/// Turns a constant scalar input into an attribute.
fn number(
    lowerer: &mut Lowerer<'_>,
    raw: &mut RawNode,
    index: usize,
    name: &str,
    since: i64,
) -> Result<(), Need> {
    let Some(id) = raw.input(index) else { return Ok(()) };
    let values = lowerer.constant_of(id).and_then(|tensor| tensor.to_f64().ok());
    let values = values.ok_or_else(|| not_constant(since, name))?;
    match values[..] {
        [value] if f64::from(value as f32) == value || value.is_nan() => {
            raw.set(name, &(value as f32));
            lowerer.forget(raw, index);
            Ok(())
        }
        _ => Err(Need {
            opset: since,
            why: format!("`{name}` had to be one number of 32 bits"),
        }),
    }
}

/// Clip before 11.
pub(super) fn clip(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    number(lowerer, raw, 1, "min", 11)?;
    number(lowerer, raw, 2, "max", 11)
}

/// Pad before 11.
pub(super) fn pad(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    list(lowerer, raw, 1, "pads", 11)?;
    number(lowerer, raw, 2, "value", 11)
}

/// Dropout before 12, which never was in training mode.
pub(super) fn dropout(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    if let Some(mode) = raw.input(2) {
        let off = lowerer
            .constant_of(mode)
            .is_some_and(|mode| mode.as_bytes().iter().all(|&byte| byte == 0));
        if !off {
            return Err(Need {
                opset: 12,
                why: "it had no training mode".to_owned(),
            });
        }
        lowerer.forget(raw, 2);
    }
    if raw.outputs.iter().skip(1).any(Option::is_some) {
        return Err(Need {
            opset: 12,
            why: "its mask was not defined outside of training".to_owned(),
        });
    }
    // It has no effect outside of training.
    raw.attributes.take("seed");
    number(lowerer, raw, 1, "ratio", 12)
}

/// Slice before 10.
pub(super) fn slice(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    if raw.input(4).is_some() {
        let steps = lowerer
            .integers(raw, 4)
            .ok_or_else(|| not_constant(10, "steps"))?;
        if steps.iter().any(|&step| step != 1) {
            return Err(Need {
                opset: 10,
                why: "it had no steps".to_owned(),
            });
        }
        lowerer.forget(raw, 4);
    }
    for (index, name) in [(1, "starts"), (2, "ends"), (3, "axes")] {
        list(lowerer, raw, index, name, 10)?;
    }
    Ok(())
}

/// TopK before 10.
pub(super) fn top_k(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    match lowerer.integers(raw, 1).as_deref() {
        Some(&[k]) => raw.set("k", &k),
        _ => return Err(not_constant(10, "k")),
    }
    lowerer.forget(raw, 1);
    Ok(())
}
