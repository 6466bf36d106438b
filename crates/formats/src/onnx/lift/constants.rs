//! `Constant` nodes become constants of the graph.

use bantam_graph::{Attribute, ValueType};
use bantam_tensor::{DType, Tensor};

use super::{Fault, Lifted, Lifter, RawNode};

/// Any form of `Constant`. A sparse tensor stays a node, kept as it is.
pub(super) fn constant(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    let attributes = raw
        .attributes
        .iter()
        .filter(|(name, _)| name.starts_with("value"));
    let found: Vec<_> = attributes.collect();
    let [(name, attribute)] = found[..] else {
        return match raw.attributes.get("sparse_value") {
            Some(_) => Ok(Lifted::Node),
            None => Err(Fault {
                fact: format!("it has {} values instead of one", found.len()),
                hint: "the file is damaged or its exporter faulty",
            }),
        };
    };
    let tensor = match (name, attribute) {
        ("value", Attribute::Tensor(tensor)) => Some(tensor.clone()),
        ("value_float", Attribute::Float(value)) => Some(Tensor::scalar(*value)),
        ("value_floats", Attribute::Floats(values)) => Some(Tensor::from_vec1(values)),
        ("value_int", Attribute::Int(value)) => Some(Tensor::scalar(*value)),
        ("value_ints", Attribute::Ints(values)) => Some(Tensor::from_vec1(values)),
        ("value_string", Attribute::String(value)) => Tensor::from_strings(&[], vec![value.clone()]).ok(),
        ("value_strings", Attribute::Strings(values)) => {
            Tensor::from_strings(&[values.len()], values.clone()).ok()
        }
        _ => None,
    };
    let (Some(tensor), Some(&Some(output))) = (tensor, raw.outputs.first()) else {
        return Err(Fault {
            fact: format!("`{name}` does not hold what its name says, or nothing takes it"),
            hint: "the file is damaged or its exporter faulty",
        });
    };
    let known: (DType, usize) = (tensor.dtype(), tensor.rank());
    lifter.known[output.index()] = super::Known {
        dtype: Some(known.0),
        rank: Some(known.1),
    };
    let value = lifter.graph.value_mut(output);
    let shape = tensor.shape().iter().copied().map(Into::into).collect();
    value.ty = ValueType::tensor(tensor.dtype(), shape);
    value.initializer = Some(tensor);
    Ok(Lifted::Nothing)
}
