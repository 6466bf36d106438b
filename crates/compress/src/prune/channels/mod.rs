//! Channels, neurons and heads that are really removed.
//!
//! [`prune_channels`] finds what must go together ([`coupling()`]), scores these units by a criterion, chooses as many
//! as the target asks for, lets the weights that stay make up for them, and leaves a plan. [`crate::rewrite`] applies it: sets the
//! weights and cuts the units out.

mod budget;
mod removals;
mod settings;
mod units;

use bantam_graph::coupling::Group;
use bantam_graph::{Coupling, Graph, InferOptions, Op, ValueId, coupling, infer_shapes};

pub use settings::{ChannelScope, ChannelSettings, Target, UnitKind};

use super::criterion::Judges;
use super::{
    Calibration, Evidence, PruneError, PruneSchedule, PruneSettings, Structure, Weight, adapt,
    changed_constants, needs_samples, prunable, set, values,
};
use crate::packed::{Mask, Numbers};
use crate::plan::{Action, Decision, Plan, Site};
use crate::select::kept_by_user;
use units::Units;
pub(crate) use units::removable;

/// Decides which units of a graph go and what the weights that stay become. The graph keeps its form: BatchNormalization is not
/// folded, so that the result can be trained.
///
/// # Errors
/// When the settings make no sense, there is nothing to prune, the target cannot be reached, samples are missing, or the network
/// cannot be run on them.
pub fn prune_channels(
    graph: &Graph,
    settings: &ChannelSettings,
    calibration: Option<&Calibration<'_>>,
) -> Result<Plan, PruneError> {
    check(settings, calibration)?;
    let (mut dense, mut sized) = (graph.clone(), graph.clone());
    infer_shapes(&mut dense, &InferOptions::default())?;
    infer_shapes(&mut sized, &settings.sizes)?;
    let coupling = coupling(&dense);
    let kept = kept_by_user(&dense, &settings.include, &settings.exclude)?;
    let (weights, kept_nodes) = prunable(&dense, &kept);
    let stays = stays(&dense, &kept);
    let units = Units::new((&dense, &sized), &coupling, &weights, &stays, settings)?;
    if units.groups.is_empty() {
        return Err(nothing(&dense, &coupling, settings));
    }
    let mut pruner = Pruner {
        pruned: dense.clone(),
        dense: &dense,
        sized: &sized,
        weights: &weights,
        units: &units,
        settings,
        calibration,
    };
    let gone = pruner.run()?;
    let mut decisions = removals::removals(&dense, &units, &gone, settings);
    decisions.extend(pruner.changes(&gone)?);
    let kept = kept_nodes
        .into_iter()
        .filter(|(id, _)| kept[id.index()].is_some());
    decisions.extend(kept.map(|(_, decision)| decision));
    Ok(Plan {
        version: Plan::VERSION,
        model: None,
        method: method(settings),
        target: "any".to_owned(),
        decisions,
    })
}

/// A few words on how units are chosen.
fn method(settings: &ChannelSettings) -> String {
    let mut words = format!(
        "removal of {}s by {}, to {:.1}% of the {}",
        settings.kind.name(),
        settings.criterion.name(),
        settings.left * 100.0,
        settings.target.name()
    );
    if let Some(reconstruction) = settings.reconstruction {
        words += &format!(", {}", reconstruction.name());
    }
    words
}

/// What can be known to fail before any work.
fn check(settings: &ChannelSettings, calibration: Option<&Calibration<'_>>) -> Result<(), PruneError> {
    settings.check()?;
    if settings.kind != UnitKind::Channel && settings.criterion.judges() == Judges::Channels {
        return Err(PruneError::ChannelsAlone {
            criterion: settings.criterion.name(),
            other: format!("{}s", settings.kind.name()),
        });
    }
    needs_samples(settings.criterion, settings.reconstruction, calibration)?;
    match settings.reconstruction {
        Some(reconstruction) if reconstruction.chooses() => Err(PruneError::Blocks {
            reconstruction: reconstruction.name(),
            structure: format!("{}s", settings.kind.name()),
        }),
        _ => Ok(()),
    }
}

