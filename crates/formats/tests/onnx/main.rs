//! Reading and writing ONNX files through the public functions.

mod corpus;
mod files;
mod hostile;
mod roundtrip;
mod tensors;
mod wire;
