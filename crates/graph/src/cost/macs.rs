//! Multiply-accumulates and element operations.

use super::Shapes;
use crate::Op;
use crate::ops::Unary;

fn product(sizes: &[u64]) -> Option<u64> {
    sizes
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(size))
}

/// Multiply-accumulates of a node; 0 for ops that are no products, `None` where sizes are not known.
pub(super) fn macs(shapes: &Shapes<'_>) -> Option<u64> {
    match &shapes.node.op {
        Op::Conv(_) | Op::FusedConv(_) | Op::ConvInteger(_) | Op::DeformConv(_) => convolution(shapes, 1),
        Op::QLinearConv(_) => convolution(shapes, 3),
        Op::ConvInputGradient(_) => {
            let (dy, weight) = (shapes.input(0)?, shapes.input(1)?);
            product(&dy)?.checked_mul(product(weight.get(1..)?)?)
        }
        Op::ConvWeightGradient(_) => {
            let (dy, weight) = (shapes.input(0)?, shapes.output(0)?);
            product(&dy)?.checked_mul(product(weight.get(1..)?)?)
        }
        Op::ConvTranspose(_) => {
            let (x, weight) = (shapes.input(0)?, shapes.input(1)?);
            product(&x)?.checked_mul(product(weight.get(1..)?)?)
        }
        Op::MatMul(_) | Op::MatMulInteger(_) | Op::QLinearMatMul(_) => matmul(shapes),
        Op::MatMulIntegerToFloat(_) | Op::DynamicQuantizeMatMul(_) | Op::MatMulNBits(_) => matmul(shapes),
        Op::Gemm(op) => gemm(shapes, op.transA),
        Op::FusedGemm(op) => gemm(shapes, op.transA),
        Op::QGemm(op) => gemm(shapes, op.transA),
        Op::FusedMatMul(op) => fused_matmul(shapes, op),
        Op::Einsum(op) => einsum(shapes, &op.equation),
        Op::Lstm(_) => cell(shapes),
        Op::Gru(_) | Op::Rnn(_) => cell(shapes),
        Op::Attention(_) => attention(shapes),
        // Forward once more, and twice as much back.
        Op::RecurrentGradient(_) => cell(shapes)?.checked_mul(3),
        Op::AttentionGradient(_) => attention_gradient(shapes),
        _ => Some(0),
    }
}

/// Scores again, their gradient, and the gradients of q, k and v.
fn attention_gradient(shapes: &Shapes<'_>) -> Option<u64> {
    let (q, k, dy) = (shapes.input(0)?, shapes.input(1)?, shapes.input(7)?);
    let keys = *k.get(k.len().checked_sub(2)?)?;
    let (by_width, by_value) = (product(&q)?.checked_mul(3)?, product(&dy)?.checked_mul(2)?);
    by_width.checked_add(by_value)?.checked_mul(keys)
}

/// Each output element sums over the input channels of its group and the kernel.
fn convolution(shapes: &Shapes<'_>, weight: usize) -> Option<u64> {
    let (output, weight) = (shapes.output(0)?, shapes.input(weight)?);
    product(&output)?.checked_mul(product(weight.get(1..)?)?)
}

/// Each output element sums over the last dimension of the first input.
fn matmul(shapes: &Shapes<'_>) -> Option<u64> {
    let inner = *shapes.input(0)?.last()?;
    product(&shapes.output(0)?)?.checked_mul(inner)
}

fn gemm(shapes: &Shapes<'_>, transpose_a: bool) -> Option<u64> {
    let inner = *shapes.input(0)?.get(usize::from(!transpose_a))?;
    product(&shapes.output(0)?)?.checked_mul(inner)
}

fn fused_matmul(shapes: &Shapes<'_>, op: &crate::ops::FusedMatMul) -> Option<u64> {
    let a = shapes.input(0)?;
    // The transpose leaves the rows last; a moved batch has them first.
    let inner = match (op.transA, op.transBatchA, a.as_slice()) {
        (false, _, [.., inner]) | (true, true, [inner, ..]) | (true, false, [.., inner, _] | [inner]) => {
            *inner
        }
        _ => return None,
    };
    product(&shapes.output(0)?)?.checked_mul(inner)
}

/// The product of the sizes of all letters, once for each further factor.
fn einsum(shapes: &Shapes<'_>, equation: &str) -> Option<u64> {
    let terms = equation
        .split("->")
        .next()?
        .split(',')
        .map(|term| term.replace([' ', '.'], ""));
    let mut sizes = std::collections::BTreeMap::new();
    let mut broadcast = 1;
    let mut factors = 0u64;
    for (position, term) in terms.enumerate() {
        let shape = shapes.input(position)?;
        let rest = shape.len().checked_sub(term.len())?;
        // The dimensions of an ellipsis, which nearly always comes first.
        broadcast = product(&shape[..rest])?.max(broadcast);
        for (letter, &size) in term.chars().zip(&shape[rest..]) {
            let known = sizes.entry(letter).or_insert(size);
            *known = size.max(*known);
        }
        factors = position as u64;
    }
    let letters: Vec<u64> = sizes.into_values().collect();
    product(&letters)?.checked_mul(broadcast)?.checked_mul(factors)
}

/// Each step multiplies its input and the last hidden state with the weights.
fn cell(shapes: &Shapes<'_>) -> Option<u64> {
    let x = shapes.input(0)?;
    let steps = product(x.get(..2)?)?;
    let weights = product(&shapes.input(1)?)?.checked_add(product(&shapes.input(2)?)?)?;
    steps.checked_mul(weights)
}

