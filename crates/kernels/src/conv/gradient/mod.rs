//! Gradients of convolutions of data with the channels last, `[batch, spatial..., channels]`.
//!
//! A [`Geometry`] describes the forward convolution, `y = x * weights + bias`; `dx`, `dw`, `db` and `dy` are the
//! gradients of a loss with respect to these, of the same shapes. Sums over the batch are made in chunks whose number
//! depends on the sizes only, and added up in order.

mod bias;
mod depthwise;
mod direct;
mod input;
mod outer;
mod residue;
mod sums;
#[cfg(test)]
mod tests;
mod weight;
mod winograd;

pub use bias::bias;
pub use input::{input, input_bf16};
pub use weight::{weight, weight_bf16};

use super::Geometry;

/// What happens to the elements that a gradient is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// They are replaced.
    Replace,
    /// The gradient is added to them: gradients that come from several places add up.
    Add,
}

/// # Panics
/// When the slices do not fit `geometry`.
fn check(geometry: &Geometry, x: usize, weights: usize, y: usize) {
    assert!(geometry.fits(x, weights, y), "slices do not fit {geometry:?}");
}
