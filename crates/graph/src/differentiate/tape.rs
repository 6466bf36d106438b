//! [`Tape`]: the graph while gradients are appended to it.

use std::collections::{HashMap, HashSet};

use bantam_tensor::{DType, Tensor};

use super::error::Problem;
use crate::ops::{Binary, ReduceKind, Shape, Size, SumTo, Unary, Variadic};
use crate::{Dim, Graph, Node, NodeId, Op, Value, ValueId, ValueType};

/// A node whose gradient is asked for.
pub(super) struct Site {
    /// Its place among the nodes.
    pub(super) index: usize,
    pub(super) node: Node,
    /// The gradients of its outputs, where the loss depends on them.
    pub(super) dy: Vec<Option<ValueId>>,
}

impl Site {
    /// Input `position`, which the op requires.
    pub(super) fn x(&self, position: usize) -> ValueId {
        self.node.input(position).expect("verified: the op requires it")
    }

    /// Output `position`, which the op requires.
    pub(super) fn y(&self, position: usize) -> Result<ValueId, Problem> {
        let output = self.node.output(position);
        output.ok_or_else(|| Problem::new(format!("it leaves out output {position}")))
    }

    /// The gradient of the first output.
    pub(super) fn dy(&self) -> Result<ValueId, Problem> {
        let first = self.dy.first().copied().flatten();
        first.ok_or_else(|| Problem::new("only through its first output the gradient can pass"))
    }
}

/// The graph so far, and what of it the gradient has reached.
pub(super) struct Tape {
    /// The forward pass; nodes of gradients are not in it yet.
    pub(super) graph: Graph,
    producers: Vec<Option<NodeId>>,
    names: HashSet<String>,
    /// By value of the forward pass: its gradient is needed.
    needed: Vec<bool>,
    /// Nodes to come behind each node of the forward pass; first those before all.
    early: Vec<Vec<Node>>,
    backward: Vec<Node>,
    /// What has arrived at each value.
    parts: HashMap<ValueId, Vec<ValueId>>,
    totals: HashMap<ValueId, ValueId>,
    /// Values that got something since [`Tape::forget_given`].
    given: HashSet<ValueId>,
    facts: HashMap<(ValueId, &'static str), ValueId>,
    lists: HashMap<Vec<i64>, ValueId>,
    scalars: HashMap<(DType, u64), ValueId>,
    /// The type of the gradient in work.
    dtype: DType,
}

impl Tape {
    pub(super) fn new(graph: Graph, mut needed: Vec<bool>, wrt: &[ValueId]) -> Tape {
        wrt.iter().for_each(|id| needed[id.index()] = true);
        Tape {
            producers: graph.producers(),
            names: graph.values.iter().map(|value| value.name.clone()).collect(),
            needed,
            early: vec![Vec::new(); graph.nodes.len() + 1],
            backward: Vec::new(),
            parts: HashMap::new(),
            totals: HashMap::new(),
            given: HashSet::new(),
            facts: HashMap::new(),
            lists: HashMap::new(),
            scalars: HashMap::new(),
            dtype: DType::F32,
            graph,
        }
    }

    /// The gradient of the loss with respect to itself: 1.
    pub(super) fn start(&mut self, loss: ValueId, rank: usize) {
        let dtype = self.graph.value(loss).ty.dtype().unwrap_or(DType::F32);
        let one = constant(dtype, &vec![1; rank], 1.0);
        let seed = self.named_constant("loss_gradient", one);
        self.parts.insert(loss, vec![seed]);
    }

    /// The forward pass and the gradients as one graph.
    pub(super) fn finish(self) -> Graph {
        let mut graph = self.graph;
        let mut early = self.early.into_iter();
        let mut nodes = early.next().unwrap_or_default();
        for (node, behind) in std::mem::take(&mut graph.nodes).into_iter().zip(early) {
            nodes.push(node);
            nodes.extend(behind);
        }
        nodes.extend(self.backward);
        graph.nodes = nodes;
        graph
    }

    /// Whether the gradient of a value is needed.
    pub(super) fn needs(&self, value: ValueId) -> bool {
        self.needed.get(value.index()).copied().unwrap_or(false)
    }

    /// Input `position` of a node, if it is there and its gradient is needed.
    pub(super) fn wanted(&self, site: &Site, position: usize) -> Option<ValueId> {
        site.node.input(position).filter(|&value| self.needs(value))
    }

    /// Adds to the gradient of a value.
    pub(super) fn give(&mut self, value: ValueId, gradient: ValueId) {
        if self.needs(value) {
            self.given.insert(value);
            self.parts.entry(value).or_default().push(gradient);
        }
    }

