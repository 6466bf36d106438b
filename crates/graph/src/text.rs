//! The canonical text of a graph, for people and for snapshots.
//!
//! ```text
//! graph resnet(%x: f32[N,3,32,32]) -> (%y: f32[N,16,32,32])
//!   %w: f32[16,3,3,3] = constant
//!   %y: f32[N,16,32,32] = Conv(%x, %w) {pads=[1, 1, 1, 1]} # conv1
//! ```
//!
//! Constants come first, with their elements if these are few; then one line for each node, in order. Graphs inside
//! a node follow it, indented. Attributes that have their default are left out, and so are absent inputs at the end.

use std::fmt::{Display, Formatter, Result};

use bantam_tensor::{DType, Tensor};

use crate::{Attribute, Attributes, Graph, Node, ValueId};

/// Constants with more elements are printed without them.
const MAX_ELEMENTS: usize = 8;

impl Display for Graph {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let name = if self.name.is_empty() {
            String::new()
        } else {
            format!(" {}", word(&self.name))
        };
        write_graph(f, self, &format!("graph{name}"), 0)
    }
}

fn write_graph(f: &mut Formatter<'_>, graph: &Graph, title: &str, depth: usize) -> Result {
    let indent = "  ".repeat(depth);
    let typed = |id: &ValueId| format!("{}: {}", reference(graph, *id), graph.value(*id).ty);
    let list = |ids: &[ValueId]| ids.iter().map(typed).collect::<Vec<_>>().join(", ");
    writeln!(
        f,
        "{indent}{title}({}) -> ({})",
        list(&graph.inputs),
        list(&graph.outputs)
    )?;
    for (index, value) in graph.values.iter().enumerate() {
        if let Some(tensor) = &value.initializer {
            let id = ValueId::new(index);
            let default = if graph.inputs.contains(&id) {
                "default"
            } else {
                "constant"
            };
            writeln!(f, "{indent}  {} = {default}{}", typed(&id), elements(tensor))?;
        }
    }
    graph
        .nodes
        .iter()
        .try_for_each(|node| write_node(f, graph, node, depth + 1))
}

fn write_node(f: &mut Formatter<'_>, graph: &Graph, node: &Node, depth: usize) -> Result {
    let (attributes, graphs) = split_attributes(node);
    let name = if node.name.is_empty() {
        String::new()
    } else {
        format!(" # {}", word(&node.name))
    };
    writeln!(f, "{}{}{attributes}{name}", "  ".repeat(depth), call(graph, node))?;
    graphs
        .iter()
        .try_for_each(|(title, subgraph)| write_graph(f, subgraph, title, depth + 1))
}

/// `%y: f32[2] = Add(%a, %b)`, without attributes and name.
fn call(graph: &Graph, node: &Node) -> String {
    let output = |id: &Option<ValueId>| match id {
        Some(id) => format!("{}: {}", reference(graph, *id), graph.value(*id).ty),
        None => "_".to_owned(),
    };
    let input = |id: &Option<ValueId>| id.map_or("_".to_owned(), |id| reference(graph, id));
    let present = node
        .inputs
        .iter()
        .rposition(Option::is_some)
        .map_or(0, |last| last + 1);
    let outputs: Vec<String> = node.outputs.iter().map(output).collect();
    let inputs: Vec<String> = node.inputs[..present].iter().map(input).collect();
    let domain = match node.op.domain() {
        "" => String::new(),
        domain => format!("{}.", word(domain)),
    };
    format!(
        "{} = {domain}{}({})",
        outputs.join(", "),
        word(node.op.name()),
        inputs.join(", ")
    )
}

/// The attributes as text, and the graphs among them with their titles.
fn split_attributes(node: &Node) -> (String, Vec<(String, Graph)>) {
    let (mut texts, mut graphs) = (Vec::new(), Vec::new());
    let emitted: Attributes = node.op.emit();
    for (name, attribute) in emitted.iter().chain(node.extra.iter()) {
        match attribute {
            Attribute::Graph(graph) => graphs.push((word(name), graph.as_ref().clone())),
            Attribute::Graphs(all) => {
                let titled = all
                    .iter()
                    .enumerate()
                    .map(|(i, graph)| (format!("{}[{i}]", word(name)), graph.clone()));
                graphs.extend(titled);
            }
            other => texts.push(format!("{}={}", word(name), attribute_text(other))),
        }
    }
    let text = if texts.is_empty() {
        String::new()
    } else {
        format!(" {{{}}}", texts.join(", "))
    };
    (text, graphs)
}

