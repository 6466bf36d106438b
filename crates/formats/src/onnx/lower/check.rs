//! Does an opset have a node in this form?

use bantam_graph::{Attribute, ValueType, dtype_code, dtype_from_code};
use bantam_tensor::DType;

use super::versions::{Versions, versions};
use super::{Lowerer, Need, Problem, RawNode};
use crate::onnx::lift::known::Facts;

/// Ops that runtimes have in the standard domain, though the standard does not.
const RUNTIME_OPS: &[&str] = &["SimplifiedLayerNormalization"];

/// Ops that allow negative axes from their first opset on; the others do from 11.
const NEGATIVE_AXES: &[&str] = &["TopK", "OneHot", "LpNormalization"];

/// Checks a node against the schemas. `own` is the opset of the model's file, at which ops that the schemas do not
/// have are left alone.
pub(super) fn check(lowerer: &Lowerer<'_>, raw: &RawNode, own: Option<i64>) -> Result<(), Problem> {
    let Some(row) = versions(&raw.op) else {
        return match own {
            Some(own) if own != lowerer.opset && !RUNTIME_OPS.contains(&raw.op.as_str()) => {
                Err(Problem::Unknown { own })
            }
            _ => Ok(()),
        };
    };
    let needs = needs(lowerer, raw, row).into_iter().max_by_key(|need| need.opset);
    match needs.filter(|need| need.opset > lowerer.opset) {
        Some(need) => Err(Problem::Needs(need)),
        None => Ok(()),
    }
}

/// All that asks for an opset.
fn needs(lowerer: &Lowerer<'_>, raw: &RawNode, row: &Versions) -> Vec<Need> {
    let mut needs = vec![Need {
        opset: row.since,
        why: format!("{} came later", raw.op),
    }];
    for (name, _) in raw.attributes.iter() {
        if let Some((_, since)) = row.attributes.iter().find(|(known, _)| *known == name) {
            needs.push(Need {
                opset: *since,
                why: format!("its attribute `{name}` came later"),
            });
        }
    }
    if let Some((since, _)) = row.inputs.iter().find(|(_, most)| raw.inputs.len() <= *most) {
        needs.push(Need {
            opset: *since,
            why: format!("{} had fewer than {} inputs", raw.op, raw.inputs.len()),
        });
    }
    let first = raw.input(0).and_then(|id| lowerer.known_of(id).dtype);
    let first = first.map(|dtype| (dtype, row.first_dtypes));
    for (dtype, masks) in dtypes(lowerer, raw)
        .into_iter()
        .map(|dtype| (dtype, row.dtypes))
        .chain(first)
    {
        let allowed = masks.iter().find(|(_, mask)| mask >> dtype_code(dtype) & 1 == 1);
        if let Some((since, _)) = allowed {
            needs.push(Need {
                opset: *since,
                why: format!("{} did not take {dtype}", raw.op),
            });
        }
    }
    for opaque in opaque_types(lowerer, raw) {
        let (since, what) = match opaque {
            SEQUENCE => (row.sequences, "sequences"),
            OPTIONAL => (row.optionals, "optionals"),
            _ => continue,
        };
        if since != i64::MAX {
            needs.push(Need {
                opset: since,
                why: format!("{} did not take {what}", raw.op),
            });
        }
    }
    if lowerer.opset < 11 && has_negative_axis(raw) {
        needs.push(Need {
            opset: 11,
            why: "axes could not be negative".to_owned(),
        });
    }
    needs
}

/// The data types of a node, as far as they are known.
fn dtypes(lowerer: &Lowerer<'_>, raw: &RawNode) -> Vec<DType> {
    let values = raw.inputs.iter().chain(&raw.outputs).flatten();
    let mut dtypes: Vec<DType> = values.filter_map(|&id| lowerer.known_of(id).dtype).collect();
    for name in ["to", "dtype", "output_dtype"] {
        if let Some(Attribute::Int(code)) = raw.attributes.get(name) {
            dtypes.extend(i32::try_from(*code).ok().and_then(dtype_from_code));
        }
    }
    dtypes.sort_unstable();
    dtypes.dedup();
    dtypes
}

/// Keys of the encoded `TypeProto` fields `sequence_type` and `optional_type`.
const SEQUENCE: u8 = 4 << 3 | 2;
const OPTIONAL: u8 = 9 << 3 | 2;

/// True for an optional of any type.
pub(super) fn is_optional(ty: &ValueType) -> bool {
    matches!(ty, ValueType::Opaque(bytes) if bytes.first() == Some(&OPTIONAL))
}

/// The first byte of each type that is no tensor.
fn opaque_types(lowerer: &Lowerer<'_>, raw: &RawNode) -> Vec<u8> {
    let values = raw.inputs.iter().chain(&raw.outputs).flatten();
    let first = values.filter_map(|&id| match &lowerer.graph.value(id).ty {
        ValueType::Opaque(bytes) => bytes.first().copied(),
        _ => None,
    });
    first.collect()
}

fn has_negative_axis(raw: &RawNode) -> bool {
    let negative = |name: &str| match raw.attributes.get(name) {
        Some(Attribute::Int(axis)) => *axis < 0,
        Some(Attribute::Ints(axes)) => axes.iter().any(|&axis| axis < 0),
        _ => false,
    };
    !NEGATIVE_AXES.contains(&raw.op.as_str()) && (negative("axis") || negative("axes"))
}
