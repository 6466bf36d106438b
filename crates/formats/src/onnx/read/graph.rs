//! Graphs: names become ids.

use std::collections::HashMap;

use bantam_graph::{Graph, Node, Notes, Op, Value, ValueId, ValueType, ops::Custom};
use bantam_tensor::Tensor;
use bytes::Bytes;

use super::{NamedTensor, Reader, pairs, standard_domain};
use crate::onnx::OnnxError;
use crate::onnx::proto::{FunctionProto, GraphProto, NodeProto, field};
use crate::onnx::wire;

/// Names that a graph sees around itself.
#[derive(Default)]
pub(super) struct Scope<'a> {
    names: Option<&'a HashMap<String, ValueId>>,
    outer: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn sees(&self, name: &str) -> bool {
        self.names.is_some_and(|names| names.contains_key(name))
            || self.outer.is_some_and(|outer| outer.sees(name))
    }
}

/// A graph under construction.
#[derive(Default)]
struct Builder {
    graph: Graph,
    names: HashMap<String, ValueId>,
}

impl Builder {
    /// Adds a value that must be new.
    fn define(&mut self, what: &'static str, name: &str) -> Result<ValueId, OnnxError> {
        if name.is_empty() {
            return Err(OnnxError::Unnamed {
                what: format!("an {what}"),
            });
        }
        let id = ValueId::new(self.graph.values.len());
        if self.names.insert(name.to_owned(), id).is_some() {
            return Err(OnnxError::Duplicate {
                what,
                name: name.to_owned(),
            });
        }
        self.graph.values.push(Value {
            name: name.to_owned(),
            ..Value::default()
        });
        Ok(id)
    }

    /// The value that a node or an output reads, or one that stands for a value of an enclosing graph.
    fn resolve(&mut self, name: &str, scope: &Scope<'_>) -> Option<ValueId> {
        if let Some(&id) = self.names.get(name) {
            return Some(id);
        }
        scope.sees(name).then(|| {
            let id = ValueId::new(self.graph.values.len());
            self.names.insert(name.to_owned(), id);
            self.graph.values.push(Value {
                name: name.to_owned(),
                ..Value::default()
            });
            id
        })
    }
}

