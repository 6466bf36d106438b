//! Pruning: which weights matter least, and what the others become once these are gone.
//!
//! [`prune`] makes a plan: a [`criterion`] scores the elements of weights, [`masks`] chooses by [`Structure`], [`Scope`] and
//! sparsity which of them go, and with samples the others make up for it ([`reconstruct`]) and statistics follow.
//! [`crate::rewrite`] applies the plan.

mod adapt;
mod budget;
pub mod channels;
pub mod criterion;
mod error;
mod evidence;
pub mod layers;
mod permute;
pub mod reconstruct;
mod schedule;
mod settings;
mod structure;
mod weights;

use bantam_graph::{Graph, InferOptions, ValueId, infer_shapes};
use bantam_tensor::Tensor;

pub use self::budget::{Scope, masks};
pub use self::error::PruneError;
pub use self::evidence::{Calibration, Evidence};
pub use self::schedule::PruneSchedule;
pub use self::settings::PruneSettings;
pub use self::structure::{Structure, satisfies};
pub use self::weights::{Weight, prunable};

use self::criterion::{Criterion, Needs};
use self::reconstruct::Reconstruction;
use crate::packed::{Mask, Numbers};
use crate::plan::{Action, Decision, Plan, Site};
use crate::select::kept_by_user;

/// Decides which weights of a graph go and what the others become. The graph keeps its form: BatchNormalization is not
/// folded, so that the result can be trained.
///
/// # Errors
/// When the settings make no sense, there is nothing to prune, samples are missing, or the network cannot be run on them.
pub fn prune(
    graph: &Graph,
    settings: &PruneSettings,
    calibration: Option<&Calibration<'_>>,
) -> Result<Plan, PruneError> {
    let sparsity = settings.sparsity()?;
    let mut dense = graph.clone();
    infer_shapes(&mut dense, &InferOptions::default())?;
    let (weights, mut decisions) = prunable(
        &dense,
        &kept_by_user(&dense, &settings.include, &settings.exclude)?,
    );
    check(settings, &weights, &decisions, calibration)?;
    let order = permuted(&mut dense, &weights, settings, calibration)?;
    let (mut pruned, mut kept) = (dense.clone(), Vec::new());
    let rounds = match settings.structure.implied_sparsity() {
        Some(_) => 1,
        None => settings.criterion.rounds(),
    };
    for round in 1..=settings.steps * rounds {
        let evidence = Evidence {
            graph: &pruned,
            weights: &weights,
            calibration,
            seed: settings.seed,
        };
        let saliency = saliency(&evidence, settings)?;
        let share = PruneSchedule::Geometric.gone(sparsity, round, settings.steps * rounds);
        kept = masks(&weights, &saliency, settings.structure, settings.scope(), share);
        mask_weights(&mut pruned, &weights, &kept)?;
        if let Some(calibration) = calibration.filter(|_| round.is_multiple_of(rounds)) {
            adapt::adapt(&dense, &mut pruned, &weights, &mut kept, settings, calibration)?;
        }
    }
    for (weight, mask) in weights.iter().zip(kept) {
        let decision = decision(
            &dense,
            &pruned,
            settings,
            (weight, Mask::new(&weight.as_stored(mask))),
        )?;
        decisions.push((weight.node, decision));
    }
    decisions.extend(changed_constants(&dense, &pruned, &weights)?);
    decisions.sort_by_key(|(node, _)| node.index());
    Ok(Plan {
        version: Plan::VERSION,
        model: None,
        method: method(settings, sparsity),
        target: "weights only".to_owned(),
        decisions: (order.into_iter())
            .chain(decisions.into_iter().map(|(_, decision)| decision))
            .collect(),
    })
}

