//! Reductions, positions of extrema, running sums, order.

mod arg;
mod cumulative;
mod order;
mod reduce;
mod unique;

pub(super) use arg::arg_reduce;
pub(super) use cumulative::{cumulative_product, cumulative_sum};
pub(super) use order::top_k;
pub(super) use reduce::{reduce, sum_dimensions};
pub(super) use unique::unique;
