//! GPTQ, and what it becomes with errors of earlier layers, scales and biases taken into account.

use bantam_graph::{Graph, NodeId, ValueId};
use bantam_tensor::{Batch, Tensor};

use super::choice::{Channel, Choice, Group};
use super::greedy;
use super::layers::{Layer, Mean, as_stored, layers, rows_of};
use super::moments::{Moments, moments};
use super::rounding::Metric;
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
        let missing = || LayerwiseError::Shape {
            problem: format!("the float network has no product for `{}`", layer.name),
        };
        let producer = counterpart(&aware.graph, graph, layer.product)
            .and_then(|value| graph.producers()[value.index()])
            .ok_or_else(missing)?;
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
            let rounded = Metric::of(moments, self.damping).and_then(|metric| {
                let group = Group {
                    targets: targets
                        .chunks_exact(depth)
                        .map(|row| metric.ordered(row))
                        .collect(),
                    metric,
                    grids: (0..of_group).map(grid).collect(),
                    scales: (0..of_group).map(|channel| of(scales, channel)).collect(),
                    per_channel: layer.per_channel,
                    form: layer.form,
                };
                group.rounded(self.choice, steps)
            });
            channels.extend(rounded.ok_or_else(|| LayerwiseError::NotFinite {
                layer: layer.name.clone(),
            })?);
        }
        Ok(channels)
    }
}

/// What a product gives, in the float network: a quantizer behind an output of the network has taken the name.
fn counterpart(graph: &Graph, float: &Graph, product: NodeId) -> Option<ValueId> {
    let mut output = graph.node(product).output(0)?;
    loop {
        if let Some(found) = float.value_by_name(&graph.value(output).name) {
            return Some(found);
        }
        let reader = graph.nodes.iter().find(|node| node.input(0) == Some(output))?;
        output = reader.output(0)?;
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
