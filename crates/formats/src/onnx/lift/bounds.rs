//! Numbers that were attributes and became inputs of the data's type.

use bantam_graph::{Attribute, Value, dtype_code};
use bantam_tensor::{DType, Tensor};
use half::{bf16, f16};

use super::known::Facts;
use super::{Fault, Lifted, Lifter, RawNode};

/// A scalar of a real dtype.
pub(super) fn number(dtype: DType, value: f32) -> Result<Tensor, Fault> {
    let tensor = match dtype {
        DType::F32 => Ok(Tensor::scalar(value)),
        DType::F64 => Ok(Tensor::scalar(f64::from(value))),
        DType::F16 => Ok(Tensor::scalar(f16::from_f32(value))),
        DType::BF16 => Ok(Tensor::scalar(bf16::from_f32(value))),
        _ => Tensor::from_i64(dtype, &[], &[value as i64]),
    };
    tensor.map_err(|_| Fault {
        fact: format!("it works on elements of type {dtype}, which the opset of the file does not allow"),
        hint: super::DAMAGED,
    })
}

/// Moves an attribute that is a number to an input.
fn number_to_input(
    lifter: &mut Lifter<'_>,
    raw: &mut RawNode,
    name: &str,
    index: usize,
) -> Result<(), Fault> {
    if let Some(value) = raw.take::<f32>(name)? {
        let dtype = lifter.known_of(raw.required(0)?).dtype.unwrap_or(DType::F32);
        let id = lifter.constant(raw, name, number(dtype, value)?);
        raw.set_input(index, id);
    }
    Ok(())
}

/// Clip before 11.
pub(super) fn clip(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    number_to_input(lifter, raw, "min", 1)?;
    number_to_input(lifter, raw, "max", 2)?;
    Ok(Lifted::Node)
}

/// Pad before 11.
pub(super) fn pad(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    let Some(pads) = raw.take::<Vec<i64>>("pads")? else {
        return Err(Fault {
            fact: "attribute `pads` is missing".to_owned(),
            hint: super::DAMAGED,
        });
    };
    let id = lifter.constant(raw, "pads", Tensor::from_vec1(&pads));
    raw.set_input(1, id);
    number_to_input(lifter, raw, "value", 2)?;
    Ok(Lifted::Node)
}

/// Dropout before 12. Before 10 the mask was of the data's type.
pub(super) fn dropout(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    if let Some(ratio) = raw.take::<f32>("ratio")? {
        let id = lifter.constant(raw, "ratio", Tensor::scalar(ratio));
        raw.set_input(1, id);
    }
    let typed_mask = lifter.opset.is_some_and(|opset| opset < 10);
    let Some(mask) = raw.outputs.get(1).copied().flatten().filter(|_| typed_mask) else {
        return Ok(Lifted::Node);
    };
    let dtype = lifter.known_of(raw.required(0)?).dtype.unwrap_or(DType::F32);
    let as_bool = lifter.add_value(raw, "mask", Value::default());
    let outputs = [raw.outputs[0], Some(as_bool)];
    lifter.emit_to(raw, "Dropout", &[], &raw.inputs, &outputs)?;
    raw.op = "Cast".to_owned();
    raw.attributes = Default::default();
    raw.attributes
        .set("to", Attribute::Int(i64::from(dtype_code(dtype))));
    (raw.inputs, raw.outputs) = (vec![Some(as_bool)], vec![Some(mask)]);
    Ok(Lifted::Node)
}
