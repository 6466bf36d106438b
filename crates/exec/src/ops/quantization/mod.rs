//! Quantization: codes from reals and back, and operators on codes.
//!
//! Arithmetic follows ONNX Runtime: exact 32-bit sums, one `f32` multiplication per result, round half to even,
//! saturation.

mod arithmetic;
mod codes;
mod linear;
mod product;
mod runs;

pub(super) use arithmetic::{add, concat, leaky_relu, multiply, sigmoid, softmax};
pub(super) use linear::{dequantize, dynamic, quantize};
pub(super) use product::prepare as product;
