//! Criteria: how much each weight matters.
//!
//! A [`Criterion`] gives a saliency to each element of each weight, or to each channel, and nothing else: how much is removed, where and in
//! which structures is decided elsewhere, once. To add one: a file with an `impl Criterion`, and a line in [`CRITERIA`].

mod apoz;
mod batch_normalization;
mod channels;
mod correlation;
mod fpgm;
mod gradient;
mod grasp;
mod inverse_fisher;
mod lamp;
mod linearized;
mod magnitude;
mod obd;
mod random;
mod second_order;
mod synflow;
mod thinet;
mod wanda;

use bantam_graph::coupling::Group;

use super::channels::ChannelScope;
use super::{Evidence, PruneError, Scope, Weight};

/// What a criterion can judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judges {
    /// Elements of weights, and so whatever consists of them.
    Elements,
    /// Whole channels alone.
    Channels,
}

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
    /// Among which channels the least go, where the user does not say it.
    fn channel_scope(&self) -> ChannelScope {
        ChannelScope::Global
    }
    /// What it can judge.
    fn judges(&self) -> Judges {
        Judges::Elements
    }
    /// Whether its numbers for channels of one group can be compared with those of another; if not, they are divided by their mean over
    /// the group.
    fn compares_groups(&self) -> bool {
        self.needs() != Needs::Nothing
    }
    /// In so many rounds what goes is chosen, each with what the rounds before chose gone, before weights that stay make up for it.
    fn rounds(&self) -> usize {
        1
    }
    /// A number for each element of each weight, in the order of the tensors: elements with smaller ones are removed first.
    ///
    /// # Errors
    /// When samples are needed and there are none, the network cannot be run on them, or channels alone can be judged.
    fn saliency(&self, _evidence: &Evidence<'_>) -> Result<Vec<Vec<f32>>, PruneError> {
        Err(PruneError::ChannelsAlone {
            criterion: self.name(),
            other: "elements of weights".to_owned(),
        })
    }
    /// A number for each unit of each group: units with smaller ones are removed first, infinite ones last. Where there is no saying, it is
    /// no number.
    ///
    /// # Errors
    /// When samples are needed and there are none, or the network cannot be run on them.
    fn of_units(&self, evidence: &Evidence<'_>, groups: &[&Group]) -> Result<Vec<Vec<f64>>, PruneError> {
        channels::sums(self.name(), evidence, groups, &self.saliency(evidence)?)
    }
}

/// The one that is used for channels where none is named: of those that need no data it loses least (docs/pruning.md).
pub static FOR_CHANNELS: &dyn Criterion = &lamp::Lamp;

/// Every criterion; the first is the one that is used for weights where none is named.
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
    &synflow::SynFlow,
    &grasp::Grasp,
    &obd::Obd,
    &fpgm::Fpgm,
    &batch_normalization::BatchNormalization,
    &apoz::Apoz,
    &thinet::ThiNet,
    &correlation::Correlation,
];

/// The criterion with this name.
pub fn criterion_by_name(name: &str) -> Option<&'static dyn Criterion> {
    CRITERIA
        .iter()
        .copied()
        .find(|criterion| criterion.name() == name)
}
