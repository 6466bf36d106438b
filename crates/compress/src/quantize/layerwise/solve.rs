//! GPTQ, and what it becomes with errors of earlier layers, scales and biases taken into account.

use bantam_graph::Graph;
use bantam_tensor::{Batch, Tensor};
use rayon::prelude::*;

use super::adaround;
use super::greedy::{self, greedy};
use super::layers::{Layer, Mean, as_stored, layers, rows_of};
use super::moments::{Moments, moments};
use super::rounding::{Even, Metric};
use super::sign_round::{self, Ranges, Signed, Slope, Span, sign_round};
use super::walk::Walk;
use super::{Algorithm, Calibration, LayerwiseError};
use crate::quantize::aware::{Aware, Grid};

/// Rounds weight after weight, each making up for the errors before it (Frantar et al. 2023), the weights with the largest
/// inputs first.
pub(super) static GPTQ: Solver = Solver {
    name: "gptq",
    summary: "rounds weights one after another, each making up for the errors before it (Frantar et al. 2023)",
    damping: 0.01,
    choice: Choice::InOrder,
};

/// Learns which weights are rounded up and which down (Nagel et al. 2020), scales as they are; biases take back the mean error.
pub(super) static ADAROUND: Solver = Solver {
    name: "adaround",
    summary: "learns whether each weight is rounded up or down, scales as they are (Nagel et al. 2020); corrects biases",
    damping: 0.01,
    choice: Choice::UpOrDown,
};

/// As GPTQ, and: weights first move to where they make up for what the quantization of earlier layers and of activations
/// changed; scales are chosen by the error of the outputs; codes are changed one at a time until nothing helps; biases take back
/// the mean error.
pub(super) static LEAST_SQUARES: Solver = Solver {
    name: "least-squares",
    summary: "as gptq; also makes up for earlier layers, chooses scales by the error of outputs, improves codes one by one, corrects biases",
    damping: 0.01,
    choice: Choice::LeastSquares,
};

/// Rounds the weight next that the others of its row can make up for best (Frantar and Alistarh 2022).
pub(super) static OBQ: Solver = Solver {
    name: "obq",
    summary: "rounds in each row the weight next that the others can make up for best (Frantar and Alistarh 2022); slow",
    damping: 0.01,
    choice: Choice::Greedy,
};

/// Moves roundings and ranges against the signs of their gradients (Cheng et al. 2023); biases take back the mean error.
pub(super) static SIGN_ROUND: Solver = Solver {
    name: "signround",
    summary: "moves roundings and ranges against the signs of their gradients (Cheng et al. 2023); corrects biases",
    damping: 0.01,
    choice: Choice::Signed,
};

pub(super) struct Solver {
    name: &'static str,
    summary: &'static str,
    /// What is added to the diagonal of second moments, as a share of its mean.
    damping: f64,
    choice: Choice,
}

/// How codes are chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// One weight after another.
    InOrder,
    /// Learned, of the two nearest.
    UpOrDown,
    /// As in order, then improved together with scales.
    LeastSquares,
    /// The weight next whose rounding costs least.
    Greedy,
    /// By signs of gradients.
    Signed,
}

impl Choice {
    /// Whether weights, and biases, also make up for what changed before the layer.
    fn follows_float(self) -> bool {
        !matches!(self, Choice::InOrder | Choice::Greedy)
    }
}

/// Scales that are tried, as factors of the one that is there: from half to a little more than it.
const SCALES: usize = 28;
/// Rounds of changing codes and scales in turn.
const ROUNDS: usize = 8;

impl Algorithm for Solver {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn apply(&self, aware: &mut Aware, calibration: &Calibration<'_>) -> Result<(), LayerwiseError> {
        let layers = layers(aware);
        if self.choice == Choice::Greedy {
            greedy::check(&aware.graph, &layers)?;
        }
        let batches: Vec<Batch> = calibration.batches()?;
        let mut quantized = Walk::new(&aware.graph, &batches)?;
        let mut float = Walk::new(calibration.float, &batches)?;
        for (index, layer) in layers.iter().enumerate() {
            (calibration.progress)(index, layers.len());
            quantized.advance(&aware.graph, layer.product.index())?;
            // What depends on constants alone keeps its nearest codes.
            let Some(x) = quantized.get(layer.input) else {
                continue;
            };
            let y = match self.choice.follows_float() {
                false => None,
                true => Some(self.float_inputs(aware, calibration, layer, &mut float)?),
            };
            self.layer(aware, layer, (x, y), calibration)?;
        }
        (calibration.progress)(layers.len(), layers.len());
        Ok(())
    }
}

