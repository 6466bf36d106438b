//! How many inputs and outputs each op takes (ONNX opset 23 and later, ONNX Runtime's schemas for its own ops).

use crate::Op;

/// Bounds on the numbers of a node's inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arity {
    /// Fewest inputs; these must be present, apart from [`Arity::optional`].
    pub min_inputs: usize,
    /// Most inputs.
    pub max_inputs: usize,
    /// Fewest outputs.
    pub min_outputs: usize,
    /// Most outputs.
    pub max_outputs: usize,
    /// Positions below `min_inputs` that may be left out all the same.
    pub optional: &'static [usize],
}

const ANY: usize = usize::MAX;

const fn arity(inputs: (usize, usize), outputs: (usize, usize)) -> Arity {
    Arity {
        min_inputs: inputs.0,
        max_inputs: inputs.1,
        min_outputs: outputs.0,
        max_outputs: outputs.1,
        optional: &[],
    }
}

const fn one_output(min_inputs: usize, max_inputs: usize) -> Arity {
    arity((min_inputs, max_inputs), (1, 1))
}

const fn leaving_out(optional: &'static [usize], arity: Arity) -> Arity {
    Arity { optional, ..arity }
}

impl Op {
    /// How many inputs and outputs the op takes.
    pub fn arity(&self) -> Arity {
        match self {
            Op::Unary(_) | Op::Elu(_) | Op::Selu(_) | Op::Celu(_) | Op::LeakyRelu(_) | Op::HardSigmoid(_) => {
                one_output(1, 1)
            }
            Op::ThresholdedRelu(_) | Op::Shrink(_) | Op::Gelu(_) | Op::Swish(_) | Op::IsInf(_) => {
                one_output(1, 1)
            }
            Op::Cast(_) | Op::BitCast(_) | Op::Det(_) | Op::ArgReduce(_) => one_output(1, 1),
            Op::AveragePool(_) | Op::LpPool(_) => one_output(1, 1),
            Op::GlobalAveragePool(_) | Op::GlobalMaxPool(_) | Op::GlobalLpPool(_) => one_output(1, 1),
            Op::Lrn(_) | Op::LpNormalization(_) | Op::MeanVarianceNormalization(_) => one_output(1, 1),
            Op::Softmax(_) | Op::LogSoftmax(_) | Op::Hardmax(_) => one_output(1, 1),
            Op::Flatten(_) | Op::Transpose(_) | Op::DepthToSpace(_) | Op::SpaceToDepth(_) => one_output(1, 1),
            Op::Shape(_) | Op::Size(_) | Op::ConstantOfShape(_) | Op::NonZero(_) | Op::EyeLike(_) => {
                one_output(1, 1)
            }
            Op::MsGelu(_) | Op::QuickGelu(_) => one_output(1, 1),
            Op::Reduce(_) | Op::Squeeze(_) | Op::Trilu(_) | Op::FastGelu(_) => one_output(1, 2),
            Op::Clip(_) => one_output(1, 3),
            Op::Resize(_) => one_output(1, 4),
            Op::Variadic(_) | Op::Einsum(_) | Op::Concat(_) => one_output(1, ANY),
            Op::Binary(_) | Op::BitShift(_) | Op::Mod(_) | Op::CastLike(_) | Op::MatMul(_) => {
                one_output(2, 2)
            }
            Op::MaxRoiPool(_) | Op::RmsNormalization(_) | Op::CumSum(_) | Op::CumProd(_) => one_output(2, 2),
            Op::Gather(_) | Op::GatherElements(_) | Op::GatherNd(_) | Op::Reshape(_) => one_output(2, 2),
            Op::Unsqueeze(_) | Op::Expand(_) | Op::Tile(_) | Op::ReverseSequence(_) | Op::Compress(_) => {
                one_output(2, 2)
            }
            Op::GridSample(_) | Op::AffineGrid(_) | Op::CenterCropPad(_) => one_output(2, 2),
            Op::FusedMatMul(_) | Op::BiasGelu(_) => one_output(2, 2),
            Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) | Op::FusedGemm(_) | Op::MaxUnpool(_) => {
                one_output(2, 3)
            }
            Op::TensorScatter(_) | Op::NegativeLogLikelihoodLoss(_) => one_output(2, 3),
            Op::QuantizeLinear(_) | Op::DequantizeLinear(_) => one_output(2, 3),
            Op::MsQuantizeLinear(_) | Op::MsDequantizeLinear(_) => one_output(2, 3),
            Op::ConvInteger(_) | Op::MatMulInteger(_) | Op::Pad(_) | Op::FusedConv(_) => one_output(2, 4),
            Op::NonMaxSuppression(_) => one_output(2, 5),
            Op::Where(_) | Op::RoiAlign(_) | Op::InstanceNormalization(_) | Op::GroupNormalization(_) => {
                one_output(3, 3)
            }
            Op::ScatterElements(_) | Op::ScatterNd(_) | Op::Range(_) | Op::OneHot(_) | Op::Col2Im(_) => {
                one_output(3, 3)
            }
            Op::RotaryEmbedding(_) | Op::GatherBlockQuantized(_) => one_output(3, 4),
            Op::DeformConv(_) | Op::Slice(_) | Op::DynamicQuantizeMatMul(_) => one_output(3, 5),
            Op::MatMulNBits(_) => one_output(3, 6),
            Op::MatMulIntegerToFloat(_) => one_output(4, 7),
            Op::QLinearMatMul(_) => one_output(8, 8),
            Op::QLinearConv(_) => one_output(8, 9),
            Op::QGemm(_) => one_output(6, 9),
            Op::QLinearGlobalAveragePool(_) => one_output(5, 5),
            Op::QLinearConcat(_) => one_output(3, ANY),
            Op::QLinearAdd(_) | Op::QLinearMul(_) => leaving_out(&[2, 5], one_output(7, 8)),
            Op::QLinearSigmoid(_) | Op::QLinearLeakyRelu(_) | Op::QLinearAveragePool(_) => {
                leaving_out(&[2], one_output(4, 5))
            }
            Op::QLinearSoftmax(_) => leaving_out(&[2], one_output(5, 5)),
            Op::Dropout(_) => arity((1, 3), (1, 2)),
            Op::MaxPool(_) => arity((1, 1), (1, 2)),
            Op::BatchNormalization(_) => arity((5, 5), (1, 3)),
            Op::LayerNormalization(_) => arity((2, 3), (1, 3)),
            Op::SimplifiedLayerNormalization(_) => arity((2, 2), (1, 2)),
            Op::SkipLayerNormalization(_) => arity((3, 5), (1, 4)),
            Op::SkipSimplifiedLayerNormalization(_) => arity((3, 4), (1, 4)),
            Op::TopK(_) => arity((2, 2), (2, 2)),
            Op::Unique(_) => arity((1, 1), (1, 4)),
            Op::Split(_) => arity((1, 2), (1, ANY)),
            Op::Lstm(_) => arity((3, 8), (0, 3)),
            Op::Gru(_) | Op::Rnn(_) => arity((3, 6), (0, 2)),
            Op::If(_) => arity((1, 1), (1, ANY)),
            Op::Loop(_) => leaving_out(&[0, 1], arity((2, ANY), (0, ANY))),
            Op::Scan(_) => arity((1, ANY), (1, ANY)),
            Op::Attention(_) => arity((3, 7), (1, 4)),
            Op::DynamicQuantizeLinear(_) => arity((1, 1), (3, 3)),
            Op::SoftmaxCrossEntropyLoss(_) => arity((2, 3), (1, 2)),
            Op::SumTo(_) | Op::ActivationGradient(_) | Op::SoftmaxGradient(_) | Op::LogSoftmaxGradient(_) => {
                one_output(2, 2)
            }
            Op::MaxPoolGradient(_) | Op::AveragePoolGradient(_) | Op::LrnGradient(_) => one_output(2, 2),
            Op::ClipGradient(_) => one_output(2, 4),
            Op::ConvInputGradient(_) | Op::ConvWeightGradient(_) | Op::GatherGradient(_) => one_output(3, 3),
            Op::GatherNdGradient(_) | Op::FakeQuant(_) | Op::FakeSign(_) => one_output(3, 3),
            Op::SoftmaxCrossEntropyGradient(_) | Op::NegativeLogLikelihoodGradient(_) => one_output(3, 4),
            Op::PadGradient(_) => one_output(3, 4),
            Op::SliceGradient(_) => one_output(4, 6),
            Op::ResizeGradient(_) => one_output(2, 5),
            Op::BatchNormalizationTraining(_) => arity((5, 5), (1, 5)),
            Op::BatchNormalizationGradient(_) => arity((5, 5), (1, 3)),
            Op::LayerNormalizationGradient(_) | Op::GroupNormalizationGradient(_) => arity((3, 3), (1, 3)),
            Op::DropoutTraining(_) => arity((3, 3), (1, 2)),
            Op::FakeQuantGradient(_) | Op::FakeSignGradient(_) => arity((4, 4), (1, 3)),
            Op::RecurrentGradient(_) => leaving_out(&[3, 4, 5, 6, 7, 8, 9, 10], arity((11, 11), (1, 7))),
            Op::AttentionGradient(_) => leaving_out(&[3, 4, 5, 6], arity((8, 8), (1, 4))),
            Op::Custom(_) => arity((0, ANY), (0, ANY)),
        }
    }
}
