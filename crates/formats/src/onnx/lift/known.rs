//! A little type inference over the nodes of a file: data types and ranks, as far as rules need them.

use bantam_graph::{Attribute, Attributes, Value, ValueId, dtype_from_code};
use bantam_tensor::{DType, Tensor};

/// What is known of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::onnx) struct Known {
    /// Its data type.
    pub(in crate::onnx) dtype: Option<DType>,
    /// Its number of dimensions.
    pub(in crate::onnx) rank: Option<usize>,
}

impl Known {
    /// Takes over what was not known.
    pub(in crate::onnx) fn learn(&mut self, learned: Known) {
        self.dtype = self.dtype.or(learned.dtype);
        self.rank = self.rank.or(learned.rank);
    }

    /// What a declaration says.
    pub(in crate::onnx) fn of(value: &Value) -> Known {
        Known {
            dtype: value.ty.dtype(),
            rank: value.ty.shape().map(<[_]>::len),
        }
    }
}

/// Where what is known of values can be looked up.
pub(in crate::onnx) trait Facts {
    /// What is known of a value.
    fn known_of(&self, id: ValueId) -> Known;
    /// The constant that a value stands for.
    fn constant_of(&self, id: ValueId) -> Option<&Tensor>;
}

/// What follows for the outputs of a node of the standard domain, in canonical form.
pub(in crate::onnx) fn infer(
    facts: &impl Facts,
    op: &str,
    attributes: &Attributes,
    inputs: &[Option<ValueId>],
    outputs: usize,
) -> Vec<Known> {
    let input = |index: usize| -> Known {
        inputs
            .get(index)
            .copied()
            .flatten()
            .map(|id| facts.known_of(id))
            .unwrap_or_default()
    };
    let known = |index| Known {
        dtype: dtype(op, attributes, index, &input),
        rank: if index == 0 {
            rank(facts, op, attributes, inputs)
        } else {
            None
        },
    };
    (0..outputs).map(known).collect()
}

/// Rank of the first output.
fn rank(facts: &impl Facts, op: &str, attributes: &Attributes, inputs: &[Option<ValueId>]) -> Option<usize> {
    let rank = |index: usize| facts.known_of(inputs.get(index).copied().flatten()?).rank;
    let length = |index: usize| Some(facts.constant_of(inputs.get(index).copied().flatten()?)?.len());
    match op {
        "Gemm" | "Flatten" => Some(2),
        "Shape" | "NonMaxSuppression" => Some(1),
        "Size" => Some(0),
        "Reshape" => length(1),
        "Unsqueeze" => Some(rank(0)? + length(1)?),
        "Squeeze" => rank(0)?.checked_sub(length(1)?),
        "Gather" => (rank(0)? + rank(1)?).checked_sub(1),
        "MatMul" => Some(rank(0)?.max(rank(1)?)).filter(|_| rank(0) > Some(1) && rank(1) > Some(1)),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Where" | "Sum" | "Max" | "Min" | "Mean" => (0..inputs.len())
            .map(rank)
            .try_fold(0, |most, rank| Some(most.max(rank?))),
        "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceL2" => {
            rank(0).filter(|_| attributes.get("keepdims") != Some(&Attribute::Int(0)))
        }
        _ if KEEPS_RANK.contains(&op) => rank(0),
        _ => None,
    }
}

/// Ops whose first output has the rank of their first input.
const KEEPS_RANK: &[&str] = &[
    "Abs",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Elu",
    "Exp",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "Identity",
    "InstanceNormalization",
    "LRN",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MaxPool",
    "Neg",
    "PRelu",
    "Pad",
    "Relu",
    "Resize",
    "Selu",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "Split",
    "Sqrt",
    "Tanh",
    "Transpose",
];

/// Data type of output `index`.
fn dtype(op: &str, attributes: &Attributes, index: usize, input: &impl Fn(usize) -> Known) -> Option<DType> {
    match (op, index) {
        ("Cast", _) => code(attributes, "to"),
        ("Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" | "NonMaxSuppression", _) => Some(DType::I64),
        ("TopK" | "MaxPool", 1) => Some(DType::I64),
        ("And" | "Or" | "Xor" | "Not" | "IsNaN" | "IsInf", _) => Some(DType::Bool),
        ("Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual", _) => Some(DType::Bool),
        ("Dropout", 1) => Some(DType::Bool),
        ("ConstantOfShape", _) => match attributes.get("value") {
            Some(Attribute::Tensor(tensor)) => Some(tensor.dtype()),
            _ => Some(DType::F32),
        },
        ("EyeLike" | "RandomNormalLike" | "RandomUniformLike", _) => {
            code(attributes, "dtype").or(input(0).dtype)
        }
        ("RandomNormal" | "RandomUniform", _) => code(attributes, "dtype").or(Some(DType::F32)),
        ("Multinomial", _) => code(attributes, "dtype").or(Some(DType::I32)),
        ("QuantizeLinear", _) => input(2).dtype.or(Some(DType::U8)),
        ("DequantizeLinear", _) => input(1).dtype,
        ("ConvInteger" | "MatMulInteger", _) => Some(DType::I32),
        ("Where", _) => input(1).dtype.or(input(2).dtype),
        ("OneHot", _) => input(2).dtype,
        ("If" | "Loop" | "Scan", _) => None,
        (_, 0) => input(0).dtype,
        _ => None,
    }
}

fn code(attributes: &Attributes, name: &str) -> Option<DType> {
    match attributes.get(name) {
        Some(Attribute::Int(code)) => i32::try_from(*code).ok().and_then(dtype_from_code),
        _ => None,
    }
}
