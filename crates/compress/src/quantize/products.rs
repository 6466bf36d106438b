//! Convolutions and matrix products: where they have their constants.

use bantam_graph::{Graph, Node, Op};

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

/// Number of input channels of a product with a constant weight.
pub(super) fn input_channels(graph: &Graph, node: &Node) -> Option<usize> {
    let shape = graph.constant_input(node, 1)?.shape();
    match &node.op {
        Op::Conv(conv) => shape.get(1)?.checked_mul(usize::try_from(conv.group).ok()?),
        Op::ConvTranspose(_) => shape.first().copied(),
        Op::Gemm(gemm) if !gemm.transA => shape.get(usize::from(gemm.transB)).copied(),
        _ => None,
    }
}
