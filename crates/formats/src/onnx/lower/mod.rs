//! From canonical form to the opset of a file: inputs that used to be attributes, names and defaults of old.
//!
//! Each rule in [`RULES`] turns the form that an op has from some opset on into the one it had before, where that can
//! say the same; rules of one op stand from new to old. Then [`check`] compares the result with the schemas. A node
//! that an opset cannot say tells which opset can.

mod attributes;
mod check;
mod forms;
mod header;
#[cfg(test)]
mod tests;
pub(super) mod versions;

use std::collections::{HashMap, HashSet};

use bantam_graph::{
    Attribute, AttributeValue, Attributes, Graph, Model, Node, Op, Value, ValueId, ValueType, ops::Custom,
};
use bantam_tensor::Tensor;

use super::OnnxError;
use super::lift::known::{Facts, Known, infer};
use super::lift::{NEWEST, OLDEST_WRITTEN};
use super::write::Header;

/// Opset of models that come from no file: the oldest that can say quantization by channel, and that has all sizes as
/// inputs. Runtimes of the last years take it.
const USUAL: i64 = 13;

/// Why an opset cannot say a node.
#[derive(Debug, PartialEq)]
pub(super) struct Need {
    /// The opset that can.
    pub(super) opset: i64,
    /// What is too new.
    pub(super) why: String,
}

/// A node in the form of files.
pub(super) struct RawNode {
    pub(super) op: String,
    pub(super) attributes: Attributes,
    pub(super) inputs: Vec<Option<ValueId>>,
    pub(super) outputs: Vec<Option<ValueId>>,
}

impl RawNode {
    /// Input `index`, if it is present.
    fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// An attribute, if it is there and of this type.
    fn get<T: AttributeValue>(&self, name: &str) -> Option<T> {
        T::from_attribute(self.attributes.get(name)?.clone())
    }

    /// Sets an attribute.
    fn set(&mut self, name: &str, value: &impl AttributeValue) {
        if let Some(attribute) = value.to_attribute() {
            self.attributes.set(name, attribute);
        }
    }

    /// Drops absent inputs at the end.
    fn trim(&mut self) {
        while self.inputs.last().is_some_and(Option::is_none) {
            self.inputs.pop();
        }
    }
}

