//! How much a residual block matters.

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::Graph;
use bantam_tensor::{Batch, SplitMix64, Tensor};

use super::{Block, without};
use crate::prune::{Calibration, PruneError};
use crate::quantize::layerwise::{LayerwiseError, Walk};

/// What says how much a block matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerCriterion {
    /// How little the block turns what passes it: one minus the mean cosine of what comes in and what goes out (Men et al. 2024,
    /// "ShortGPT", equation 1).
    Influence,
    /// What the outputs of the network change by when this block alone is missing: the mean squared difference.
    Output,
    /// A seeded order, to compare with.
    Random,
}

impl LayerCriterion {
    /// Every criterion, by the name that users write, with a line for lists; the first is the one that is used where none is named.
    pub const ALL: &[(&str, LayerCriterion, &str)] = &[
        (
            "influence",
            LayerCriterion::Influence,
            "how much the block turns what passes it (Men et al. 2024)",
        ),
        (
            "output",
            LayerCriterion::Output,
            "what the network's outputs change by without the block",
        ),
        (
            "random",
            LayerCriterion::Random,
            "a seeded order, to compare with",
        ),
    ];

    /// The name that users write.
    pub fn name(self) -> &'static str {
        let found = LayerCriterion::ALL
            .iter()
            .find(|(_, criterion, _)| *criterion == self);
        found.map_or("influence", |(name, ..)| name)
    }

    /// A number for each block; the least go first.
    pub(super) fn scores(
        self,
        graph: &Graph,
        blocks: &[Block],
        calibration: Option<&Calibration<'_>>,
        seed: u64,
    ) -> Result<Vec<f64>, PruneError> {
        if self == LayerCriterion::Random {
            let mut random = SplitMix64::new(seed);
            return Ok(blocks.iter().map(|_| f64::from(random.unit())).collect());
        }
        let calibration = calibration.ok_or_else(|| PruneError::NoSamples {
            who: format!("the criterion {}", self.name()),
            instead: "--criterion random, which needs none",
        })?;
        let batches = calibration.batches()?;
        match self {
            LayerCriterion::Output => changes(graph, blocks, &batches, calibration),
            _ => influences(graph, blocks, &batches, calibration),
        }
    }
}

fn influences(
    graph: &Graph,
    blocks: &[Block],
    batches: &[Batch],
    calibration: &Calibration<'_>,
) -> Result<Vec<f64>, PruneError> {
    let mut walk = Walk::new(graph, batches)?;
    let mut scores = Vec::with_capacity(blocks.len());
    for (number, block) in blocks.iter().enumerate() {
        (calibration.progress)("influence", number, blocks.len());
        walk.advance(graph, block.sum.index())?;
        let of = |value| walk.get(value).ok_or_else(|| no_inputs(graph, block));
        let (skips, branches) = (of(block.skip)?, of(block.branch)?);
        let (mut sum, mut count) = (0.0, 0usize);
        for (skip, branch) in skips.iter().zip(branches) {
            let rows = row_length(skip);
            let (skip, branch) = (skip.to_f32()?, branch.to_f32()?);
            for (skip, branch) in skip.chunks_exact(rows).zip(branch.chunks_exact(rows)) {
                sum += 1.0 - cosine(skip, branch);
                count += 1;
            }
        }
        scores.push(sum / count.max(1) as f64);
    }
    Ok(scores)
}

/// Elements of a vector that passes: those of a token, or of an image.
fn row_length(tensor: &Tensor) -> usize {
    let shape = tensor.shape();
    match shape.len() {
        0 => 1,
        1..=3 => shape[shape.len() - 1].max(1),
        _ => shape[1..].iter().product::<usize>().max(1),
    }
}

/// Cosine of `x` and `x + y`.
fn cosine(x: &[f32], y: &[f32]) -> f64 {
    let [mut product, mut before, mut after] = [0f64; 3];
    for (x, y) in x.iter().zip(y) {
        let (x, sum) = (f64::from(*x), f64::from(*x) + f64::from(*y));
        product += x * sum;
        before += x * x;
        after += sum * sum;
    }
    product / (before * after).sqrt().max(f64::MIN_POSITIVE)
}

fn changes(
    graph: &Graph,
    blocks: &[Block],
    batches: &[Batch],
    calibration: &Calibration<'_>,
) -> Result<Vec<f64>, PruneError> {
    let expected = outputs(graph, batches)?;
    let mut scores = Vec::with_capacity(blocks.len());
    for (number, block) in blocks.iter().enumerate() {
        (calibration.progress)("output", number, blocks.len());
        let got = outputs(&without(graph, std::slice::from_ref(block))?, batches)?;
        let difference = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
        let sum: f64 = expected.iter().zip(&got).map(difference).sum();
        scores.push(sum / expected.len().max(1) as f64);
    }
    Ok(scores)
}

fn outputs(graph: &Graph, batches: &[Batch]) -> Result<Vec<f32>, PruneError> {
    let program = compile(graph, &CompileOptions::default()).map_err(LayerwiseError::from)?;
    let mut all = Vec::new();
    for batch in batches {
        let inputs: Vec<(&str, Tensor)> = (batch.inputs.iter())
            .filter(|(name, _)| graph.inputs.iter().any(|input| graph.value(*input).name == *name))
            .map(|(name, tensor)| (name.as_str(), tensor.clone()))
            .collect();
        let outputs = program
            .run(&inputs, &mut Taps::none())
            .map_err(LayerwiseError::from)?;
        if let Some(first) = outputs.first() {
            all.extend(first.to_f32()?);
        }
    }
    Ok(all)
}

fn no_inputs(graph: &Graph, block: &Block) -> LayerwiseError {
    LayerwiseError::Shape {
        problem: format!(
            "`{}` does not depend on the network's inputs",
            graph.value(block.output).name
        ),
    }
}
