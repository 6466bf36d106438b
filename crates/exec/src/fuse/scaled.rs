//! Products of codes whose sums become reals in the same step: MatMulInteger, Cast, Mul by both scales, as dynamic
//! quantization writes them.

use bantam_graph::ops::Binary;
use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_tensor::DType;

use super::{Chain, Search};
use crate::operator::Operator;
use crate::ops::scaled_product;

/// The scales of both operands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scales {
    /// One number that is known only when the program runs.
    data: ValueId,
    /// Constant: one number, or one for each column.
    weights: ValueId,
}

impl Search<'_> {
    /// The chain from a MatMulInteger to reals, if it is one.
    pub(super) fn scaled_product(&self, product: NodeId, taken: impl Fn(NodeId) -> bool) -> Option<Chain> {
        let node = self.graph.node(product);
        let &[_, columns] = self.graph.constant_input(node, 1)?.shape() else {
            return None;
        };
        let (cast, _) = self.only_reader(product)?;
        let is_cast = matches!(&self.graph.node(cast).op, Op::Cast(op) if op.to == DType::F32);
        let (rescale, position) = self.only_reader(cast).filter(|_| is_cast)?;
        let is_product = self.graph.node(rescale).op == Op::Binary(Binary::Mul) && position < 2;
        let scale = self
            .graph
            .node(rescale)
            .input(1 - position)
            .filter(|_| is_product)?;
        let scales = self.scales(scale, columns)?;
        let weights = self.graph.constant_input(node, 1)?;
        let zeros = match node.input(3) {
            None => vec![0],
            Some(zero) => self.graph.constant(zero)?.to_i64().ok()?,
        };
        let fits = scaled_product::is_centred(weights, &zeros) && self.is_single(node.input(2));
        if !fits || [cast, rescale].into_iter().any(&taken) {
            return None;
        }
        let mut chain = Chain {
            nodes: vec![product, cast, rescale],
            scales: Some(scales),
            ..Chain::new(product)
        };
        self.join_bias_and_activation(&mut chain, columns, taken);
        Some(chain)
    }

    /// The factors of a product of one number and constant numbers.
    fn scales(&self, product: ValueId, columns: usize) -> Option<Scales> {
        let producer = self.graph.node(self.producers[product.index()]?);
        if producer.op != Op::Binary(Binary::Mul) {
            return None;
        }
        let (a, b) = (producer.input(0)?, producer.input(1)?);
        let (data, weights) = if self.graph.constant(b).is_some() {
            (a, b)
        } else {
            (b, a)
        };
        let constant = self.graph.constant(weights)?;
        let fits = constant.dtype() == DType::F32
            && (constant.shape() == [columns] || (constant.rank() == 0 && constant.len() == 1));
        let is_data = self.graph.constant(data).is_none() && self.is_single(Some(data));
        (fits && is_data).then_some(Scales { data, weights })
    }

    /// Whether an input is left out or known to be one number, not one for each row.
    fn is_single(&self, value: Option<ValueId>) -> bool {
        let is_scalar = |id| self.graph.value(id).ty.shape().is_some_and(<[_]>::is_empty);
        value.is_none_or(is_scalar)
    }
}

/// The operator of a chain, and what it reads.
pub(super) fn prepare(
    graph: &Graph,
    node: &Node,
    chain: &Chain,
    scales: Scales,
) -> Option<(Box<dyn Operator>, Vec<Option<ValueId>>)> {
    let bias = chain.addend.and_then(|id| graph.constant(id));
    let operator = scaled_product::prepare(
        graph.constant_input(node, 1)?,
        graph.constant(scales.weights)?,
        bias,
        chain.following.activation,
    )?;
    let inputs = vec![
        node.input(0),
        node.input(1),
        node.input(2),
        Some(scales.data),
        Some(scales.weights),
        chain.addend,
    ];
    Some((operator, inputs))
}