type RuleFn = fn(&mut Lowerer<'_>, &mut RawNode) -> Result<(), Need>;

/// How an op is said below an opset.
struct Rule {
    op: &'static str,
    below: i64,
    lower: RuleFn,
}

const ALWAYS: i64 = i64::MAX;

const fn rule(op: &'static str, below: i64, lower: RuleFn) -> Rule {
    Rule { op, below, lower }
}

#[rustfmt::skip]
static RULES: &[Rule] = &[
    rule("Split", ALWAYS, attributes::split_outputs),
    rule("Split", 18, attributes::split_evenly),
    rule("Split", 13, attributes::split_sizes),
    rule("Squeeze", 13, attributes::input_to_axes),
    rule("Unsqueeze", 13, attributes::input_to_axes),
    rule("ReduceSum", 13, attributes::reduction),
    rule("ReduceL1", 18, attributes::reduction),
    rule("ReduceL2", 18, attributes::reduction),
    rule("ReduceLogSum", 18, attributes::reduction),
    rule("ReduceLogSumExp", 18, attributes::reduction),
    rule("ReduceMax", 18, attributes::reduction),
    rule("ReduceMean", 18, attributes::reduction),
    rule("ReduceMin", 18, attributes::reduction),
    rule("ReduceProd", 18, attributes::reduction),
    rule("ReduceSumSquare", 18, attributes::reduction),
    rule("DFT", 20, attributes::dft),
    rule("Pad", 18, attributes::pad_axes),
    rule("Pad", 11, attributes::pad),
    rule("Dropout", 12, attributes::dropout),
    rule("Clip", 11, attributes::clip),
    rule("Slice", 10, attributes::slice),
    rule("TopK", 10, attributes::top_k),
    rule("GroupNormalization", 21, forms::group_normalization),
    rule("GridSample", 20, forms::grid_sample),
    rule("RoiAlign", 16, forms::roi_align),
    rule("QuantizeLinear", 13, forms::per_tensor),
    rule("DequantizeLinear", 13, forms::per_tensor),
    rule("Softmax", 13, forms::flattening),
    rule("LogSoftmax", 13, forms::flattening),
    rule("Hardmax", 13, forms::flattening),
    rule("Resize", 13, forms::resize_inputs),
    rule("Resize", 11, forms::resize_10),
    rule("Resize", 10, forms::upsample),
    rule("Upsample", 9, forms::upsample_scales),
    rule("Mod", 28, forms::modulo),
    rule("OptionalGetElement", 18, forms::optional_element),
    rule("OptionalHasElement", 18, forms::optional_element),
    rule("Scan", 9, forms::scan),
    rule("ScatterElements", 11, forms::scatter),
    rule("Gemm", 11, forms::gemm),
];

/// The graph in the form of an opset, and what the file says of it: the opset asked for, else the model's own if it
/// can say the model, else the lowest that can.
///
/// # Errors
/// When the opset asked for cannot say a node.
pub(super) fn lower(model: &Model, asked: Option<i64>) -> Result<(Graph, Header), OnnxError> {
    if let Some(opset) = asked.filter(|opset| !(OLDEST_WRITTEN..=NEWEST).contains(opset)) {
        return Err(OnnxError::TargetOpset {
            opset,
            oldest: OLDEST_WRITTEN,
            newest: NEWEST,
        });
    }
    let own = model.opset("").map(|own| own.max(OLDEST_WRITTEN));
    let mut opset = asked.or(own).unwrap_or(USUAL);
    loop {
        let mut attempt = Attempt {
            opset,
            own,
            fixed: asked.is_some(),
            most: opset,
        };
        let graph = attempt.graph(&model.graph, None)?;
        if attempt.most <= opset {
            let header = header::header(model, &graph, opset);
            return Ok((graph, header));
        }
        opset = attempt.most;
    }
}

/// One try at an opset.
struct Attempt {
    opset: i64,
    /// The opset of the model's file.
    own: Option<i64>,
    /// No other opset may be tried.
    fixed: bool,
    /// The highest opset that a node needs.
    most: i64,
}

impl Attempt {
    fn graph(&mut self, graph: &Graph, outer: Option<&Lowerer<'_>>) -> Result<Graph, OnnxError> {
        let mut lowerer = Lowerer::new(graph, self.opset, outer);
        for node in &graph.nodes {
            self.node(&mut lowerer, node)?;
        }
        if !lowerer.replaced.is_empty() {
            lowerer
                .graph
                .drop_unused_among(|id| lowerer.replaced.contains(&id));
        }
        Ok(lowerer.graph)
    }

    fn node(&mut self, lowerer: &mut Lowerer<'_>, node: &Node) -> Result<(), OnnxError> {
        if node.op.is_own() {
            let node = lowerer.graph.describe(node);
            return Err(OnnxError::TrainingOnly { node });
        }
        let mut attributes = node.op.emit();
        node.extra
            .iter()
            .for_each(|(name, attribute)| attributes.set(name, attribute.clone()));
        for (_, attribute) in attributes.iter_mut() {
            match attribute {
                Attribute::Graph(graph) => **graph = self.graph(graph, Some(lowerer))?,
                Attribute::Graphs(graphs) => {
                    for graph in graphs {
                        *graph = self.graph(graph, Some(lowerer))?;
                    }
                }
                _ => {}
            }
        }
        let (inputs, outputs) = (node.inputs.clone(), node.outputs.clone());
        let mut raw = RawNode {
            op: node.op.name().to_owned(),
            attributes,
            inputs,
            outputs,
        };
        if node.op.domain().is_empty() {
            lowerer.learn(&raw);
            match lowerer.lower(&mut raw, self.own) {
                Ok(()) => {}
                Err(Problem::Needs(need)) if self.fixed => {
                    let node = lowerer.graph.describe(node);
                    let Need { opset: needs, why } = need;
                    return Err(OnnxError::OpsetTooLow {
                        node,
                        why,
                        opset: self.opset,
                        needs,
                    });
                }
                Err(Problem::Needs(need)) => self.most = self.most.max(need.opset),
                Err(Problem::Unknown { own }) if self.fixed || self.most == self.opset => {
                    let node = lowerer.graph.describe(node);
                    return Err(OnnxError::UnknownOp {
                        node,
                        own,
                        opset: self.opset,
                    });
                }
                Err(Problem::Unknown { .. }) => {}
            }
        }
        // Last again, after what rules have set: the order is that of a node which is read from the file.
        for (name, _) in node.extra.iter() {
            if let Some(attribute) = raw.attributes.take(name) {
                raw.attributes.set(name, attribute);
            }
        }
        let op = Op::Custom(Custom::new(node.op.domain(), &raw.op, raw.attributes));
        lowerer.graph.nodes.push(Node {
            op,
            inputs: raw.inputs,
            outputs: raw.outputs,
            extra: Attributes::new(),
            name: node.name.clone(),
            notes: node.notes.clone(),
        });
        Ok(())
    }
}

/// Why a node was not lowered.
pub(super) enum Problem {
    Needs(Need),
    /// The op is not in the schemas: only the file's own opset is safe.
    Unknown {
        own: i64,
    },
}

/// Lowers one graph.
pub(super) struct Lowerer<'a> {
    graph: Graph,
    opset: i64,
    names: HashMap<String, ValueId>,
    known: Vec<Known>,
    is_input: Vec<bool>,
    /// Constants that became attributes.
    replaced: HashSet<ValueId>,
    outer: Option<&'a Lowerer<'a>>,
}

