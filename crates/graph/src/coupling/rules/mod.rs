//! What each op lets go together. Every op is listed, without a catch-all.

mod attention;
mod convolution;
mod movement;
mod normalization;
mod product;
mod recurrent;
mod reshape;

use super::site::{Done, Site};
use crate::Op;

const UNKNOWN: &str = "shapes that it depends on are not known";
const MIXES: &str = "it mixes what lies along this axis";

/// Tells the site what goes together at its node.
pub(super) fn couple(site: &mut Site<'_>, shape_only: &[bool]) {
    let node = site.node;
    if !node.op.subgraphs().is_empty() {
        return site.lock_all("it has graphs of its own");
    }
    if rule(site, &node.op, shape_only).is_none() {
        site.lock_all(UNKNOWN);
    }
}

fn locked(site: &mut Site<'_>, why: &str) -> Done {
    site.lock_all(why);
    Some(())
}

/// Inputs are broadcast to each output.
fn elementwise(site: &mut Site<'_>) -> Done {
    let node = site.node;
    for output in node.outputs.iter().flatten() {
        for input in node.inputs.iter().flatten() {
            site.broadcast(*input, *output)?;
        }
    }
    Some(())
}

/// The first input and every output have the same axes.
fn unchanged(site: &mut Site<'_>) -> Done {
    let (x, node) = (site.input(0)?, site.node);
    node.outputs
        .iter()
        .flatten()
        .try_for_each(|output| site.join(x, *output))
}

/// As [`unchanged`], but an axis is looked at as a whole.
fn along(site: &mut Site<'_>, axis: i64) -> Done {
    let x = site.input(0)?;
    let axis = site.axis(x, axis)?;
    unchanged(site)?;
    site.lock((x, axis), MIXES);
    Some(())
}

const QUANTIZED: &str = "it computes with codes: prune before quantizing";
const DATA: &str = "what it gives depends on the data";
const OWN: &str = "it is of training";

