//! Compiles a graph to a program and runs it.
//!
//! [`compile`] turns a [`bantam_graph::Graph`] into a [`Program`]: steps in order, each an operator prepared for its
//! constants, with the values it reads, writes and releases. [`Program::run`] runs it; [`Taps`] see values as soon as
//! they exist, after which their memory is reused.

mod batchwise;
mod bf16;
mod compile;
mod context;
mod error;
mod fold_constants;
mod fuse;
mod fuse_quantized;
mod inputs;
mod layout;
mod operator;
mod ops;
mod pool;
mod program;
mod step;
mod tables;
mod taps;

pub use compile::{CompileOptions, compile};
pub use context::Context;
pub use error::{CompileError, OpError, RunError};
pub use fold_constants::fold_dequantized;
pub use ops::convolution::conv_geometry;
pub use program::Program;
pub use step::StepInfo;
pub use taps::Taps;