/// Lets channels change places for the sake of a pattern, if that is asked for; gives what the plan says of it.
fn permuted(
    dense: &mut Graph,
    weights: &[Weight],
    settings: &PruneSettings,
    calibration: Option<&Calibration<'_>>,
) -> Result<Vec<Decision>, PruneError> {
    let (true, Structure::Pattern { kept, of }) = (settings.permute, settings.structure) else {
        return Ok(Vec::new());
    };
    let evidence = Evidence {
        graph: dense,
        weights,
        calibration,
        seed: settings.seed,
    };
    let saliency = saliency(&evidence, settings)?;
    let (permuted, order) = permute::permuted(dense, weights, &saliency, (kept, of), settings.seed)?;
    *dense = permuted;
    Ok(order)
}

/// Makes zero what does not stay; masks are by rows.
fn mask_weights(graph: &mut Graph, weights: &[Weight], masks: &[Vec<bool>]) -> Result<(), PruneError> {
    for (weight, mask) in weights.iter().zip(masks) {
        let mut rows = weight.by_rows(values(graph, weight.value)?);
        let gone = rows.iter_mut().zip(mask).filter(|(_, kept)| !**kept);
        gone.for_each(|(value, _)| *value = 0.0);
        set(graph, weight.value, &weight.as_stored(rows))?;
    }
    Ok(())
}

/// A few words on how weights are chosen.
fn method(settings: &PruneSettings, sparsity: f64) -> String {
    let mut words = format!("pruning by {}, {}", settings.criterion.name(), settings.structure);
    if settings.structure.implied_sparsity().is_none() {
        words += &format!(", {}% ({})", sparsity * 100.0, settings.scope().name());
    }
    if settings.permute {
        words += ", channels permuted";
    }
    if settings.steps > 1 {
        words += &format!(", {} steps", settings.steps);
    }
    if let Some(reconstruction) = settings.reconstruction {
        words += &format!(", {}", reconstruction.name());
    }
    words
}

/// What can be known to fail before any work.
fn check(
    settings: &PruneSettings,
    weights: &[Weight],
    kept: &[(bantam_graph::NodeId, Decision)],
    calibration: Option<&Calibration<'_>>,
) -> Result<(), PruneError> {
    if weights.is_empty() {
        let mut reasons: Vec<&str> = kept.iter().map(|(_, decision)| decision.why.as_str()).collect();
        reasons.dedup();
        let reasons = match reasons.is_empty() {
            true => "the model has no convolution or product".to_owned(),
            false => reasons.join(", "),
        };
        return Err(PruneError::Nothing { reasons });
    }
    settings.check()?;
    needs_samples(settings.criterion, settings.reconstruction, calibration)?;
    let Some(reconstruction) = settings.reconstruction else {
        return Ok(());
    };
    let most = reconstruction.longest_row();
    match weights.iter().find(|weight| weight.depth > most) {
        Some(weight) => Err(PruneError::Depth {
            weight: weight.name.clone(),
            depth: weight.depth,
            most,
            reconstruction: reconstruction.name(),
        }),
        None => Ok(()),
    }
}

/// Fails where a criterion or a reconstruction looks at samples and there are none.
fn needs_samples(
    criterion: &dyn Criterion,
    reconstruction: Option<&dyn Reconstruction>,
    calibration: Option<&Calibration<'_>>,
) -> Result<(), PruneError> {
    let (who, instead) = match (calibration, reconstruction) {
        (None, _) if criterion.needs() != Needs::Nothing => (
            format!("the criterion {}", criterion.name()),
            "--criterion magnitude, lamp, synflow or random, which need none",
        ),
        (None, Some(reconstruction)) => (
            format!("the reconstruction {}", reconstruction.name()),
            "--reconstruct none",
        ),
        _ => return Ok(()),
    };
    Err(PruneError::NoSamples { who, instead })
}

