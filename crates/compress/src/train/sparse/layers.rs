//! The weights that zeros are for, found by op.

use std::collections::HashSet;

use bantam_graph::{Graph, NodeId, Op, ValueId};

use crate::select::Selector;
use crate::train::{Parameter, TrainError};

/// A weight of a product.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    /// Its index among the parameters.
    pub(super) parameter: usize,
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// The axis along which the products' sums run; `None` where products differ, or where that cannot be
    /// told.
    pub(super) input_axis: Option<usize>,
}

impl Layer {
    /// Elements.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A product that reads a weight.
struct Reader {
    node: NodeId,
    input_axis: Option<usize>,
}

/// The trained weights of convolutions, matrix products and recurrent cells, but for those that a node of
/// `exclude` reads.
///
/// # Errors
/// When a selector is malformed or matches nothing, or when nothing is left.
pub(super) fn layers(
    graph: &Graph,
    parameters: &[Parameter],
    exclude: &[String],
) -> Result<Vec<Layer>, TrainError> {
    let mut excluded = HashSet::new();
    for text in exclude {
        excluded.extend(Selector::parse(text)?.select(graph)?);
    }
    let consumers = graph.consumers();
    let mut layers = Vec::new();
    for (index, parameter) in parameters.iter().enumerate() {
        let shape = parameter.tensor.shape();
        let axes: Vec<usize> = (0..shape.len()).collect();
        let mut readers = Vec::new();
        collect(graph, &consumers, parameter.value, Some(&axes), &mut readers);
        if shape.len() < 2 || readers.is_empty() || readers.iter().any(|it| excluded.contains(&it.node)) {
            continue;
        }
        let axis = readers[0].input_axis;
        layers.push(Layer {
            parameter: index,
            name: parameter.name.clone(),
            shape: shape.to_vec(),
            input_axis: axis.filter(|_| readers.iter().all(|it| it.input_axis == axis)),
        });
    }
    match layers.is_empty() {
        true => Err(TrainError::NoWeights),
        false => Ok(layers),
    }
}

/// The products that read a value, also behind nodes that round or move its elements. `axes` are the weight's
/// axes, in the order of the value's.
fn collect(
    graph: &Graph,
    consumers: &[Vec<(NodeId, usize)>],
    value: ValueId,
    axes: Option<&[usize]>,
    readers: &mut Vec<Reader>,
) {
    for &(node, position) in &consumers[value.index()] {
        let op = &graph.node(node).op;
        let passed: Option<Vec<usize>> = match op {
            Op::FakeQuant(_) | Op::FakeSign(_) if position == 0 => axes.map(<[usize]>::to_vec),
            Op::Transpose(transpose) => axes.and_then(|axes| permuted(axes, transpose.perm.as_deref())),
            Op::Reshape(_) if position == 0 => None,
            _ => {
                if let Some(axis) = input_axis(op, position, axes.map_or(0, <[usize]>::len)) {
                    let input_axis = axes.and_then(|axes| axes.get(axis).copied());
                    readers.push(Reader { node, input_axis });
                }
                continue;
            }
        };
        if let Some(output) = graph.node(node).output(0) {
            collect(graph, consumers, output, passed.as_deref(), readers);
        }
    }
}

fn permuted(axes: &[usize], perm: Option<&[i64]>) -> Option<Vec<usize>> {
    let Some(perm) = perm else {
        return Some(axes.iter().rev().copied().collect());
    };
    perm.iter()
        .map(|&axis| axes.get(usize::try_from(axis).ok()?).copied())
        .collect()
}

/// The axis of a product's operand along which it sums; `None` where an op has no weight. Axes beyond the
/// rank mean that it cannot be told.
fn input_axis(op: &Op, position: usize, rank: usize) -> Option<usize> {
    match (op, position) {
        (Op::Conv(_) | Op::FusedConv(_), 1) => Some(1),
        (Op::ConvTranspose(_), 1) => Some(0),
        (Op::Gemm(gemm), 0) => Some(usize::from(!gemm.transA)),
        (Op::Gemm(gemm), 1) => Some(usize::from(gemm.transB)),
        (Op::MatMul(_), 0) => Some(rank.wrapping_sub(1)),
        (Op::MatMul(_), 1) => Some(rank.wrapping_sub(2)),
        (Op::Lstm(_) | Op::Gru(_) | Op::Rnn(_), 1 | 2) => Some(2),
        _ => None,
    }
}
