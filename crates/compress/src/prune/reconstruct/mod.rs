//! How the weights that stay make up for those that go.
//!
//! Layer by layer, with the inputs that the layers before give once they are pruned: a [`Reconstruction`] gets the rows of a weight, what
//! is to stay of them, and the moments of what they are multiplied with. To add one: a file with an `impl Reconstruction`, and a
//! line in [`RECONSTRUCTIONS`].

mod greedy;
mod inverse;
mod least_squares;
mod sparse_gpt;
#[cfg(test)]
mod tests;

pub(crate) use inverse::Inverse;

use super::Structure;
use crate::quantize::layerwise::Moments;

/// A way to make up for what is removed.
pub trait Reconstruction: Sync {
    /// The name that users write.
    fn name(&self) -> &'static str;
    /// One line for lists.
    fn summary(&self) -> &'static str;
    /// Whether it chooses itself which weights go; of the masks it then takes how many.
    fn chooses(&self) -> bool;
    /// The longest rows that it can do in sensible time.
    fn longest_row(&self) -> usize {
        usize::MAX
    }
    /// Other rows, and what stays of them; `None` where the moments are no finite numbers.
    fn solve(&self, job: &Rows<'_>) -> Option<Solved>;
}

/// Every reconstruction; the first is the one that is used where samples are given and none is named.
pub static RECONSTRUCTIONS: &[&dyn Reconstruction] = &[
    &least_squares::LeastSquares,
    &sparse_gpt::SparseGpt,
    &greedy::Greedy,
];

/// The reconstruction with this name.
pub fn reconstruction_by_name(name: &str) -> Option<&'static dyn Reconstruction> {
    RECONSTRUCTIONS
        .iter()
        .copied()
        .find(|reconstruction| reconstruction.name() == name)
}

/// Rows of a weight that are multiplied with the same inputs.
pub struct Rows<'a> {
    /// The weights, by rows.
    pub values: &'a [f32],
    /// What is to stay of them.
    pub kept: &'a [bool],
    /// Elements of a row.
    pub depth: usize,
    /// Places in the window of a convolution; 1 for matrices.
    pub places: usize,
    /// What is removed at once.
    pub structure: Structure,
    pub(crate) moments: &'a Moments,
}

/// Rows that were solved for.
pub struct Solved {
    /// The weights; zero where they do not stay.
    pub values: Vec<f32>,
    /// What stays.
    pub kept: Vec<bool>,
}
