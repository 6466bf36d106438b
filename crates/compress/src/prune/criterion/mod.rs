//! Criteria: how much each weight matters.
//!
//! A [`Criterion`] gives a saliency to each element of each weight, and nothing else: how much is removed, where and in which
//! structures is decided elsewhere, once. To add one: a file with an `impl Criterion`, and a line in [`CRITERIA`].

mod gradient;
mod inverse_fisher;
mod lamp;
mod magnitude;
mod random;
mod second_order;
mod wanda;

use super::{Evidence, PruneError, Scope};

/// What a criterion looks at besides the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// Gradients of the loss, which need labels where the loss does.
    Gradients,
    /// What the inputs of layers are.
    Inputs,
}

/// A measure of how much weights matter.
pub trait Criterion: Sync {
    /// The name that users write.
    fn name(&self) -> &'static str;
    /// One line for lists.
    fn summary(&self) -> &'static str;
    /// What it looks at.
    fn needs(&self) -> Needs;
    /// Among which weights its numbers can be compared, where the user does not say it.
    fn scope(&self) -> Scope {
        Scope::Global
    }
    /// A number for each element of each weight, in the order of the tensors: elements with smaller ones are removed first.
    ///
    /// # Errors
    /// When samples are needed and there are none, or the network cannot be run on them.
    fn saliency(&self, evidence: &Evidence<'_>) -> Result<Vec<Vec<f32>>, PruneError>;
}

/// Every criterion; the first is the one that is used where none is named.
pub static CRITERIA: &[&dyn Criterion] = &[
    &magnitude::Magnitude,
    &lamp::Lamp,
    &random::Random,
    &gradient::TAYLOR,
    &gradient::SNIP,
    &gradient::FISHER,
    &inverse_fisher::WoodFisher,
    &second_order::Obs,
    &wanda::Wanda,
];

/// The criterion with this name.
pub fn criterion_by_name(name: &str) -> Option<&'static dyn Criterion> {
    CRITERIA
        .iter()
        .copied()
        .find(|criterion| criterion.name() == name)
}
