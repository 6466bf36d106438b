//! From the opset of a file to canonical form: attributes that became inputs, changed defaults, removed ops.
//!
//! Each rule in [`RULES`] turns the form that an op had below some opset into the form it had from there on; rules of
//! one op stand in the order of their opsets and apply one after the other. What no rule names did not change except
//! in the types it takes.

mod axes;
mod bounds;
mod broadcast;
mod constants;
pub(super) mod known;
mod normalization;
mod renamed;
pub(super) mod resize;
mod scan;
mod softmax;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use bantam_graph::{
    Attribute, AttributeValue, Attributes, Graph, Model, Node, OWN_DOMAIN, Op, Value, ValueId, ops::Custom,
};
use bantam_tensor::Tensor;

use super::OnnxError;
use super::lower::versions::versions;
use known::{Facts, Known};

/// Oldest opset that is read: the first in which broadcasting is written (nearly) as today.
pub(super) const OLDEST: i64 = 6;
/// Oldest opset that is written.
pub(super) const OLDEST_WRITTEN: i64 = 7;
/// Newest opset that is read. Between the canonical opset and this one, ops only gained types and attributes.
pub(super) const NEWEST: i64 = 28;

/// What a rule says of a node that it cannot lift.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) fact: String,
    pub(super) hint: &'static str,
}

/// What a rule leaves behind.
pub(super) enum Lifted {
    /// The node, changed or not.
    Node,
    /// Nothing: its outputs are constants now.
    Nothing,
}

/// A node in the form of files.
pub(super) struct RawNode {
    pub(super) op: String,
    pub(super) attributes: Attributes,
    pub(super) inputs: Vec<Option<ValueId>>,
    pub(super) outputs: Vec<Option<ValueId>>,
    name: String,
}

impl RawNode {
    /// Input `index`, if it is present.
    pub(super) fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// Input `index`, which the rule cannot do without.
    fn required(&self, index: usize) -> Result<ValueId, Fault> {
        self.input(index).ok_or_else(|| Fault {
            fact: format!("input {index} is missing"),
            hint: DAMAGED,
        })
    }

    /// Sets an input; those that are skipped before it are absent.
    fn set_input(&mut self, index: usize, value: ValueId) {
        if self.inputs.len() <= index {
            self.inputs.resize(index + 1, None);
        }
        self.inputs[index] = Some(value);
    }

    /// Takes an attribute away.
    fn take<T: AttributeValue>(&mut self, name: &str) -> Result<Option<T>, Fault> {
        let Some(attribute) = self.attributes.take(name) else {
            return Ok(None);
        };
        T::from_attribute(attribute).map(Some).ok_or_else(|| Fault {
            fact: format!("attribute `{name}` is not {}", T::EXPECTED),
            hint: DAMAGED,
        })
    }

    /// Sets an attribute.
    fn set<T: AttributeValue>(&mut self, name: &str, value: &T) {
        if let Some(attribute) = value.to_attribute() {
            self.attributes.set(name, attribute);
        }
    }
}

const DAMAGED: &str = "the file is damaged or its exporter faulty; `onnx.checker.check_model` says more";

