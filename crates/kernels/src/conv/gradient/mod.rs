//! Gradients of a convolution, data with their channels last: [`input`] and [`weights`].
//!
//! Geometries describe the forward convolution, from `x` to `y`.

mod input;
mod naive;
#[cfg(test)]
mod tests;
mod tile;
mod weights;

pub use input::input;
pub use naive::{naive_input, naive_weights};
pub use weights::weights;