/// Constants of nodes that the user wants to stay as they are.
fn stays(graph: &Graph, kept: &[Option<&'static str>]) -> Vec<ValueId> {
    let nodes = graph.node_ids().filter(|(id, _)| kept[id.index()].is_some());
    let values = nodes.flat_map(|(_, node)| node.inputs.iter().flatten().copied());
    values.filter(|value| graph.constant(*value).is_some()).collect()
}

fn nothing(graph: &Graph, coupling: &Coupling, settings: &ChannelSettings) -> PruneError {
    let mut reasons: Vec<&str> = coupling
        .locked
        .iter()
        .map(|locked| locked.reason.as_str())
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons.truncate(3);
    let kind = settings.kind.name();
    let why = match (settings.kind, reasons.is_empty()) {
        (UnitKind::Channel, false) => format!(" ({}...)", reasons.join("; ")),
        (UnitKind::Channel, true)
            if graph
                .nodes
                .iter()
                .any(|node| matches!(node.op, Op::DequantizeLinear(_))) =>
        {
            " (its weights are codes: prune before quantizing)".to_owned()
        }
        _ => String::new(),
    };
    PruneError::Nothing {
        reasons: format!(
            "the model has no {kind}s that can go{why}; `bantam inspect --coupling` says what stays and why"
        ),
    }
}

struct Pruner<'a> {
    dense: &'a Graph,
    sized: &'a Graph,
    weights: &'a [Weight],
    units: &'a Units<'a>,
    settings: &'a ChannelSettings,
    calibration: Option<&'a Calibration<'a>>,
    /// The network with zeros in the place of what is gone.
    pruned: Graph,
}