type RuleFn = fn(&mut Lifter<'_>, &mut RawNode) -> Result<Lifted, Fault>;

/// How an op below an opset becomes what it is from that opset on.
struct Rule {
    op: &'static str,
    below: i64,
    lift: RuleFn,
}

const ALWAYS: i64 = i64::MAX;

const fn rule(op: &'static str, below: i64, lift: RuleFn) -> Rule {
    Rule { op, below, lift }
}

#[rustfmt::skip]
static RULES: &[Rule] = &[
    rule("Constant", ALWAYS, constants::constant),
    // What opset 7 changed.
    rule("Add", 7, broadcast::axis_of_second),
    rule("Sub", 7, broadcast::axis_of_second),
    rule("Mul", 7, broadcast::axis_of_second),
    rule("Div", 7, broadcast::axis_of_second),
    rule("Pow", 7, broadcast::axis_of_second),
    rule("And", 7, broadcast::axis_of_second),
    rule("Or", 7, broadcast::axis_of_second),
    rule("Xor", 7, broadcast::axis_of_second),
    rule("Equal", 7, broadcast::axis_of_second),
    rule("Greater", 7, broadcast::axis_of_second),
    rule("Less", 7, broadcast::axis_of_second),
    rule("PRelu", 7, broadcast::slope_of_channels),
    rule("BatchNormalization", 7, broadcast::drop_flags),
    rule("Dropout", 7, broadcast::drop_flags),
    rule("Gemm", 7, broadcast::drop_flags),
    rule("LSTM", 7, broadcast::drop_flags),
    rule("GRU", 7, broadcast::drop_flags),
    rule("RNN", 7, broadcast::drop_flags),
    rule("Upsample", 7, broadcast::scales_of_image),
    // Attributes that became inputs.
    rule("Squeeze", 13, axes::axes_to_input),
    rule("Unsqueeze", 13, axes::axes_to_input),
    rule("ReduceSum", 13, axes::axes_to_input),
    rule("ReduceL1", 18, axes::axes_to_input),
    rule("ReduceL2", 18, axes::axes_to_input),
    rule("ReduceLogSum", 18, axes::axes_to_input),
    rule("ReduceLogSumExp", 18, axes::axes_to_input),
    rule("ReduceMax", 18, axes::axes_to_input),
    rule("ReduceMean", 18, axes::axes_to_input),
    rule("ReduceMin", 18, axes::axes_to_input),
    rule("ReduceProd", 18, axes::axes_to_input),
    rule("ReduceSumSquare", 18, axes::axes_to_input),
    rule("Split", 13, axes::split),
    rule("Slice", 10, axes::slice),
    rule("TopK", 10, axes::top_k),
    rule("DFT", 20, axes::dft),
    rule("Clip", 11, bounds::clip),
    rule("Pad", 11, bounds::pad),
    rule("Dropout", 12, bounds::dropout),
    // Changed meaning.
    rule("Softmax", 13, softmax::flattening),
    rule("LogSoftmax", 13, softmax::flattening),
    rule("Hardmax", 13, softmax::flattening),
    rule("BatchNormalization", 9, normalization::spatial),
    rule("BatchNormalization", 14, normalization::training_outputs),
    rule("GroupNormalization", 21, normalization::group_normalization),
    rule("MeanVarianceNormalization", 9, normalization::mean_variance),
    rule("RoiAlign", 16, renamed::roi_align),
    rule("GridSample", 20, renamed::grid_sample),
    rule("Scan", 9, scan::batched_scan),
    // Removed ops, and those that replaced them.
    rule("Upsample", 9, resize::upsample_scales),
    rule("Upsample", ALWAYS, resize::upsample),
    rule("Resize", 11, resize::resize_10),
    rule("Resize", ALWAYS, resize::empty_inputs),
    rule("Scatter", ALWAYS, renamed::scatter),
];

/// Lifts a model's graph to canonical form. Functions keep the opsets they are written in.
pub(super) fn lift_model(model: &mut Model) -> Result<(), OnnxError> {
    model.graph = lift_graph(std::mem::take(&mut model.graph), model.opset(""))?;
    Ok(())
}

/// Checks that an op of an opset can be lifted. Older opsets are read as long as their ops did not change until the
/// oldest that is.
fn check_opset(op: &str, opset: i64) -> Result<(), OnnxError> {
    let settled = || versions(op).is_some_and(|row| row.settled <= opset);
    if opset > NEWEST || opset < OLDEST && !settled() {
        let nearest = bantam_graph::CANONICAL_OPSET;
        return Err(OnnxError::Opset {
            op: op.to_owned(),
            opset,
            oldest: OLDEST,
            newest: NEWEST,
            nearest,
        });
    }
    Ok(())
}

/// Lifts a graph whose nodes are of this opset of the standard domain.
pub(super) fn lift_graph(graph: Graph, opset: Option<i64>) -> Result<Graph, OnnxError> {
    Lifter::new(graph, opset, None).run()
}

/// Lifts one graph.
pub(super) struct Lifter<'a> {
    graph: Graph,
    opset: Option<i64>,
    names: HashMap<String, ValueId>,
    known: Vec<Known>,
    is_input: Vec<bool>,
    /// Constants that rules took out of use.
    replaced: HashSet<ValueId>,
    outer: Option<&'a Lifter<'a>>,
}