#[rustfmt::skip]
fn rule(site: &mut Site<'_>, op: &Op, shape_only: &[bool]) -> Done {
    match op {
        Op::Unary(_) | Op::Binary(_) | Op::Variadic(_) => elementwise(site),
        Op::Elu(_) | Op::Selu(_) | Op::Celu(_) | Op::LeakyRelu(_) | Op::HardSigmoid(_) => elementwise(site),
        Op::ThresholdedRelu(_) | Op::Shrink(_) | Op::Gelu(_) | Op::Swish(_) | Op::IsInf(_) => elementwise(site),
        Op::MsGelu(_) | Op::QuickGelu(_) | Op::BiasGelu(_) | Op::FastGelu(_) => elementwise(site),
        Op::BitShift(_) | Op::Mod(_) | Op::Clip(_) | Op::Where(_) | Op::Cast(_) | Op::BitCast(_) => elementwise(site),
        Op::CastLike(_) | Op::Dropout(_) => unchanged(site),

        Op::Conv(op) => convolution::conv(site, op.group),
        Op::FusedConv(op) => convolution::conv(site, op.group),
        Op::ConvTranspose(op) => convolution::conv_transpose(site, op.group),
        Op::MatMul(_) => product::matmul(site, false, false),
        Op::FusedMatMul(op) if !op.transBatchA && !op.transBatchB => product::matmul(site, op.transA, op.transB),
        Op::Gemm(op) => product::gemm(site, op.transA, op.transB),
        Op::FusedGemm(op) => product::gemm(site, op.transA, op.transB),
        Op::FusedMatMul(_) | Op::Einsum(_) | Op::DeformConv(_) | Op::Det(_) => locked(site, "its axes are not followed"),

        Op::AveragePool(_) | Op::LpPool(_) | Op::MaxPool(_) => convolution::pool(site),
        Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) | Op::GlobalLpPool(_) => convolution::pool(site),

        Op::BatchNormalization(_) => normalization::per_channel(site),
        Op::InstanceNormalization(_) => normalization::per_channel(site),
        Op::GroupNormalization(_) | Op::Lrn(_) => along(site, 1),
        Op::LayerNormalization(op) => normalization::rows(site, op.axis),
        Op::RmsNormalization(op) => normalization::rows(site, op.axis),
        Op::SimplifiedLayerNormalization(op) => normalization::rows(site, op.axis),
        Op::SkipLayerNormalization(_) | Op::SkipSimplifiedLayerNormalization(_) => normalization::skip(site),
        Op::LpNormalization(op) => along(site, op.axis),
        Op::MeanVarianceNormalization(op) => op.axes.iter().try_for_each(|axis| along(site, *axis)),
        Op::Softmax(op) => along(site, op.axis),
        Op::LogSoftmax(op) => along(site, op.axis),
        Op::Hardmax(op) => along(site, op.axis),

        Op::Reduce(op) => normalization::reduce(site, op),
        Op::ArgReduce(op) => normalization::arg_reduce(site, op),
        Op::TopK(op) => movement::top_k(site, op.axis),
        Op::CumSum(_) | Op::CumProd(_) => movement::running(site),

        Op::Concat(op) => movement::concat(site, op.axis),
        Op::Split(op) => movement::split(site, op.axis),
        Op::Slice(_) => movement::slice(site),
        Op::Pad(op) => movement::pad(site, op.mode),
        Op::Gather(op) => movement::gather(site, op.axis),
        Op::Transpose(op) => movement::transpose(site, op.perm.as_deref()),
        Op::Expand(_) => site.broadcast(site.input(0)?, site.output()?),
        Op::Tile(_) => movement::tile(site),
        Op::Resize(_) | Op::GridSample(_) => convolution::pool(site),
        Op::DepthToSpace(op) => movement::depth_to_space(site, op.mode),
        Op::SpaceToDepth(op) => movement::space_to_depth(site, op.mode),
        Op::Trilu(_) => movement::triangle(site),
        Op::Reshape(_) => reshape::reshape(site),
        Op::Flatten(_) => reshape::flatten(site),
        Op::Squeeze(_) => reshape::squeeze(site, false),
        Op::Unsqueeze(_) => reshape::squeeze(site, true),
        Op::Shape(_) => match shape_only[site.output()?.index()] {
            true => Some(()),
            false => locked(site, "the model computes with its sizes"),
        },

        Op::Lstm(op) => recurrent::cell(site, 4, op.hidden_size),
        Op::Gru(op) => recurrent::cell(site, 3, op.hidden_size),
        Op::Rnn(op) => recurrent::cell(site, 1, op.hidden_size),
        Op::Attention(op) => attention::attention(site, op),
        Op::RotaryEmbedding(op) => attention::rotary(site, op.num_heads),

        Op::QuantizeLinear(op) => normalization::quantization(site, op.axis, op.block_size),
        Op::DequantizeLinear(op) => normalization::quantization(site, op.axis, op.block_size),
        Op::MsQuantizeLinear(op) => normalization::quantization(site, op.axis, op.block_size),
        Op::MsDequantizeLinear(op) => normalization::quantization(site, op.axis, op.block_size),
        Op::DynamicQuantizeLinear(_) | Op::QLinearAdd(_) | Op::QLinearMul(_) => locked(site, QUANTIZED),
        Op::QLinearSigmoid(_) | Op::QLinearLeakyRelu(_) | Op::QLinearSoftmax(_) => locked(site, QUANTIZED),
        Op::QLinearGlobalAveragePool(_) | Op::QLinearAveragePool(_) | Op::QLinearConcat(_) => locked(site, QUANTIZED),
        Op::QGemm(_) | Op::MatMulNBits(_) | Op::MatMulIntegerToFloat(_) => locked(site, QUANTIZED),
        Op::GatherBlockQuantized(_) => locked(site, QUANTIZED),
        Op::DynamicQuantizeMatMul(_) | Op::ConvInteger(_) | Op::QLinearConv(_) => locked(site, QUANTIZED),
        Op::MatMulInteger(_) | Op::QLinearMatMul(_) => locked(site, QUANTIZED),

        Op::MaxUnpool(_) | Op::MaxRoiPool(_) | Op::RoiAlign(_) | Op::GatherElements(_) => locked(site, DATA),
        Op::GatherNd(_) | Op::ScatterElements(_) | Op::ScatterNd(_) | Op::TensorScatter(_) => locked(site, DATA),
        Op::Size(_) | Op::ConstantOfShape(_) | Op::Range(_) | Op::OneHot(_) | Op::NonZero(_) => locked(site, DATA),
        Op::EyeLike(_) | Op::ReverseSequence(_) | Op::Compress(_) | Op::AffineGrid(_) => locked(site, DATA),
        Op::Col2Im(_) | Op::CenterCropPad(_) | Op::Unique(_) | Op::NonMaxSuppression(_) => locked(site, DATA),
        Op::NegativeLogLikelihoodLoss(_) | Op::SoftmaxCrossEntropyLoss(_) => locked(site, "it is a loss"),
        Op::If(_) | Op::Loop(_) | Op::Scan(_) => locked(site, "it has graphs of its own"),
        Op::Custom(_) => locked(site, "Bantam does not know the op"),

        Op::SumTo(_) | Op::ActivationGradient(_) | Op::ClipGradient(_) | Op::ConvInputGradient(_) => locked(site, OWN),
        Op::ConvWeightGradient(_) | Op::MaxPoolGradient(_) | Op::AveragePoolGradient(_) => locked(site, OWN),
        Op::BatchNormalizationTraining(_) | Op::BatchNormalizationGradient(_) => locked(site, OWN),
        Op::LayerNormalizationGradient(_) | Op::GroupNormalizationGradient(_) | Op::LrnGradient(_) => locked(site, OWN),
        Op::SoftmaxGradient(_) | Op::LogSoftmaxGradient(_) | Op::SoftmaxCrossEntropyGradient(_) => locked(site, OWN),
        Op::NegativeLogLikelihoodGradient(_) | Op::GatherGradient(_) | Op::GatherNdGradient(_) => locked(site, OWN),
        Op::SliceGradient(_) | Op::PadGradient(_) | Op::ResizeGradient(_) | Op::AttentionGradient(_) => locked(site, OWN),
        Op::RecurrentGradient(_) | Op::DropoutTraining(_) | Op::FakeQuant(_) => locked(site, OWN),
        Op::FakeQuantGradient(_) | Op::FakeSign(_) | Op::FakeSignGradient(_) => locked(site, OWN),
    }
}
