//! The way back: a network in float of the numbers that codes stand for.

use std::collections::{BTreeSet, HashMap};

use bantam_graph::ops::Unary;
use bantam_graph::passes::{ELIMINATE_DEAD_NODES, run_passes};
use bantam_graph::{Graph, Node, Op, Patch, Value, ValueId};

use super::{REALS, RewriteError};

/// The network in float whose weights are the numbers that its codes stand for, and whose activations are rounded no more: so that it can be pruned,
/// trained, and quantized in another way. Where the code of zero is the least code there is, rounding also cut off what is below zero: a Relu
/// takes its place, unless there is one already.
///
/// # Errors
/// When there are no codes, or a node computes with codes instead of the numbers that they stand for (QLinearConv, MatMulInteger, ...).
pub fn dequantize(graph: &Graph) -> Result<Graph, RewriteError> {
    if let Some(node) = graph.nodes.iter().find(|node| computes_with_codes(&node.op)) {
        let node = graph.describe(node);
        return Err(RewriteError::ComputesWithCodes { node });
    }
    let mut float = graph.clone();
    bantam_exec::fold_dequantized(&mut float);
    let mut patch = Patch::new(&float);
    let producers = float.producers();
    let producer = |value: ValueId| producers[value.index()].map(|id| float.node(id));
    for (id, node) in float.node_ids() {
        let (Some(output), Some(from)) = (node.output(0), rounded(&producer, node)) else {
            continue;
        };
        let from = above_zero(&float, node, (from, producer(from)), &mut patch);
        patch.replace_uses(output, from);
        patch.remove_node(id);
    }
    patch.apply(&mut float)?;
    run_passes(&mut float, &[ELIMINATE_DEAD_NODES])?;
    restore_names(&mut float);
    match float.nodes.len() < graph.nodes.len() {
        true => Ok(float),
        false => Err(RewriteError::NoCodes),
    }
}

/// Gives constants the names that they had before they became codes, where nothing else has them now.
fn restore_names(graph: &mut Graph) {
    let read = graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten());
    let made = graph.nodes.iter().flat_map(|node| node.outputs.iter().flatten());
    let live: BTreeSet<ValueId> = read
        .chain(made)
        .chain(&graph.inputs)
        .chain(&graph.outputs)
        .copied()
        .collect();
    let mut names: HashMap<String, ValueId> = HashMap::new();
    for (index, value) in graph.values.iter().enumerate() {
        let id = ValueId::new(index);
        if live.contains(&id) || !names.contains_key(&value.name) {
            names.insert(value.name.clone(), id);
        }
    }
    let constants: Vec<ValueId> = live
        .iter()
        .copied()
        .filter(|id| graph.constant(*id).is_some())
        .collect();
    for id in constants {
        let name = graph.value(id).name.clone();
        let Some(before) = name.strip_suffix(REALS) else {
            continue;
        };
        match names.get(before).copied() {
            Some(other) if live.contains(&other) => continue,
            Some(other) => graph.values[other.index()].name = name.clone(),
            None => {}
        }
        names.insert(before.to_owned(), id);
        graph.values[id.index()].name = before.to_owned();
    }
}

/// Whether a node multiplies or adds codes, or finds scales while it runs.
fn computes_with_codes(op: &Op) -> bool {
    let name = op.name();
    name.starts_with("QLinear")
        || name.contains("Integer")
        || matches!(
            name,
            "QGemm"
                | "MatMulNBits"
                | "GatherBlockQuantized"
                | "DynamicQuantizeLinear"
                | "DynamicQuantizeMatMul"
        )
}

/// What a node rounds together with the node before it, and those before these: pairs of quantization and dequantization.
fn rounded<'g>(producer: &impl Fn(ValueId) -> Option<&'g Node>, node: &Node) -> Option<ValueId> {
    let pair = |node: &Node| {
        let dequantizes = matches!(node.op, Op::DequantizeLinear(_) | Op::MsDequantizeLinear(_));
        let first = producer(node.input(0).filter(|_| dequantizes)?)?;
        let quantizes = matches!(first.op, Op::QuantizeLinear(_) | Op::MsQuantizeLinear(_));
        first.input(0).filter(|_| quantizes)
    };
    let before = |from: &ValueId| producer(*from).and_then(pair);
    std::iter::successors(pair(node), before).last()
}

/// The value, behind a Relu where there are no codes for numbers below zero and it may have some.
fn above_zero(
    graph: &Graph,
    node: &Node,
    (from, maker): (ValueId, Option<&Node>),
    patch: &mut Patch,
) -> ValueId {
    let cut = maker.is_some_and(|node| {
        let op = &node.op;
        matches!(
            op,
            Op::Unary(Unary::Relu | Unary::Sigmoid) | Op::Clip(_) | Op::Softmax(_)
        )
    });
    if cut || !has_nothing_below_zero(graph, node) {
        return from;
    }
    let value = graph.value(from);
    let output = patch.add_value(Value {
        name: format!("{}_above_zero", value.name),
        ty: value.ty.clone(),
        ..Value::default()
    });
    let name = format!("{}_relu", value.name);
    patch.add_node(Node::new(name, Op::Unary(Unary::Relu), &[from], &[output]));
    output
}

/// Whether the code of zero is the least one.
fn has_nothing_below_zero(graph: &Graph, node: &Node) -> bool {
    let Some(zero) = graph.constant_input(node, 2) else {
        return false;
    };
    let least = match zero.dtype().is_signed_integer() {
        true => -((1u64 << (zero.dtype().bits() - 1)) as f32),
        false => 0.0,
    };
    zero.to_f32()
        .is_ok_and(|codes| codes.iter().all(|code| *code == least))
}
