//! Matrix products in the one form that integer kernels take: `x * w + bias`, with the bias a vector.

use bantam_tensor::{DType, Tensor};

use super::Outcome;
use crate::ops::{Binary, Gemm};
use crate::{Graph, Node, NodeId, Op, ValueId};

/// Makes a Gemm of each product of two matrices to which a constant row is added, and merges the factors of a Gemm
/// into its constants.
///
/// Needs ranks, so run shape inference first.
pub fn merge_bias(graph: &Graph) -> Outcome {
    let mut outcome = Outcome::new(graph);
    let (producers, consumers) = (graph.producers(), graph.consumers());
    for (id, node) in graph.node_ids() {
        let done = match &node.op {
            Op::Gemm(gemm) => plain_gemm(graph, (id, node), gemm, &mut outcome),
            Op::Binary(Binary::Add) => [0, 1].into_iter().any(|position| {
                let product = node.input(position).filter(|product| {
                    consumers[product.index()].len() == 1 && !graph.outputs.contains(product)
                });
                let product = product.and_then(|product| producers[product.index()]);
                product.is_some_and(|product| {
                    add_of_product(graph, (id, node), (product, position), &mut outcome).is_some()
                })
            }),
            _ => false,
        };
        outcome.applied += usize::from(done);
    }
    outcome
}

/// Replaces MatMul and Add by one Gemm.
fn add_of_product(
    graph: &Graph,
    (add_id, add): (NodeId, &Node),
    (product_id, position): (NodeId, usize),
    outcome: &mut Outcome,
) -> Option<()> {
    let product = graph.node(product_id);
    let (Op::MatMul(_), Some(x), Some(weight)) = (&product.op, product.input(0), product.input(1)) else {
        return None;
    };
    let bias = add.input(1 - position)?;
    let columns = graph.constant(weight).filter(|tensor| is_matrix(tensor))?.shape()[1];
    let row = row(graph.constant(bias)?, columns, 1.0)?;
    (graph.value(x).ty.shape()?.len() == 2).then_some(())?;
    let patch = &mut outcome.patch;
    let bias = patch.add_constant(&graph.value(bias).name, row);
    let outputs: Vec<ValueId> = add.outputs.iter().flatten().copied().collect();
    patch.add_node(Node::new(
        add.name.clone(),
        plain(false, false).into(),
        &[x, weight, bias],
        &outputs,
    ));
    patch.remove_node(product_id);
    patch.remove_node(add_id);
    Some(())
}

/// Merges alpha into the weight, beta into the bias, and makes a vector of the bias; true when something changed.
fn plain_gemm(graph: &Graph, (id, node): (NodeId, &Node), gemm: &Gemm, outcome: &mut Outcome) -> bool {
    let is_plain = gemm.alpha == 1.0 && gemm.beta == 1.0;
    let Some(weight) = graph.constant_input(node, 1).filter(|tensor| is_matrix(tensor)) else {
        return false;
    };
    let columns = weight.shape()[usize::from(!gemm.transB)];
    let bias = match (node.input(2), graph.constant_input(node, 2)) {
        (None, _) => None,
        (Some(_), Some(bias)) if is_plain && bias.shape() == [columns] => None,
        (Some(id), bias) => match bias.and_then(|bias| row(bias, columns, gemm.beta)) {
            Some(row) => Some((2, id, row)),
            None => return false,
        },
    };
    if is_plain && bias.is_none() {
        return false;
    }
    let weight = match (gemm.alpha != 1.0, node.input(1)) {
        (true, Some(id)) => scaled(weight, gemm.alpha).map(|scaled| (1, id, scaled)),
        _ => None,
    };
    let patch = &mut outcome.patch;
    for (position, old, tensor) in bias.into_iter().chain(weight) {
        let new = patch.add_constant(&graph.value(old).name, tensor);
        patch.set_input(id, position, Some(new));
    }
    patch.set_op(id, plain(gemm.transA, gemm.transB).into());
    true
}

#[expect(non_snake_case, reason = "the standard's names")]
fn plain(transA: bool, transB: bool) -> Gemm {
    Gemm {
        alpha: 1.0,
        beta: 1.0,
        transA,
        transB,
    }
}

fn is_matrix(tensor: &Tensor) -> bool {
    tensor.rank() == 2 && tensor.dtype() == DType::F32
}

/// A bias that is the same for every row, times `factor`, as a vector of `columns` elements.
fn row(bias: &Tensor, columns: usize, factor: f32) -> Option<Tensor> {
    let (last, leading) = bias.shape().split_last().unwrap_or((&1, &[]));
    let repeats = leading.len() <= 1 && leading.iter().all(|&size| size == 1);
    (repeats && bias.dtype() == DType::F32 && (*last == columns || *last == 1)).then_some(())?;
    let values = bias.to_f32().ok()?;
    let values = (0..columns).map(|column| factor * values[column % values.len()]);
    Tensor::from_slice(&[columns], &values.collect::<Vec<f32>>()).ok()
}

fn scaled(tensor: &Tensor, factor: f32) -> Option<Tensor> {
    let values: Vec<f32> = tensor.to_f32().ok()?.iter().map(|x| x * factor).collect();
    Tensor::from_slice(tensor.shape(), &values).ok()
}

#[cfg(test)]
mod tests;
