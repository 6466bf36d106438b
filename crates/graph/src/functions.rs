//! [`inline_functions`]: calls of local functions become the nodes that they stand for.

use std::collections::{HashMap, HashSet};

use crate::ops::Unary;
use crate::patch::rename_captured;
use crate::{Attribute, Attributes, Function, Graph, Model, Node, Op, OperatorSet, Value, ValueId};

/// Most nodes that a model may have after inlining; functions that call functions can double at each level.
const MAX_NODES: usize = 1 << 18;

/// Calls inside calls that are followed.
const MAX_DEPTH: usize = 64;

/// Why functions cannot be inlined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum InlineError<E> {
    #[error("function `{function}` calls itself\nhint: the file is damaged or its exporter faulty")]
    Recursive { function: String },
    #[error("inlining function `{function}` makes too many nodes\nhint: the file was made to exhaust memory")]
    TooLarge { function: String },
    #[error(
        "the call of function `{function}` lies inside {MAX_DEPTH} others\nhint: the file was made to exhaust the stack"
    )]
    TooDeep { function: String },
    #[error(
        "node {node} calls function `{function}` with {got} {what}s, it has {expected}\nhint: the file is damaged or \
         its exporter faulty"
    )]
    Arity {
        node: String,
        function: String,
        what: &'static str,
        expected: usize,
        got: usize,
    },
    #[error("function `{function}`: {source}")]
    Lift { function: String, source: E },
}

/// Replaces every call of a local function, also inside subgraphs and other functions, and drops the functions.
///
/// Bodies are written in opsets of their own, so `lift` brings a body, once the call's attributes are in place, to
/// canonical form.
///
/// # Errors
/// When a function calls itself, a call does not fit its function, the result would be too large, or `lift` fails.
pub fn inline_functions<E>(
    model: Model,
    lift: impl Fn(Graph, &[OperatorSet]) -> Result<Graph, E>,
) -> Result<Model, InlineError<E>> {
    inline_up_to(model, lift, MAX_NODES)
}

fn inline_up_to<E>(
    mut model: Model,
    lift: impl Fn(Graph, &[OperatorSet]) -> Result<Graph, E>,
    max_nodes: usize,
) -> Result<Model, InlineError<E>> {
    if model.functions.is_empty() {
        return Ok(model);
    }
    let functions = std::mem::take(&mut model.functions);
    let mut names = HashSet::new();
    collect_names(&model.graph, &mut names);
    let mut inliner = Inliner {
        functions: &functions,
        lift: &lift,
        names,
        nodes_left: max_nodes,
        clashes: 0,
        calls: Vec::new(),
    };
    inliner.graph(&mut model.graph)?;
    for set in functions.iter().flat_map(|function| &function.opsets) {
        if !set.domain.is_empty() && model.opset(&set.domain).is_none() {
            model.opsets.push(set.clone());
        }
    }
    Ok(model)
}

struct Inliner<'a, F> {
    functions: &'a [Function],
    lift: &'a F,
    /// Every name of the model, so that new ones neither clash nor hide one.
    names: HashSet<String>,
    nodes_left: usize,
    clashes: usize,
    /// The functions that are being inlined, outermost first.
    calls: Vec<usize>,
}

