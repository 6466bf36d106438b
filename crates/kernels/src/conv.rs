//! Convolution.
//!
//! [`convolve`] is the definition, written out; [`PackedConvolution`] is the fast form for `f32`; [`gradient`] has the
//! gradients of its input, weights and bias.

pub(crate) mod blocks;
mod deformable;
mod dense;
mod depthwise;
mod geometry;
pub mod gradient;
mod naive;
mod packed;
mod patches;
pub(crate) mod source;
#[cfg(test)]
pub(crate) mod tests;
mod transposed;
mod winograd;

pub use deformable::{Deformation, convolve_deformable};
pub use geometry::Geometry;
pub(crate) use geometry::{advance, input_index};
pub use naive::convolve;
pub use packed::{Epilogue, PackedConvolution, Residual};
pub use patches::patches;
pub use transposed::convolve_transposed;
