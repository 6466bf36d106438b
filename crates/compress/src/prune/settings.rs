//! What a user can ask of pruning.

use super::criterion::{Criterion, Judges};
use super::reconstruct::Reconstruction;
use super::{PruneError, Scope, Structure};
use crate::select::Selector;

/// Settings of pruning.
#[derive(Clone)]
pub struct PruneSettings {
    /// What says how much weights matter.
    pub criterion: &'static dyn Criterion,
    /// What is removed at once.
    pub structure: Structure,
    /// The share of all weights that are zero afterwards; a pattern says it itself.
    pub sparsity: Option<f64>,
    /// In so many steps: after each, the weights that are left are scored anew.
    pub steps: usize,
    /// Channels change places first, so that a pattern keeps more.
    pub permute: bool,
    /// Among which weights the least salient go; the criterion's own where absent.
    pub scope: Option<Scope>,
    /// How the weights that stay make up for those that go.
    pub reconstruction: Option<&'static dyn Reconstruction>,
    /// Statistics of BatchNormalization and biases follow what samples show, if there are any.
    pub recalibrate: bool,
    /// Only these nodes are pruned; empty means all.
    pub include: Vec<Selector>,
    /// These nodes stay as they are.
    pub exclude: Vec<Selector>,
    /// Chooses at random where there is a choice.
    pub seed: u64,
}

impl PruneSettings {
    /// The share of the weights that is to go.
    ///
    /// # Errors
    /// When it is missing, not between 0 and 1, or another than that of the pattern.
    pub fn sparsity(&self) -> Result<f64, PruneError> {
        let wrong = |percent: f64, problem, hint: String| {
            let percent = percent * 100.0;
            Err(PruneError::Sparsity {
                percent,
                problem,
                hint,
            })
        };
        let structure = self.structure;
        match (self.sparsity, structure.implied_sparsity()) {
            (None, None) => wrong(0.0, "removes nothing", "give --sparsity, as 80%".to_owned()),
            (Some(share), None) if share > 0.0 && share < 1.0 => Ok(share),
            (Some(share), None) => {
                let hint = "a share above 0% and below 100%, as --sparsity 80%".to_owned();
                wrong(share, "leaves no network, or all of it", hint)
            }
            (Some(share), Some(implied)) if (share - implied).abs() > 1e-6 => {
                let hint = format!(
                    "leave --sparsity away: {structure} removes {:.1}%",
                    implied * 100.0
                );
                wrong(share, "is not that of the pattern", hint)
            }
            (_, Some(implied)) => Ok(implied),
        }
    }

    /// The first setting that makes no sense beside the others.
    pub(super) fn check(&self) -> Result<(), PruneError> {
        let steps = |problem| Err(PruneError::Steps { problem });
        let is_pattern = self.structure.implied_sparsity().is_some();
        let choosing = self
            .reconstruction
            .filter(|reconstruction| reconstruction.chooses());
        if self.steps == 0 {
            return steps("at least one step is needed");
        }
        if self.steps > 1 && (choosing.is_some() || is_pattern) {
            return steps("patterns, and reconstructions that choose weights themselves, take one step");
        }
        if self.permute && !is_pattern {
            let structure = self.structure;
            return Err(PruneError::Setting {
                problem: format!("channels change places for the sake of patterns, not of {structure}"),
                hint: "leave --permute away, or --structure 2:4",
            });
        }
        if self.criterion.judges() == Judges::Channels {
            return Err(PruneError::ChannelsAlone {
                criterion: self.criterion.name(),
                other: match self.structure {
                    Structure::Unstructured => "single weights".to_owned(),
                    structure => format!("weights in the structure {structure}"),
                },
            });
        }
        match (choosing, self.structure) {
            (Some(reconstruction), Structure::Block { .. }) => Err(PruneError::Blocks {
                reconstruction: reconstruction.name(),
                structure: self.structure.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Among which weights the least salient go.
    pub fn scope(&self) -> Scope {
        self.scope.unwrap_or(self.criterion.scope())
    }
}
