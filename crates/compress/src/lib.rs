//! Quantization, pruning, plans, rewriting and evaluation.
//!
//! A step is three calls: [`stats::observe`] answers what a [`quantize::Method`] asks, the method makes a
//! [`plan::Plan`], and [`rewrite`] applies it.

pub mod analyze;
mod erk;
pub mod evaluate;
mod importance;
mod layer_error;
pub mod packed;
pub mod plan;
pub mod prune;
pub mod quantize;
mod quantizer;
pub mod range;
mod rewrite;
mod rotation;
pub mod search;
pub mod select;
pub mod stats;
pub mod target;
pub mod train;

pub use importance::{importance, importance_requests};
pub use layer_error::measure_layer_errors;
pub use rewrite::{RewriteError, dequantize, rewrite};
