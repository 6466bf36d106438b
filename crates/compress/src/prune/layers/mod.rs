//! Layers that are removed: residual blocks whose sums go on with what comes in.

mod blocks;
mod criterion;

use bantam_graph::passes::{ELIMINATE_DEAD_NODES, run_passes};
use bantam_graph::{Graph, InferOptions, Patch, infer_shapes};

pub use blocks::{Block, residual_blocks};
pub use criterion::LayerCriterion;

use super::channels::Target;
use super::{Calibration, PruneError};
use crate::RewriteError;
use crate::plan::{Action, Decision, Plan, Site};
use crate::select::{Selector, kept_by_user};

/// Settings of the removal of layers.
#[derive(Clone)]
pub struct LayerSettings {
    /// What says how much a block matters.
    pub criterion: LayerCriterion,
    /// What is to be saved.
    pub target: Target,
    /// The share of it that stays, between 0 and 1.
    pub left: f64,
    /// Only blocks whose sums are among these nodes go; empty means all.
    pub include: Vec<Selector>,
    /// Blocks whose sums are among these nodes stay.
    pub exclude: Vec<Selector>,
    /// Sizes that the file leaves open, for counting what is saved.
    pub sizes: InferOptions,
    /// Chooses the order of the criterion `random`.
    pub seed: u64,
}

/// Decides which residual blocks of a graph go.
///
/// # Errors
/// When there are none, the target cannot be reached, samples are missing, or the network cannot be run on them.
pub fn prune_layers(
    graph: &Graph,
    settings: &LayerSettings,
    calibration: Option<&Calibration<'_>>,
) -> Result<Plan, PruneError> {
    settings.target.check(settings.left)?;
    let (mut dense, mut sized) = (graph.clone(), graph.clone());
    infer_shapes(&mut dense, &InferOptions::default())?;
    infer_shapes(&mut sized, &settings.sizes)?;
    let kept = kept_by_user(&dense, &settings.include, &settings.exclude)?;
    let free = |block: &Block| kept[block.sum.index()].is_none();
    let blocks: Vec<Block> = residual_blocks(&dense).into_iter().filter(free).collect();
    if blocks.is_empty() {
        return Err(PruneError::Nothing {
            reasons: "the model has no residual blocks that can go: sums of a value and of what is computed from it".to_owned(),
        });
    }
    let scores = settings
        .criterion
        .scores(&dense, &blocks, calibration, settings.seed)?;
    let gone = choose(&sized, &blocks, &scores, settings)?;
    Ok(Plan {
        version: Plan::VERSION,
        model: None,
        method: format!(
            "removal of layers by {}, to {:.1}% of the {}",
            settings.criterion.name(),
            settings.left * 100.0,
            settings.target.name()
        ),
        target: "any".to_owned(),
        decisions: decisions(&dense, &blocks, &scores, &gone, settings),
    })
}

/// Which blocks go: the least, as many as are needed.
fn choose(
    sized: &Graph,
    blocks: &[Block],
    scores: &[f64],
    settings: &LayerSettings,
) -> Result<Vec<bool>, PruneError> {
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(a.cmp(b)));
    let whole = settings.target.measure(sized).max(1) as f64;
    let mut gone = vec![false; blocks.len()];
    let mut share = 1.0;
    for (count, block) in order.into_iter().enumerate() {
        if share <= settings.left {
            break;
        }
        gone[block] = true;
        share = match settings.target {
            Target::Units => 1.0 - (count + 1) as f64 / blocks.len() as f64,
            target => {
                let chosen = blocks.iter().zip(&gone).filter(|(_, gone)| **gone);
                let chosen: Vec<Block> = chosen.map(|(block, _)| block.clone()).collect();
                target.measure(&without(sized, &chosen)?) as f64 / whole
            }
        };
    }
    if share > settings.left {
        return Err(PruneError::Target {
            what: settings.target.name(),
            wanted: settings.left * 100.0,
            least: share * 100.0,
        });
    }
    Ok(gone)
}

fn decisions(
    graph: &Graph,
    blocks: &[Block],
    scores: &[f64],
    gone: &[bool],
    settings: &LayerSettings,
) -> Vec<Decision> {
    let decision = |((block, score), gone): ((&Block, &f64), &bool)| {
        let (action, what) = match gone {
            true => (
                Action::RemoveLayer {
                    keeps: graph.value(block.skip).name.clone(),
                },
                "is among the least",
            ),
            false => (Action::Keep, "is not among the least"),
        };
        Decision {
            site: Site::Node(graph.value(block.output).name.clone()),
            action,
            why: format!("{score:.4} {what} by {}", settings.criterion.name()),
            sqnr_db: None,
        }
    };
    blocks.iter().zip(scores).zip(gone).map(decision).collect()
}

/// The graph without some blocks, and without what was computed for them alone.
pub(crate) fn without(graph: &Graph, blocks: &[Block]) -> Result<Graph, RewriteError> {
    let mut patch = Patch::new(graph);
    for block in blocks {
        patch.remove_node(block.sum);
        patch.replace_uses(block.output, block.skip);
    }
    let mut smaller = graph.clone();
    patch.apply(&mut smaller)?;
    run_passes(&mut smaller, &[ELIMINATE_DEAD_NODES])?;
    Ok(smaller)
}
