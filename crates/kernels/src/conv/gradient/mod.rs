//! Gradients of a convolution, data with their channels last: [`input`] and [`weights`].
//!
//! Geometries describe the forward convolution, from `x` to `y`. The definitions are
//! [`convolve_transposed`](super::convolve_transposed) and [`weight_gradient`](crate::gradient::convolution::weight_gradient).

mod input;
#[cfg(test)]
mod tests;
mod tile;
mod weights;

pub use input::input;
pub use weights::weights;
