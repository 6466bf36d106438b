//! Attributes of nodes.

use bantam_graph::{Attribute, Attributes};
use bytes::Bytes;

use super::graph::Scope;
use super::{MAX_DEPTH, Reader};
use crate::onnx::OnnxError;
use crate::onnx::proto::{AttributeProto, field, kind};
use crate::onnx::wire;

impl Reader<'_> {
    /// Reads the attributes of one node (`of`, for messages).
    pub(super) fn attributes(
        &self,
        of: &str,
        encoded: &[Bytes],
        scope: &Scope<'_>,
        depth: usize,
    ) -> Result<Attributes, OnnxError> {
        let mut attributes = Attributes::new();
        for bytes in encoded {
            let (name, attribute) = self.attribute(of, bytes, scope, depth)?;
            if attributes.get(&name).is_some() {
                return Err(OnnxError::Duplicate {
                    what: "attribute",
                    name: format!("{name}` of `{of}"),
                });
            }
            attributes.set(&name, attribute);
        }
        Ok(attributes)
    }

    /// Reads one attribute and its name.
    pub(super) fn attribute(
        &self,
        of: &str,
        bytes: &Bytes,
        scope: &Scope<'_>,
        depth: usize,
    ) -> Result<(String, Attribute), OnnxError> {
        let mut proto: AttributeProto = self.budget.decode("attribute", bytes)?;
        let name = std::mem::take(&mut proto.name);
        if name.is_empty() {
            return Err(OnnxError::Unnamed {
                what: format!("an attribute of `{of}`"),
            });
        }
        if !proto.ref_attr_name.is_empty() {
            return Ok((name, Attribute::Reference(proto.ref_attr_name, proto.kind)));
        }
        let kind = if proto.kind == 0 {
            guess_kind(&proto, bytes)
        } else {
            proto.kind
        };
        let value = self.attribute_value(kind, proto, bytes, scope, depth)?;
        match value {
            Some(value) => Ok((name, value)),
            None => Err(OnnxError::AttributeType {
                of: of.to_owned(),
                name,
                code: kind,
            }),
        }
    }

    fn attribute_value(
        &self,
        code: i32,
        proto: AttributeProto,
        bytes: &Bytes,
        scope: &Scope<'_>,
        depth: usize,
    ) -> Result<Option<Attribute>, OnnxError> {
        let malformed = |source| OnnxError::Malformed {
            what: "attribute",
            source,
        };
        let tensor = |bytes: &Bytes| self.tensor(bytes).map(|named| named.tensor);
        let graph = |bytes: &Bytes| {
            if depth >= MAX_DEPTH {
                return Err(OnnxError::TooDeep { limit: MAX_DEPTH });
            }
            self.graph(bytes, scope, depth + 1)
        };
        Ok(Some(match code {
            kind::FLOAT => Attribute::Float(proto.f.unwrap_or_default()),
            kind::INT => Attribute::Int(proto.i.unwrap_or_default()),
            kind::STRING => Attribute::String(proto.s.unwrap_or_default().to_vec()),
            kind::TENSOR => Attribute::Tensor(tensor(&proto.t.unwrap_or_default())?),
            kind::GRAPH => Attribute::Graph(Box::new(graph(&proto.g.unwrap_or_default())?)),
            kind::FLOATS => {
                Attribute::Floats(wire::floats(bytes, field::ATTRIBUTE_FLOATS).map_err(malformed)?)
            }
            kind::INTS => Attribute::Ints(wire::varints(bytes, field::ATTRIBUTE_INTS).map_err(malformed)?),
            kind::STRINGS => Attribute::Strings(proto.strings.iter().map(|string| string.to_vec()).collect()),
            kind::TENSORS => Attribute::Tensors(proto.tensors.iter().map(tensor).collect::<Result<_, _>>()?),
            kind::GRAPHS => Attribute::Graphs(proto.graphs.iter().map(graph).collect::<Result<_, _>>()?),
            kind::SPARSE_TENSOR..=kind::TYPE_PROTOS => Attribute::Opaque(bytes.to_vec()),
            _ => return Ok(None),
        }))
    }
}

/// The type of an attribute that does not say it, as files of IR version 1 may.
fn guess_kind(proto: &AttributeProto, bytes: &Bytes) -> i32 {
    let has = |number| wire::fields(bytes).flatten().any(|field| field.number == number);
    let guesses = [
        (proto.f.is_some(), kind::FLOAT),
        (proto.i.is_some(), kind::INT),
        (proto.s.is_some(), kind::STRING),
        (proto.t.is_some(), kind::TENSOR),
        (proto.g.is_some(), kind::GRAPH),
        (!proto.strings.is_empty(), kind::STRINGS),
        (!proto.tensors.is_empty(), kind::TENSORS),
        (!proto.graphs.is_empty(), kind::GRAPHS),
        (has(field::ATTRIBUTE_FLOATS), kind::FLOATS),
        (has(field::ATTRIBUTE_INTS), kind::INTS),
    ];
    guesses
        .iter()
        .find(|(present, _)| *present)
        .map_or(0, |(_, kind)| *kind)
}