impl Pruner<'_> {
    /// Which units are gone in the end, by the places of groups.
    fn run(&mut self) -> Result<Vec<Vec<bool>>, PruneError> {
        let (units, settings) = (self.units, self.settings);
        let mut gone: Vec<Vec<bool>> = (0..units.groups.len())
            .map(|place| vec![false; units.count(place)])
            .collect();
        let rounds = settings.criterion.rounds();
        for round in 1..=settings.steps * rounds {
            let left =
                1.0 - PruneSchedule::Geometric.gone(1.0 - settings.left, round, settings.steps * rounds);
            let saliency = self.saliency()?;
            gone = budget::choose(self.sized, units, &saliency, &gone, settings, left)?;
            match round.is_multiple_of(rounds) {
                true => self.apply(&gone)?,
                // What stays is as the last step left it.
                false => {
                    self.pruned = (self.units.coupling).mask(&self.pruned, &budget::numbers(units, &gone))?;
                }
            }
        }
        Ok(gone)
    }

    fn saliency(&self) -> Result<Vec<Vec<f64>>, PruneError> {
        let evidence = Evidence {
            graph: &self.pruned,
            weights: self.weights,
            calibration: self.calibration,
            seed: self.settings.seed,
        };
        let groups: Vec<&Group> = self.units.listed().collect();
        let mut saliency = self.settings.criterion.of_units(&evidence, &groups)?;
        for (numbers, group) in saliency.iter().zip(&groups) {
            if numbers.iter().any(|number| number.is_nan()) {
                return Err(PruneError::NotFinite {
                    criterion: self.settings.criterion.name(),
                    weight: self.dense.value(group.axes[0].0).name.clone(),
                });
            }
        }
        if !self.settings.criterion.compares_groups() {
            for numbers in &mut saliency {
                let mean = numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
                numbers
                    .iter_mut()
                    .for_each(|number| *number /= mean.max(f64::MIN_POSITIVE));
            }
        }
        Ok(saliency)
    }

    /// Sets what is gone to zero in the dense network, and lets the others make up for it.
    fn apply(&mut self, gone: &[Vec<bool>]) -> Result<(), PruneError> {
        let removed = budget::numbers(self.units, gone);
        self.pruned = self.units.coupling.mask(self.dense, &removed)?;
        let mut masks = Vec::with_capacity(self.weights.len());
        for (weight, kept) in self.weights.iter().zip(self.kept(gone)) {
            let kept: Vec<f32> = kept.into_iter().map(f32::from).collect();
            masks.push(
                weight
                    .by_rows(kept)
                    .into_iter()
                    .map(|kept| kept > 0.0)
                    .collect::<Vec<bool>>(),
            );
        }
        let Some(calibration) = self.calibration else {
            return Ok(());
        };
        let settings = PruneSettings {
            criterion: self.settings.criterion,
            structure: Structure::Unstructured,
            sparsity: None,
            scope: None,
            steps: 1,
            permute: false,
            reconstruction: self.settings.reconstruction,
            recalibrate: self.settings.recalibrate,
            include: Vec::new(),
            exclude: Vec::new(),
            seed: self.settings.seed,
        };
        adapt::adapt(
            self.dense,
            &mut self.pruned,
            self.weights,
            &mut masks,
            &settings,
            calibration,
        )
    }

    /// For each weight which elements stay, in the order of the tensor.
    fn kept(&self, gone: &[Vec<bool>]) -> Vec<Vec<bool>> {
        let mut kept: Vec<Vec<bool>> = self
            .weights
            .iter()
            .map(|weight| vec![true; weight.len()])
            .collect();
        for (place, gone) in gone.iter().enumerate() {
            let group = &self.units.coupling.groups[self.units.groups[place]];
            for (number, (value, axis)) in group.axes.iter().enumerate() {
                for (weight, kept) in self.weights.iter().zip(&mut kept) {
                    if weight.value != *value {
                        continue;
                    }
                    let units = group.units.iter().zip(gone).filter(|(_, gone)| **gone);
                    let mut leaves = vec![false; weight.shape[*axis]];
                    units
                        .flat_map(|(unit, _)| unit.along(number))
                        .for_each(|position| leaves[position] = true);
                    let inner: usize = weight.shape[axis + 1..].iter().product();
                    for (index, run) in kept.chunks_exact_mut(inner.max(1)).enumerate() {
                        if leaves[index % leaves.len()] {
                            run.fill(false);
                        }
                    }
                }
            }
        }
        kept
    }

    /// What the constants that stay become.
    fn changes(&self, gone: &[Vec<bool>]) -> Result<Vec<Decision>, PruneError> {
        let mut decisions = Vec::new();
        for (weight, kept) in self.weights.iter().zip(self.kept(gone)) {
            let (before, after) = (
                values(self.dense, weight.value)?,
                values(&self.pruned, weight.value)?,
            );
            let stays = |numbers: &[f32]| -> Vec<f32> {
                let pairs = numbers.iter().zip(&kept);
                pairs
                    .filter(|(_, kept)| **kept)
                    .map(|(number, _)| *number)
                    .collect()
            };
            let (before, after) = (stays(&before), stays(&after));
            if before != after {
                decisions.push(Decision {
                    site: Site::Value(weight.name.clone()),
                    action: Action::SetWeight {
                        kept: Some(Mask::new(&kept)),
                        values: Numbers(after),
                    },
                    why: "makes up for what is removed".to_owned(),
                    sqnr_db: None,
                });
            }
        }
        let mut followers = self.pruned.clone();
        self.restore(&mut followers)?;
        let changed = changed_constants(self.dense, &followers, self.weights)?;
        decisions.extend(changed.into_iter().map(|(_, decision)| decision));
        Ok(decisions)
    }

    /// Constants that were only set to zero in some places are as they were: the places go anyway.
    fn restore(&self, graph: &mut Graph) -> Result<(), PruneError> {
        for (value, _) in self.units.listed().flat_map(|group| &group.axes) {
            let listed = self.weights.iter().any(|weight| weight.value == *value);
            if listed || self.dense.constant(*value).is_none() {
                continue;
            }
            let (before, mut after) = (values(self.dense, *value)?, values(graph, *value)?);
            for (after, before) in after.iter_mut().zip(before) {
                if *after == 0.0 {
                    *after = before;
                }
            }
            set(graph, *value, &after)?;
        }
        Ok(())
    }
}
