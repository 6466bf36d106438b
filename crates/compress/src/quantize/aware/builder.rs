//! Adds quantizers to a graph.

use std::collections::BTreeSet;

use bantam_graph::ops::{Binary, FakeQuant};
use bantam_graph::{Graph, Node, Op, Patch, Value, ValueId, ValueType};
use bantam_tensor::Tensor;

use super::ScaleRule;
use super::settings::ScaleTraining;

/// A scale may shrink to this part of its first value: under it, gradients blow up.
const SMALLEST_PART: f32 = 0.01;

/// A graph, and what is to be added to it.
pub(super) struct Builder<'a> {
    pub(super) graph: &'a Graph,
    pub(super) patch: Patch,
    pub(super) parameters: Vec<ScaleRule>,
    pub(super) fixed: Vec<String>,
    names: BTreeSet<String>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(graph: &'a Graph) -> Builder<'a> {
        let values = graph.values.iter().map(|value| value.name.clone());
        let nodes = graph.nodes.iter().map(|node| node.name.clone());
        Builder {
            graph,
            patch: Patch::new(graph),
            parameters: Vec::new(),
            fixed: Vec::new(),
            names: values.chain(nodes).collect(),
        }
    }

    /// The name, or the name with the first number that makes it new.
    pub(super) fn free_name(&mut self, stem: &str) -> String {
        let numbered = (1..).map(|number| format!("{stem}_{number}"));
        let mut names = std::iter::once(stem.to_owned()).chain(numbered);
        let name = names.find(|name| !self.names.contains(name)).expect("endless");
        self.names.insert(name.clone());
        name
    }

    /// An initializer that stays as it is.
    pub(super) fn constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let name = self.free_name(name);
        self.fixed.push(name.clone());
        self.patch.add_constant(&name, tensor)
    }

    /// A number that stays as it is.
    pub(super) fn number(&mut self, name: &str, number: f32) -> ValueId {
        self.constant(name, Tensor::scalar(number))
    }

    /// An initializer that is trained.
    pub(super) fn parameter(
        &mut self,
        name: &str,
        tensor: Tensor,
        lower_bound: Option<f32>,
        decay: bool,
    ) -> ValueId {
        let name = self.free_name(name);
        let value = self.patch.add_constant(&name, tensor);
        self.parameters.push(ScaleRule {
            name,
            learning_rate_factor: 1.0,
            lower_bound,
            decay,
        });
        value
    }

    /// A node of one output.
    pub(super) fn node(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let inputs: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
        self.node_with(name, op, inputs, ValueType::Unknown).0
    }

    /// A node of one output, some of whose inputs may be left out; gives its name too.
    pub(super) fn node_with(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: Vec<Option<ValueId>>,
        ty: ValueType,
    ) -> (ValueId, String) {
        let name = self.free_name(name);
        let output = self.patch.add_value(Value {
            name: name.clone(),
            ty,
            ..Value::default()
        });
        let mut node = Node::new(name.clone(), op.into(), &[], &[output]);
        node.inputs = inputs;
        self.patch.add_node(node);
        (output, name)
    }

    /// Scales in the form that is trained.
    pub(super) fn scale(&mut self, stem: &str, scale: &Tensor, training: ScaleTraining) -> ValueId {
        let values = scale.to_f32().unwrap_or_default();
        let smallest = values.iter().copied().fold(f32::INFINITY, f32::min);
        match training {
            ScaleTraining::Fixed => self.constant(&format!("{stem}_scale"), scale.clone()),
            ScaleTraining::Learned | ScaleTraining::LearnedOffset => {
                let bound = Some(smallest * SMALLEST_PART);
                self.parameter(&format!("{stem}_scale"), scale.clone(), bound, false)
            }
            ScaleTraining::PowerOfTwo => self.power_of_two(stem, scale.shape(), &values),
        }
    }

    /// `2^round(exponent)`, the exponents trained (Jain et al. 2020, equations 4 and 8; rounded instead of up).
    fn power_of_two(&mut self, stem: &str, shape: &[usize], scale: &[f32]) -> ValueId {
        let exponents: Vec<f32> = scale.iter().map(|scale| scale.log2()).collect();
        let exponents = Tensor::from_slice(shape, &exponents).expect("as many as scales");
        let exponents = self.parameter(&format!("{stem}_exponent"), exponents, None, false);
        let rounded = self.rounded(&format!("{stem}_exponent_rounded"), exponents, [-126, 127]);
        let two = self.number(&format!("{stem}_base"), 2.0);
        self.node(&format!("{stem}_scale"), Binary::Pow, &[two, rounded])
    }

    /// Whole numbers within bounds, with straight-through gradients.
    pub(super) fn rounded(&mut self, name: &str, x: ValueId, [low, high]: [i64; 2]) -> ValueId {
        let one = self.number(&format!("{name}_step"), 1.0);
        let zero = self.number(&format!("{name}_zero_point"), 0.0);
        let op = FakeQuant {
            axis: None,
            gradient_scale: 1.0,
            high,
            low,
        };
        self.node(name, op, &[x, one, zero])
    }
}

/// `1 / sqrt(elements * largest code)` (Esser et al. 2020, section 2.2).
pub(super) fn gradient_scale(elements: usize, largest: f32) -> f32 {
    1.0 / (elements as f32 * largest.max(1.0)).sqrt()
}
