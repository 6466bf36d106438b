//! Quantization: codes from reals and back, and operators on codes.
//!
//! Arithmetic follows ONNX Runtime: exact 32-bit sums, one `f32` multiplication per result, round half to even,
//! saturation.

mod arithmetic;
mod codes;
mod convolution;
mod gather;
mod linear;
mod nbits;
mod pooling;
mod product;
mod runs;
mod small_floats;
mod sums;

pub(super) use arithmetic::{add, concat, leaky_relu, multiply, sigmoid, softmax};
pub(super) use codes::{signed, unsigned, zero_point};
pub(super) use convolution::{exact as integer_convolution, quantized as quantized_convolution};
pub(super) use gather::gather;
pub(super) use linear::{dequantize, dynamic, quantize};
pub(super) use nbits::multiply as matmul_nbits;
pub(super) use pooling::{average as average_pool, global_average as global_average_pool};
pub(super) use product::prepare as product;
