//! Graphs: ids become names.

use bantam_graph::{Dim, Graph, Node, Value, ValueId, ValueType, dtype_code};
use bytes::Bytes;
use prost::Message;

use super::{Writer, pairs};
use crate::onnx::encoded::Encoded;
use crate::onnx::proto::{
    DimensionProto, GraphProto, NodeProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    field,
};

impl Writer {
    /// Encodes a graph.
    pub(super) fn graph(&mut self, graph: &Graph) -> Encoded {
        let info = |id: &ValueId| value_info(graph.value(*id));
        let mut encoded = Encoded::of(&GraphProto {
            name: if graph.name.is_empty() {
                "graph".to_owned()
            } else {
                graph.name.clone()
            },
            doc_string: graph.doc.clone(),
            input: graph.inputs.iter().map(info).collect(),
            output: graph.outputs.iter().map(info).collect(),
            value_info: value_infos(graph).collect(),
            quantization_annotation: graph
                .quantization_annotations
                .iter()
                .map(|raw| raw.clone().into())
                .collect(),
            metadata_props: pairs(&graph.metadata),
            ..GraphProto::default()
        });
        for node in &graph.nodes {
            encoded.append_message(field::GRAPH_NODE, self.node(graph, node));
        }
        for value in &graph.values {
            if let Some(tensor) = &value.initializer {
                let initializer = self.initializer(&value.name, tensor, &value.doc, &value.metadata);
                encoded.append_message(field::GRAPH_INITIALIZER, initializer);
            }
        }
        encoded
    }

    /// Encodes a node of `graph`.
    pub(super) fn node(&mut self, graph: &Graph, node: &Node) -> Encoded {
        let names = |ids: &[Option<ValueId>]| {
            let mut names: Vec<String> = ids
                .iter()
                .map(|id| id.map_or_else(String::new, |id| graph.value(id).name.clone()))
                .collect();
            while names.last().is_some_and(String::is_empty) {
                names.pop();
            }
            names
        };
        let notes = node.notes.as_deref().cloned().unwrap_or_default();
        let mut encoded = Encoded::of(&NodeProto {
            input: names(&node.inputs),
            output: names(&node.outputs),
            name: node.name.clone(),
            op_type: node.op.name().to_owned(),
            domain: node.op.domain().to_owned(),
            overload: notes.overload,
            attribute: Vec::new(),
            doc_string: notes.doc,
            metadata_props: pairs(&notes.metadata),
        });
        let attributes = node.op.emit();
        for (name, attribute) in attributes.iter().chain(node.extra.iter()) {
            encoded.append_message(field::NODE_ATTRIBUTE, self.attribute(name, attribute));
        }
        encoded
    }
}

/// Declarations of the values that nodes produce, as far as their types are known, except for outputs of the graph and what QuantizeLinear and
/// DequantizeLinear make: there are many of these, and their types are those of their inputs.
pub(super) fn value_infos(graph: &Graph) -> impl Iterator<Item = Bytes> {
    let mut skip = vec![false; graph.values.len()];
    graph
        .inputs
        .iter()
        .chain(&graph.outputs)
        .for_each(|id| skip[id.index()] = true);
    let told = |node: &&Node| !matches!(node.op.name(), "QuantizeLinear" | "DequantizeLinear");
    let produced = graph.nodes.iter().filter(told);
    produced
        .flat_map(|node| node.outputs.iter().flatten())
        .filter(move |id| !skip[id.index()] && graph.value(**id).ty != ValueType::Unknown)
        .map(|id| value_info(graph.value(*id)))
}

fn value_info(value: &Value) -> Bytes {
    let is_constant = value.initializer.is_some();
    let proto = ValueInfoProto {
        name: value.name.clone(),
        kind: encode_type(&value.ty),
        doc_string: if is_constant {
            String::new()
        } else {
            value.doc.clone()
        },
        metadata_props: if is_constant {
            Vec::new()
        } else {
            pairs(&value.metadata)
        },
    };
    proto.encode_to_vec().into()
}

fn encode_type(ty: &ValueType) -> Option<Bytes> {
    let (dtype, shape) = match ty {
        ValueType::Unknown => return None,
        ValueType::Opaque(bytes) => return Some(bytes.clone().into()),
        ValueType::Tensor { dtype, shape } => (dtype, shape),
    };
    let shape = shape.as_ref().map(|dims| TensorShapeProto {
        dim: dims.iter().map(dimension).collect(),
    });
    let tensor_type = Some(TensorTypeProto {
        elem_type: dtype.map_or(0, dtype_code),
        shape: shape.map(|shape| shape.encode_to_vec().into()),
    });
    Some(TypeProto { tensor_type }.encode_to_vec().into())
}

fn dimension(dim: &Dim) -> DimensionProto {
    match dim {
        Dim::Known(size) => DimensionProto {
            dim_value: i64::try_from(*size).ok(),
            dim_param: None,
        },
        Dim::Symbol(name) => DimensionProto {
            dim_value: None,
            dim_param: Some(name.clone()),
        },
        Dim::Unknown => DimensionProto::default(),
    }
}
