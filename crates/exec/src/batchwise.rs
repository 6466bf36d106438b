//! Which graphs treat the samples of a batch apart, so that a large batch can run in parts that stay in the cache.

use std::collections::{HashMap, HashSet};

use bantam_graph::{Graph, Node, Op, ValueId};
use bantam_tensor::Tensor;

/// How a large batch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Samples of a part.
    pub(crate) samples: usize,
}

/// Bytes of the largest value of a part: it and what is read and written with it stay in the caches.
const LARGEST: usize = 1 << 20;
/// Weights are read again for each part: so many of their bytes are worth a byte of the largest value.
const WEIGHTS: usize = 8;

/// The parts of a batch, if dimension 0 of every input and output is that of samples, no node mixes samples, and the
/// sizes are known. Types must have been inferred.
pub(crate) fn parts(graph: &Graph) -> Option<Parts> {
    let fed = |id: &&ValueId| graph.value(**id).initializer.is_none();
    let mut batched: HashSet<ValueId> = graph.inputs.iter().filter(fed).copied().collect();
    let open = |id: &ValueId| {
        let shape = graph.value(*id).ty.shape();
        shape.is_some_and(|shape| shape.first().is_some_and(|first| first.known().is_none()))
    };
    if batched.is_empty() || !batched.iter().all(open) {
        log::debug!("batchwise: there is an input whose first dimension is not open");
        return None;
    }
    for node in &graph.nodes {
        let mixes = Samples {
            graph,
            node,
            batched: &batched,
        };
        if !node.inputs.iter().flatten().any(|input| batched.contains(input)) {
            // Computed from constants: the same for every part, but not one of a sample.
            continue;
        }
        if !mixes.are_apart() {
            log::debug!("batchwise: {} may mix samples", graph.describe(node));
            return None;
        }
        batched.extend(node.outputs.iter().flatten());
    }
    if !graph.outputs.iter().all(|output| batched.contains(output)) {
        return None;
    }
    let sizes: HashMap<ValueId, usize> = batched
        .iter()
        .map(|id| Some((*id, sample_bytes(graph, *id)?)))
        .collect::<Option<_>>()?;
    let largest = largest(graph, &sizes).max(1);
    let weights: usize = graph
        .values
        .iter()
        .filter_map(|value| value.initializer.as_ref())
        .map(|weights| weights.as_bytes().len())
        .sum();
    let samples = LARGEST.max(weights / WEIGHTS) / largest;
    Some(Parts {
        samples: samples.max(1),
    })
}

/// Bytes of a value for one sample.
fn sample_bytes(graph: &Graph, id: ValueId) -> Option<usize> {
    let ty = &graph.value(id).ty;
    let (_, rest) = ty.shape()?.split_first()?;
    let elements = rest
        .iter()
        .try_fold(1usize, |elements, dim| elements.checked_mul(dim.known()?))?;
    ty.dtype()?.bytes_for(elements)
}

/// Bytes of the largest value; of quantized graphs, of the largest codes, as reals between them do not come to be.
fn largest(graph: &Graph, sizes: &HashMap<ValueId, usize>) -> usize {
    let codes = graph.nodes.iter().filter_map(|node| match node.op {
        Op::QuantizeLinear(_) => node.output(0),
        _ => None,
    });
    let codes = codes.filter_map(|id| sizes.get(&id)).max();
    codes.or_else(|| sizes.values().max()).copied().unwrap_or(0)
}

/// A node some of whose inputs have samples.
struct Samples<'a> {
    graph: &'a Graph,
    node: &'a Node,
    batched: &'a HashSet<ValueId>,
}