/// By rows; what is zero already has the least.
fn saliency(evidence: &Evidence<'_>, settings: &PruneSettings) -> Result<Vec<Vec<f32>>, PruneError> {
    let mut saliency = settings.criterion.saliency(evidence)?;
    let values = evidence.values()?;
    for ((weight, saliency), values) in evidence.weights.iter().zip(&mut saliency).zip(values) {
        if saliency.iter().chain(&values).any(|number| !number.is_finite()) {
            return Err(PruneError::NotFinite {
                criterion: settings.criterion.name(),
                weight: weight.name.clone(),
            });
        }
        let zeros = saliency.iter_mut().zip(values).filter(|(_, value)| *value == 0.0);
        zeros.for_each(|(saliency, _)| *saliency = f32::MIN);
        *saliency = weight.by_rows(std::mem::take(saliency));
    }
    Ok(saliency)
}

fn values(graph: &Graph, value: ValueId) -> Result<Vec<f32>, PruneError> {
    let tensor = graph.constant(value).map_or(Ok(Vec::new()), Tensor::to_f32);
    Ok(tensor?)
}

/// Gives a constant other numbers.
fn set(graph: &mut Graph, value: ValueId, numbers: &[f32]) -> Result<(), PruneError> {
    let shape = graph
        .constant(value)
        .map_or(Vec::new(), |tensor| tensor.shape().to_vec());
    graph.values[value.index()].initializer = Some(Tensor::from_slice(&shape, numbers)?);
    Ok(())
}

/// What the plan says of a weight.
fn decision(
    dense: &Graph,
    pruned: &Graph,
    settings: &PruneSettings,
    (weight, mask): (&Weight, Mask),
) -> Result<Decision, PruneError> {
    let (before, after) = (values(dense, weight.value)?, values(pruned, weight.value)?);
    let gone = mask.len() - mask.kept();
    let share = 100.0 * gone as f64 / mask.len().max(1) as f64;
    let only_masked = before
        .iter()
        .zip(&after)
        .zip(mask.iter())
        .all(|((before, after), kept)| !kept || before == after);
    let (site, name) = (Site::Value(weight.name.clone()), settings.criterion.name());
    let (action, why) = match (gone, only_masked) {
        (0, true) if settings.structure.implied_sparsity().is_some() => (
            Action::Keep,
            "its inputs are no more than those that stay".to_owned(),
        ),
        (0, true) => (Action::Keep, format!("none of it is least by {name}")),
        (_, true) => (
            Action::Mask(mask),
            format!("{gone} of {} go ({share:.1}%), chosen by {name}", before.len()),
        ),
        (_, false) => {
            let how = settings
                .reconstruction
                .map_or("", |reconstruction| reconstruction.name());
            let kept = after.iter().zip(mask.iter()).filter(|(_, kept)| *kept);
            let values = Numbers(kept.map(|(value, _)| *value).collect());
            let why = format!(
                "{gone} of {} go ({share:.1}%), chosen by {name}; the others by {how}",
                before.len()
            );
            (
                Action::SetWeight {
                    kept: Some(mask),
                    values,
                },
                why,
            )
        }
    };
    Ok(Decision {
        site,
        action,
        why,
        sqnr_db: None,
    })
}

/// Statistics and biases that have followed.
fn changed_constants(
    dense: &Graph,
    pruned: &Graph,
    weights: &[Weight],
) -> Result<Vec<(bantam_graph::NodeId, Decision)>, PruneError> {
    let mut changed = Vec::new();
    for (id, node) in dense.node_ids() {
        for value in node.inputs.iter().skip(1).flatten() {
            let is_weight = weights.iter().any(|weight| weight.value == *value);
            if is_weight || dense.constant(*value).is_none() {
                continue;
            }
            let name = &dense.value(*value).name;
            if pruned.constant(*value).map(Tensor::as_bytes) != dense.constant(*value).map(Tensor::as_bytes) {
                let decision = Decision {
                    site: Site::Value(name.clone()),
                    action: Action::SetWeight {
                        kept: None,
                        values: Numbers(values(pruned, *value)?),
                    },
                    why: "follows the outputs of the pruned network".to_owned(),
                    sqnr_db: None,
                };
                changed.push((id, decision));
            }
        }
    }
    Ok(changed)
}
