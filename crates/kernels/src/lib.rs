//! Numeric kernels on plain slices, chosen at run time for the CPU.
//!
//! Kernels know sizes and parameters, not graphs or tensors. A family is a file or a folder: first a plain form that is
//! easy to believe, which stays as the oracle of the tests, then the fast forms. [`Isa`] says what the CPU has. Results
//! do not depend on the number of threads: work is split into chunks whose sums are independent of the split.

#![allow(unsafe_code, reason = "the one crate for it: each block says why it is sound")]
#![allow(
    clippy::needless_range_loop,
    reason = "blocks of vector registers are arrays indexed by several loops at once"
)]

pub mod attention;
pub mod blocks;
pub mod cholesky;
pub mod chunks;
pub mod conv;
pub mod copy;
pub mod elementwise;
pub mod gradient;
pub mod histogram;
pub mod integer;
mod isa;
pub mod lookup;
pub mod matmul;
pub mod nbits;
pub mod normalization;
pub mod pool;
mod product;
pub mod quantize;
mod real;
pub mod recurrent;
pub mod reduce;
pub mod regions;
pub mod resize;
mod rows;
pub mod sample;
mod scratch;
mod simd;
pub mod softmax;
pub mod stored;
pub mod training;
mod vectorize;

pub use isa::Isa;
pub use real::{Real, exp_f32};
