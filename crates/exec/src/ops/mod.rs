//! The operators, by family.

mod attention;
mod axes;
mod boxes;
mod broadcast;
mod columns;
mod control;
pub(crate) mod convolution;
mod deformable;
mod determinant;
mod dispatch;
mod einsum;
mod elementwise;
mod floats;
mod fused_activation;
mod gelu;
pub(crate) mod gradient;
#[cfg(test)]
mod hostile;
mod layer_norm;
mod losses;
mod matmul;
mod movement;
pub(crate) mod normalization;
pub(crate) mod packed_product;
mod pooling;
mod quantization;
mod recurrent;
mod reduction;
mod regions;
mod resize;
mod rotary;
mod sampling;
pub(crate) mod scaled_product;
mod softmax;
#[cfg(test)]
mod testing;
mod units;
mod windows;

use bantam_graph::Op;
use bantam_graph::ops::{Gelu, GeluApproximation, Swish};
use bantam_kernels::softmax::SoftmaxKind;

use crate::inputs::Inputs;
use crate::operator::{Operator, Outputs, Site};
use crate::{CompileError, Context, OpError};

/// Operators that are prepared for the constants among their inputs; `None` for those that need none.
pub(crate) fn prepare(site: &Site<'_>) -> Result<Option<Box<dyn Operator>>, CompileError> {
    let fail = |source| CompileError::Node {
        node: site.graph.describe(site.node),
        source,
    };
    match &site.node.op {
        Op::If(op) => control::branch(op, site).map(Some),
        Op::Loop(op) => control::repeat(op, site).map(Some),
        Op::Scan(op) => control::scan(op, site).map(Some),
        Op::ConvInteger(op) => quantization::integer_convolution(op, site)
            .map(Some)
            .map_err(fail),
        Op::QLinearConv(op) => quantization::quantized_convolution(op, site)
            .map(Some)
            .map_err(fail),
        Op::MatMulInteger(_) | Op::QLinearMatMul(_) | Op::QGemm(_) => {
            quantization::product(site).map_err(fail)
        }
        Op::MatMulIntegerToFloat(_) | Op::DynamicQuantizeMatMul(_) => {
            quantization::product(site).map_err(fail)
        }
        Op::MatMul(_) => {
            let packed = site
                .constant(1)
                .and_then(|matrix| packed_product::prepare(matrix, None, None));
            Ok(packed)
        }
        _ if site.channels_last
            && let Some(operator) = channels_last(&site.node.op) =>
        {
            Ok(Some(operator))
        }
        Op::Conv(op) => Ok(Some(convolution::prepare(
            site,
            op,
            convolution::Following::NOTHING,
        ))),
        _ => Ok(None),
    }
}

/// Operators that are told by their kind that the channels are last.
fn channels_last(op: &Op) -> Option<Box<dyn Operator>> {
    let operator = match op {
        Op::MaxPool(op) => pooling::max_pool_channels_last(op),
        Op::GlobalAveragePool(_) => pooling::global_average_channels_last(),
        Op::BatchNormalization(op) => normalization::channels_last::inference(op, UNBOUNDED),
        Op::BatchNormalizationTraining(op) => normalization::channels_last::training(op, UNBOUNDED),
        Op::BatchNormalizationGradient(op) => {
            normalization::channels_last::gradient(op, normalization::channels_last::Counts::Always)
        }
        Op::ConvInputGradient(op) => gradient::convolution::input_channels_last(op),
        Op::ConvWeightGradient(op) => gradient::convolution::weight_channels_last(op),
        Op::MaxPoolGradient(op) => gradient::pooling::max_channels_last(op),
        _ => return None,
    };
    Some(operator)
}