    /// Starts with a node.
    pub(super) fn forget_given(&mut self) {
        self.given.clear();
    }

    /// The first input of a node that needs a gradient and that the node's rule gave none.
    pub(super) fn forgotten(&self, site: &Site) -> Option<usize> {
        let is_forgotten = |value: &ValueId| {
            let float = self.graph.value(*value).ty.dtype().is_some_and(DType::is_float);
            float && self.needs(*value) && !self.given.contains(value)
        };
        let mut inputs = site.node.inputs.iter();
        inputs.position(|input| input.as_ref().is_some_and(is_forgotten))
    }

    /// The sum of all that has been given to a value.
    pub(super) fn total(&mut self, value: ValueId) -> Option<ValueId> {
        if let Some(&total) = self.totals.get(&value) {
            return Some(total);
        }
        let parts = self.parts.remove(&value)?;
        let total = match parts.as_slice() {
            [only] => *only,
            [left, right] => self.node(Binary::Add, &[*left, *right]),
            all => self.node(Variadic::Sum, all),
        };
        self.totals.insert(value, total);
        Some(total)
    }

    /// Takes the type to compute in from a node's outputs.
    pub(super) fn set_dtype(&mut self, site: &Site) -> Result<(), Problem> {
        let with_gradient = site
            .node
            .outputs
            .iter()
            .zip(&site.dy)
            .find(|(_, dy)| dy.is_some());
        if let Some(&(Some(output), _)) = with_gradient.as_ref() {
            self.dtype = self.dtype_of(*output)?;
        }
        Ok(())
    }

    /// Computes in another type from here on, until the next node.
    pub(super) fn change_dtype(&mut self, dtype: DType) {
        self.dtype = dtype;
    }
}

/// What is known of the forward pass.
impl Tape {
    pub(super) fn dtype_of(&self, value: ValueId) -> Result<DType, Problem> {
        let known = &self.graph.value(value);
        known.ty.dtype().ok_or_else(|| Problem::unknown_type(&known.name))
    }

    pub(super) fn dims(&self, value: ValueId) -> Result<&[Dim], Problem> {
        let known = &self.graph.value(value);
        known.ty.shape().ok_or_else(|| Problem::unknown_type(&known.name))
    }

    pub(super) fn rank(&self, value: ValueId) -> Result<usize, Problem> {
        self.dims(value).map(<[Dim]>::len)
    }

    /// The position of an axis that may count from the end.
    pub(super) fn axis(&self, value: ValueId, axis: i64) -> Result<usize, Problem> {
        let rank = self.rank(value)?;
        let index = if axis < 0 { axis + rank as i64 } else { axis };
        let index = usize::try_from(index).ok().filter(|&index| index < rank);
        index.ok_or_else(|| Problem::new(format!("axis {axis} does not exist")))
    }

    /// The elements of a constant list of integers.
    pub(super) fn constant_integers(&self, value: Option<ValueId>) -> Option<Vec<i64>> {
        self.graph.constant(value?)?.to_i64().ok()
    }

    /// Whether two values have the same shape for certain.
    pub(super) fn same_shape(&self, left: ValueId, right: ValueId) -> bool {
        let (Ok(left), Ok(right)) = (self.dims(left), self.dims(right)) else {
            return false;
        };
        left == right && !left.contains(&Dim::Unknown)
    }

    /// The shape of a value of the forward pass: a constant, or a Shape node behind its producer.
    pub(super) fn shape_of(&mut self, value: ValueId) -> ValueId {
        let whole = Shape { end: None, start: 0 };
        match self.graph.value(value).ty.static_shape() {
            Some(shape) => {
                let shape: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
                self.integers(&shape)
            }
            None => self.fact(value, "shape", whole),
        }
    }

    /// The sizes of a value's dimensions from `start` to `end`.
    pub(super) fn sizes_of(&mut self, value: ValueId, start: usize, end: usize) -> ValueId {
        let known = self
            .graph
            .value(value)
            .ty
            .shape()
            .and_then(|dims| dims.get(start..end));
        let known: Option<Vec<i64>> = known.and_then(|dims| {
            dims.iter()
                .map(|dim| dim.known().map(|size| size as i64))
                .collect()
        });
        match known {
            Some(sizes) => self.integers(&sizes),
            None => {
                let (start, end) = (start as i64, Some(end as i64));
                let output = self.value(&format!("{}_sizes", self.name_of(value)), DType::I64);
                let node = Node::new("", Shape { end, start }.into(), &[value], &[output]);
                self.behind(value, node);
                output
            }
        }
    }