impl Samples<'_> {
    fn is_batched(&self, index: usize) -> bool {
        self.node
            .input(index)
            .is_some_and(|id| self.batched.contains(&id))
    }

    fn rank(&self, index: usize) -> Option<usize> {
        Some(self.graph.value(self.node.input(index)?).ty.shape()?.len())
    }

    fn constant(&self, index: usize) -> Option<&Tensor> {
        self.graph.constant_input(self.node, index)
    }

    fn integers(&self, index: usize) -> Option<Vec<i64>> {
        self.constant(index)?.to_i64().ok()
    }

    /// Only input 0 has samples.
    fn only_first(&self) -> bool {
        self.is_batched(0) && (1..self.node.inputs.len()).all(|index| !self.is_batched(index))
    }

    /// All inputs that have samples have one rank, and the others do not reach dimension 0 or are the same along it.
    fn are_broadcast(&self) -> bool {
        let inputs = 0..self.node.inputs.len();
        let mut ranks = inputs
            .clone()
            .filter(|&index| self.is_batched(index))
            .map(|index| self.rank(index));
        let Some(Some(rank)) = ranks.next() else {
            return false;
        };
        let same = ranks.all(|other| other == Some(rank));
        let others = inputs.filter(|&index| self.node.input(index).is_some() && !self.is_batched(index));
        let within = |index: usize| {
            let Some(shape) = self
                .node
                .input(index)
                .and_then(|id| self.graph.value(id).ty.shape())
            else {
                return self
                    .constant(index)
                    .is_some_and(|constant| constant.rank() < rank);
            };
            shape.len() < rank || (shape.len() == rank && shape[0].known() == Some(1))
        };
        same && others.into_iter().all(within)
    }

    /// An axis that is not that of the samples.
    fn is_inner(&self, axis: i64) -> bool {
        self.rank(0).is_some_and(|rank| {
            let axis = if axis < 0 { axis + rank as i64 } else { axis };
            axis > 0 && axis < rank as i64
        })
    }

    fn all_batched(&self) -> bool {
        (0..self.node.inputs.len()).all(|index| self.node.input(index).is_none() || self.is_batched(index))
    }

    /// Whether every sample of the outputs depends on the same sample of the inputs only.
    fn are_apart(&self) -> bool {
        if !self.node.extra.is_empty() {
            return false;
        }
        match &self.node.op {
            Op::Unary(_) | Op::Elu(_) | Op::Selu(_) | Op::Celu(_) | Op::LeakyRelu(_) | Op::HardSigmoid(_) => {
                true
            }
            Op::ThresholdedRelu(_) | Op::Shrink(_) | Op::Gelu(_) | Op::Swish(_) | Op::Cast(_) => true,
            Op::Clip(_) => self.only_first(),
            Op::Binary(_) | Op::Variadic(_) | Op::Where(_) => self.are_broadcast(),
            Op::QuantizeLinear(_) | Op::DequantizeLinear(_) => {
                self.only_first() && self.constant(1).is_some_and(|scale| scale.len() == 1)
            }
            Op::Conv(_) | Op::ConvTranspose(_) | Op::InstanceNormalization(_) => self.only_first(),
            Op::BatchNormalization(op) => !op.training_mode && self.only_first(),
            Op::MaxPool(_) => self.node.outputs.len() == 1,
            Op::AveragePool(_) | Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) | Op::Lrn(_) => true,
            Op::DepthToSpace(_) | Op::SpaceToDepth(_) => true,
            Op::LayerNormalization(op) => self.only_first() && self.is_inner(op.axis),
            Op::RmsNormalization(op) => self.only_first() && self.is_inner(op.axis),
            Op::Softmax(op) => self.is_inner(op.axis),
            Op::LogSoftmax(op) => self.is_inner(op.axis),
            Op::MatMul(_) => self.product_is_apart(),
            Op::Gemm(op) => !op.transA && self.only_first() && self.rows_are_alike(2),
            Op::Concat(op) => self.all_batched() && self.is_inner(op.axis),
            Op::Split(op) => self.only_first() && self.is_inner(op.axis),
            Op::Flatten(op) => op.axis == 1,
            Op::Transpose(op) => op.perm.as_ref().is_some_and(|perm| perm.first() == Some(&0)),
            Op::Reshape(op) => !op.allowzero && self.only_first() && self.keeps_samples(),
            Op::Squeeze(_) | Op::Unsqueeze(_) => {
                let axes = self.integers(1);
                self.only_first() && axes.is_some_and(|axes| axes.iter().all(|&axis| axis > 0))
            }
            Op::Slice(_) => {
                let axes = self.integers(3);
                self.only_first() && axes.is_some_and(|axes| axes.iter().all(|&axis| self.is_inner(axis)))
            }
            Op::Pad(_) => {
                let pads = self
                    .integers(1)
                    .filter(|_| self.only_first() && self.node.input(3).is_none());
                pads.is_some_and(|pads| {
                    let inner = |index: usize| pads.get(index) == Some(&0);
                    inner(0) && inner(pads.len() / 2)
                })
            }
            Op::GatherBlockQuantized(op) => !self.is_batched(0) && self.is_batched(1) && op.gather_axis == 0,
            Op::Gather(op) => {
                let by_sample = !self.is_batched(0) && self.is_batched(1) && op.axis == 0;
                by_sample || (self.only_first() && self.is_inner(op.axis))
            }
            Op::Expand(_) => {
                let shape = self.integers(1).filter(|_| self.only_first());
                shape.is_some_and(|shape| self.rank(0) == Some(shape.len()) && shape[0] == 1)
            }
            Op::Reduce(_) => {
                let axes = self.integers(1).filter(|_| self.only_first());
                axes.is_some_and(|axes| !axes.is_empty() && axes.iter().all(|&axis| self.is_inner(axis)))
            }
            _ => false,
        }
    }

    /// A product of matrices of samples, or of rows of samples by a constant matrix.
    fn product_is_apart(&self) -> bool {
        let (Some(left), Some(right)) = (self.rank(0), self.rank(1)) else {
            return false;
        };
        match (self.is_batched(0), self.is_batched(1)) {
            (true, true) => left == right && left > 2,
            (true, false) => left >= 2 && (right == 2 || right < left),
            (false, true) => right > 2 && left < right && left >= 2,
            (false, false) => false,
        }
    }

    /// An optional constant addend that is the same for all rows.
    fn rows_are_alike(&self, index: usize) -> bool {
        let alike = |shape: &[bantam_graph::Dim]| shape.len() < 2 || shape[0].known() == Some(1);
        let shape = |id| self.graph.value(id).ty.shape();
        let apart = |id| !self.batched.contains(&id) && shape(id).is_some_and(alike);
        self.node.input(index).is_none_or(apart)
    }

    /// A new shape whose dimension 0 is still that of the samples.
    fn keeps_samples(&self) -> bool {
        let Some(shape) = self.integers(1) else {
            return false;
        };
        let known = |dim: &bantam_graph::Dim| dim.known();
        let old = self.node.input(0).and_then(|id| self.graph.value(id).ty.shape());
        match shape.first() {
            Some(0) => true,
            Some(-1) => {
                let old: Option<usize> = old.and_then(|old| old[1..].iter().map(known).product());
                let new: Option<usize> = shape[1..].iter().map(|&dim| usize::try_from(dim).ok()).product();
                old.is_some() && old == new
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{Binary, Reduce, Softmax, Unary};
    use bantam_graph::{Dim, InferOptions, infer_shapes};
    use bantam_tensor::DType;

    use super::*;
    use crate::{CompileOptions, Taps, compile};

    /// x of samples of about 100 kB through a node.
    fn graph(op: impl Into<Op>, second: Option<Tensor>) -> Graph {
        let mut graph = Graph::default();
        let dims = vec![Dim::Symbol("batch".into()), Dim::Known(26_000)];
        let x = graph.add_input("x", DType::F32, dims);
        let x = graph.add_node("negative", Unary::Neg, &[x]);
        let mut inputs = vec![x];
        inputs.extend(second.map(|tensor| graph.add_constant("second", tensor)));
        let y = graph.add_node("y", op, &inputs);
        graph.outputs.push(y);
        infer_shapes(&mut graph, &InferOptions::default()).unwrap();
        graph
    }

    fn reduce() -> Reduce {
        Reduce {
            kind: bantam_graph::ops::ReduceKind::Max,
            keepdims: true,
            noop_with_empty_axes: false,
        }
    }

    #[test]
    fn graphs_that_mix_samples_run_whole() {
        let along = |axis: i64| Some(Tensor::from_vec1(&[axis]));
        assert_eq!(parts(&graph(reduce(), along(1))), Some(Parts { samples: 10 }));
        assert_eq!(parts(&graph(reduce(), along(0))), None);
        assert_eq!(parts(&graph(Softmax { axis: 0 }, None)), None);
        assert!(parts(&graph(Softmax { axis: -1 }, None)).is_some());
        let row = |rows: usize| Some(Tensor::zeros(DType::F32, &[rows, 26_000]).unwrap());
        assert!(parts(&graph(Binary::Add, row(1))).is_some());
        assert_eq!(
            parts(&graph(Binary::Add, row(32))),
            None,
            "an addend for each sample"
        );
    }

    #[test]
    fn parts_give_what_the_whole_gives() {
        let graph = graph(reduce(), Some(Tensor::from_vec1(&[1i64])));
        let program = compile(&graph, &CompileOptions::default()).unwrap();
        let batch = 23;
        let values: Vec<f32> = (0..batch * 26_000).map(|i| (i * 7919 % 10_007) as f32).collect();
        let x = Tensor::from_slice(&[batch, 26_000], &values).unwrap();
        let y = program.run(&[("x", x)], &mut Taps::none()).unwrap();
        assert_eq!(y[0].shape(), [batch, 1]);
        let least = |row: &[f32]| -row.iter().copied().fold(f32::INFINITY, f32::min);
        let expected: Vec<f32> = values.chunks(26_000).map(least).collect();
        assert_eq!(y[0].to_f32().unwrap(), expected);
    }
}
