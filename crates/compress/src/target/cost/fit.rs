//! Fitting a model of time to times that were measured.

use std::collections::BTreeSet;

use serde::Serialize;

use super::solve::non_negative;
use super::{CostModel, Work};

/// A network whose run was timed.
#[derive(Clone, Debug)]
pub struct Timed {
    /// The network, by a name that all its batches share.
    pub network: String,
    /// What its nodes have to do.
    pub nodes: Vec<Work>,
    /// Seconds of a run.
    pub seconds: f64,
}

/// A fitted model, and how well it predicts.
#[derive(Clone, Debug, Serialize)]
pub struct Fitted {
    /// The model.
    pub model: CostModel,
    /// Median share by which times that it was fitted to are missed.
    pub error: f64,
    /// The same of networks that it was not fitted to: each by a model of all others. `None` for fewer than three networks.
    pub error_unseen: Option<f64>,
}

/// Why nothing could be fitted.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum FitError {
    #[error(
        "{given} timed runs are too few for {unknown} unknown numbers\nhint: give more models or more batch sizes, as --batch 1,4,16"
    )]
    TooFew { given: usize, unknown: usize },
}

/// How often nodes are sorted anew into those that arithmetic and those that memory holds up.
const ROUNDS: usize = 30;

/// Fits the numbers of a model by least squares of relative errors, none below zero. Which nodes wait for arithmetic and which for memory
/// is not known beforehand: as in Lloyd's method, numbers and kinds follow from each other in turns, and the best of all turns stays.
///
/// # Errors
/// When there are fewer runs than numbers.
pub fn fit(runs: &[Timed], of: &CostModel) -> Result<Fitted, FitError> {
    let model = fitted(runs, of)?;
    let names: BTreeSet<&str> = runs.iter().map(|run| run.network.as_str()).collect();
    let mut unseen = Vec::new();
    for name in names.iter().filter(|_| names.len() >= 3) {
        let (left_out, others): (Vec<_>, Vec<_>) = runs.iter().cloned().partition(|run| run.network == *name);
        let Ok(model) = fitted(&others, of) else { continue };
        unseen.extend(left_out.iter().map(|run| missed(&model, run)));
    }
    Ok(Fitted {
        error: median(runs.iter().map(|run| missed(&model, run)).collect()).unwrap_or(0.0),
        error_unseen: median(unseen),
        model,
    })
}