impl<'a> Lowerer<'a> {
    fn new(graph: &Graph, opset: i64, outer: Option<&'a Lowerer<'a>>) -> Lowerer<'a> {
        let names = graph.values.iter().enumerate();
        let names = names
            .map(|(index, value)| (value.name.clone(), ValueId::new(index)))
            .collect();
        let mut is_input = vec![false; graph.values.len()];
        graph.inputs.iter().for_each(|id| is_input[id.index()] = true);
        let known = graph.values.iter().map(Known::of).collect();
        let shell = Graph {
            name: graph.name.clone(),
            doc: graph.doc.clone(),
            values: graph.values.clone(),
            nodes: Vec::with_capacity(graph.nodes.len()),
            inputs: graph.inputs.clone(),
            outputs: graph.outputs.clone(),
            metadata: graph.metadata.clone(),
            quantization_annotations: graph.quantization_annotations.clone(),
        };
        Lowerer {
            graph: shell,
            opset,
            names,
            known,
            is_input,
            replaced: HashSet::new(),
            outer,
        }
    }

    fn learn(&mut self, raw: &RawNode) {
        let learned = infer(self, &raw.op, &raw.attributes, &raw.inputs, raw.outputs.len());
        for (output, learned) in raw.outputs.iter().zip(learned) {
            output.iter().for_each(|id| self.known[id.index()].learn(learned));
        }
    }

    fn lower(&mut self, raw: &mut RawNode, own: Option<i64>) -> Result<(), Problem> {
        for rule in RULES {
            if rule.op == raw.op && self.opset < rule.below {
                (rule.lower)(self, raw).map_err(Problem::Needs)?;
            }
        }
        raw.trim();
        check::check(self, raw, own)
    }

    /// The integers of a constant input.
    fn integers(&self, raw: &RawNode, index: usize) -> Option<Vec<i64>> {
        self.constant_of(raw.input(index)?)?.to_i64().ok()
    }

    /// Takes a constant input away, for an attribute in its place.
    fn forget(&mut self, raw: &mut RawNode, index: usize) {
        if let Some(id) = raw.inputs.get_mut(index).and_then(Option::take) {
            self.replaced.insert(id);
        }
    }

    /// Adds a constant, named after the first output of the node.
    fn constant(&mut self, raw: &RawNode, what: &str, tensor: Tensor) -> ValueId {
        let output = raw.outputs.iter().flatten().next();
        let stem = output.map_or(raw.op.as_str(), |&id| &self.graph.value(id).name);
        let stem = format!("{stem}_{what}");
        let numbered = (1..).map(|number| format!("{stem}_{number}"));
        let free = std::iter::once(stem.clone())
            .chain(numbered)
            .find(|name| !self.names.contains_key(name));
        let name = free.expect("endless");
        let shape = tensor.shape().iter().copied().map(Into::into).collect();
        let ty = ValueType::tensor(tensor.dtype(), shape);
        let value = Value {
            name: name.clone(),
            ty,
            initializer: Some(tensor),
            ..Value::default()
        };
        let id = ValueId::new(self.graph.values.len());
        self.names.insert(name, id);
        self.known.push(Known::of(&value));
        self.is_input.push(false);
        self.graph.values.push(value);
        id
    }

    fn find<'b, T>(
        &'b self,
        id: ValueId,
        look: impl Fn(&'b Lowerer<'a>, ValueId) -> Option<T> + Copy,
    ) -> Option<T> {
        look(self, id).or_else(|| {
            let outer = self.outer?;
            let id = *outer.names.get(&self.graph.value(id).name)?;
            outer.find(id, look)
        })
    }
}

impl Facts for Lowerer<'_> {
    fn constant_of(&self, id: ValueId) -> Option<&Tensor> {
        self.find(id, |lowerer, id| {
            let constant = lowerer.graph.value(id).initializer.as_ref();
            constant.filter(|_| !lowerer.is_input[id.index()])
        })
    }

    fn known_of(&self, id: ValueId) -> Known {
        self.find(id, |lowerer, id| {
            Some(lowerer.known[id.index()]).filter(|known| *known != Known::default())
        })
        .unwrap_or_default()
    }
}
