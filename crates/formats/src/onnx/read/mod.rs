//! From bytes to a [`Model`], nodes still as the file has them ([`bantam_graph::Op::Custom`]).

mod attributes;
mod graph;
mod sparse;
mod tensors;
mod types;

use bytes::Bytes;

use bantam_graph::{Function, Model, OperatorSet};

use super::OnnxError;
use super::external::External;
use super::proto::{FunctionProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, field};
use super::wire::{Budget, Payload, fields};
use graph::Scope;

pub(super) use tensors::NamedTensor;

/// Graphs inside graphs that are followed; real models nest a handful.
const MAX_DEPTH: usize = 32;

/// What reading needs to know at every depth.
pub(super) struct Reader<'a> {
    pub(super) budget: Budget,
    pub(super) external: &'a External,
}

impl Reader<'_> {
    /// Reads a model; its nodes are generic.
    pub(super) fn model(&self, file: &Bytes) -> Result<Model, OnnxError> {
        let proto: ModelProto = self.budget.decode("model", file)?;
        let graph = proto.graph.as_ref().ok_or(OnnxError::NoGraph)?;
        let mut graph = self.graph(graph, &Scope::default(), 0)?;
        if proto.ir_version < 4 {
            // Up to IR version 3 the format demands that constants are listed as inputs.
            graph::drop_constant_inputs(&mut graph);
        }
        let functions = proto.functions.iter().map(|bytes| self.function(bytes));
        Ok(Model {
            functions: functions.collect::<Result<_, _>>()?,
            graph,
            ir_version: proto.ir_version,
            opsets: operator_sets(proto.opset_import),
            producer_name: proto.producer_name,
            producer_version: proto.producer_version,
            domain: proto.domain,
            model_version: proto.model_version,
            doc: proto.doc_string,
            metadata: pairs(proto.metadata_props),
            raw_fields: raw_fields(file)?,
        })
    }

    fn function(&self, bytes: &Bytes) -> Result<Function, OnnxError> {
        let proto: FunctionProto = self.budget.decode("function", bytes)?;
        let name = format!("{}.{}", proto.domain, proto.name);
        let defaults = proto
            .attribute_proto
            .iter()
            .map(|bytes| self.attribute(&name, bytes, &Scope::default(), 1));
        let default_attributes = defaults.collect::<Result<_, _>>()?;
        Ok(Function {
            attributes: proto.attribute.clone(),
            default_attributes,
            body: self.function_body(&proto)?,
            opsets: operator_sets(proto.opset_import),
            domain: proto.domain,
            name: proto.name,
            overload: proto.overload,
            doc: proto.doc_string,
            metadata: pairs(proto.metadata_props),
        })
    }
}

/// The fields of a model that Bantam has no place for, encoded as they were.
fn raw_fields(file: &Bytes) -> Result<Vec<u8>, OnnxError> {
    let mut raw = super::encoded::Encoded::default();
    for part in fields(file) {
        let part = part.map_err(|source| OnnxError::Malformed {
            what: "model",
            source,
        })?;
        if let Payload::Bytes(bytes) = part.payload
            && field::MODEL_RAW.contains(&part.number)
        {
            raw.append_message(part.number, super::encoded::Encoded::from_bytes(&bytes));
        }
    }
    Ok(raw.into_bytes())
}

/// Key-value pairs of a file.
fn pairs(entries: Vec<StringStringEntryProto>) -> Vec<(String, String)> {
    entries
        .into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect()
}

fn operator_sets(protos: Vec<OperatorSetIdProto>) -> Vec<OperatorSet> {
    let sets = protos.into_iter().map(|set| OperatorSet {
        domain: standard_domain(set.domain),
        version: set.version,
    });
    sets.collect()
}

/// The standard domain has two names; one is empty.
fn standard_domain(domain: String) -> String {
    if domain == "ai.onnx" {
        String::new()
    } else {
        domain
    }
}