/// Share by which a model misses a time.
fn missed(model: &CostModel, run: &Timed) -> f64 {
    (model.seconds(&run.nodes) / run.seconds - 1.0).abs()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 0 => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

fn fitted(runs: &[Timed], of: &CostModel) -> Result<CostModel, FitError> {
    let products = runs
        .iter()
        .flat_map(|run| &run.nodes)
        .filter(|node| node.operations > 0.0);
    let widths: Vec<u32> = products
        .map(|node| node.bits)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let unknown = widths.len() + OTHERS;
    if runs.len() < unknown {
        return Err(FitError::TooFew {
            given: runs.len(),
            unknown,
        });
    }
    let targets = vec![1.0; runs.len()];
    let error = |model: &CostModel| runs.iter().map(|run| missed(model, run).powi(2)).sum::<f64>();
    // At first each node waits for both.
    let mut model = solved(runs, &targets, &widths, of, &|_| (true, true));
    let mut best = (error(&model), model.clone());
    for _ in 0..ROUNDS {
        let before = model.clone();
        let kind = |node: &Work| {
            let traffic = (node.constant_bytes + node.data_bytes) * before.seconds_per_byte;
            let arithmetic = before.node_seconds(node) - before.seconds_per_node > traffic;
            (arithmetic, !arithmetic)
        };
        model = solved(runs, &targets, &widths, of, &kind);
        if error(&model) < best.0 {
            best = (error(&model), model.clone());
        }
        if model == before {
            break;
        }
    }
    Ok(best.1)
}

/// Numbers besides those of the widths: of an element, a byte, a node, a run and a sum.
const OTHERS: usize = 5;

/// The model where `kind` says of each node whether it waits for arithmetic, and whether for memory.
fn solved(
    runs: &[Timed],
    targets: &[f64],
    widths: &[u32],
    of: &CostModel,
    kind: &dyn Fn(&Work) -> (bool, bool),
) -> CostModel {
    let row = |run: &Timed| {
        let mut row = vec![0.0; widths.len() + OTHERS];
        for node in &run.nodes {
            let (arithmetic, traffic) = kind(node);
            if arithmetic {
                let width = widths.iter().position(|width| *width >= node.bits);
                row[width.unwrap_or(widths.len() - 1)] += node.operations;
                row[widths.len()] += node.elements;
                row[widths.len() + 4] += node.sums;
            }
            if traffic {
                row[widths.len() + 1] += node.constant_bytes + node.data_bytes;
            }
            row[widths.len() + 2] += 1.0;
        }
        row[widths.len() + 3] = 1.0;
        row.iter_mut().for_each(|entry| *entry /= run.seconds);
        row
    };
    let rows: Vec<Vec<f64>> = runs.iter().map(row).collect();
    let x = non_negative(&rows, targets);
    CostModel {
        seconds_per_operation: widths.iter().copied().zip(x.iter().copied()).collect(),
        seconds_per_element: x[widths.len()],
        seconds_per_byte: x[widths.len() + 1],
        seconds_per_node: x[widths.len() + 2],
        seconds_per_run: x[widths.len() + 3],
        seconds_per_sum: x[widths.len() + 4],
        ..of.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam_tensor::SplitMix64;

    fn truth() -> CostModel {
        CostModel {
            version: CostModel::VERSION,
            target: "bantam".to_owned(),
            source: "made up".to_owned(),
            threads: 1,
            seconds_per_operation: vec![(8, 1e-12), (32, 5e-12)],
            seconds_per_sum: 3e-10,
            seconds_per_element: 1e-9,
            seconds_per_byte: 2e-10,
            seconds_per_node: 3e-6,
            seconds_per_run: 1e-5,
            far_constants: None,
        }
    }

    /// Networks of random nodes, some held up by arithmetic, some by memory; times are off by up to `noise`.
    fn runs(noise: f64) -> Vec<Timed> {
        let mut random = SplitMix64::new(5);
        let mut unit = move || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut network = |index: usize| {
            let nodes: Vec<Work> = (0..10 + 3 * index)
                .map(|_| Work {
                    node: String::new(),
                    operations: 1e8 * unit().powi(2),
                    sums: 1e6 * unit(),
                    elements: if unit() < 0.3 { 1e6 * unit() } else { 0.0 },
                    bits: if index < 12 { 8 } else { 32 },
                    constant_bytes: 1e5 * unit(),
                    data_bytes: 3e6 * unit().powi(3),
                })
                .collect();
            let seconds = truth().seconds(&nodes) * (1.0 + noise * (2.0 * unit() - 1.0));
            Timed {
                network: format!("network {index}"),
                nodes,
                seconds,
            }
        };
        (0..24).map(&mut network).collect()
    }

    #[test]
    fn a_known_machine_is_found_again() {
        let found = fit(&runs(0.0), &truth()).unwrap();
        assert!(found.error < 0.02, "{found:?}");
        assert!(found.error_unseen.unwrap() < 0.05, "{found:?}");
        let noisy = fit(&runs(0.1), &truth()).unwrap();
        assert!(noisy.error_unseen.unwrap() < 0.12, "{noisy:?}");
        assert_eq!(noisy.model.problem(), None);
    }

    #[test]
    fn too_few_runs_are_refused() {
        let few = &runs(0.0)[..3];
        assert!(matches!(
            fit(few, &truth()),
            Err(FitError::TooFew { given: 3, unknown: 6 })
        ));
    }
}
