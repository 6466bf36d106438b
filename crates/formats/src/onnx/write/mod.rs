//! From a lowered graph to bytes. Nodes are written as they are: [`super::lower`] has given them the form of their
//! opset before.

mod attributes;
mod data;
mod graph;

use bantam_graph::{Function, Graph, Model, OperatorSet};

use super::encoded::Encoded;
use super::proto::{FunctionProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, field};
pub(super) use data::{DataPlan, tensor};

/// What a model is written with.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) ir_version: i64,
    pub(super) opsets: Vec<OperatorSet>,
}

/// Encodes messages, sending the data of large tensors to a plan of a data file if there is one.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) data: Option<DataPlan>,
}

impl Writer {
    /// Encodes a model with `graph`, its lowered form, in place of its own graph.
    pub(super) fn model(&mut self, model: &Model, graph: &Graph, header: Header) -> Encoded {
        let mut encoded = Encoded::of(&ModelProto {
            ir_version: header.ir_version,
            producer_name: model.producer_name.clone(),
            producer_version: model.producer_version.clone(),
            domain: model.domain.clone(),
            model_version: model.model_version,
            doc_string: model.doc.clone(),
            graph: None,
            opset_import: operator_sets(&header.opsets),
            metadata_props: pairs(&model.metadata),
            functions: Vec::new(),
        });
        encoded.append_message(field::MODEL_GRAPH, self.graph(graph));
        for function in &model.functions {
            encoded.append_message(field::MODEL_FUNCTIONS, self.function(function));
        }
        encoded.append_bytes(&model.raw_fields);
        encoded
    }

    fn function(&mut self, function: &Function) -> Encoded {
        let body = &function.body;
        let names =
            |ids: &[bantam_graph::ValueId]| ids.iter().map(|&id| body.value(id).name.clone()).collect();
        let mut encoded = Encoded::of(&FunctionProto {
            name: function.name.clone(),
            input: names(&body.inputs),
            output: names(&body.outputs),
            attribute: function.attributes.clone(),
            node: Vec::new(),
            doc_string: function.doc.clone(),
            opset_import: operator_sets(&function.opsets),
            domain: function.domain.clone(),
            attribute_proto: Vec::new(),
            value_info: graph::value_infos(body).collect(),
            overload: function.overload.clone(),
            metadata_props: pairs(&function.metadata),
        });
        for node in &body.nodes {
            encoded.append_message(field::FUNCTION_NODE, self.node(body, node));
        }
        for (name, attribute) in &function.default_attributes {
            encoded.append_message(field::FUNCTION_ATTRIBUTE, self.attribute(name, attribute));
        }
        encoded
    }
}

fn pairs(pairs: &[(String, String)]) -> Vec<StringStringEntryProto> {
    let entry = |(key, value): &(String, String)| StringStringEntryProto {
        key: key.clone(),
        value: value.clone(),
    };
    pairs.iter().map(entry).collect()
}

fn operator_sets(sets: &[OperatorSet]) -> Vec<OperatorSetIdProto> {
    let proto = |set: &OperatorSet| OperatorSetIdProto {
        domain: set.domain.clone(),
        version: set.version,
    };
    sets.iter().map(proto).collect()
}
