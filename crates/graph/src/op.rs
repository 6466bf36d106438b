//! [`Op`]: the closed list of ops that Bantam knows.

use crate::attributes::{AttributeError, Attributes, OpAttributes};
use crate::graph::Graph;
use crate::ops::*;

/// A node that cannot be read as the op it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{op}: {source}")]
pub struct OpError {
    /// Name of the op.
    pub op: String,
    /// What is wrong.
    pub source: AttributeError,
}

/// How a variant holds its struct: in a box where that is so large that it would blow up every node.
macro_rules! held {
    ($op:ident) => { $op };
    ($op:ident boxed) => { Box<$op> };
}

/// Declares [`Op`]: `Variant = "domain" "Name"` for ops with a struct of attributes of the same name in
/// [`crate::ops`].
macro_rules! ops {
    ($($op:ident = $domain:literal $name:literal $($boxed:ident)?),* $(,)?) => {
        /// What a node computes, in canonical form.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "the variants are named after the structs in `ops`, which are documented")]
        pub enum Op {
            /// Element-wise functions of one input without attributes.
            Unary(Unary),
            /// Element-wise functions of two broadcast inputs without attributes.
            Binary(Binary),
            /// Element-wise functions of any number of broadcast inputs.
            Variadic(Variadic),
            /// Reductions over axes.
            Reduce(Reduce),
            /// Index of the largest or smallest element along an axis.
            ArgReduce(ArgReduce),
            /// An op that Bantam does not know; it passes through.
            Custom(Custom),
            $($op(held!($op $($boxed)?))),*
        }

        $(impl From<$op> for Op { fn from(op: $op) -> Op { Op::$op(op.into()) } })*
        impl From<Reduce> for Op { fn from(op: Reduce) -> Op { Op::Reduce(op) } }
        impl From<ArgReduce> for Op { fn from(op: ArgReduce) -> Op { Op::ArgReduce(op) } }

        impl Op {
            /// The op of this domain and name at [`crate::CANONICAL_OPSET`]; takes the attributes it knows and leaves
            /// the others. An unknown op becomes [`Op::Custom`] and takes all.
            pub fn parse(domain: &str, name: &str, attributes: &mut Attributes) -> Result<Op, OpError> {
                let fail = |source| OpError { op: name.to_owned(), source };
                match (domain, name) {
                    $(($domain, $name) => return <$op as OpAttributes>::parse(attributes).map(Op::from).map_err(fail),)*
                    ("", _) => {}
                    _ => return Ok(Op::Custom(Custom::new(domain, name, std::mem::take(attributes)))),
                }
                if let Some(op) = Unary::from_name(name) { return Ok(Op::Unary(op)); }
                if let Some(op) = Binary::from_name(name) { return Ok(Op::Binary(op)); }
                if let Some(op) = Variadic::from_name(name) { return Ok(Op::Variadic(op)); }
                if let Some(kind) = ReduceKind::from_name(name) {
                    return Reduce::parse(kind, attributes).map(Op::Reduce).map_err(fail);
                }
                if let Some(kind) = ArgReduceKind::from_name(name) {
                    return ArgReduce::parse(kind, attributes).map(Op::ArgReduce).map_err(fail);
                }
                Ok(Op::Custom(Custom::new(domain, name, std::mem::take(attributes))))
            }

            /// The ONNX domain; empty for the standard one.
            pub fn domain(&self) -> &str {
                match self {
                    $(Op::$op(_) => $domain,)*
                    Op::Custom(custom) => &custom.domain,
                    _ => "",
                }
            }

            /// The ONNX name of the op.
            pub fn name(&self) -> &str {
                match self {
                    Op::Unary(op) => op.name(),
                    Op::Binary(op) => op.name(),
                    Op::Variadic(op) => op.name(),
                    Op::Reduce(op) => op.kind.name(),
                    Op::ArgReduce(op) => op.kind.name(),
                    Op::Custom(custom) => &custom.name,
                    $(Op::$op(_) => $name,)*
                }
            }

            /// The attributes that a file needs.
            pub fn emit(&self) -> Attributes {
                match self {
                    Op::Unary(_) | Op::Binary(_) | Op::Variadic(_) => Attributes::new(),
                    Op::Reduce(op) => op.emit(),
                    Op::ArgReduce(op) => op.emit(),
                    Op::Custom(custom) => custom.attributes.clone(),
                    $(Op::$op(op) => op.emit(),)*
                }
            }

            /// Domain and name of every op that is known.
            pub fn known() -> Vec<(&'static str, &'static str)> {
                let elementwise = Unary::ALL.iter().map(|op| op.name())
                    .chain(Binary::ALL.iter().map(|op| op.name()))
                    .chain(Variadic::ALL.iter().map(|op| op.name()))
                    .chain(ReduceKind::ALL.iter().map(|op| op.name()))
                    .chain(ArgReduceKind::ALL.iter().map(|op| op.name()));
                elementwise.map(|name| ("", name)).chain([$(($domain, $name)),*]).collect()
            }
        }
    };
}

