//! Attributes of nodes.

use bantam_graph::Attribute;
use bytes::Bytes;

use super::{Writer, data};
use crate::onnx::encoded::Encoded;
use crate::onnx::proto::{AttributeProto, field, kind};

impl Writer {
    /// Encodes an attribute.
    pub(super) fn attribute(&mut self, name: &str, attribute: &Attribute) -> Encoded {
        let mut proto = AttributeProto {
            name: name.to_owned(),
            kind: code(attribute),
            ..AttributeProto::default()
        };
        match attribute {
            Attribute::Opaque(bytes) => return Encoded::from_bytes(bytes),
            Attribute::Float(value) => proto.f = Some(*value),
            Attribute::Int(value) => proto.i = Some(*value),
            Attribute::String(value) => proto.s = Some(Bytes::copy_from_slice(value)),
            Attribute::Strings(values) => {
                proto.strings = values.iter().map(|s| Bytes::copy_from_slice(s)).collect()
            }
            Attribute::Reference(target, _) => proto.ref_attr_name.clone_from(target),
            _ => {}
        }
        let mut encoded = Encoded::of(&proto);
        match attribute {
            Attribute::Floats(values) => encoded.append_floats(field::ATTRIBUTE_FLOATS, values),
            Attribute::Ints(values) => encoded.append_integers(field::ATTRIBUTE_INTS, values),
            Attribute::Tensor(value) => {
                encoded.append_message(field::ATTRIBUTE_TENSOR, data::tensor("", value))
            }
            Attribute::Tensors(values) => {
                values
                    .iter()
                    .for_each(|t| encoded.append_message(field::ATTRIBUTE_TENSORS, data::tensor("", t)));
            }
            Attribute::Graph(graph) => encoded.append_message(field::ATTRIBUTE_GRAPH, self.graph(graph)),
            Attribute::Graphs(graphs) => {
                graphs
                    .iter()
                    .for_each(|g| encoded.append_message(field::ATTRIBUTE_GRAPHS, self.graph(g)));
            }
            _ => {}
        }
        encoded
    }
}

/// `AttributeProto.type`.
fn code(attribute: &Attribute) -> i32 {
    match attribute {
        Attribute::Float(_) => kind::FLOAT,
        Attribute::Int(_) => kind::INT,
        Attribute::String(_) => kind::STRING,
        Attribute::Tensor(_) => kind::TENSOR,
        Attribute::Graph(_) => kind::GRAPH,
        Attribute::Floats(_) => kind::FLOATS,
        Attribute::Ints(_) => kind::INTS,
        Attribute::Strings(_) => kind::STRINGS,
        Attribute::Tensors(_) => kind::TENSORS,
        Attribute::Graphs(_) => kind::GRAPHS,
        Attribute::Reference(_, code) => *code,
        Attribute::Opaque(_) => 0,
    }
}
