//! If, Loop and Scan: operators that run graphs.

mod branch;
mod repeat;
mod scan;
mod slices;
mod subgraph;

pub(super) use branch::prepare as branch;
pub(super) use repeat::prepare as repeat;
pub(super) use scan::prepare as scan;
