//! From dtypes to Rust types.

/// Evaluates an expression with a name for the Rust type of a dtype out of a list; a type error that names input
/// `$index` for the others.
macro_rules! in_type {
    ($dtype:expr, $index:expr, [$($variant:ident $rust:ty),* $(,)?], $name:ident => $body:expr) => {
        match $dtype {
            $(bantam_tensor::DType::$variant => {
                type $name = $rust;
                $body
            })*
            got => Err($crate::OpError::Type { index: $index, got }),
        }
    };
}

/// [`in_type`] for the integers of 8 bits and more.
macro_rules! in_integer {
    ($dtype:expr, $index:expr, $name:ident => $body:expr) => {
        $crate::ops::dispatch::in_type!(
            $dtype, $index,
            [I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64],
            $name => $body
        )
    };
}

/// [`in_type`] for the floats of 16 bits and more and the integers of 8 bits and more.
macro_rules! in_number {
    ($dtype:expr, $index:expr, $name:ident => $body:expr) => {
        $crate::ops::dispatch::in_type!(
            $dtype, $index,
            [F32 f32, F64 f64, F16 half::f16, BF16 half::bf16,
             I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64],
            $name => $body
        )
    };
}

/// [`in_number`], with booleans as bytes 0 and 1.
macro_rules! in_number_or_bool {
    ($dtype:expr, $index:expr, $name:ident => $body:expr) => {
        $crate::ops::dispatch::in_type!(
            $dtype, $index,
            [F32 f32, F64 f64, F16 half::f16, BF16 half::bf16,
             I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64, Bool u8],
            $name => $body
        )
    };
}

pub(crate) use {in_integer, in_number, in_number_or_bool, in_type};