impl Reader<'_> {
    /// Reads a graph whose nodes see the names of `scope`.
    pub(super) fn graph(&self, bytes: &Bytes, scope: &Scope<'_>, depth: usize) -> Result<Graph, OnnxError> {
        let proto: GraphProto = self.budget.decode("graph", bytes)?;
        let mut builder = self.builder(&proto.node, proto.input.len() + proto.initializer.len())?;
        for bytes in &proto.input {
            let (info, ty) = self.value_info(bytes)?;
            let id = builder.define("input", &info.name)?;
            builder.graph.inputs.push(id);
            let value = builder.graph.value_mut(id);
            (value.ty, value.doc, value.metadata) = (ty, info.doc_string, pairs(info.metadata_props));
        }
        for bytes in &proto.initializer {
            add_initializer(&mut builder, self.tensor(bytes)?)?;
        }
        for bytes in &proto.sparse_initializer {
            add_initializer(&mut builder, self.sparse_tensor(bytes)?)?;
        }
        self.define_outputs(&mut builder, &proto.node)?;
        for bytes in proto.value_info.iter().chain(&proto.output) {
            let (info, ty) = self.value_info(bytes)?;
            let Some(&id) = builder.names.get(&info.name) else {
                continue;
            };
            let value = builder.graph.value_mut(id);
            if value.initializer.is_none() && value.ty == ValueType::Unknown {
                (value.ty, value.doc, value.metadata) = (ty, info.doc_string, pairs(info.metadata_props));
            }
        }
        self.add_nodes(&mut builder, &proto.node, scope, depth)?;
        for bytes in &proto.output {
            let (info, ty) = self.value_info(bytes)?;
            add_output(&mut builder, &info.name, scope)?;
            let id = *builder.graph.outputs.last().expect("just added");
            let value = builder.graph.value_mut(id);
            if value.ty == ValueType::Unknown {
                value.ty = ty;
            }
        }
        let mut graph = builder.graph;
        (graph.name, graph.doc) = (proto.name, proto.doc_string);
        graph.metadata = pairs(proto.metadata_props);
        graph.quantization_annotations = proto
            .quantization_annotation
            .iter()
            .map(|bytes| bytes.to_vec())
            .collect();
        graph.sort()?;
        Ok(graph)
    }

    /// Reads the body of a function.
    pub(super) fn function_body(&self, proto: &FunctionProto) -> Result<Graph, OnnxError> {
        let scope = Scope::default();
        let mut builder = self.builder(&proto.node, proto.input.len())?;
        for name in &proto.input {
            let id = builder.define("input", name)?;
            builder.graph.inputs.push(id);
        }
        self.define_outputs(&mut builder, &proto.node)?;
        for bytes in &proto.value_info {
            let (info, ty) = self.value_info(bytes)?;
            if let Some(&id) = builder.names.get(&info.name) {
                builder.graph.value_mut(id).ty = ty;
            }
        }
        self.add_nodes(&mut builder, &proto.node, &scope, 1)?;
        proto
            .output
            .iter()
            .try_for_each(|name| add_output(&mut builder, name, &scope))?;
        builder.graph.sort()?;
        Ok(builder.graph)
    }

    /// A builder with room for every value and node.
    fn builder(&self, nodes: &[Bytes], mut values: usize) -> Result<Builder, OnnxError> {
        for node in nodes {
            values += wire::slices(node, field::NODE_OUTPUT).count();
        }
        self.budget
            .check("graph", values.checked_mul(size_of::<Value>()))?;
        self.budget
            .check("graph", nodes.len().checked_mul(size_of::<Node>()))?;
        let mut builder = Builder::default();
        builder.graph.values.reserve_exact(values);
        builder.graph.nodes.reserve_exact(nodes.len());
        Ok(builder)
    }

    /// Defines what the nodes produce, so that nodes may stand in any order.
    fn define_outputs(&self, builder: &mut Builder, nodes: &[Bytes]) -> Result<(), OnnxError> {
        for name in nodes
            .iter()
            .flat_map(|node| wire::slices(node, field::NODE_OUTPUT))
        {
            let name = name.map_err(|source| OnnxError::Malformed { what: "node", source })?;
            // Names that are not UTF-8 are refused when the node itself is decoded.
            match std::str::from_utf8(&name) {
                Ok(name) if !name.is_empty() => builder.define("value", name)?,
                _ => continue,
            };
        }
        Ok(())
    }

    fn add_nodes(
        &self,
        builder: &mut Builder,
        nodes: &[Bytes],
        scope: &Scope<'_>,
        depth: usize,
    ) -> Result<(), OnnxError> {
        for bytes in nodes {
            let proto: NodeProto = self.budget.decode("node", bytes)?;
            let node = self.node(builder, proto, scope, depth)?;
            builder.graph.nodes.push(node);
        }
        Ok(())
    }

    fn node(
        &self,
        builder: &mut Builder,
        proto: NodeProto,
        scope: &Scope<'_>,
        depth: usize,
    ) -> Result<Node, OnnxError> {
        let described = describe(&proto);
        if proto.op_type.is_empty() {
            return Err(OnnxError::Unnamed {
                what: format!("the op of node {described}"),
            });
        }
        let inner = Scope {
            names: Some(&builder.names),
            outer: Some(scope),
        };
        let attributes = self.attributes(&described, &proto.attribute, &inner, depth)?;
        let mut inputs = Vec::with_capacity(proto.input.len());
        for name in &proto.input {
            inputs.push(match builder.resolve(name, scope) {
                _ if name.is_empty() => None,
                None => {
                    let undefined = bantam_graph::GraphError::Undefined {
                        node: described,
                        value: name.clone(),
                    };
                    return Err(undefined.into());
                }
                found => found,
            });
        }
        let outputs = proto
            .output
            .iter()
            .map(|name| builder.names.get(name).copied())
            .collect();
        let op = Op::Custom(Custom::new(
            &standard_domain(proto.domain),
            &proto.op_type,
            attributes,
        ));
        let mut node = Node::new(proto.name, op, &[], &[]);
        (node.inputs, node.outputs) = (inputs, outputs);
        let notes = Notes {
            doc: proto.doc_string,
            metadata: pairs(proto.metadata_props),
            overload: proto.overload,
        };
        node.notes = (notes != Notes::default()).then(|| Box::new(notes));
        Ok(node)
    }
}

fn describe(proto: &NodeProto) -> String {
    match proto.output.first() {
        _ if !proto.name.is_empty() => format!("`{}` ({})", proto.name, proto.op_type),
        Some(output) => format!("`{}` (for `{output}`)", proto.op_type),
        None => format!("`{}`", proto.op_type),
    }
}

fn add_initializer(builder: &mut Builder, named: NamedTensor) -> Result<(), OnnxError> {
    let existing = builder.names.get(&named.name).copied();
    let id = match existing.filter(|&id| builder.graph.value(id).initializer.is_none()) {
        Some(input) => input,
        None => builder.define("initializer", &named.name)?,
    };
    let value = builder.graph.value_mut(id);
    if existing.is_none() || value.ty == ValueType::Unknown {
        value.ty = type_of(&named.tensor);
    }
    if value.doc.is_empty() && value.metadata.is_empty() {
        (value.doc, value.metadata) = (named.doc, named.metadata);
    }
    value.initializer = Some(named.tensor);
    Ok(())
}

fn type_of(constant: &Tensor) -> ValueType {
    let shape = constant.shape().iter().copied().map(Into::into).collect();
    ValueType::tensor(constant.dtype(), shape)
}

/// Takes constants out of the inputs; they have the types of their data, whatever was declared.
pub(super) fn drop_constant_inputs(graph: &mut Graph) {
    for id in std::mem::take(&mut graph.inputs) {
        let value = graph.value_mut(id);
        match &value.initializer {
            Some(constant) => value.ty = type_of(constant),
            None => graph.inputs.push(id),
        }
    }
}

fn add_output(builder: &mut Builder, name: &str, scope: &Scope<'_>) -> Result<(), OnnxError> {
    let undefined = || bantam_graph::GraphError::UndefinedOutput {
        value: name.to_owned(),
    };
    let id = builder.resolve(name, scope).ok_or_else(undefined)?;
    builder.graph.outputs.push(id);
    Ok(())
}