impl<E, F: Fn(Graph, &[OperatorSet]) -> Result<Graph, E>> Inliner<'_, F> {
    /// Inlines the calls in a graph and its subgraphs.
    fn graph(&mut self, graph: &mut Graph) -> Result<(), InlineError<E>> {
        for mut node in std::mem::take(&mut graph.nodes) {
            for subgraph in node.op.subgraphs_mut() {
                self.graph(subgraph)?;
            }
            match self.function_of(&node) {
                Some(index) => self.call(graph, &node, index)?,
                None => graph.nodes.push(node),
            }
        }
        Ok(())
    }

    fn function_of(&self, node: &Node) -> Option<usize> {
        let Op::Custom(op) = &node.op else { return None };
        self.functions.iter().position(|function| {
            (&op.domain, &op.name, node.overload())
                == (&function.domain, &function.name, function.overload.as_str())
        })
    }

    /// Adds the nodes of a function in place of a call.
    fn call(&mut self, graph: &mut Graph, call: &Node, index: usize) -> Result<(), InlineError<E>> {
        let function = &self.functions[index];
        let name = || format!("{}.{}", function.domain, function.name);
        if self.calls.contains(&index) {
            return Err(InlineError::Recursive { function: name() });
        }
        if self.calls.len() >= MAX_DEPTH {
            return Err(InlineError::TooDeep { function: name() });
        }
        check_arity(graph, call, function)?;
        let left = self.nodes_left.checked_sub(function.body.nodes.len());
        self.nodes_left = left.ok_or_else(|| InlineError::TooLarge { function: name() })?;
        let mut body = function.body.clone();
        let attributes = arguments(function, call);
        body.nodes
            .iter_mut()
            .for_each(|node| substitute(node, &attributes));
        for (&formal, actual) in body.inputs.clone().iter().zip(&call.inputs) {
            if let Some(actual) = actual {
                body.value_mut(formal).ty = graph.value(*actual).ty.clone();
            }
        }
        let mut body = (self.lift)(body, &function.opsets).map_err(|source| InlineError::Lift {
            function: name(),
            source,
        })?;
        self.calls.push(index);
        collect_names(&body, &mut self.names);
        self.graph(&mut body)?;
        self.calls.pop();
        self.splice(graph, call, body);
        Ok(())
    }

    /// Moves the values and nodes of a body into a graph; its inputs and outputs become those of the call.
    fn splice(&mut self, graph: &mut Graph, call: &Node, body: Graph) {
        let mut map: Vec<Option<ValueId>> = vec![None; body.values.len()];
        let mut given = vec![false; body.values.len()];
        for (index, formal) in body.inputs.iter().enumerate() {
            map[formal.index()] = call.input(index);
            given[formal.index()] = true;
        }
        let mut copies = Vec::new();
        for (index, formal) in body.outputs.iter().enumerate() {
            let Some(actual) = call.output(index) else {
                continue;
            };
            let produced = !given[formal.index()] && body.value(*formal).initializer.is_none();
            if produced && map[formal.index()].is_none() {
                map[formal.index()] = Some(actual);
            } else {
                // An input, a constant or a second output of one value needs a node to get its name.
                copies.push((*formal, actual));
            }
        }
        let stem = match call.outputs.iter().flatten().next() {
            _ if !call.name.is_empty() => call.name.clone(),
            Some(&output) => graph.value(output).name.clone(),
            None => call.op.name().to_owned(),
        };
        let mut renamed = HashMap::new();
        for (index, value) in body.values.into_iter().enumerate() {
            let id = match map[index] {
                None if given[index] => continue,
                None => self.add_value(graph, &stem, &value),
                Some(id) => id,
            };
            map[index] = Some(id);
            renamed.insert(value.name, graph.value(id).name.clone());
        }
        for mut node in body.nodes {
            node.inputs
                .iter_mut()
                .for_each(|input| *input = input.and_then(|id| map[id.index()]));
            node.outputs
                .iter_mut()
                .for_each(|output| *output = output.and_then(|id| map[id.index()]));
            node.op
                .subgraphs_mut()
                .into_iter()
                .for_each(|subgraph| rename_captured(subgraph, &renamed));
            if !node.name.is_empty() {
                node.name = format!("{stem}/{}", node.name);
            }
            graph.nodes.push(node);
        }
        for (formal, actual) in copies {
            let mut copy = Node::new("", Op::Unary(Unary::Identity), &[], &[actual]);
            copy.inputs = vec![map[formal.index()]];
            graph.nodes.push(copy);
        }
    }

    fn add_value(&mut self, graph: &mut Graph, stem: &str, value: &Value) -> ValueId {
        let mut name = format!("{stem}/{}", value.name);
        while !self.names.insert(name.clone()) {
            // One count for all names: trying each from 1 on would take quadratic time.
            self.clashes += 1;
            name = format!("{stem}/{}_{}", value.name, self.clashes);
        }
        graph.values.push(Value {
            name,
            ..value.clone()
        });
        ValueId::new(graph.values.len() - 1)
    }
}