impl Solver {
    /// The same inputs in the float network.
    fn float_inputs<'w>(
        &self,
        aware: &Aware,
        calibration: &Calibration<'_>,
        layer: &Layer,
        float: &'w mut Walk,
    ) -> Result<&'w [Tensor], LayerwiseError> {
        let graph = calibration.float;
        let output = aware.graph.node(layer.product).output(0);
        let name = output.map_or("", |output| aware.graph.value(output).name.as_str());
        let producer = graph
            .value_by_name(name)
            .and_then(|value| graph.producers()[value.index()]);
        let missing = || LayerwiseError::Shape {
            problem: format!("the float network has no `{name}`"),
        };
        let producer = producer.ok_or_else(missing)?;
        float.advance(graph, producer.index())?;
        let input = graph.node(producer).input(0).ok_or_else(missing)?;
        float.get(input).ok_or_else(missing)
    }

    fn layer(
        &self,
        aware: &mut Aware,
        layer: &Layer,
        inputs: (&[Tensor], Option<&[Tensor]>),
        calibration: &Calibration<'_>,
    ) -> Result<(), LayerwiseError> {
        let graph = &aware.graph;
        let rows = rows_of(graph, layer).filter(|(rows, depth)| *depth > 0 && !rows.is_empty());
        let (Some((rows, depth)), Some(weight)) = (rows, graph.constant(layer.weight)) else {
            return Ok(());
        };
        let shape = weight.shape().to_vec();
        let corrects_means = self.choice.follows_float() && layer.mean.is_some();
        let moments = moments(
            graph.node(layer.product),
            &shape,
            depth,
            inputs,
            (corrects_means, calibration.seed),
        )?;
        let scales = graph
            .constant(layer.scale)
            .map_or(Ok(Vec::new()), Tensor::to_f32)?;
        let solved = self.channels(layer, (&rows, depth), &scales, (&moments, calibration.steps))?;
        let graph = &mut aware.graph;
        if corrects_means {
            let of_group = solved.len() / moments.len().max(1);
            let changes =
                (rows.chunks_exact(depth.max(1)).zip(&solved).enumerate()).map(|(channel, (row, solved))| {
                    change_of_mean(&moments[channel / of_group.max(1)], row, &solved.values)
                });
            let changes: Vec<f64> = changes.collect();
            shift(graph, layer, &changes)?;
        }
        if layer.per_channel {
            let scales: Vec<f32> = solved.iter().map(|channel| channel.scale).collect();
            graph.values[layer.scale.index()].initializer = Some(Tensor::from_vec1(&scales));
        }
        let rows = solved.into_iter().flat_map(|channel| channel.values).collect();
        let weight = Tensor::from_slice(&shape, &as_stored(layer, rows, depth))?;
        graph.values[layer.weight.index()].initializer = Some(weight);
        Ok(())
    }

    /// Rounds all channels.
    fn channels(
        &self,
        layer: &Layer,
        (rows, depth): (&[f32], usize),
        scales: &[f32],
        (moments, steps): (&[Moments], Option<usize>),
    ) -> Result<Vec<Channel>, LayerwiseError> {
        let of_group = rows.len() / depth.max(1) / moments.len().max(1);
        let mut channels = Vec::new();
        for (group, moments) in moments.iter().enumerate() {
            let not_finite = || LayerwiseError::NotFinite {
                layer: layer.name.clone(),
            };
            let metric = Metric::of(moments, self.damping).ok_or_else(not_finite)?;
            let first = group * of_group;
            let rows = &rows[first * depth..(first + of_group) * depth];
            let targets = match self.choice.follows_float() {
                false => rows.to_vec(),
                true => moments.targets(rows, self.damping),
            };
            let of = |numbers: &[f32], channel: usize| {
                numbers[if numbers.len() == 1 { 0 } else { first + channel }]
            };
            let grid = |channel: usize| Grid {
                zero_point: of(&layer.zero_points, channel),
                ..layer.grid
            };
            if matches!(self.choice, Choice::UpOrDown | Choice::Signed) {
                let (grids, scales): (Vec<Grid>, Vec<f32>) = (0..of_group)
                    .map(|channel| (grid(channel), of(scales, channel)))
                    .unzip();
                let targets: Vec<Vec<f32>> = (targets.chunks_exact(depth))
                    .map(|row| metric.ordered(row))
                    .collect();
                channels.extend(match self.choice {
                    Choice::Signed => signed(
                        &metric,
                        &targets,
                        (&grids, &scales, layer.per_channel),
                        steps.unwrap_or(sign_round::STEPS),
                    ),
                    _ => learned(
                        &metric,
                        &targets,
                        (&grids, &scales),
                        steps.unwrap_or(adaround::STEPS),
                    ),
                });
                continue;
            }
            let inverse = match self.choice {
                Choice::Greedy => greedy::inverse(&metric).ok_or_else(not_finite)?,
                _ => Vec::new(),
            };
            let solve = |(channel, target): (usize, &[f32])| {
                let (target, grid, scale) = (metric.ordered(target), grid(channel), of(scales, channel));
                if self.choice == Choice::Greedy {
                    let levels = greedy(&inverse, &target, &Even { grid: &grid, scale });
                    return Channel::of(&metric, &levels, scale);
                }
                self.row(&metric, &target, (&grid, layer.per_channel), scale)
            };
            channels.par_extend(targets.par_chunks_exact(depth).enumerate().map(solve));
        }
        Ok(channels)
    }

    /// Rounds one channel.
    fn row(
        &self,
        metric: &Metric,
        target: &[f32],
        (grid, per_channel): (&Grid, bool),
        scale: f32,
    ) -> Channel {
        let mut to = Even { grid, scale };
        let mut best = metric.round(target, &to);
        if self.choice == Choice::LeastSquares {
            let steps = if per_channel { 1..SCALES } else { 0..0 };
            for step in steps {
                let scale = scale * (0.5 + 0.7 * step as f32 / SCALES as f32);
                let other = Even { grid, scale };
                let rounded = metric.round(target, &other);
                if rounded.error < best.error {
                    (best, to) = (rounded, other);
                }
            }
            metric.descend(target, &mut to, &mut best, (ROUNDS, per_channel));
        }
        Channel::of(metric, &best.levels, to.scale)
    }
}

