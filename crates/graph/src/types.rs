//! Types of values: dtype and (partly known) shape.

use bantam_tensor::DType;

/// One dimension of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Known when the graph is loaded.
    Known(usize),
    /// Named by the file, as `N`; equal names are equal sizes.
    Symbol(String),
    /// Not known.
    Unknown,
}

impl Dim {
    /// The size, if known.
    pub fn known(&self) -> Option<usize> {
        match self {
            Dim::Known(size) => Some(*size),
            _ => None,
        }
    }
}

impl From<usize> for Dim {
    fn from(size: usize) -> Dim {
        Dim::Known(size)
    }
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Dim::Known(size) => write!(f, "{size}"),
            Dim::Symbol(name) => f.write_str(name),
            Dim::Unknown => f.write_str("?"),
        }
    }
}

/// What is known of a value's type.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ValueType {
    /// Nothing.
    #[default]
    Unknown,
    /// A dense tensor; the shape is `None` when not even the rank is known.
    Tensor {
        /// Element type, if known.
        dtype: Option<DType>,
        /// Dimensions, if the rank is known.
        shape: Option<Vec<Dim>>,
    },
    /// A sequence, map, optional or sparse tensor: the encoded ONNX `TypeProto`, kept as it was.
    Opaque(Vec<u8>),
}

impl ValueType {
    /// A tensor of known rank.
    pub fn tensor(dtype: DType, shape: Vec<Dim>) -> ValueType {
        ValueType::Tensor {
            dtype: Some(dtype),
            shape: Some(shape),
        }
    }

    /// The element type, if this is a tensor and it is known.
    pub fn dtype(&self) -> Option<DType> {
        match self {
            ValueType::Tensor { dtype, .. } => *dtype,
            _ => None,
        }
    }

    /// The dimensions, if this is a tensor of known rank.
    pub fn shape(&self) -> Option<&[Dim]> {
        match self {
            ValueType::Tensor { shape, .. } => shape.as_deref(),
            _ => None,
        }
    }

    /// The dimensions as numbers, if all are known.
    pub fn static_shape(&self) -> Option<Vec<usize>> {
        self.shape()?.iter().map(Dim::known).collect()
    }
}

impl std::fmt::Display for ValueType {
    /// `f32[N,3]`; `?` for what is not known, `[...]` for an unknown rank.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (dtype, shape) = match self {
            ValueType::Unknown => return f.write_str("?"),
            ValueType::Opaque(_) => return f.write_str("opaque"),
            ValueType::Tensor { dtype, shape } => (dtype, shape),
        };
        f.write_str(dtype.map_or("?", DType::name))?;
        match shape {
            None => f.write_str("[...]"),
            Some(shape) => {
                let dims: Vec<String> = shape.iter().map(Dim::to_string).collect();
                write!(f, "[{}]", dims.join(","))
            }
        }
    }
}

const CODES: &[(i32, DType)] = &[
    (1, DType::F32),
    (2, DType::U8),
    (3, DType::I8),
    (4, DType::U16),
    (5, DType::I16),
    (6, DType::I32),
    (7, DType::I64),
    (8, DType::String),
    (9, DType::Bool),
    (10, DType::F16),
    (11, DType::F64),
    (12, DType::U32),
    (13, DType::U64),
    (14, DType::Complex64),
    (15, DType::Complex128),
    (16, DType::BF16),
    (17, DType::F8E4M3FN),
    (18, DType::F8E4M3FNUZ),
    (19, DType::F8E5M2),
    (20, DType::F8E5M2FNUZ),
    (21, DType::U4),
    (22, DType::I4),
    (23, DType::F4E2M1),
    (24, DType::F8E8M0),
    (25, DType::U2),
    (26, DType::I2),
];

/// The dtype with this ONNX code (`TensorProto.DataType`).
pub fn dtype_from_code(code: i32) -> Option<DType> {
    CODES
        .iter()
        .find(|(known, _)| *known == code)
        .map(|(_, dtype)| *dtype)
}

/// The ONNX code of a dtype (`TensorProto.DataType`).
pub fn dtype_code(dtype: DType) -> i32 {
    CODES
        .iter()
        .find(|(_, known)| *known == dtype)
        .map_or(0, |(code, _)| *code)
}
