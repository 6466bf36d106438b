//! Which nodes run in integers, and which values therefore need scales: a target's table applied to a graph.

mod arithmetic;
mod movement;

use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_tensor::DType;

use super::products::product_inputs;
use crate::target::{OpRole, Target};

/// What was found for a graph.
pub(super) struct Placement {
    /// For each node: why it stays in float, or `None` when it is quantized.
    pub(super) kept: Vec<Option<String>>,
    /// For each value: the value whose scale it has, or `None` when it is not quantized.
    pub(super) scale_of: Vec<Option<ValueId>>,
    /// Values with a scale of their own or shared, in the order of the graph.
    pub(super) quantized: Vec<ValueId>,
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
                    (None, _) => movement::pads_with_value(graph, node).then(|| {
                        "it pads with a value other than zero, which the scale of its input may not hold"
                            .to_owned()
                    }),
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
