//! What is pruned: weights that become zero, or channels, heads and layers that go.

use bantam_compress::plan::Plan;
use bantam_compress::prune::channels::{ChannelSettings, prune_channels};
use bantam_compress::prune::criterion::Needs;
use bantam_compress::prune::layers::{LayerCriterion, LayerSettings, prune_layers};
use bantam_compress::prune::{Calibration, PruneError, PruneSettings, prune};
use bantam_graph::Graph;

use super::super::inspect::with_batch;

/// What is pruned, and how.
#[derive(Clone)]
pub enum Pruning {
    /// Weights become zero; the network keeps its form.
    Weights(PruneSettings),
    /// Channels or heads are removed.
    Channels(ChannelSettings),
    /// Residual blocks are removed.
    Layers(LayerSettings),
}

impl Pruning {
    /// What can be known to be wrong before any work.
    ///
    /// # Errors
    /// When settings make no sense.
    pub fn check(&self) -> Result<(), PruneError> {
        match self {
            Pruning::Weights(settings) => settings.sparsity().map(|_| ()),
            Pruning::Channels(settings) => settings.check(),
            Pruning::Layers(settings) => settings.target.check(settings.left),
        }
    }

    /// Whether samples change anything.
    pub(super) fn looks_at_samples(&self) -> bool {
        match self {
            Pruning::Weights(it) => {
                it.criterion.needs() != Needs::Nothing || it.reconstruction.is_some() || it.recalibrate
            }
            Pruning::Channels(it) => {
                it.criterion.needs() != Needs::Nothing || it.reconstruction.is_some() || it.recalibrate
            }
            Pruning::Layers(it) => it.criterion != LayerCriterion::Random,
        }
    }

    /// The same with another share left.
    pub(super) fn with_left(&self, left: f64) -> Pruning {
        match self.clone() {
            Pruning::Channels(it) => Pruning::Channels(ChannelSettings { left, ..it }),
            Pruning::Layers(it) => Pruning::Layers(LayerSettings { left, ..it }),
            Pruning::Weights(it) => Pruning::Weights(it),
        }
    }

    /// What removes the same as with this share left; in a single step nobody makes up for it.
    pub(super) fn outline(&self, left: f64) -> Pruning {
        match self.with_left(left) {
            Pruning::Channels(it) if it.steps == 1 => Pruning::Channels(ChannelSettings {
                reconstruction: None,
                recalibrate: false,
                ..it
            }),
            pruning => pruning,
        }
    }

    /// What random choices start from.
    pub(super) fn seed(&self) -> u64 {
        match self {
            Pruning::Weights(settings) => settings.seed,
            Pruning::Channels(settings) => settings.seed,
            Pruning::Layers(settings) => settings.seed,
        }
    }

    /// Whether the statistics of BatchNormalization follow.
    pub(super) fn recalibrates(&self) -> bool {
        match self {
            Pruning::Weights(settings) => settings.recalibrate,
            Pruning::Channels(settings) => settings.recalibrate,
            Pruning::Layers(_) => false,
        }
    }

    /// Decides. What is saved is counted for one sample.
    pub(super) fn plan(
        &self,
        graph: &Graph,
        calibration: Option<&Calibration<'_>>,
    ) -> Result<Plan, PruneError> {
        match self {
            Pruning::Weights(settings) => prune(graph, settings, calibration),
            Pruning::Channels(settings) => {
                let sizes = with_batch(graph, 1);
                let settings = ChannelSettings {
                    sizes,
                    ..settings.clone()
                };
                prune_channels(graph, &settings, calibration)
            }
            Pruning::Layers(settings) => {
                let sizes = with_batch(graph, 1);
                let settings = LayerSettings {
                    sizes,
                    ..settings.clone()
                };
                prune_layers(graph, &settings, calibration)
            }
        }
    }
}