fn attribute_text(attribute: &Attribute) -> String {
    let string = |bytes: &Vec<u8>| format!("{:?}", String::from_utf8_lossy(bytes));
    match attribute {
        Attribute::Int(value) => value.to_string(),
        Attribute::Float(value) => format!("{value:?}"),
        Attribute::String(value) => string(value),
        Attribute::Tensor(value) => tensor_text(value),
        Attribute::Ints(values) => format!("{values:?}"),
        Attribute::Floats(values) => format!("{values:?}"),
        Attribute::Strings(values) => {
            format!("[{}]", values.iter().map(string).collect::<Vec<_>>().join(", "))
        }
        Attribute::Tensors(values) => {
            format!(
                "[{}]",
                values.iter().map(tensor_text).collect::<Vec<_>>().join(", ")
            )
        }
        Attribute::Reference(name, _) => format!("@{}", word(name)),
        Attribute::Opaque(bytes) => format!("opaque({} bytes)", bytes.len()),
        Attribute::Graph(_) | Attribute::Graphs(_) => "graph".to_owned(),
    }
}

fn tensor_text(tensor: &Tensor) -> String {
    let dims: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
    format!("{}[{}]{}", tensor.dtype(), dims.join(","), elements(tensor))
}

/// ` [1, 2]`, or nothing when there are many.
fn elements(tensor: &Tensor) -> String {
    if tensor.len() > MAX_ELEMENTS {
        return String::new();
    }
    let list = |values: Vec<String>| format!(" [{}]", values.join(", "));
    if let Ok(strings) = tensor.strings() {
        return list(
            strings
                .iter()
                .map(|text| format!("{:?}", String::from_utf8_lossy(text)))
                .collect(),
        );
    }
    // Through f32, so that 0.1 stays 0.1; integers are exact as integers.
    match (tensor.dtype(), tensor.to_i64(), tensor.to_f64()) {
        (_, Ok(integers), _) => list(integers.iter().map(i64::to_string).collect()),
        (DType::F64, _, Ok(reals)) => list(reals.iter().map(|value| format!("{value:?}")).collect()),
        (_, _, Ok(reals)) => list(reals.iter().map(|value| format!("{:?}", *value as f32)).collect()),
        _ => String::new(),
    }
}

fn reference(graph: &Graph, id: ValueId) -> String {
    format!("%{}", word(&graph.value(id).name))
}

/// A name as it is if it needs no quotes.
fn word(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./:".contains(letter);
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Binary, Cast, If, Unary};
    use crate::{Dim, Op, Value, infer_shapes};

    fn branch(op: Unary) -> Box<Graph> {
        let mut graph = Graph::default();
        let outer = graph.add_value(Value {
            name: "sum".to_owned(),
            ..Value::default()
        });
        let result = graph.add_node(op.name(), op, &[outer]);
        graph.outputs.push(result);
        Box::new(graph)
    }

    #[test]
    fn a_graph_with_everything() {
        let mut graph = Graph {
            name: "net".to_owned(),
            ..Graph::default()
        };
        let x = graph.add_input("x", DType::F32, vec![Dim::Symbol("N".into()), Dim::Known(2)]);
        let w = graph.add_constant("a \"b\"\n", Tensor::from_vec1(&[0.1f32, -2.0]));
        graph.add_constant("many", Tensor::zeros(DType::I8, &[3, 3]).unwrap());
        let condition = graph.add_constant("yes", Tensor::from_bools(&[], &[true]).unwrap());
        graph.add_node("sum", Binary::Add, &[x, w]);
        let choice = If {
            then_branch: branch(Unary::Relu),
            else_branch: branch(Unary::Abs),
        };
        let y = graph.add_node("y", choice, &[condition]);
        let cast = Cast {
            saturate: false,
            to: DType::F16,
            round_mode: "up".to_owned(),
        };
        let z = graph.add_node("z", cast, &[y]);
        let custom = Op::parse("com.vendor", "Thing", &mut Attributes::new()).unwrap();
        let mut node = Node::new("", custom, &[z], &[]);
        node.inputs = vec![None, Some(z), None];
        node.outputs = vec![None];
        node.extra.set("note", Attribute::String(b"hi".to_vec()));
        graph.nodes.push(node);
        graph.outputs.push(z);
        infer_shapes(&mut graph, &crate::InferOptions::default()).unwrap();
        let expected = r#"graph net(%x: f32[N,2]) -> (%z: f16[N,2])
  %"a \"b\"\n": f32[2] = constant [0.1, -2.0]
  %many: i8[3,3] = constant
  %yes: bool[] = constant [1]
  %sum: f32[N,2] = Add(%x, %"a \"b\"\n") # sum
  %y: f32[N,2] = If(%yes) # y
    else_branch() -> (%Abs: f32[N,2])
      %Abs: f32[N,2] = Abs(%sum) # Abs
    then_branch() -> (%Relu: f32[N,2])
      %Relu: f32[N,2] = Relu(%sum) # Relu
  %z: f16[N,2] = Cast(%y) {saturate=0, to=10} # z
  _ = com.vendor.Thing(_, %z) {note="hi"}
"#;
        assert_eq!(graph.to_string(), expected);
    }
}
