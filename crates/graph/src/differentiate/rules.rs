//! Which op has which rule.

use super::error::Problem;
use super::normalization::Skip;
use super::tape::{Site, Tape};
use super::{
    attention, convolution, elementwise, indexing, loss, movement, normalization, own, pooling, product,
    recurrent, reduce,
};
use crate::Op;
use crate::ops::{ActivationFunction, Binary};

/// What happens to a gradient that arrives at a node.
pub(super) enum Rule<'a> {
    /// The op passes none: its outputs are no continuous functions of its inputs, or constant between jumps.
    Stops,
    /// Nodes are emitted that pass it on.
    Emits(Box<dyn Fn(&mut Tape, &Site) -> Result<(), Problem> + 'a>),
    /// There is a gradient, but not here; the reason.
    Missing(&'static str),
}

/// How an op stands to gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differentiability {
    /// [`crate::differentiate()`] passes gradients through it.
    Passes,
    /// It has no gradient; what comes before it does not change the loss continuously.
    Stops,
    /// Its gradient is not written: an error, if the gradient has to pass.
    Missing,
}

/// How an op stands to gradients.
pub fn differentiability(op: &Op) -> Differentiability {
    match rule(op) {
        Rule::Stops => Differentiability::Stops,
        Rule::Emits(_) => Differentiability::Passes,
        Rule::Missing(_) => Differentiability::Missing,
    }
}

fn emits<'a>(emit: impl Fn(&mut Tape, &Site) -> Result<(), Problem> + 'a) -> Rule<'a> {
    Rule::Emits(Box::new(emit))
}

const CONTROL_FLOW: &str = "gradients do not pass control flow";
const QUANTIZED: &str = "it computes with codes";
const RARE: &str = "its gradient is not written";
const SECOND: &str = "it is part of a gradient, and second derivatives are not taken";

