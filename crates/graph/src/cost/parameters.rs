//! Which constants are parameters.

use bantam_tensor::DType;

use crate::{Graph, Node, Op};

/// The number of parameters in input `position`; 0 if it is no constant or none of the parameters.
pub(super) fn of_input(graph: &Graph, node: &Node, position: usize) -> u64 {
    let Some(tensor) = graph.constant_input(node, position) else {
        return 0;
    };
    let is_number = tensor.dtype().is_float() || tensor.dtype().is_integer() && tensor.dtype() != DType::I64;
    if !is_number || !is_parameter(&node.op, position) {
        return 0;
    }
    let stored = u64::try_from(tensor.len()).unwrap_or(u64::MAX);
    match &node.op {
        // Codes are packed in bytes.
        Op::MatMulNBits(op) if position == 1 => {
            let unpacked = op.K.checked_mul(op.N).and_then(|codes| u64::try_from(codes).ok());
            unpacked.unwrap_or(stored)
        }
        Op::GatherBlockQuantized(op) if tensor.dtype() == DType::U8 => {
            let packed = u64::try_from(op.bits)
                .ok()
                .and_then(|bits| 8u64.checked_div(bits));
            stored.saturating_mul(packed.unwrap_or(1))
        }
        _ => stored,
    }
}

/// True for the inputs that hold weights, biases or statistics.
fn is_parameter(op: &Op, position: usize) -> bool {
    match op {
        Op::QLinearConv(_) => matches!(position, 0 | 3 | 8),
        Op::QLinearMatMul(_) | Op::QLinearAdd(_) | Op::QLinearMul(_) => matches!(position, 0 | 3),
        Op::QGemm(_) => matches!(position, 0 | 3 | 6),
        Op::QLinearConcat(_) => position >= 2 && (position - 2).is_multiple_of(3),
        Op::ConvInteger(_) | Op::MatMulInteger(_) => position < 2,
        Op::MatMulNBits(_) => matches!(position, 0 | 1 | 5),
        Op::MatMulIntegerToFloat(_) => matches!(position, 0 | 1 | 6),
        Op::DynamicQuantizeMatMul(_) => matches!(position, 0 | 1 | 4),
        Op::Lstm(_) => position != 4,
        Op::Gru(_) | Op::Rnn(_) => position != 4,
        Op::Clip(_) | Op::Resize(_) | Op::Pad(_) | Op::Dropout(_) | Op::TopK(_) | Op::OneHot(_) => {
            position == 0
        }
        Op::QuantizeLinear(_) | Op::DequantizeLinear(_) => position == 0,
        Op::MsQuantizeLinear(_) | Op::MsDequantizeLinear(_) => position == 0,
        Op::QLinearSigmoid(_) | Op::QLinearLeakyRelu(_) | Op::QLinearSoftmax(_) => position == 0,
        Op::GatherBlockQuantized(_) => position == 0,
        Op::QLinearAveragePool(_) | Op::QLinearGlobalAveragePool(_) => position == 0,
        Op::Slice(_) | Op::Gather(_) | Op::GatherElements(_) | Op::GatherNd(_) | Op::Reshape(_) => {
            position == 0
        }
        Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Expand(_) | Op::Tile(_) | Op::Split(_) => position == 0,
        Op::Reduce(_) | Op::CumSum(_) | Op::CumProd(_) | Op::Trilu(_) | Op::Compress(_) => position == 0,
        Op::Range(_) | Op::NonMaxSuppression(_) | Op::ConstantOfShape(_) => false,
        _ => true,
    }
}
