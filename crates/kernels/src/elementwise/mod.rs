//! Element-wise functions on slices, in place: the caller copies first where the input must stay.
//!
//! They run on one thread; the caller splits long slices.

pub mod activation;
pub mod arithmetic;
mod fast;
pub mod function;
mod special;

pub use arithmetic::{Number, Operand};
pub use special::{erf_f32, tanh_f32};
