//! What stays follows what is gone, layer by layer on the samples: weights that are solved for, biases, and the statistics of
//! BatchNormalization.

use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_tensor::Tensor;
use rayon::prelude::*;

use super::evidence::no_inputs;
use super::reconstruct::Rows;
use super::{Calibration, PruneError, PruneSettings, Weight, set, values};
use crate::quantize::layerwise::{LayerwiseError, Mean, Moments, Walk, mean, moments};

/// Changes `pruned`, which is `dense` with masked weights, so that its layers give what those of `dense` give as well as they can.
/// Reconstructions that choose change the masks (by rows) as well.
pub(super) fn adapt(
    dense: &Graph,
    pruned: &mut Graph,
    weights: &[Weight],
    masks: &mut [Vec<bool>],
    settings: &PruneSettings,
    calibration: &Calibration<'_>,
) -> Result<(), PruneError> {
    if settings.reconstruction.is_none() && !settings.recalibrate {
        return Ok(());
    }
    let batches = calibration.batches()?;
    let mut adapter = Adapter {
        dense,
        consumers: dense.consumers(),
        walks: [Walk::new(dense, &batches)?, Walk::new(pruned, &batches)?],
        pruned,
        settings,
        seed: calibration.seed,
    };
    for (id, node) in dense.node_ids() {
        (calibration.progress)("adapt", id.index(), dense.nodes.len());
        if let Some(index) = weights.iter().position(|weight| weight.node == id) {
            adapter.weight(node, &weights[index], &mut masks[index])?;
        }
        if settings.recalibrate && matches!(node.op, Op::BatchNormalization(_)) {
            adapter.statistics(id, node)?;
        }
    }
    (calibration.progress)("adapt", dense.nodes.len(), dense.nodes.len());
    Ok(())
}

struct Adapter<'a> {
    dense: &'a Graph,
    pruned: &'a mut Graph,
    consumers: Vec<Vec<(NodeId, usize)>>,
    /// Where we are in both.
    walks: [Walk; 2],
    settings: &'a PruneSettings,
    seed: u64,
}

