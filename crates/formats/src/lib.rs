//! Files: model files in and out, and data sets in.

pub mod data;
pub mod onnx;
