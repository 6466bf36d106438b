//! Which nodes run in integers, and which values therefore need scales: a target's table applied to a graph.

use bantam_graph::ops::Binary;
use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_tensor::DType;

use crate::target::{OpRole, ResidualAdd, Target};

/// What was found for a graph.
pub(super) struct Placement {
    /// For each node: why it stays in float, or `None` when it is quantized.
    pub(super) kept: Vec<Option<String>>,
    /// For each value: the value whose scale it has, or `None` when it is not quantized.
    pub(super) scale_of: Vec<Option<ValueId>>,
    /// Values with a scale of their own or shared, in the order of the graph.
    pub(super) quantized: Vec<ValueId>,
}

/// The constant weight and bias of a product, by input position.
pub(super) struct ProductInputs {
    pub(super) weight: usize,
    pub(super) bias: Option<usize>,
    /// Axis of the weight along which output channels lie.
    pub(super) channel_axis: usize,
}

/// Where a product has its weight, if that is a constant.
pub(super) fn product_inputs(graph: &Graph, node: &Node) -> Option<ProductInputs> {
    let rank = graph.constant_input(node, 1)?.rank();
    let bias = node.input(2).map(|_| 2);
    match &node.op {
        Op::Conv(_) => Some(ProductInputs {
            weight: 1,
            bias,
            channel_axis: 0,
        }),
        Op::ConvTranspose(_) => Some(ProductInputs {
            weight: 1,
            bias,
            channel_axis: 1,
        }),
        Op::Gemm(gemm) => Some(ProductInputs {
            weight: 1,
            bias,
            channel_axis: usize::from(!gemm.transB),
        }),
        Op::MatMul(_) if rank >= 2 => Some(ProductInputs {
            weight: 1,
            bias: None,
            channel_axis: rank - 1,
        }),
        _ => None,
    }
}

/// Applies a target's table.
pub(super) fn place(graph: &Graph, target: &Target, kept_by_user: Vec<Option<&'static str>>) -> Placement {
    let mut placer = Placer::new(graph, target, kept_by_user);
    placer.products();
    placer.arithmetic();
    placer.movement();
    placer.finish()
}

struct Placer<'a> {
    graph: &'a Graph,
    target: &'a Target,
    consumers: Vec<Vec<(NodeId, usize)>>,
    producers: Vec<Option<NodeId>>,
    kept: Vec<Option<String>>,
    /// Values that need a scale.
    needed: Vec<bool>,
    /// Union-find over values that share a scale.
    parent: Vec<usize>,
}