    /// How many elements of `x` became one of `y`, as a number of the type in work: `x` was reduced over some axes, all
    /// when they are not known.
    pub(super) fn count_over(&mut self, x: ValueId, y: ValueId, axes: Option<&[usize]>) -> ValueId {
        let dims = self.graph.value(x).ty.shape();
        let known = dims.zip(axes).and_then(|(dims, axes)| {
            let sizes = axes.iter().map(|&axis| dims.get(axis)?.known());
            sizes.collect::<Option<Vec<usize>>>()
        });
        if let Some(sizes) = known {
            return self.scalar(sizes.iter().product::<usize>() as f64);
        }
        let (all, kept) = (self.fact(x, "size", Size {}), self.fact(y, "size", Size {}));
        let count = self.div(all, kept);
        let to = self.dtype;
        self.node(super::movement::cast(to), &[count])
    }

    /// A small value computed from a value of the forward pass, right behind its producer.
    fn fact(&mut self, value: ValueId, what: &'static str, op: impl Into<Op>) -> ValueId {
        if let Some(&known) = self.facts.get(&(value, what)) {
            return known;
        }
        let output = self.value(&format!("{}_{what}", self.name_of(value)), DType::I64);
        self.behind(value, Node::new("", op.into(), &[value], &[output]));
        self.facts.insert((value, what), output);
        output
    }

    fn behind(&mut self, value: ValueId, node: Node) {
        let place = self.producers.get(value.index()).copied().flatten();
        self.early[place.map_or(0, |producer| producer.index() + 1)].push(node);
    }

    /// Output `position` of a node of the forward pass, which is added if the node leaves it out.
    pub(super) fn output(&mut self, site: &Site, position: usize) -> ValueId {
        if let Some(known) = self.graph.nodes[site.index].output(position) {
            return known;
        }
        let name = format!(
            "{}_output_{position}",
            self.name_of(site.node.output(0).unwrap_or(site.x(0)))
        );
        let output = self.value(&name, DType::F32);
        let outputs = &mut self.graph.nodes[site.index].outputs;
        outputs.resize(outputs.len().max(position + 1), None);
        outputs[position] = Some(output);
        output
    }

    fn name_of(&self, value: ValueId) -> String {
        self.graph.value(value).name.clone()
    }
}

/// New values.
impl Tape {
    fn value(&mut self, name: &str, dtype: DType) -> ValueId {
        let ty = ValueType::Tensor {
            dtype: Some(dtype),
            shape: None,
        };
        let name = self.free_name(name);
        self.graph.values.push(Value {
            name,
            ty,
            ..Value::default()
        });
        ValueId::new(self.graph.values.len() - 1)
    }

    fn free_name(&mut self, stem: &str) -> String {
        let mut name = stem.to_owned();
        let mut number = self.graph.values.len();
        while !self.names.insert(name.clone()) {
            name = format!("{stem}_{number}");
            number += 1;
        }
        name
    }

    fn named_constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let id = self.value(name, tensor.dtype());
        let shape = tensor.shape().iter().copied().map(Dim::Known).collect();
        self.graph.value_mut(id).ty = ValueType::tensor(tensor.dtype(), shape);
        self.graph.value_mut(id).initializer = Some(tensor);
        id
    }

    /// A constant list of integers.
    pub(super) fn integers(&mut self, values: &[i64]) -> ValueId {
        if let Some(&known) = self.lists.get(values) {
            return known;
        }
        let id = self.named_constant("integers", Tensor::from_vec1(values));
        self.lists.insert(values.to_vec(), id);
        id
    }

    /// A constant number of the type in work.
    pub(super) fn scalar(&mut self, value: f64) -> ValueId {
        let key = (self.dtype, value.to_bits());
        if let Some(&known) = self.scalars.get(&key) {
            return known;
        }
        let id = self.named_constant("number", constant(self.dtype, &[], value));
        self.scalars.insert(key, id);
        id
    }

    /// Zeros of the shape of a value of the forward pass.
    pub(super) fn zeros_like(&mut self, value: ValueId) -> ValueId {
        let shape = self.shape_of(value);
        let zero = Some(constant(self.dtype, &[1], 0.0));
        self.node(crate::ops::ConstantOfShape { value: zero }, &[shape])
    }

    /// Appends a node with one output.
    pub(super) fn node(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let inputs: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
        self.node_with(op, inputs, &[true])[0].expect("the output asked for")
    }

