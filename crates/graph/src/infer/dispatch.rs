//! Which rule each op follows.

use bantam_tensor::DType;

use super::context::{Context, Outputs};
use super::{
    convolution, elementwise, generate, gradient, microsoft, movement, normalization, order, pooling,
    product, quantization, recurrent, shaping, slicing, spatial,
};
use crate::Op;

/// The types of the outputs of a node without subgraphs.
pub(super) fn infer_node(context: &Context<'_>) -> Outputs {
    match &context.node.op {
        Op::Unary(op) => elementwise::unary(context, *op),
        Op::Binary(op) => elementwise::binary(context, *op),
        Op::Variadic(_) | Op::BitShift(_) | Op::Mod(_) => elementwise::variadic(context),
        Op::Elu(_) | Op::Selu(_) | Op::Celu(_) | Op::LeakyRelu(_) | Op::HardSigmoid(_) => {
            elementwise::same(context)
        }
        Op::ThresholdedRelu(_) | Op::Shrink(_) | Op::Gelu(_) | Op::Swish(_) | Op::Clip(_) => {
            elementwise::same(context)
        }
        Op::IsInf(_) => elementwise::same_shape(context, Some(DType::Bool)),
        Op::Where(_) => elementwise::choose(context),
        Op::Cast(op) => elementwise::same_shape(context, Some(op.to)),
        Op::CastLike(_) => elementwise::same_shape(context, context.dtype(1)),
        Op::BitCast(op) => elementwise::same_shape(context, Some(op.to)),
        Op::Dropout(_) => elementwise::dropout(context),

        Op::Conv(op) => convolution::conv(context, op),
        Op::ConvTranspose(op) => convolution::conv_transpose(context, op),
        Op::ConvInteger(op) => convolution::conv_integer(context, op),
        Op::QLinearConv(op) => convolution::qlinear_conv(context, op),
        Op::DeformConv(op) => convolution::deform_conv(context, op),
        Op::FusedConv(op) => convolution::fused_conv(context, op),
        Op::MatMul(_) => product::matmul(context, context.same_dtype([0, 1])?, 0, 1),
        Op::MatMulInteger(_) => product::matmul(context, Some(DType::I32), 0, 1),
        Op::QLinearMatMul(_) => product::matmul(context, context.dtype(7), 0, 3),
        Op::Gemm(op) => product::gemm(
            context,
            context.same_dtype([0, 1, 2])?,
            [0, 1, 2],
            [op.transA, op.transB],
        ),
        Op::FusedGemm(op) => product::gemm(
            context,
            context.same_dtype([0, 1, 2])?,
            [0, 1, 2],
            [op.transA, op.transB],
        ),
        Op::FusedMatMul(op) => product::fused_matmul(context, op),
        Op::Einsum(op) => product::einsum(context, op),
        Op::Det(_) => product::det(context),

        Op::AveragePool(op) => pooling::average_pool(context, op),
        Op::MaxPool(op) => pooling::max_pool(context, op),
        Op::LpPool(op) => pooling::lp_pool(context, op),
        Op::QLinearAveragePool(op) => pooling::qlinear_average_pool(context, op),
        Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) | Op::GlobalLpPool(_) => {
            pooling::global(context, false)
        }
        Op::QLinearGlobalAveragePool(op) => pooling::global(context, op.channels_last),
        Op::MaxUnpool(op) => pooling::max_unpool(context, op),
        Op::MaxRoiPool(op) => pooling::max_roi_pool(context, op),
        Op::RoiAlign(op) => pooling::roi_align(context, op),

        Op::BatchNormalization(_) => normalization::batch_normalization(context),
        Op::InstanceNormalization(_) | Op::GroupNormalization(_) => normalization::by_channel(context),
        Op::LayerNormalization(op) => normalization::by_axis(context, op.axis, op.stash_type),
        Op::RmsNormalization(op) => normalization::by_axis(context, op.axis, op.stash_type),
        Op::SimplifiedLayerNormalization(op) => normalization::simplified(context, op.axis, op.stash_type),
        Op::SkipLayerNormalization(_) | Op::SkipSimplifiedLayerNormalization(_) => {
            normalization::skip(context)
        }
        Op::Lrn(_) | Op::MeanVarianceNormalization(_) => elementwise::same(context),
        Op::LpNormalization(op) => normalization::along_axis(context, op.axis),
        Op::Softmax(op) => normalization::along_axis(context, op.axis),
        Op::LogSoftmax(op) => normalization::along_axis(context, op.axis),
        Op::Hardmax(op) => normalization::along_axis(context, op.axis),
        Op::NegativeLogLikelihoodLoss(op) => normalization::loss(context, &op.reduction),
        Op::SoftmaxCrossEntropyLoss(op) => normalization::loss(context, &op.reduction),

        Op::Reduce(op) => order::reduce(context, op),
        Op::ArgReduce(op) => order::arg_reduce(context, op),
        Op::TopK(op) => order::top_k(context, op),
        Op::CumSum(_) | Op::CumProd(_) => order::cumulative(context),
        Op::Unique(op) => order::unique(context, op),
        Op::NonMaxSuppression(_) => order::non_max_suppression(context),

        Op::Concat(op) => movement::concat_op(context, op),
        Op::Split(op) => movement::split(context, op),
        Op::Slice(_) => slicing::slice(context),
        Op::Gather(op) => movement::gather(context, op),
        Op::GatherElements(op) => movement::gather_elements(context, op),
        Op::GatherNd(op) => movement::gather_nd(context, op),
        Op::ScatterElements(_) | Op::ScatterNd(_) => movement::scatter(context, 2),
        Op::TensorScatter(_) => movement::scatter(context, 1),
        Op::Compress(op) => movement::compress(context, op),
        Op::ReverseSequence(_) => movement::reverse_sequence(context),
        Op::Pad(_) => slicing::pad(context),

        Op::Reshape(op) => shaping::reshape(context, op),
        Op::Flatten(op) => shaping::flatten(context, op),
        Op::Squeeze(_) => shaping::squeeze(context),
        Op::Unsqueeze(_) => shaping::unsqueeze(context),
        Op::Transpose(op) => shaping::transpose(context, op),
        Op::Expand(_) => shaping::expand(context),
        Op::Tile(_) => shaping::tile(context),
        Op::Trilu(_) => shaping::of_matrices(context),

        Op::Resize(op) => spatial::resize(context, op),
        Op::DepthToSpace(op) => spatial::depth_to_space(context, op.blocksize),
        Op::SpaceToDepth(op) => spatial::space_to_depth(context, op.blocksize),
        Op::GridSample(_) => spatial::grid_sample(context),
        Op::AffineGrid(_) => spatial::affine_grid(context),
        Op::Col2Im(op) => spatial::col2im(context, op),
        Op::CenterCropPad(op) => spatial::center_crop_pad(context, op),

        Op::Shape(op) => generate::shape(context, op),
        Op::Size(_) => generate::size(),
        Op::ConstantOfShape(op) => generate::constant_of_shape(context, op),
        Op::Range(_) => generate::range(context),
        Op::OneHot(op) => generate::one_hot(context, op),
        Op::NonZero(_) => generate::non_zero(context),
        Op::EyeLike(op) => generate::eye_like(context, op),

        Op::Lstm(op) => recurrent::cell(context, 4, op.direction, op.hidden_size, op.layout == 1),
        Op::Gru(op) => recurrent::cell(context, 3, op.direction, op.hidden_size, op.layout == 1),
        Op::Rnn(op) => recurrent::cell(context, 1, op.direction, op.hidden_size, op.layout == 1),
        Op::Attention(op) => recurrent::attention(context, op),
        Op::RotaryEmbedding(op) => recurrent::rotary_embedding(context, op),

        Op::QuantizeLinear(op) => quantization::quantize(context, op),
        Op::DequantizeLinear(op) => quantization::dequantize(context, op),
        Op::DynamicQuantizeLinear(_) => quantization::dynamic_quantize(context),

        Op::MsQuantizeLinear(op) => microsoft::quantize(context, op),
        Op::MsDequantizeLinear(op) => microsoft::dequantize(context, op),
        Op::QLinearAdd(_) | Op::QLinearMul(_) => microsoft::qlinear_binary(context),
        Op::QLinearSigmoid(_) | Op::QLinearLeakyRelu(_) | Op::QLinearSoftmax(_) => elementwise::same(context),
        Op::QLinearConcat(op) => microsoft::qlinear_concat(context, op),
        Op::QGemm(op) => microsoft::qgemm(context, op),
        Op::MatMulNBits(op) => microsoft::matmul_nbits(context, op),
        Op::GatherBlockQuantized(op) => microsoft::gather_block_quantized(context, op),
        Op::MatMulIntegerToFloat(_) => product::matmul(context, context.dtype(2), 0, 1),
        Op::DynamicQuantizeMatMul(_) => product::matmul(context, context.dtype(0), 0, 1),
        Op::MsGelu(_) | Op::BiasGelu(_) | Op::FastGelu(_) | Op::QuickGelu(_) => elementwise::same(context),

        Op::SumTo(_) => gradient::shaped_by(context, 1),
        Op::ConvInputGradient(_) | Op::ConvWeightGradient(_) => gradient::shaped_by(context, 2),
        Op::AveragePoolGradient(_) | Op::SliceGradient(_) | Op::PadGradient(_) => {
            gradient::shaped_by(context, 1)
        }
        Op::ResizeGradient(_) => gradient::shaped_by(context, 1),
        Op::GatherGradient(_) | Op::GatherNdGradient(_) => gradient::shaped_by(context, 2),
        Op::NegativeLogLikelihoodGradient(_) => gradient::shaped_by(context, 2),
        Op::ActivationGradient(_) | Op::ClipGradient(_) => elementwise::same(context),
        Op::MaxPoolGradient(_) | Op::SoftmaxCrossEntropyGradient(_) => gradient::like(context, &[1]),
        Op::LrnGradient(_) | Op::SoftmaxGradient(_) | Op::LogSoftmaxGradient(_) => {
            gradient::like(context, &[1])
        }
        Op::BatchNormalizationTraining(_) => gradient::like(context, &[0, 3, 4, 3, 4]),
        Op::BatchNormalizationGradient(_) | Op::LayerNormalizationGradient(_) => {
            gradient::like(context, &[1, 2, 2])
        }
        Op::GroupNormalizationGradient(_) => gradient::like(context, &[1, 2, 2]),
        Op::DropoutTraining(_) => elementwise::dropout(context),
        Op::FakeQuant(_) | Op::FakeSign(_) => elementwise::same(context),
        Op::FakeQuantGradient(_) | Op::FakeSignGradient(_) => gradient::like(context, &[1, 2, 3]),
        Op::RecurrentGradient(_) => gradient::like(context, &[0, 1, 2, 3, 5, 6, 7]),
        Op::AttentionGradient(_) => gradient::like(context, &[0, 1, 2]),

        // Graphs inside are inferred before this is asked; what is not known here is not known.
        Op::If(_) | Op::Loop(_) | Op::Scan(_) | Op::Custom(_) => Ok(Vec::new()),
    }
}
