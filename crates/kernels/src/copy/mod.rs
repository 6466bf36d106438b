//! Moving elements without looking at them.

mod permute;
mod runs;

pub use permute::{permute, simplify_permutation};
pub use runs::{Run, RunList, take_runs};