    /// Appends a node some of whose inputs and outputs may be left out; gives the outputs that are wanted.
    pub(super) fn node_with(
        &mut self,
        op: impl Into<Op>,
        inputs: Vec<Option<ValueId>>,
        wanted: &[bool],
    ) -> Vec<Option<ValueId>> {
        let op = op.into();
        let stem = format!("gradient_{}", op.name());
        let dtype = self.dtype;
        let outputs: Vec<Option<ValueId>> = wanted
            .iter()
            .map(|&wanted| wanted.then(|| self.value(&stem, dtype)))
            .collect();
        let last = wanted.iter().rposition(|&wanted| wanted).unwrap_or(0);
        let name = outputs.iter().flatten().next().map(|&id| self.name_of(id));
        let mut node = Node::new(name.unwrap_or_default(), op, &[], &[]);
        node.inputs = inputs;
        node.outputs = outputs[..=last].to_vec();
        self.backward.push(node);
        outputs
    }
}

/// Arithmetic.
impl Tape {
    pub(super) fn unary(&mut self, op: Unary, x: ValueId) -> ValueId {
        self.node(op, &[x])
    }

    pub(super) fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.node(Binary::Add, &[a, b])
    }

    pub(super) fn sub(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.node(Binary::Sub, &[a, b])
    }

    pub(super) fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.node(Binary::Mul, &[a, b])
    }

    pub(super) fn div(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.node(Binary::Div, &[a, b])
    }

    pub(super) fn neg(&mut self, x: ValueId) -> ValueId {
        self.unary(Unary::Neg, x)
    }

    /// `x * factor`; `x` itself when the factor is 1.
    pub(super) fn times(&mut self, x: ValueId, factor: f64) -> ValueId {
        if factor == 1.0 {
            return x;
        }
        let factor = self.scalar(factor);
        self.mul(x, factor)
    }

    /// `x + summand`.
    pub(super) fn plus(&mut self, x: ValueId, summand: f64) -> ValueId {
        let summand = self.scalar(summand);
        self.add(x, summand)
    }

    /// `number - x`.
    pub(super) fn minus_from(&mut self, number: f64, x: ValueId) -> ValueId {
        let number = self.scalar(number);
        self.sub(number, x)
    }

    /// `yes` where the condition is true, else `no`.
    pub(super) fn choose(&mut self, condition: ValueId, yes: ValueId, no: ValueId) -> ValueId {
        self.node(crate::ops::Where {}, &[condition, yes, no])
    }

    /// 1 where `a == b`, else 0.
    pub(super) fn equal(&mut self, a: ValueId, b: ValueId) -> ValueId {
        let equal = self.node(Binary::Equal, &[a, b]);
        let to = self.dtype;
        self.node(super::movement::cast(to), &[equal])
    }

    /// A sum over axes of a value of known rank.
    pub(super) fn sum_over(&mut self, x: ValueId, axes: &[i64], keepdims: bool) -> ValueId {
        if axes.is_empty() {
            return x;
        }
        let axes = self.integers(axes);
        let op = crate::ops::Reduce {
            kind: ReduceKind::Sum,
            keepdims,
            noop_with_empty_axes: false,
        };
        self.node(op, &[x, axes])
    }

    /// A gradient in the shape of `from`, of which `to` was repeated: summed to the shape of `to`.
    pub(super) fn sum_to(&mut self, gradient: ValueId, from: ValueId, to: ValueId) -> ValueId {
        if self.same_shape(from, to) {
            return gradient;
        }
        let shape = self.shape_of(to);
        self.node(SumTo {}, &[gradient, shape])
    }

    /// As [`Tape::sum_to`], of a gradient in the shape of the node's output, given to an input.
    pub(super) fn give_summed(
        &mut self,
        site: &Site,
        input: ValueId,
        gradient: ValueId,
    ) -> Result<(), Problem> {
        let from = site.y(0)?;
        let summed = self.sum_to(gradient, from, input);
        self.give(input, summed);
        Ok(())
    }

    /// A gradient with as many elements as a value, in its shape.
    pub(super) fn reshape_like(&mut self, gradient: ValueId, value: ValueId) -> ValueId {
        let shape = self.shape_of(value);
        self.node(crate::ops::Reshape { allowzero: true }, &[gradient, shape])
    }
}

/// A tensor of one number.
fn constant(dtype: DType, shape: &[usize], value: f64) -> Tensor {
    let wide = Tensor::from_slice(shape, &[value]).expect("one element");
    Tensor::from_f64(dtype, shape, &[value]).unwrap_or(wide)
}
