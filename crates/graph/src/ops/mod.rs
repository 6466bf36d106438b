//! The ops, by family: their attributes in canonical form (ONNX opset 23, defaults explicit).
//!
//! Field names are the attribute names of the ONNX specification, which also defines their meaning.

mod control;
mod convolution;
mod elementwise;
mod gradient;
mod microsoft;
mod movement;
mod normalization;
mod order;
mod pooling;
mod quantization;
mod recurrent;

pub use control::*;
pub use convolution::*;
pub use elementwise::*;
pub use gradient::*;
pub use microsoft::*;
pub use movement::*;
pub use normalization::*;
pub use order::*;
pub use pooling::*;
pub use quantization::*;
pub use recurrent::*;
