//! Element-wise ops.

mod activation;
mod binary;
mod bits;
mod cast;
mod compare;
mod map;
mod power;
mod select;
mod unary;
mod variadic;

pub(super) use activation::{
    celu, clip, elu, gelu, hard_sigmoid, leaky_relu, selu, shrink, swish, thresholded_relu,
};
pub(super) use binary::{binary, modulo};
pub(super) use bits::shift;
pub(super) use cast::{CastRules, bit_cast, cast, cast_like, truths};
pub(super) use select::{dropout, select};
pub(super) use unary::{is_infinite, unary};
pub(super) use variadic::variadic;