ops! {
    // activations and element-wise with attributes
    Elu = "" "Elu", Selu = "" "Selu", Celu = "" "Celu", LeakyRelu = "" "LeakyRelu", HardSigmoid = "" "HardSigmoid",
    ThresholdedRelu = "" "ThresholdedRelu", Shrink = "" "Shrink", Gelu = "" "Gelu", Swish = "" "Swish", IsInf = "" "IsInf",
    BitShift = "" "BitShift", Mod = "" "Mod", Clip = "" "Clip", Where = "" "Where", Cast = "" "Cast", CastLike = "" "CastLike",
    BitCast = "" "BitCast", Dropout = "" "Dropout",
    // convolution and products
    Conv = "" "Conv", ConvTranspose = "" "ConvTranspose" boxed, ConvInteger = "" "ConvInteger", QLinearConv = "" "QLinearConv",
    DeformConv = "" "DeformConv", MatMul = "" "MatMul", Gemm = "" "Gemm", Einsum = "" "Einsum", MatMulInteger = "" "MatMulInteger",
    QLinearMatMul = "" "QLinearMatMul", Det = "" "Det",
    // pooling
    AveragePool = "" "AveragePool", MaxPool = "" "MaxPool", LpPool = "" "LpPool", GlobalAveragePool = "" "GlobalAveragePool",
    GlobalMaxPool = "" "GlobalMaxPool", GlobalLpPool = "" "GlobalLpPool", MaxUnpool = "" "MaxUnpool", MaxRoiPool = "" "MaxRoiPool",
    RoiAlign = "" "RoiAlign",
    // normalization
    BatchNormalization = "" "BatchNormalization", InstanceNormalization = "" "InstanceNormalization",
    GroupNormalization = "" "GroupNormalization", LayerNormalization = "" "LayerNormalization",
    RmsNormalization = "" "RMSNormalization", Lrn = "" "LRN", LpNormalization = "" "LpNormalization",
    MeanVarianceNormalization = "" "MeanVarianceNormalization", Softmax = "" "Softmax", LogSoftmax = "" "LogSoftmax",
    Hardmax = "" "Hardmax",
    // order and accumulation
    TopK = "" "TopK", CumSum = "" "CumSum", CumProd = "" "CumProd", Unique = "" "Unique", NonMaxSuppression = "" "NonMaxSuppression",
    // shape and movement
    Concat = "" "Concat", Split = "" "Split", Slice = "" "Slice", Gather = "" "Gather", GatherElements = "" "GatherElements",
    GatherNd = "" "GatherND", ScatterElements = "" "ScatterElements", ScatterNd = "" "ScatterND", TensorScatter = "" "TensorScatter",
    Reshape = "" "Reshape", Flatten = "" "Flatten", Squeeze = "" "Squeeze", Unsqueeze = "" "Unsqueeze", Transpose = "" "Transpose",
    Expand = "" "Expand", Tile = "" "Tile", Pad = "" "Pad", Resize = "" "Resize", DepthToSpace = "" "DepthToSpace",
    SpaceToDepth = "" "SpaceToDepth", Shape = "" "Shape", Size = "" "Size", ConstantOfShape = "" "ConstantOfShape",
    Range = "" "Range", OneHot = "" "OneHot", NonZero = "" "NonZero", Trilu = "" "Trilu", EyeLike = "" "EyeLike",
    ReverseSequence = "" "ReverseSequence", Compress = "" "Compress", GridSample = "" "GridSample", AffineGrid = "" "AffineGrid",
    Col2Im = "" "Col2Im", CenterCropPad = "" "CenterCropPad",
    // recurrent, control flow, attention
    Lstm = "" "LSTM", Gru = "" "GRU", Rnn = "" "RNN", If = "" "If", Loop = "" "Loop", Scan = "" "Scan",
    Attention = "" "Attention", RotaryEmbedding = "" "RotaryEmbedding",
    // quantization
    QuantizeLinear = "" "QuantizeLinear", DequantizeLinear = "" "DequantizeLinear", DynamicQuantizeLinear = "" "DynamicQuantizeLinear",
    // losses and signal
    NegativeLogLikelihoodLoss = "" "NegativeLogLikelihoodLoss", SoftmaxCrossEntropyLoss = "" "SoftmaxCrossEntropyLoss",
    // ONNX Runtime's own
    MsQuantizeLinear = "com.microsoft" "QuantizeLinear", MsDequantizeLinear = "com.microsoft" "DequantizeLinear",
    QLinearAdd = "com.microsoft" "QLinearAdd", QLinearMul = "com.microsoft" "QLinearMul", QLinearSigmoid = "com.microsoft" "QLinearSigmoid",
    QLinearLeakyRelu = "com.microsoft" "QLinearLeakyRelu", QLinearSoftmax = "com.microsoft" "QLinearSoftmax",
    QLinearGlobalAveragePool = "com.microsoft" "QLinearGlobalAveragePool", QLinearAveragePool = "com.microsoft" "QLinearAveragePool",
    QLinearConcat = "com.microsoft" "QLinearConcat", QGemm = "com.microsoft" "QGemm", MatMulNBits = "com.microsoft" "MatMulNBits",
    GatherBlockQuantized = "com.microsoft" "GatherBlockQuantized",
    MatMulIntegerToFloat = "com.microsoft" "MatMulIntegerToFloat", DynamicQuantizeMatMul = "com.microsoft" "DynamicQuantizeMatMul",
    FusedMatMul = "com.microsoft" "FusedMatMul", FusedConv = "com.microsoft" "FusedConv" boxed, FusedGemm = "com.microsoft" "FusedGemm",
    MsGelu = "com.microsoft" "Gelu", BiasGelu = "com.microsoft" "BiasGelu", FastGelu = "com.microsoft" "FastGelu",
    QuickGelu = "com.microsoft" "QuickGelu", SkipLayerNormalization = "com.microsoft" "SkipLayerNormalization",
    SkipSimplifiedLayerNormalization = "com.microsoft" "SkipSimplifiedLayerNormalization",
    SimplifiedLayerNormalization = "" "SimplifiedLayerNormalization",
    // Bantam's own, for training; they never reach a file
    SumTo = "bantam" "SumTo", ActivationGradient = "bantam" "ActivationGradient", ClipGradient = "bantam" "ClipGradient",
    ConvInputGradient = "bantam" "ConvInputGradient", ConvWeightGradient = "bantam" "ConvWeightGradient",
    MaxPoolGradient = "bantam" "MaxPoolGradient", AveragePoolGradient = "bantam" "AveragePoolGradient" boxed,
    BatchNormalizationTraining = "bantam" "BatchNormalizationTraining",
    BatchNormalizationGradient = "bantam" "BatchNormalizationGradient",
    LayerNormalizationGradient = "bantam" "LayerNormalizationGradient",
    GroupNormalizationGradient = "bantam" "GroupNormalizationGradient", LrnGradient = "bantam" "LrnGradient",
    SoftmaxGradient = "bantam" "SoftmaxGradient", LogSoftmaxGradient = "bantam" "LogSoftmaxGradient",
    SoftmaxCrossEntropyGradient = "bantam" "SoftmaxCrossEntropyGradient",
    NegativeLogLikelihoodGradient = "bantam" "NegativeLogLikelihoodGradient", GatherGradient = "bantam" "GatherGradient",
    GatherNdGradient = "bantam" "GatherNdGradient", SliceGradient = "bantam" "SliceGradient",
    PadGradient = "bantam" "PadGradient", ResizeGradient = "bantam" "ResizeGradient" boxed,
    AttentionGradient = "bantam" "AttentionGradient", RecurrentGradient = "bantam" "RecurrentGradient" boxed, DropoutTraining = "bantam" "DropoutTraining", FakeQuant = "bantam" "FakeQuant",
    FakeQuantGradient = "bantam" "FakeQuantGradient", FakeSign = "bantam" "FakeSign", FakeSignGradient = "bantam" "FakeSignGradient",
}