/// Rounds all channels of a group up or down.
fn learned(
    metric: &Metric,
    targets: &[Vec<f32>],
    (grids, scales): (&[Grid], &[f32]),
    steps: usize,
) -> Vec<Channel> {
    let depth = metric.depth;
    let targets: Vec<f32> = targets.concat();
    let rows = adaround::Rows {
        metric,
        targets: &targets,
        grids,
        scales,
    };
    let levels = rows.round(steps);
    let channel = |(levels, scale): (&[f32], &f32)| Channel::of(metric, levels, *scale);
    levels.chunks_exact(depth).zip(scales).map(channel).collect()
}

/// Rounds all channels of a group by signs of gradients; scales move where each channel has its own.
fn signed(
    metric: &Metric,
    targets: &[Vec<f32>],
    (grids, scales, moves): (&[Grid], &[f32], bool),
    steps: usize,
) -> Vec<Channel> {
    let range = |(grid, scale): (&Grid, &f32)| OneRange {
        grid: *grid,
        scale: *scale,
        moves,
    };
    let ranges: Vec<OneRange> = grids.iter().zip(scales).map(range).collect();
    let signed = sign_round(metric, targets, &ranges, steps);
    let channel = |(signed, range): (Signed, &OneRange)| {
        let scale = range.span(0, signed.factors[0]).scale;
        Channel::of(metric, &signed.levels, scale)
    };
    signed.into_iter().zip(&ranges).map(channel).collect()
}

/// The range of a channel: as far as its scale reaches.
struct OneRange {
    grid: Grid,
    scale: f32,
    /// Whether it may become narrower.
    moves: bool,
}

impl Ranges for OneRange {
    fn groups(&self) -> usize {
        1
    }

    fn group(&self, _: usize) -> usize {
        0
    }

    fn span(&self, _: usize, [_, factor]: [f32; 2]) -> Span {
        Span {
            scale: if self.moves {
                self.scale * factor
            } else {
                self.scale
            },
            zero_point: self.grid.zero_point,
            bounds: [self.grid.smallest(), self.grid.largest()],
        }
    }

    fn slopes(&self, _: usize, _: [f32; 2]) -> [Slope; 2] {
        let scale = if self.moves { self.scale } else { 0.0 };
        let upper = Slope {
            scale,
            zero_point: 0.0,
        };
        [Slope::default(), upper]
    }
}

/// Gives the means of the outputs back what they lost.
fn shift(graph: &mut Graph, layer: &Layer, changes: &[f64]) -> Result<(), LayerwiseError> {
    let (value, sign) = match layer.mean {
        Some(Mean::Bias(value)) => (value, 1.0),
        Some(Mean::Running(value)) => (value, -1.0),
        None => return Ok(()),
    };
    let Some(tensor) = graph.constant(value) else {
        return Ok(());
    };
    let (shape, before) = (tensor.shape().to_vec(), tensor.to_f32()?);
    if before.len() == changes.len() {
        let shifted = before
            .iter()
            .zip(changes)
            .map(|(mean, by)| mean + (sign * by) as f32);
        let shifted = Tensor::from_slice(&shape, &shifted.collect::<Vec<f32>>())?;
        graph.values[value.index()].initializer = Some(shifted);
    }
    Ok(())
}

/// A rounded output channel.
struct Channel {
    values: Vec<f32>,
    scale: f32,
}

impl Channel {
    /// From levels in the order of the metric.
    fn of(metric: &Metric, levels: &[f32], scale: f32) -> Channel {
        let values: Vec<f32> = levels.iter().map(|level| level * scale).collect();
        Channel {
            values: metric.restored(&values),
            scale,
        }
    }
}

/// What the rounding of a row and the quantization of its inputs take from the mean of its outputs.
fn change_of_mean(moments: &Moments, row: &[f32], rounded: &[f32]) -> f64 {
    let before: f64 = row
        .iter()
        .zip(&moments.float_mean)
        .map(|(w, mean)| f64::from(*w) * mean)
        .sum();
    let after: f64 = rounded
        .iter()
        .zip(&moments.mean)
        .map(|(w, mean)| f64::from(*w) * mean)
        .sum();
    before - after
}