/// q times k, and the result times v: output 0 holds the columns of v, and each of its rows meets every position.
fn attention(shapes: &Shapes<'_>) -> Option<u64> {
    let (q, k, y) = (shapes.input(0)?, shapes.input(1)?, shapes.output(0)?);
    let new = *k.get(k.len().checked_sub(2)?)?;
    let past = match shapes.node.input(4) {
        Some(_) => *shapes.input(4)?.get(2)?,
        None => 0,
    };
    product(&q)?
        .checked_add(product(&y)?)?
        .checked_mul(new.checked_add(past)?)
}

/// Element operations of a node; 0 for products and for ops that only move data, `None` where sizes are not known.
pub(super) fn operations(shapes: &Shapes<'_>) -> Option<u64> {
    match &shapes.node.op {
        Op::Unary(Unary::Identity) => Some(0),
        Op::AveragePool(op) => windows(shapes, &op.kernel_shape),
        Op::MaxPool(op) => windows(shapes, &op.kernel_shape),
        Op::LpPool(op) => windows(shapes, &op.kernel_shape),
        Op::QLinearAveragePool(op) => windows(shapes, &op.kernel_shape),
        Op::Reduce(_)
        | Op::ArgReduce(_)
        | Op::GlobalAveragePool(_)
        | Op::GlobalMaxPool(_)
        | Op::GlobalLpPool(_)
        | Op::QLinearGlobalAveragePool(_)
        | Op::TopK(_)
        | Op::SumTo(_) => product(&shapes.input(0)?),
        Op::MaxPoolGradient(op) => spread(shapes, &op.kernel_shape),
        Op::AveragePoolGradient(op) => spread(shapes, &op.kernel_shape),
        Op::Variadic(_) => {
            let each = u64::try_from(shapes.node.inputs.len()).ok()?.saturating_sub(1);
            product(&shapes.output(0)?)?.checked_mul(each)
        }
        op if is_elementwise(op) => product(&shapes.output(0)?),
        _ => Some(0),
    }
}

/// Every output element of a pool reads one window.
fn windows(shapes: &Shapes<'_>, kernel: &[i64]) -> Option<u64> {
    let window: Option<Vec<u64>> = kernel.iter().map(|&size| u64::try_from(size).ok()).collect();
    product(&shapes.output(0)?)?.checked_mul(product(&window?)?)
}

/// Every element of a pool's gradient goes to one window.
fn spread(shapes: &Shapes<'_>, kernel: &[i64]) -> Option<u64> {
    let window: Option<Vec<u64>> = kernel.iter().map(|&size| u64::try_from(size).ok()).collect();
    product(&shapes.input(0)?)?.checked_mul(product(&window?)?)
}

/// Ops that compute one output element from few input elements, and normalizations.
fn is_elementwise(op: &Op) -> bool {
    let activation = matches!(
        op,
        Op::Unary(_)
            | Op::Binary(_)
            | Op::Elu(_)
            | Op::Selu(_)
            | Op::Celu(_)
            | Op::LeakyRelu(_)
            | Op::HardSigmoid(_)
            | Op::ThresholdedRelu(_)
            | Op::Shrink(_)
            | Op::Gelu(_)
            | Op::Swish(_)
            | Op::IsInf(_)
            | Op::BitShift(_)
            | Op::Mod(_)
            | Op::Clip(_)
            | Op::Where(_)
            | Op::Cast(_)
            | Op::CastLike(_)
            | Op::MsGelu(_)
            | Op::BiasGelu(_)
            | Op::FastGelu(_)
            | Op::QuickGelu(_)
    );
    let normalization = matches!(
        op,
        Op::BatchNormalization(_)
            | Op::InstanceNormalization(_)
            | Op::GroupNormalization(_)
            | Op::LayerNormalization(_)
            | Op::RmsNormalization(_)
            | Op::SimplifiedLayerNormalization(_)
            | Op::SkipLayerNormalization(_)
            | Op::SkipSimplifiedLayerNormalization(_)
            | Op::Lrn(_)
            | Op::LpNormalization(_)
            | Op::MeanVarianceNormalization(_)
            | Op::Softmax(_)
            | Op::LogSoftmax(_)
            | Op::Hardmax(_)
    );
    let quantization = matches!(
        op,
        Op::QuantizeLinear(_)
            | Op::DequantizeLinear(_)
            | Op::DynamicQuantizeLinear(_)
            | Op::MsQuantizeLinear(_)
            | Op::MsDequantizeLinear(_)
            | Op::QLinearAdd(_)
            | Op::QLinearMul(_)
            | Op::QLinearSigmoid(_)
            | Op::QLinearLeakyRelu(_)
            | Op::QLinearSoftmax(_)
    );
    let other = matches!(
        op,
        Op::CumSum(_)
            | Op::CumProd(_)
            | Op::Resize(_)
            | Op::GridSample(_)
            | Op::RotaryEmbedding(_)
            | Op::RoiAlign(_)
            | Op::MaxRoiPool(_)
    );
    let training = matches!(
        op,
        Op::ActivationGradient(_)
            | Op::ClipGradient(_)
            | Op::BatchNormalizationTraining(_)
            | Op::BatchNormalizationGradient(_)
            | Op::LayerNormalizationGradient(_)
            | Op::GroupNormalizationGradient(_)
            | Op::LrnGradient(_)
            | Op::SoftmaxGradient(_)
            | Op::LogSoftmaxGradient(_)
            | Op::SoftmaxCrossEntropyGradient(_)
            | Op::ResizeGradient(_)
            | Op::DropoutTraining(_)
            | Op::FakeQuant(_)
            | Op::FakeQuantGradient(_)
            | Op::FakeSign(_)
            | Op::FakeSignGradient(_)
    );
    activation || normalization || quantization || other || training
}