/// The rule of an op.
#[rustfmt::skip]
pub(super) fn rule(op: &Op) -> Rule<'_> {
    match op {
        Op::Unary(op) if elementwise::stops(*op) => Rule::Stops,
        Op::Unary(op) => emits(|t, s| elementwise::unary(t, s, *op)),
        Op::Binary(op) => binary(*op),
        Op::Variadic(op) => emits(|t, s| elementwise::variadic(t, s, *op)),
        Op::Elu(_) | Op::Selu(_) | Op::Celu(_) | Op::LeakyRelu(_) | Op::HardSigmoid(_) => emits(elementwise::parametric),
        Op::ThresholdedRelu(_) | Op::Shrink(_) | Op::Gelu(_) | Op::Swish(_) => emits(elementwise::parametric),
        Op::MsGelu(_) | Op::QuickGelu(_) => emits(elementwise::parametric),
        Op::BiasGelu(_) => emits(|t, s| elementwise::biased_gelu(t, s, ActivationFunction::Gelu)),
        Op::FastGelu(_) => emits(|t, s| elementwise::biased_gelu(t, s, ActivationFunction::GeluTanh)),
        Op::Clip(_) => emits(elementwise::clip),
        Op::Where(_) => emits(elementwise::choose),
        Op::Mod(_) => emits(elementwise::modulo),
        Op::Cast(_) | Op::CastLike(_) => emits(elementwise::conversion),
        Op::Dropout(_) => emits(own::dropout),

        Op::Conv(op) => emits(|t, s| convolution::conv(t, s, op)),
        Op::ConvTranspose(op) => emits(|t, s| convolution::conv_transpose(t, s, op)),
        Op::MatMul(_) => emits(product::matmul),
        Op::FusedMatMul(op) => emits(|t, s| product::fused_matmul(t, s, op)),
        Op::Gemm(op) => emits(|t, s| product::gemm(t, s, op)),
        Op::Einsum(op) => emits(|t, s| product::einsum(t, s, op)),

        Op::MaxPool(op) => emits(|t, s| pooling::max_pool(t, s, op)),
        Op::AveragePool(op) => emits(|t, s| pooling::average_pool(t, s, op)),
        Op::LpPool(op) => emits(|t, s| pooling::lp_pool(t, s, op)),
        Op::GlobalAveragePool(_) => emits(pooling::global_average),
        Op::GlobalMaxPool(_) => emits(pooling::global_max),
        Op::GlobalLpPool(op) => emits(|t, s| pooling::global_norm(t, s, op.p)),

        Op::BatchNormalization(op) => emits(|t, s| normalization::batch(t, s, op)),
        Op::InstanceNormalization(op) => emits(|t, s| normalization::groups(t, s, 0, op.epsilon)),
        Op::GroupNormalization(op) => emits(|t, s| normalization::groups(t, s, op.num_groups, op.epsilon)),
        Op::LayerNormalization(op) => emits(|t, s| normalization::rows(t, s, op.axis, op.epsilon, false)),
        Op::RmsNormalization(op) => emits(|t, s| normalization::rows(t, s, op.axis, op.epsilon, true)),
        Op::SimplifiedLayerNormalization(op) => emits(|t, s| normalization::rows(t, s, op.axis, op.epsilon, true)),
        Op::SkipLayerNormalization(op) => emits(|t, s| {
            normalization::skip(t, s, &Skip { root_mean_square: false, beta: Some(3), bias: 4, epsilon: op.epsilon })
        }),
        Op::SkipSimplifiedLayerNormalization(op) => emits(|t, s| {
            normalization::skip(t, s, &Skip { root_mean_square: true, beta: None, bias: 3, epsilon: op.epsilon })
        }),
        Op::Lrn(op) => emits(|t, s| normalization::local_response(t, s, op)),
        Op::LpNormalization(op) => emits(|t, s| normalization::lp(t, s, op)),
        Op::MeanVarianceNormalization(op) => emits(|t, s| normalization::mean_variance(t, s, op)),
        Op::Softmax(op) => emits(|t, s| loss::softmax(t, s, op.axis)),
        Op::LogSoftmax(op) => emits(|t, s| loss::log_softmax(t, s, op.axis)),
        Op::SoftmaxCrossEntropyLoss(op) => emits(|t, s| loss::cross_entropy(t, s, op)),
        Op::NegativeLogLikelihoodLoss(op) => emits(|t, s| loss::log_likelihood(t, s, op)),

        Op::Attention(op) => emits(|t, s| attention::attention(t, s, op)),
        Op::Lstm(op) => emits(|t, s| recurrent::lstm(t, s, op)),
        Op::Gru(op) => emits(|t, s| recurrent::gru(t, s, op)),
        Op::Rnn(op) => emits(|t, s| recurrent::plain(t, s, op)),
        Op::RotaryEmbedding(op) => emits(|t, s| attention::rotary(t, s, op)),

        Op::Reduce(op) => emits(|t, s| reduce::reduce(t, s, op)),
        Op::CumSum(op) => emits(|t, s| reduce::running_sum(t, s, op)),
        Op::CumProd(op) => emits(|t, s| reduce::running_product(t, s, op)),
        Op::TopK(op) => emits(|t, s| indexing::top_k(t, s, op)),

        Op::Concat(op) => emits(|t, s| movement::concat(t, s, op)),
        Op::Split(op) => emits(|t, s| movement::split(t, s, op)),
        Op::Slice(_) => emits(movement::slice),
        Op::Pad(op) => emits(|t, s| movement::pad(t, s, op)),
        Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => emits(movement::reshaped),
        Op::Transpose(op) => emits(|t, s| movement::transpose(t, s, op)),
        Op::Expand(_) => emits(movement::expand),
        Op::Tile(_) => emits(movement::tile),
        Op::DepthToSpace(op) => emits(|t, s| movement::depth_to_space(t, s, op)),
        Op::SpaceToDepth(op) => emits(|t, s| movement::space_to_depth(t, s, op)),
        Op::Trilu(op) => emits(|t, s| movement::triangle(t, s, op)),
        Op::ReverseSequence(op) => emits(|t, s| movement::reverse_sequence(t, s, op)),
        Op::Resize(op) => emits(|t, s| movement::resize(t, s, op)),
        Op::Gather(op) => emits(|t, s| indexing::gather(t, s, op)),
        Op::GatherElements(op) => emits(|t, s| indexing::gather_elements(t, s, op)),
        Op::GatherNd(op) => emits(|t, s| indexing::gather_nd(t, s, op)),
        Op::ScatterElements(op) => emits(|t, s| indexing::scatter_elements(t, s, op)),
        Op::ScatterNd(op) => emits(|t, s| indexing::scatter_nd(t, s, op)),

        Op::BatchNormalizationTraining(_) => emits(normalization::batch_training),
        Op::DropoutTraining(op) => emits(|t, s| own::dropout_training(t, s, op)),
        Op::FakeQuant(op) => emits(|t, s| own::fake_quant(t, s, op)),
        Op::FakeSign(op) => emits(|t, s| own::fake_sign(t, s, op)),

        Op::IsInf(_) | Op::BitShift(_) | Op::BitCast(_) | Op::ArgReduce(_) | Op::Hardmax(_) => Rule::Stops,
        Op::Shape(_) | Op::Size(_) | Op::ConstantOfShape(_) | Op::NonZero(_) | Op::EyeLike(_) => Rule::Stops,
        Op::Unique(_) | Op::NonMaxSuppression(_) => Rule::Stops,

        Op::If(_) | Op::Loop(_) | Op::Scan(_) => Rule::Missing(CONTROL_FLOW),
        Op::Custom(_) => Rule::Missing("Bantam does not know the op"),

        Op::QuantizeLinear(_) | Op::DequantizeLinear(_) | Op::DynamicQuantizeLinear(_) => Rule::Missing(QUANTIZED),
        Op::MsQuantizeLinear(_) | Op::MsDequantizeLinear(_) | Op::QLinearAdd(_) | Op::QLinearMul(_) => Rule::Missing(QUANTIZED),
        Op::QLinearSigmoid(_) | Op::QLinearLeakyRelu(_) | Op::QLinearSoftmax(_) => Rule::Missing(QUANTIZED),
        Op::QLinearGlobalAveragePool(_) | Op::QLinearAveragePool(_) | Op::QLinearConcat(_) => Rule::Missing(QUANTIZED),
        Op::QGemm(_) | Op::MatMulNBits(_) | Op::MatMulIntegerToFloat(_) | Op::DynamicQuantizeMatMul(_) => Rule::Missing(QUANTIZED),
        Op::GatherBlockQuantized(_) => Rule::Missing(QUANTIZED),
        Op::ConvInteger(_) | Op::QLinearConv(_) | Op::MatMulInteger(_) | Op::QLinearMatMul(_) => Rule::Missing(QUANTIZED),

        Op::DeformConv(_) | Op::Det(_) | Op::MaxUnpool(_) | Op::MaxRoiPool(_) | Op::RoiAlign(_) => Rule::Missing(RARE),
        Op::TensorScatter(_) | Op::Range(_) | Op::OneHot(_) | Op::Compress(_) | Op::GridSample(_) => Rule::Missing(RARE),
        Op::AffineGrid(_) | Op::Col2Im(_) | Op::CenterCropPad(_) => Rule::Missing(RARE),
        Op::FusedConv(_) | Op::FusedGemm(_) => Rule::Missing("it is a fused form; use the ops that it was made of"),

        Op::SumTo(_) | Op::ActivationGradient(_) | Op::ClipGradient(_) => Rule::Missing(SECOND),
        Op::ConvInputGradient(_) | Op::ConvWeightGradient(_) => Rule::Missing(SECOND),
        Op::MaxPoolGradient(_) | Op::AveragePoolGradient(_) | Op::BatchNormalizationGradient(_) => Rule::Missing(SECOND),
        Op::LayerNormalizationGradient(_) | Op::GroupNormalizationGradient(_) | Op::LrnGradient(_) => Rule::Missing(SECOND),
        Op::SoftmaxGradient(_) | Op::LogSoftmaxGradient(_) => Rule::Missing(SECOND),
        Op::SoftmaxCrossEntropyGradient(_) | Op::NegativeLogLikelihoodGradient(_) => Rule::Missing(SECOND),
        Op::GatherGradient(_) | Op::GatherNdGradient(_) | Op::SliceGradient(_) | Op::PadGradient(_) => Rule::Missing(SECOND),
        Op::ResizeGradient(_) | Op::AttentionGradient(_) | Op::RecurrentGradient(_) | Op::FakeQuantGradient(_) => Rule::Missing(SECOND),
        Op::FakeSignGradient(_) => Rule::Missing(SECOND),
    }
}

fn binary(op: Binary) -> Rule<'static> {
    match op {
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Pow | Binary::PRelu => {
            emits(move |tape, site| elementwise::binary(tape, site, op))
        }
        Binary::And | Binary::Or | Binary::Xor => Rule::Stops,
        Binary::BitwiseAnd | Binary::BitwiseOr | Binary::BitwiseXor => Rule::Stops,
        Binary::Equal | Binary::Greater | Binary::GreaterOrEqual | Binary::Less | Binary::LessOrEqual => {
            Rule::Stops
        }
    }
}
