//! What a user can ask of the removal of channels.

use bantam_graph::{Graph, InferOptions, cost};

use crate::prune::PruneError;
use crate::prune::criterion::Criterion;
use crate::prune::reconstruct::Reconstruction;
use crate::select::Selector;

/// Settings of the removal of channels and heads.
#[derive(Clone)]
pub struct ChannelSettings {
    /// Which units may go.
    pub kind: UnitKind,
    /// What says how much weights matter; units have the sums of theirs.
    pub criterion: &'static dyn Criterion,
    /// What is to be saved.
    pub target: Target,
    /// The share of it that stays, between 0 and 1.
    pub left: f64,
    /// Among which units the least go.
    pub scope: ChannelScope,
    /// What saliencies are divided by: the savings of a unit to this power; 0 looks at saliencies alone.
    pub savings_power: f64,
    /// Of each group this share of the units stays at least.
    pub least: f64,
    /// The units of a group that stay are a multiple of this, or all.
    pub multiple: usize,
    /// Channels of residual streams may go too, which all layers along the stream share.
    pub streams: bool,
    /// Steps in which units go; after each one saliencies are found anew.
    pub steps: usize,
    /// How the weights that stay make up for those that go.
    pub reconstruction: Option<&'static dyn Reconstruction>,
    /// Statistics of BatchNormalization and biases follow what samples show, if there are any.
    pub recalibrate: bool,
    /// Only what these nodes have is pruned; empty means all.
    pub include: Vec<Selector>,
    /// What these nodes have stays as it is.
    pub exclude: Vec<Selector>,
    /// Sizes that the file leaves open, for counting what is saved.
    pub sizes: InferOptions,
    /// Chooses at random where there is a choice.
    pub seed: u64,
}

impl ChannelSettings {
    /// What makes no sense, before any work.
    ///
    /// # Errors
    /// When a setting is out of its range.
    pub fn check(&self) -> Result<(), PruneError> {
        self.target.check(self.left)?;
        let wrong = |problem: String, hint| Err(PruneError::Setting { problem, hint });
        if !(0.0..=1.0).contains(&self.least) {
            let problem = format!("{}% of a group cannot stay", self.least * 100.0);
            return wrong(problem, "--least from 0% to 100%");
        }
        if !self.savings_power.is_finite() {
            let problem = format!("nothing can be raised to the power {}", self.savings_power);
            return wrong(problem, "--savings-power 1, or 0 to look at saliencies alone");
        }
        if self.multiple == 0 || self.steps == 0 {
            let problem = "there are no multiples of 0, and nothing happens in 0 steps".to_owned();
            return wrong(problem, "--multiple and --steps of at least 1");
        }
        Ok(())
    }
}

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// A channel, neuron or hidden unit: what is no head.
    Channel,
    /// A head of attention.
    Head,
}

impl UnitKind {
    /// Every kind, by the name that users write.
    pub const ALL: &[(&str, UnitKind)] = &[("channel", UnitKind::Channel), ("head", UnitKind::Head)];

    /// The name that users write.
    pub fn name(self) -> &'static str {
        let found = UnitKind::ALL.iter().find(|(_, kind)| *kind == self);
        found.map_or("channel", |(name, _)| name)
    }
}

/// What is to be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Multiply-accumulates.
    Macs,
    /// Parameters.
    Parameters,
    /// Bytes of constants, as files have them.
    Bytes,
    /// Units.
    Units,
}

impl Target {
    /// Whether a share of it can stay.
    ///
    /// # Errors
    /// When it is none between 0 and 1.
    pub fn check(self, left: f64) -> Result<(), PruneError> {
        if left > 0.0 && left < 1.0 {
            return Ok(());
        }
        Err(PruneError::Setting {
            problem: format!(
                "{}% of the {} cannot stay: it is no network, or all of it",
                left * 100.0,
                self.name()
            ),
            hint: "a share between, as --target-macs 50%",
        })
    }

    /// What it counts in a graph whose sizes are known; parameters for units, which the graph does not tell.
    pub fn measure(self, graph: &Graph) -> u64 {
        match self {
            Target::Macs => cost(graph).macs,
            Target::Parameters | Target::Units => cost(graph).parameters,
            Target::Bytes => {
                let constants = graph.values.iter().filter_map(|value| value.initializer.as_ref());
                constants.map(|tensor| tensor.as_bytes().len() as u64).sum()
            }
        }
    }

    /// A word for messages.
    pub fn name(self) -> &'static str {
        match self {
            Target::Macs => "MACs",
            Target::Parameters => "parameters",
            Target::Bytes => "bytes of constants",
            Target::Units => "units",
        }
    }
}

/// Among which units the least go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelScope {
    /// All of the network.
    Global,
    /// Those of a group; each group loses the same share.
    Group,
}