/// Optional inputs and outputs at the end may be left out; more than there are may not be given.
fn check_arity<E>(graph: &Graph, call: &Node, function: &Function) -> Result<(), InlineError<E>> {
    let counts = [
        ("input", function.body.inputs.len(), call.inputs.len()),
        ("output", function.body.outputs.len(), call.outputs.len()),
    ];
    match counts.into_iter().find(|(_, expected, got)| got > expected) {
        Some((what, expected, got)) => Err(InlineError::Arity {
            node: graph.describe(call),
            function: format!("{}.{}", function.domain, function.name),
            what,
            expected,
            got,
        }),
        None => Ok(()),
    }
}

/// The attributes of a call, defaults included.
fn arguments(function: &Function, call: &Node) -> Attributes {
    let mut arguments = Attributes::new();
    for (name, attribute) in &function.default_attributes {
        arguments.set(name, attribute.clone());
    }
    if let Op::Custom(op) = &call.op {
        op.attributes
            .iter()
            .for_each(|(name, attribute)| arguments.set(name, attribute.clone()));
    }
    arguments
}

/// Puts values in place of references to the function's attributes; a reference to one that is not given is dropped.
fn substitute(node: &mut Node, arguments: &Attributes) {
    let Op::Custom(op) = &mut node.op else { return };
    let mut attributes = Attributes::new();
    for (name, attribute) in op.attributes.iter() {
        match attribute {
            Attribute::Reference(target, _) => {
                arguments
                    .get(target)
                    .into_iter()
                    .for_each(|value| attributes.set(name, value.clone()));
            }
            _ => attributes.set(name, attribute.clone()),
        }
    }
    op.attributes = attributes;
    for subgraph in node.op.subgraphs_mut() {
        subgraph
            .nodes
            .iter_mut()
            .for_each(|node| substitute(node, arguments));
    }
}