impl Adapter<'_> {
    fn advance(&mut self, node: NodeId) -> Result<(), LayerwiseError> {
        let [dense, pruned] = &mut self.walks;
        dense.advance(self.dense, node.index())?;
        pruned.advance(self.pruned, node.index())
    }

    /// What a value is in both networks.
    fn both(&self, value: ValueId) -> Option<[&[Tensor]; 2]> {
        let [dense, pruned] = &self.walks;
        Some([dense.get(value)?, pruned.get(value)?])
    }

    fn weight(&mut self, node: &Node, weight: &Weight, mask: &mut Vec<bool>) -> Result<(), PruneError> {
        let mean =
            mean(self.dense, node, weight.layout, &self.consumers).filter(|_| self.settings.recalibrate);
        if self.settings.reconstruction.is_none() && !matches!(mean, Some(Mean::Bias(_))) {
            return Ok(());
        }
        self.advance(weight.node)?;
        let [y, x] = self.both(weight.input).ok_or_else(|| no_inputs(weight))?;
        let around_means = (mean.is_some(), self.seed);
        let moments = moments(node, &weight.shape, weight.depth, (x, Some(y)), around_means)?;
        let before = weight.by_rows(values(self.dense, weight.value)?);
        let mut after = weight.by_rows(values(self.pruned, weight.value)?);
        if self.settings.reconstruction.is_some() {
            self.solve(weight, &before, mask, &moments, &mut after)?;
            set(self.pruned, weight.value, &weight.as_stored(after.clone()))?;
        }
        if let Some(Mean::Bias(bias)) = mean {
            self.correct(bias, weight, [&before, &after], &moments)?;
        }
        Ok(())
    }

    fn solve(
        &self,
        weight: &Weight,
        before: &[f32],
        mask: &mut Vec<bool>,
        moments: &[Moments],
        after: &mut Vec<f32>,
    ) -> Result<(), PruneError> {
        let Some(reconstruction) = self.settings.reconstruction else {
            return Ok(());
        };
        let of_group = before.len() / weight.groups;
        let (mut solved, mut kept) = (Vec::new(), Vec::new());
        for ((values, mask), moments) in (before.chunks_exact(of_group))
            .zip(mask.chunks_exact(of_group))
            .zip(moments)
        {
            let job = Rows {
                values,
                kept: mask,
                depth: weight.depth,
                places: weight.places,
                structure: self.settings.structure,
                moments,
            };
            let rows = reconstruction
                .solve(&job)
                .ok_or_else(|| LayerwiseError::NotFinite {
                    layer: weight.name.clone(),
                })?;
            solved.extend(rows.values);
            kept.extend(rows.kept);
        }
        (*after, *mask) = (solved, kept);
        Ok(())
    }

    /// Gives the means of the outputs back what the weights have lost.
    fn correct(
        &mut self,
        bias: ValueId,
        weight: &Weight,
        [before, after]: [&[f32]; 2],
        moments: &[Moments],
    ) -> Result<(), PruneError> {
        let mut bias_values = values(self.dense, bias)?;
        let in_group = weight.rows / weight.groups;
        let sum = |row: &[f32], means: &[f64]| {
            row.iter()
                .zip(means)
                .map(|(w, mean)| f64::from(*w) * mean)
                .sum::<f64>()
        };
        let rows = before
            .chunks_exact(weight.depth)
            .zip(after.chunks_exact(weight.depth));
        for (row, ((before, after), value)) in rows.zip(&mut bias_values).enumerate() {
            let moments = &moments[row / in_group];
            *value += (sum(before, &moments.float_mean) - sum(after, &moments.mean)) as f32;
        }
        set(self.pruned, bias, &bias_values)
    }

    /// Moves running means by what the means of the inputs move by, and scales running variances by the ratio of the variances:
    /// what the samples are by chance is in both networks, and cancels.
    fn statistics(&mut self, id: NodeId, node: &Node) -> Result<(), PruneError> {
        let (Some(input), Some(mean), Some(variance)) = (node.input(0), node.input(3), node.input(4)) else {
            return Ok(());
        };
        let own =
            |value: ValueId| self.dense.constant(value).is_some() && self.consumers[value.index()].len() == 1;
        if !own(mean) || !own(variance) {
            return Ok(());
        }
        self.advance(id)?;
        let Some([y, x]) = self.both(input) else {
            return Ok(());
        };
        let (before, after) = (Channels::of(y)?, Channels::of(x)?);
        let (mut means, mut variances) = (values(self.dense, mean)?, values(self.dense, variance)?);
        if before.means.len() != means.len() || after.means.len() != variances.len() {
            return Ok(());
        }
        for (channel, (mean, variance)) in means.iter_mut().zip(&mut variances).enumerate() {
            *mean += (after.means[channel] - before.means[channel]) as f32;
            let ratio = after.variances[channel] / before.variances[channel];
            *variance = match ratio.is_finite() {
                true => (f64::from(*variance) * ratio) as f32,
                false => after.variances[channel] as f32,
            };
        }
        set(self.pruned, mean, &means)?;
        set(self.pruned, variance, &variances)
    }
}

/// Mean and variance of each channel, `[N, channels, ...]`.
struct Channels {
    means: Vec<f64>,
    variances: Vec<f64>,
}

impl Channels {
    fn of(batches: &[Tensor]) -> Result<Channels, PruneError> {
        let sums: Vec<Vec<[f64; 3]>> = batches.par_iter().map(sums).collect::<Result<_, _>>()?;
        let mut total = vec![[0.0; 3]; sums.first().map_or(0, Vec::len)];
        for sums in &sums {
            for (total, part) in total.iter_mut().zip(sums) {
                total
                    .iter_mut()
                    .zip(part)
                    .for_each(|(total, part)| *total += part);
            }
        }
        let mean = |[count, sum, _]: &[f64; 3]| sum / count.max(1.0);
        let variance = |sums: &[f64; 3]| (sums[2] / sums[0].max(1.0) - mean(sums).powi(2)).max(0.0);
        Ok(Channels {
            means: total.iter().map(mean).collect(),
            variances: total.iter().map(variance).collect(),
        })
    }
}

/// For each channel of a batch: the number of elements, their sum, and that of their squares.
fn sums(batch: &Tensor) -> Result<Vec<[f64; 3]>, PruneError> {
    let (values, shape) = (batch.to_f32()?, batch.shape());
    let channels = shape.get(1).copied().unwrap_or(0);
    let plane: usize = shape.iter().skip(2).product();
    let mut sums = vec![[0.0; 3]; channels];
    for (index, plane) in values.chunks_exact(plane.max(1)).enumerate() {
        let [mut sum, mut squares] = [0f64; 2];
        for value in plane {
            let value = f64::from(*value);
            sum += value;
            squares += value * value;
        }
        let of_channel = &mut sums[index % channels.max(1)];
        of_channel
            .iter_mut()
            .zip([plane.len() as f64, sum, squares])
            .for_each(|(total, part)| *total += part);
    }
    Ok(sums)
}