/// Bounds that change nothing.
const UNBOUNDED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// Computes an op from its attributes; `outputs` is how many outputs the node names.
pub(crate) fn evaluate(
    op: &Op,
    inputs: &mut Inputs<'_>,
    outputs: usize,
    context: &Context,
) -> Result<Outputs, OpError> {
    let one = |result: Result<bantam_tensor::Tensor, OpError>| result.map(|tensor| vec![Some(tensor)]);
    match op {
        Op::Unary(op) => one(elementwise::unary(*op, inputs, context)),
        Op::Binary(op) => one(elementwise::binary(*op, inputs, context)),
        Op::Variadic(op) => one(elementwise::variadic(*op, inputs, context)),
        Op::Elu(op) => one(elementwise::elu(op, inputs, context)),
        Op::Selu(op) => one(elementwise::selu(op, inputs, context)),
        Op::Celu(op) => one(elementwise::celu(op, inputs, context)),
        Op::LeakyRelu(op) => one(elementwise::leaky_relu(op, inputs, context)),
        Op::HardSigmoid(op) => one(elementwise::hard_sigmoid(op, inputs, context)),
        Op::ThresholdedRelu(op) => one(elementwise::thresholded_relu(op, inputs, context)),
        Op::Shrink(op) => one(elementwise::shrink(op, inputs, context)),
        Op::Gelu(op) => one(elementwise::gelu(op, inputs, context)),
        Op::Swish(op) => one(elementwise::swish(op, inputs, context)),
        Op::IsInf(op) => one(elementwise::is_infinite(op, inputs, context)),
        Op::BitShift(op) => one(elementwise::shift(op, inputs, context)),
        Op::Mod(op) => one(elementwise::modulo(op, inputs, context)),
        Op::Clip(_) => one(elementwise::clip(inputs, context)),
        Op::Where(_) => one(elementwise::select(inputs, context)),
        Op::Cast(op) => one(elementwise::cast(op.to, &op.into(), inputs, context)),
        Op::CastLike(op) => one(elementwise::cast_like(op, inputs, context)),
        Op::BitCast(op) => one(elementwise::bit_cast(op.to, inputs)),
        Op::Dropout(op) => elementwise::dropout(op, inputs, outputs, context),
        Op::Concat(op) => one(movement::concat(op, inputs, context)),
        Op::Split(op) => movement::split(op, inputs, outputs, context),
        Op::Slice(_) => one(movement::slice(inputs, context)),
        Op::Gather(op) => one(movement::gather(op, inputs, context)),
        Op::GatherElements(op) => one(movement::gather_elements(op, inputs, context)),
        Op::GatherNd(op) => one(movement::gather_nd(op, inputs, context)),
        Op::ScatterElements(op) => one(movement::scatter_elements(op, inputs, context)),
        Op::ScatterNd(op) => one(movement::scatter_nd(op, inputs, context)),
        Op::TensorScatter(op) => one(movement::tensor_scatter(op, inputs, context)),
        Op::Reshape(op) => one(movement::reshape(op, inputs)),
        Op::Flatten(op) => one(movement::flatten(op, inputs)),
        Op::Squeeze(_) => one(movement::squeeze(inputs)),
        Op::Unsqueeze(_) => one(movement::unsqueeze(inputs)),
        Op::Transpose(op) => one(movement::transpose(op, inputs, context)),
        Op::Expand(_) => one(movement::expand(inputs, context)),
        Op::Tile(_) => one(movement::tile(inputs, context)),
        Op::Pad(op) => one(movement::pad(op, inputs, context)),
        Op::DepthToSpace(op) => one(movement::depth_to_space(op, inputs, context)),
        Op::SpaceToDepth(op) => one(movement::space_to_depth(op, inputs, context)),
        Op::Shape(op) => one(movement::shape(op, inputs)),
        Op::Size(_) => one(movement::size(inputs)),
        Op::ConstantOfShape(op) => one(movement::constant_of_shape(op, inputs, context)),
        Op::Range(_) => one(movement::range(inputs, context)),
        Op::OneHot(op) => one(movement::one_hot(op, inputs, context)),
        Op::NonZero(_) => one(movement::non_zero(inputs, context)),
        Op::Trilu(op) => one(movement::triangle(op, inputs, context)),
        Op::EyeLike(op) => one(movement::eye_like(op, inputs, context)),
        Op::ReverseSequence(op) => one(movement::reverse_sequence(op, inputs, context)),
        Op::Compress(op) => one(movement::compress(op, inputs, context)),
        Op::CenterCropPad(op) => one(movement::center_crop_pad(op, inputs, context)),
        Op::Reduce(op) => one(reduction::reduce(op, inputs, context)),
        Op::ArgReduce(op) => one(reduction::arg_reduce(op, inputs, context)),
        Op::TopK(op) => reduction::top_k(op, inputs, context),
        Op::CumSum(op) => one(reduction::cumulative_sum(op, inputs, context)),
        Op::CumProd(op) => one(reduction::cumulative_product(op, inputs, context)),
        Op::Unique(op) => reduction::unique(op, inputs, context),
        Op::Softmax(op) => one(softmax::softmax(SoftmaxKind::Softmax, op.axis, inputs, context)),
        Op::LogSoftmax(op) => one(softmax::softmax(
            SoftmaxKind::LogSoftmax,
            op.axis,
            inputs,
            context,
        )),
        Op::Hardmax(op) => one(softmax::softmax(SoftmaxKind::Hardmax, op.axis, inputs, context)),
        Op::BatchNormalization(op) => normalization::batch(op, inputs, context),
        Op::InstanceNormalization(op) => one(normalization::instance(op, inputs, context)),
        Op::GroupNormalization(op) => one(normalization::group(op, inputs, context)),
        Op::Lrn(op) => one(normalization::local_response(op, inputs, context)),
        Op::LpNormalization(op) => one(normalization::lp(op, inputs, context)),
        Op::MeanVarianceNormalization(op) => one(normalization::mean_variance(op, inputs, context)),
        Op::LayerNormalization(op) => layer_norm::layer(op.into(), inputs, outputs, context),
        Op::RmsNormalization(op) => layer_norm::layer(op.into(), inputs, outputs, context),
        Op::SimplifiedLayerNormalization(op) => layer_norm::layer(op.into(), inputs, outputs, context),
        Op::SkipLayerNormalization(op) => layer_norm::skip(op.into(), inputs, outputs, context),
        Op::SkipSimplifiedLayerNormalization(op) => layer_norm::skip(op.into(), inputs, outputs, context),
        Op::NegativeLogLikelihoodLoss(op) => one(losses::negative_log_likelihood(op.into(), inputs, context)),
        Op::SoftmaxCrossEntropyLoss(op) => losses::softmax_cross_entropy(op.into(), inputs, context),
        Op::Lstm(op) => recurrent::lstm(op, inputs, context),
        Op::Gru(op) => recurrent::gru(op, inputs, context),
        Op::Rnn(op) => recurrent::plain(op, inputs, context),
        Op::Attention(op) => attention::attention(op, inputs, outputs, context),
        Op::Resize(op) => one(resize::resize(op, inputs, context)),
        Op::GridSample(op) => one(sampling::grid_sample(op, inputs, context)),
        Op::AffineGrid(op) => one(sampling::affine_grid(op, inputs, context)),
        Op::Col2Im(op) => one(columns::col2im(op, inputs, context)),
        Op::NonMaxSuppression(op) => one(boxes::non_max_suppression(op, inputs, context)),
        Op::MsGelu(_) => one(elementwise::gelu(
            &Gelu {
                approximate: GeluApproximation::None,
            },
            inputs,
            context,
        )),
        Op::QuickGelu(op) => one(elementwise::swish(&Swish { alpha: op.alpha }, inputs, context)),
        Op::BiasGelu(_) => one(gelu::biased(false, inputs, context)),
        Op::FastGelu(_) => one(gelu::biased(true, inputs, context)),
        Op::RotaryEmbedding(op) => one(rotary::rotary(op, inputs, context)),
        Op::QuantizeLinear(op) => one(quantization::quantize(&op.into(), inputs, context)),
        Op::MsQuantizeLinear(op) => one(quantization::quantize(&op.into(), inputs, context)),
        Op::DequantizeLinear(op) => one(quantization::dequantize(&op.into(), inputs, context)),
        Op::MsDequantizeLinear(op) => one(quantization::dequantize(&op.into(), inputs, context)),
        Op::DynamicQuantizeLinear(_) => quantization::dynamic(inputs, context),
        Op::QLinearAdd(_) => one(quantization::add(inputs, context)),
        Op::QLinearMul(_) => one(quantization::multiply(inputs, context)),
        Op::QLinearSigmoid(_) => one(quantization::sigmoid(inputs, context)),
        Op::QLinearLeakyRelu(op) => one(quantization::leaky_relu(op, inputs, context)),
        Op::QLinearGlobalAveragePool(op) => one(quantization::global_average_pool(op, inputs, context)),
        Op::QLinearAveragePool(op) => one(quantization::average_pool(op, inputs, context)),
        Op::MatMulNBits(op) => one(quantization::matmul_nbits(op, inputs, context)),
        Op::GatherBlockQuantized(op) => one(quantization::gather(op, inputs, context)),
        Op::QLinearSoftmax(op) => one(quantization::softmax(op, inputs, context)),
        Op::QLinearConcat(op) => one(quantization::concat(op, inputs, context)),
        Op::Conv(op) => one(convolution::conv(op, inputs, context)),
        Op::FusedConv(op) => one(convolution::fused_conv(op, inputs, context)),
        Op::ConvTranspose(op) => one(convolution::conv_transpose(op, inputs, context)),
        Op::MatMul(_) => one(matmul::matmul(inputs, context)),
        Op::FusedMatMul(op) => one(matmul::fused_matmul(op, inputs, context)),
        Op::Gemm(op) => one(matmul::gemm(op, inputs, context)),
        Op::FusedGemm(op) => one(matmul::fused_gemm(op, inputs, context)),
        Op::Einsum(op) => one(einsum::einsum(op, inputs, context)),
        Op::DeformConv(op) => one(deformable::deform_conv(op, inputs, context)),
        Op::Det(_) => one(determinant::determinant(inputs, context)),
        Op::MaxPool(op) => pooling::max_pool(op, inputs, outputs, context),
        Op::AveragePool(op) => one(pooling::average_pool(op, inputs, context)),
        Op::LpPool(op) => one(pooling::lp_pool(op, inputs, context)),
        Op::GlobalAveragePool(_) => one(pooling::global_average_pool(inputs, context)),
        Op::GlobalMaxPool(_) => one(pooling::global_max_pool(inputs, context)),
        Op::GlobalLpPool(op) => one(pooling::global_lp_pool(op, inputs, context)),
        Op::MaxUnpool(op) => one(pooling::max_unpool(op, inputs, context)),
        Op::RoiAlign(op) => one(regions::roi_align(op, inputs, context)),
        Op::MaxRoiPool(op) => one(regions::max_roi_pool(op, inputs, context)),
        own if own.is_own() => gradient::evaluate(own, inputs, outputs, context),
        _ => Err(OpError::Unsupported(format!("the op {}", op.name()))),
    }
}

/// A tensor with its dimensions in another order.
pub(crate) fn transposed(
    x: &bantam_tensor::Tensor,
    order: &[usize],
    context: &Context,
) -> Result<bantam_tensor::Tensor, OpError> {
    movement::permuted(x, order, context)
}
