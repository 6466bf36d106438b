//! Tensors, storage types, number formats and quantization parameters.
//!
//! A [`Tensor`] is a dtype, a shape and shared bytes: owned and 64-byte aligned, or a slice of a memory-mapped
//! file. A [`NumberFormat`] says how a real number is stored in few bits; [`QuantSpec`] says how a value is to be
//! quantized, and [`QParams`] with which scales and zero points.

mod batch;
mod buffer;
mod dtype;
pub mod formats;
mod mapped;
mod quantization;
mod random;
mod tensor;

pub use batch::{Batch, BatchSize, Samples, SamplesError};
pub use buffer::Buffer;
pub use dtype::DType;
pub use formats::blocks::{BLOCK_FORMATS, BlockFormat, block_format_by_name};
pub use formats::{
    ELEMENT_FORMATS, FORMATS, FormatKind, NARROW_FORMATS, NumberFormat, TABLE_FORMATS, format_by_name,
    table_format_by_name, table_values, trained_format_by_name,
};
pub use mapped::{map_file, prefetch, release};
pub use quantization::{Granularity, QParams, QuantSpec, Rounding};
pub use random::SplitMix64;
pub use tensor::{Element, Tensor, TensorError};