impl<'a> Placer<'a> {
    fn new(graph: &'a Graph, target: &'a Target, kept_by_user: Vec<Option<&'static str>>) -> Placer<'a> {
        let kept =
            graph
                .nodes
                .iter()
                .zip(kept_by_user)
                .map(|(node, user)| match (user, target.role(&node.op)) {
                    (Some(reason), _) => Some(reason.to_owned()),
                    (None, OpRole::Float) => Some(format!(
                        "{} has no integer form of {}",
                        target.name,
                        node.op.name()
                    )),
                    (None, _) => None,
                });
        Placer {
            graph,
            target,
            consumers: graph.consumers(),
            producers: graph.producers(),
            kept: kept.collect(),
            needed: vec![false; graph.values.len()],
            parent: (0..graph.values.len()).collect(),
        }
    }

    fn nodes(&self, role: impl Fn(OpRole) -> bool) -> Vec<(NodeId, &'a Node)> {
        let chosen = |(id, node): &(NodeId, &'a Node)| {
            self.kept[id.index()].is_none() && role(self.target.role(&node.op))
        };
        self.graph.node_ids().filter(chosen).collect()
    }

    /// Inputs that are computed or given, not constant.
    fn activations(&self, node: &Node) -> Vec<ValueId> {
        node.inputs
            .iter()
            .flatten()
            .copied()
            .filter(|id| self.graph.value(*id).initializer.is_none())
            .collect()
    }

    /// The value behind the activation function that the runtime fuses into `node`, or the node's own output.
    fn fused_output(&self, node: &Node) -> Option<ValueId> {
        let output = node.output(0)?;
        let [(reader, 0)] = self.consumers[output.index()][..] else {
            return Some(output);
        };
        let fused = self.target.role(&self.graph.node(reader).op) == OpRole::Activation;
        let is_output = self.graph.outputs.contains(&output);
        if fused && !is_output {
            self.graph.node(reader).output(0)
        } else {
            Some(output)
        }
    }

    fn products(&mut self) {
        for (id, node) in self.nodes(|role| matches!(role, OpRole::Product { .. })) {
            if let Err(reason) = self.check_product(node) {
                self.kept[id.index()] = Some(reason);
                continue;
            }
            let operands = node
                .inputs
                .iter()
                .take(2)
                .flatten()
                .filter(|v| self.graph.value(**v).initializer.is_none());
            let operands: Vec<ValueId> = operands.copied().collect();
            operands
                .into_iter()
                .for_each(|value| self.needed[value.index()] = true);
            if let (OpRole::Product { output: true }, Some(output)) =
                (self.target.role(&node.op), self.fused_output(node))
            {
                self.needed[output.index()] = true;
            }
        }
    }

    /// Why a product cannot run in integers, if so.
    fn check_product(&self, node: &Node) -> Result<(), String> {
        let Some(weight) = node.input(1) else {
            return Err("it has no weight".to_owned());
        };
        if self.graph.value(weight).initializer.is_some() && product_inputs(self.graph, node).is_none() {
            return Err("its weight is not a matrix or a kernel that callers cannot override".to_owned());
        }
        if self.graph.constant(weight).is_none() && node.op.name() != "MatMul" {
            return Err("its weight is not constant".to_owned());
        }
        for input in node.inputs.iter().take(2).flatten() {
            let dtype = self.graph.value(*input).ty.dtype();
            if dtype.is_some_and(|dtype| dtype != DType::F32) {
                return Err(format!("`{}` is not float32", self.graph.value(*input).name));
            }
        }
        match &node.op {
            Op::Gemm(gemm) if gemm.alpha != 1.0 || gemm.beta != 1.0 || gemm.transA => {
                Err("a Gemm with factors or a transposed first input has no integer form".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Sums and pools join the integer part of the network when every input comes from it.
    fn arithmetic(&mut self) {
        for (id, node) in self.nodes(|role| role == OpRole::Arithmetic) {
            let inputs = self.activations(node);
            if inputs.len() < node.inputs.len() || inputs.is_empty() {
                self.kept[id.index()] = Some("one of its inputs is constant".to_owned());
            } else if !inputs.iter().all(|value| self.comes_from_integers(*value)) {
                self.kept[id.index()] = Some("its inputs are computed in float".to_owned());
            } else {
                self.place_arithmetic(node, &inputs);
            }
        }
    }

    fn place_arithmetic(&mut self, node: &Node, inputs: &[ValueId]) {
        let is_add = node.op == Op::Binary(Binary::Add);
        let fused = match self.target.residual_add {
            ResidualAdd::FusedIntoProduct if is_add => {
                inputs.iter().rposition(|v| self.is_product_read_once(*v))
            }
            _ => None,
        };
        for (position, value) in inputs.iter().enumerate() {
            if Some(position) != fused {
                self.needed[value.index()] = true;
            }
        }
        if self.target.residual_add == ResidualAdd::BothInputs
            && let Some(output) = self.fused_output(node)
        {
            self.needed[output.index()] = true;
        }
    }

    fn is_product_read_once(&self, value: ValueId) -> bool {
        let product = self.producers[value.index()].is_some_and(|producer| {
            self.kept[producer.index()].is_none()
                && matches!(
                    self.target.role(&self.graph.node(producer).op),
                    OpRole::Product { .. }
                )
        });
        product && self.consumers[value.index()].len() == 1
    }

    /// True when a value is quantized, or the output of a quantized node, possibly moved.
    fn comes_from_integers(&self, value: ValueId) -> bool {
        if self.needed[value.index()] {
            return true;
        }
        let Some(producer) = self.producers[value.index()] else {
            return false;
        };
        let node = self.graph.node(producer);
        if self.kept[producer.index()].is_some() {
            return false;
        }
        match self.target.role(&node.op) {
            OpRole::Product { .. } | OpRole::Arithmetic => true,
            OpRole::Movement | OpRole::Activation => self
                .activations(node)
                .iter()
                .all(|input| self.comes_from_integers(*input)),
            OpRole::Float => false,
        }
    }

    /// Movement shares the scale of what it moves, in both directions, until nothing changes.
    fn movement(&mut self) {
        let nodes = self.nodes(|role| role == OpRole::Movement);
        loop {
            let mut changed = false;
            for (_, node) in &nodes {
                changed |= self.share(node);
            }
            if !changed {
                break;
            }
        }
        for (id, node) in nodes {
            if !node.output(0).is_some_and(|output| self.needed[output.index()]) {
                self.kept[id.index()] = Some("what it moves is not quantized".to_owned());
            }
        }
    }

    /// Joins the scales around one node that moves data; true when something is new.
    fn share(&mut self, node: &Node) -> bool {
        let joins = node.op.name() == "Concat";
        let mut moved: Vec<ValueId> = self.activations(node);
        if !joins {
            moved.truncate(1);
        }
        let outputs: Vec<ValueId> = node.outputs.iter().flatten().copied().collect();
        let all_floats = moved
            .iter()
            .all(|id| self.graph.value(*id).ty.dtype().is_none_or(|d| d == DType::F32));
        let any_needed = moved.iter().chain(&outputs).any(|id| self.needed[id.index()]);
        if !any_needed || !all_floats || moved.is_empty() || (joins && moved.len() < node.inputs.len()) {
            return false;
        }
        let mut changed = false;
        for id in moved.iter().chain(&outputs) {
            changed |= !std::mem::replace(&mut self.needed[id.index()], true);
            let (a, b) = (self.root(moved[0].index()), self.root(id.index()));
            changed |= a != b;
            self.parent[b] = a;
        }
        changed
    }

    fn root(&mut self, mut value: usize) -> usize {
        while self.parent[value] != value {
            self.parent[value] = self.parent[self.parent[value]];
            value = self.parent[value];
        }
        value
    }

    fn finish(mut self) -> Placement {
        let quantized: Vec<ValueId> = (0..self.needed.len())
            .filter(|&v| self.needed[v])
            .map(ValueId::new)
            .collect();
        let mut scale_of = vec![None; self.needed.len()];
        for value in &quantized {
            scale_of[value.index()] = Some(ValueId::new(self.root(value.index())));
        }
        for (id, node) in self.graph.node_ids() {
            let alone = self.target.role(&node.op) == OpRole::Activation && self.kept[id.index()].is_none();
            if alone && !node.output(0).is_some_and(|output| self.needed[output.index()]) {
                self.kept[id.index()] = Some("its result is not quantized".to_owned());
            }
        }
        Placement {
            kept: self.kept,
            scale_of,
            quantized,
        }
    }
}
