//! Small graphs for tests, in the form of files, and their text.

use bantam_graph::{Attribute, Attributes, Graph, Node, Op, Value, ValueId, ValueType, ops::Custom};
use bantam_tensor::{DType, Tensor};

/// An input of the node under test.
#[derive(Clone)]
pub(super) enum Given {
    /// A graph input.
    Value(DType, &'static [usize]),
    /// A graph input of which nothing is known.
    Untyped,
    Constant(Tensor),
    Absent,
}

/// A graph of one node with `outputs` outputs.
pub(super) fn graph(op: &str, attributes: &[(&str, Attribute)], inputs: &[Given], outputs: usize) -> Graph {
    let mut graph = Graph::default();
    let mut ids = Vec::new();
    for (index, given) in inputs.iter().enumerate() {
        let name = format!("x{index}");
        ids.push(match given {
            Given::Absent => None,
            Given::Constant(tensor) => Some(graph.add_constant(&name, tensor.clone())),
            Given::Value(dtype, dims) => {
                Some(graph.add_input(&name, *dtype, dims.iter().copied().map(Into::into).collect()))
            }
            Given::Untyped => {
                let id = graph.add_value(Value {
                    name,
                    ..Value::default()
                });
                graph.inputs.push(id);
                Some(id)
            }
        });
    }
    let mut own = Attributes::new();
    attributes
        .iter()
        .for_each(|(name, attribute)| own.set(name, attribute.clone()));
    let mut node = Node::new("", Op::Custom(Custom::new("", op, own)), &[], &[]);
    node.inputs = ids;
    for index in 0..outputs {
        let ty = ValueType::Unknown;
        let id = graph.add_value(Value {
            name: format!("y{index}"),
            ty,
            ..Value::default()
        });
        node.outputs.push(Some(id));
        graph.outputs.push(id);
    }
    graph.nodes.push(node);
    graph
}

/// One line for each node: `y0 = Clip(x0, [1.0], -) {attribute=value}`; constants are given by their elements.
pub(super) fn text(graph: &Graph) -> String {
    let name = |id: &Option<ValueId>| match id {
        None => "-".to_owned(),
        Some(id) => match (&graph.value(*id).initializer, graph.value(*id).name.as_str()) {
            (Some(tensor), _) if tensor.len() <= 8 => format!("{:?}", tensor.to_f64().unwrap_or_default()),
            (_, name) => name.to_owned(),
        },
    };
    let list = |ids: &[Option<ValueId>]| ids.iter().map(name).collect::<Vec<_>>().join(", ");
    let line = |node: &Node| {
        let mut attributes: Vec<String> = node
            .op
            .emit()
            .iter()
            .map(|(name, value)| format!("{name}={}", attribute(value)))
            .collect();
        attributes.sort();
        let attributes = if attributes.is_empty() {
            String::new()
        } else {
            format!(" {{{}}}", attributes.join(", "))
        };
        format!(
            "{} = {}({}){attributes}",
            list(&node.outputs),
            node.op.name(),
            list(&node.inputs)
        )
    };
    graph.nodes.iter().map(line).collect::<Vec<_>>().join("; ")
}

fn attribute(attribute: &Attribute) -> String {
    match attribute {
        Attribute::Int(value) => value.to_string(),
        Attribute::Float(value) => format!("{value:?}"),
        Attribute::Ints(values) => format!("{values:?}"),
        Attribute::Floats(values) => format!("{values:?}"),
        Attribute::String(value) => String::from_utf8_lossy(value).into_owned(),
        Attribute::Graph(graph) => format!("<{}>", text(graph)),
        other => format!("{other:?}"),
    }
}

pub(super) fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

pub(super) fn string(value: &str) -> Attribute {
    Attribute::String(value.as_bytes().to_vec())
}

/// A constant list of integers.
pub(super) fn list(values: &[i64]) -> Given {
    Given::Constant(Tensor::from_vec1(values))
}

/// A constant list of floats.
pub(super) fn floats(values: &[f32]) -> Given {
    Given::Constant(Tensor::from_vec1(values))
}

/// A constant number.
pub(super) fn number(value: f32) -> Given {
    Given::Constant(Tensor::scalar(value))
}