/// Adds the names of all values of a graph and its subgraphs.
fn collect_names(graph: &Graph, names: &mut HashSet<String>) {
    names.extend(graph.values.iter().map(|value| value.name.clone()));
    for subgraph in graph.nodes.iter().flat_map(|node| node.op.subgraphs()) {
        collect_names(subgraph, names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Custom;
    use bantam_tensor::DType;

    /// A generic node; attributes that start with `@` refer to the function's.
    fn node(
        graph: &mut Graph,
        op: &str,
        domain: &str,
        inputs: &[ValueId],
        attributes: &[(&str, Attribute)],
    ) -> ValueId {
        let mut own = Attributes::new();
        attributes
            .iter()
            .for_each(|(name, attribute)| own.set(name, attribute.clone()));
        graph.add_node("y", Op::Custom(Custom::new(domain, op, own)), inputs)
    }

    /// A function `local.name(x)` of one node.
    fn function(name: &str, op: &str, domain: &str, attributes: &[(&str, Attribute)]) -> Function {
        let mut body = Graph::default();
        let x = body.add_value(Value {
            name: "x".to_owned(),
            ..Value::default()
        });
        body.inputs.push(x);
        let y = node(&mut body, op, domain, &[x], attributes);
        body.outputs.push(y);
        Function {
            domain: "local".to_owned(),
            name: name.to_owned(),
            overload: String::new(),
            attributes: Vec::new(),
            default_attributes: vec![("slope".to_owned(), Attribute::Float(0.5))],
            body,
            opsets: vec![OperatorSet {
                domain: "other".to_owned(),
                version: 3,
            }],
            doc: String::new(),
            metadata: Vec::new(),
        }
    }

    /// A model that calls `local.outer` twice.
    fn model(functions: Vec<Function>, attributes: &[(&str, Attribute)]) -> Model {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![]);
        let first = node(&mut graph, "outer", "local", &[x], attributes);
        let second = node(&mut graph, "outer", "local", &[first], &[]);
        graph.outputs.push(second);
        Model {
            functions,
            ..Model::new(graph)
        }
    }

    fn inline(model: Model) -> Result<Model, InlineError<String>> {
        inline_functions(model, |graph, _| Ok(graph))
    }

    fn text(graph: &Graph) -> Vec<String> {
        let name = |id: &Option<ValueId>| id.map_or("-".to_owned(), |id| graph.value(id).name.clone());
        let line = |node: &Node| {
            let (inputs, outputs): (Vec<_>, Vec<_>) = (
                node.inputs.iter().map(name).collect(),
                node.outputs.iter().map(name).collect(),
            );
            format!(
                "{} = {}({}) {:?}",
                outputs.join(","),
                node.op.name(),
                inputs.join(","),
                node.op.emit()
            )
        };
        graph.nodes.iter().map(line).collect()
    }

    #[test]
    fn calls_become_nodes_with_their_attributes() {
        let reference = [("alpha", Attribute::Reference("slope".to_owned(), 1))];
        let functions = vec![function("outer", "inner", "local", &reference), {
            let nested = [("alpha", Attribute::Reference("alpha".to_owned(), 1))];
            function("inner", "LeakyRelu", "", &nested)
        }];
        let model = inline(model(functions, &[("slope", Attribute::Float(0.25))])).unwrap();
        assert!(model.functions.is_empty());
        assert_eq!(model.opset("other"), Some(3));
        let lines = text(&model.graph);
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].starts_with("y = LeakyRelu(x)") && lines[0].contains("0.25"),
            "{lines:?}"
        );
        assert!(
            lines[1].starts_with("y_1 = LeakyRelu(y)") && lines[1].contains("0.5"),
            "{lines:?}"
        );
        crate::verify(&model.graph).unwrap();
    }

    #[test]
    fn bodies_that_pass_through_get_an_identity_and_absent_inputs_stay_absent() {
        let mut pass = function("outer", "Relu", "", &[]);
        pass.body.outputs = pass.body.inputs.clone();
        let model = inline(model(vec![pass], &[])).unwrap();
        let lines = text(&model.graph);
        assert!(
            lines.iter().any(|line| line.starts_with("y = Identity(x)")),
            "{lines:?}"
        );
        assert!(
            lines.iter().any(|line| line.starts_with("y/y = Relu(x)")),
            "{lines:?}"
        );
        crate::verify(&model.graph).unwrap();
    }

    #[test]
    fn recursion_explosion_and_wrong_calls_are_refused() {
        let recursive = inline(model(vec![function("outer", "outer", "local", &[])], &[]));
        assert!(matches!(recursive, Err(InlineError::Recursive { .. })));

        let doubling = |level: usize| {
            let mut double = function("outer", &format!("f{}", level + 1), "local", &[]);
            double.name = if level == 0 {
                "outer".to_owned()
            } else {
                format!("f{level}")
            };
            let again = double.body.nodes[0].clone();
            let extra = double.body.add_value(Value {
                name: "z".to_owned(),
                ..Value::default()
            });
            double.body.nodes.push(Node {
                outputs: vec![Some(extra)],
                ..again
            });
            double
        };
        let exploding: Result<_, InlineError<String>> = inline_up_to(
            model((0..40).map(doubling).collect(), &[]),
            |graph, _| Ok(graph),
            1 << 10,
        );
        assert!(matches!(exploding, Err(InlineError::TooLarge { .. })));

        let mut too_many = model(vec![function("outer", "Relu", "", &[])], &[]);
        let input = too_many.graph.inputs[0];
        too_many.graph.nodes[0].inputs.push(Some(input));
        assert!(matches!(inline(too_many), Err(InlineError::Arity { got: 2, .. })));

        let failing = inline_functions(model(vec![function("outer", "Relu", "", &[])], &[]), |_, _| {
            Err("no")
        });
        assert!(matches!(failing, Err(InlineError::Lift { source: "no", .. })));
    }
}