/// The domain of Bantam's own ops, which never reach a file.
pub const OWN_DOMAIN: &str = "bantam";

impl Op {
    /// True for Bantam's own ops, which no file has.
    pub fn is_own(&self) -> bool {
        self.domain() == OWN_DOMAIN && !matches!(self, Op::Custom(_))
    }

    /// The graphs inside the op (If, Loop, Scan).
    pub fn subgraphs(&self) -> Vec<&Graph> {
        match self {
            Op::If(op) => vec![&op.then_branch, &op.else_branch],
            Op::Loop(op) => vec![&op.body],
            Op::Scan(op) => vec![&op.body],
            Op::Custom(op) => op.subgraphs(),
            _ => Vec::new(),
        }
    }

    /// The graphs inside the op, to change.
    pub fn subgraphs_mut(&mut self) -> Vec<&mut Graph> {
        match self {
            Op::If(op) => vec![&mut op.then_branch, &mut op.else_branch],
            Op::Loop(op) => vec![&mut op.body],
            Op::Scan(op) => vec![&mut op.body],
            Op::Custom(op) => op.subgraphs_mut(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Attribute;

    #[test]
    fn every_known_op_parses_to_its_own_name() {
        for (domain, name) in Op::known() {
            // Required attributes make some fail; the others must say the same name again.
            if let Ok(op) = Op::parse(domain, name, &mut Attributes::new()) {
                assert_eq!((op.domain(), op.name()), (domain, name));
                assert!(
                    op.emit().is_empty(),
                    "{name} writes attributes that are all defaults"
                );
            }
        }
    }

    #[test]
    fn attributes_round_trip_and_unknown_ones_stay() {
        let mut attributes = Attributes::new();
        attributes.set("strides", Attribute::Ints(vec![2, 2]));
        attributes.set("group", Attribute::Int(4));
        attributes.set("vendor", Attribute::Int(1));
        let op = Op::parse("", "Conv", &mut attributes).unwrap();
        assert_eq!(attributes.len(), 1);
        assert_eq!(op.emit().get("group"), Some(&Attribute::Int(4)));
        let Op::Conv(conv) = &op else { panic!("not a Conv") };
        assert_eq!((conv.strides.as_slice(), conv.group), (&[2, 2][..], 4));
    }

    #[test]
    fn wrong_attribute_types_are_named() {
        let mut attributes = Attributes::new();
        attributes.set("axis", Attribute::Float(1.0));
        let error = Op::parse("", "Concat", &mut attributes).unwrap_err();
        assert_eq!(error.to_string(), "Concat: attribute `axis` is not an integer");
    }
}