impl<'a> Lifter<'a> {
    fn new(graph: Graph, opset: Option<i64>, outer: Option<&'a Lifter<'a>>) -> Lifter<'a> {
        let names = graph.values.iter().enumerate();
        let names = names
            .map(|(index, value)| (value.name.clone(), ValueId::new(index)))
            .collect();
        let known = graph.values.iter().map(Known::of).collect();
        let mut is_input = vec![false; graph.values.len()];
        graph.inputs.iter().for_each(|id| is_input[id.index()] = true);
        Lifter {
            graph,
            opset,
            names,
            known,
            is_input,
            replaced: HashSet::new(),
            outer,
        }
    }

    fn run(mut self) -> Result<Graph, OnnxError> {
        let nodes = std::mem::take(&mut self.graph.nodes);
        self.graph.nodes.reserve_exact(nodes.len());
        for node in nodes {
            self.node(node)?;
        }
        if !self.replaced.is_empty() {
            self.graph.drop_unused_among(|id| self.replaced.contains(&id));
        }
        Ok(self.graph)
    }

    fn node(&mut self, mut node: Node) -> Result<(), OnnxError> {
        let Op::Custom(Custom {
            domain,
            name: op,
            mut attributes,
        }) = node.op
        else {
            self.graph.nodes.push(node);
            return Ok(());
        };
        self.lift_subgraphs(&mut attributes)?;
        if !domain.is_empty() {
            node.op = Op::Custom(Custom {
                domain,
                name: op,
                attributes,
            });
            return self.finish(node);
        }
        let described = self.describe(&node.name, &op, &node.outputs);
        let opset = self.opset.ok_or_else(|| OnnxError::NoOpset {
            domain: "ai.onnx".to_owned(),
        })?;
        check_opset(&op, opset)?;
        let mut raw = RawNode {
            op,
            attributes,
            inputs: std::mem::take(&mut node.inputs),
            outputs: std::mem::take(&mut node.outputs),
            name: std::mem::take(&mut node.name),
        };
        for rule in RULES {
            if rule.op == raw.op && opset < rule.below {
                let lifted = (rule.lift)(self, &mut raw);
                match lifted.map_err(|Fault { fact, hint }| OnnxError::Node {
                    node: described.clone(),
                    fact,
                    hint,
                })? {
                    Lifted::Node => {}
                    Lifted::Nothing => return Ok(()),
                }
            }
        }
        (node.inputs, node.outputs, node.name) = (raw.inputs, raw.outputs, raw.name);
        node.op = Op::Custom(Custom {
            domain,
            name: raw.op,
            attributes: raw.attributes,
        });
        self.finish(node)
    }

    fn lift_subgraphs(&self, attributes: &mut Attributes) -> Result<(), OnnxError> {
        let lift = |graph: &mut Graph| -> Result<(), OnnxError> {
            *graph = Lifter::new(std::mem::take(graph), self.opset, Some(self)).run()?;
            Ok(())
        };
        for (_, attribute) in attributes.iter_mut() {
            match attribute {
                Attribute::Graph(graph) => lift(graph)?,
                Attribute::Graphs(graphs) => graphs.iter_mut().try_for_each(lift)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a generic node of the newest form as its op and adds it.
    fn finish(&mut self, mut node: Node) -> Result<(), OnnxError> {
        // Our own ops never are in files: what has their domain there is somebody else's and stays as it is.
        if let Op::Custom(Custom {
            domain,
            name,
            mut attributes,
        }) = node.op.clone()
            && domain != OWN_DOMAIN
        {
            if domain.is_empty() {
                let learned = known::infer(self, &name, &attributes, &node.inputs, node.outputs.len());
                for (output, learned) in node.outputs.iter().zip(learned) {
                    output.iter().for_each(|id| self.known[id.index()].learn(learned));
                }
            }
            node.op = Op::parse(&domain, &name, &mut attributes).map_err(|source| OnnxError::Op {
                node: self.describe(&node.name, &name, &node.outputs),
                source,
            })?;
            node.extra = attributes;
        }
        self.graph.nodes.push(node);
        Ok(())
    }

    fn describe(&self, name: &str, op: &str, outputs: &[Option<ValueId>]) -> String {
        match outputs.iter().flatten().next() {
            _ if !name.is_empty() => format!("`{name}` ({op})"),
            Some(&output) => format!("`{op}` (for `{}`)", self.graph.value(output).name),
            None => format!("`{op}`"),
        }
    }

    /// Adds a constant that a rule made; its name follows that of the node's first output.
    pub(super) fn constant(&mut self, raw: &RawNode, what: &str, tensor: Tensor) -> ValueId {
        let shape = tensor.shape().iter().copied().map(Into::into).collect();
        let ty = bantam_graph::ValueType::tensor(tensor.dtype(), shape);
        self.add_value(
            raw,
            what,
            Value {
                ty,
                initializer: Some(tensor),
                ..Value::default()
            },
        )
    }

    /// Adds a node of the newest form before the one that is lifted; gives its output.
    fn emit(
        &mut self,
        raw: &RawNode,
        op: &str,
        attributes: &[(&str, Attribute)],
        inputs: &[Option<ValueId>],
    ) -> Result<ValueId, Fault> {
        let output = self.add_value(raw, op, Value::default());
        self.emit_to(raw, op, attributes, inputs, &[Some(output)])?;
        Ok(output)
    }

    /// Adds a node of the newest form with given outputs before the one that is lifted.
    fn emit_to(
        &mut self,
        raw: &RawNode,
        op: &str,
        attributes: &[(&str, Attribute)],
        inputs: &[Option<ValueId>],
        outputs: &[Option<ValueId>],
    ) -> Result<(), Fault> {
        let mut own = Attributes::new();
        attributes
            .iter()
            .for_each(|(name, attribute)| own.set(name, attribute.clone()));
        let name = if raw.name.is_empty() {
            String::new()
        } else {
            format!("{}_{op}", raw.name)
        };
        let mut node = Node::new(name, Op::Custom(Custom::new("", op, own)), &[], &[]);
        (node.inputs, node.outputs) = (inputs.to_vec(), outputs.to_vec());
        self.finish(node).map_err(|error| Fault {
            fact: error.to_string(),
            hint: DAMAGED,
        })
    }

    fn add_value(&mut self, raw: &RawNode, what: &str, mut value: Value) -> ValueId {
        let output = raw.outputs.iter().flatten().next();
        let stem = output.map_or(raw.op.as_str(), |&id| &self.graph.value(id).name);
        let stem = format!("{stem}_{what}");
        let numbered = (1..).map(|number| format!("{stem}_{number}"));
        let free = std::iter::once(stem.clone())
            .chain(numbered)
            .find(|name| !self.names.contains_key(name));
        value.name = free.expect("endless");
        let id = ValueId::new(self.graph.values.len());
        self.names.insert(value.name.clone(), id);
        self.known.push(Known::of(&value));
        self.is_input.push(false);
        self.graph.values.push(value);
        id
    }

    /// What `look` finds for a value here, or for the value of its name in an enclosing graph.
    fn find<'b, T>(
        &'b self,
        id: ValueId,
        look: impl Fn(&'b Lifter<'a>, ValueId) -> Option<T> + Copy,
    ) -> Option<T> {
        look(self, id).or_else(|| {
            let outer = self.outer?;
            let id = *outer.names.get(&self.graph.value(id).name)?;
            outer.find(id, look)
        })
    }
}

impl Facts for Lifter<'_> {
    fn constant_of(&self, id: ValueId) -> Option<&Tensor> {
        self.find(id, |lifter, id| {
            let constant = lifter.graph.value(id).initializer.as_ref();
            constant.filter(|_| !lifter.is_input[id.index()])
        })
    }

    fn known_of(&self, id: ValueId) -> Known {
        self.find(id, |lifter, id| {
            Some(lifter.known[id.index()]).filter(|known| *known != Known::default())
        })
        .unwrap_or_default()
    }
}
