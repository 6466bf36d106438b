//! Stochastic rounding: up with the probability of the fraction, so that no weight is wrong on average (Gupta et al. 2015, section 3).

use bantam_graph::{Graph, ValueId};
use bantam_tensor::{Batch, SplitMix64, Tensor};

use super::layers::{Layer, as_stored, layers, rows_of};
use super::walk::Walk;
use super::{Algorithm, Calibration, LayerwiseError};
use crate::quantize::aware::{Aware, Grid};
use crate::search::divergence;

/// Rounds every weight at random, the whole network so many times (`--steps`), and takes the draw whose answers are nearest to those in float,
/// as Nagel et al. 2020 do for comparison (table 1). One draw alone is no better than the nearest codes.
pub(super) struct Stochastic;

/// Draws where no number is given.
pub(in crate::quantize) const DRAWS: usize = 64;
/// Most samples that draws are compared on.
const COMPARED: usize = 256;

impl Algorithm for Stochastic {
    fn name(&self) -> &'static str {
        "stochastic"
    }

    fn summary(&self) -> &'static str {
        "rounds up or down at random, unbiased, and takes the best of some draws; a baseline (Gupta et al. 2015)"
    }

    fn apply(&self, aware: &mut Aware, calibration: &Calibration<'_>) -> Result<(), LayerwiseError> {
        let (layers, draws) = (layers(aware), calibration.steps.unwrap_or(DRAWS));
        let compared = &calibration.indices[..calibration.indices.len().min(COMPARED)];
        let batches = Calibration {
            indices: compared,
            ..*calibration
        }
        .batches()?;
        let expected = match calibration.float.outputs.first() {
            Some(output) => answers(calibration.float, *output, &batches)?,
            None => Vec::new(),
        };
        let mut best: Option<(f64, Graph)> = None;
        for draw in 0..draws.max(1) {
            (calibration.progress)(draw, draws);
            let graph = drawn(&aware.graph, &layers, calibration.seed.wrapping_add(draw as u64))?;
            let loss = match draws {
                0 | 1 => 0.0,
                _ => distance(&graph, &batches, &expected)?,
            };
            if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                best = Some((loss, graph));
            }
        }
        if let Some((_, graph)) = best {
            aware.graph = graph;
        }
        (calibration.progress)(draws, draws);
        Ok(())
    }
}

/// The network with the weights of all layers rounded at random.
fn drawn(graph: &Graph, layers: &[Layer], seed: u64) -> Result<Graph, LayerwiseError> {
    let mut drawn = graph.clone();
    let mut random = SplitMix64::new(seed);
    for layer in layers {
        let (Some((mut rows, depth)), Some(weight)) = (rows_of(graph, layer), graph.constant(layer.weight))
        else {
            continue;
        };
        let scales = (graph.constant(layer.scale)).map_or(Ok(Vec::new()), Tensor::to_f32)?;
        let of = |numbers: &[f32], channel: usize| numbers[if numbers.len() == 1 { 0 } else { channel }];
        for (channel, row) in rows.chunks_exact_mut(depth.max(1)).enumerate() {
            let scale = of(&scales, channel);
            let grid = Grid {
                zero_point: of(&layer.zero_points, channel),
                ..layer.grid
            };
            for x in row {
                // The nearest of what is moved by up to half a step is the upper one as often as the fraction says.
                *x = grid.round(*x + scale * (random.unit() - 0.5), scale);
            }
        }
        let values = as_stored(layer, rows, depth);
        let rounded = Tensor::from_slice(weight.shape(), &values)?;
        drawn.values[layer.weight.index()].initializer = Some(rounded);
    }
    Ok(drawn)
}

/// The values of an output.
fn answers(graph: &Graph, output: ValueId, batches: &[Batch]) -> Result<Vec<Tensor>, LayerwiseError> {
    let mut walk = Walk::new(graph, batches)?;
    walk.advance(graph, graph.nodes.len())?;
    Ok(walk.get(output).unwrap_or_default().to_vec())
}

fn distance(graph: &Graph, batches: &[Batch], expected: &[Tensor]) -> Result<f64, LayerwiseError> {
    let Some(output) = graph.outputs.first() else {
        return Ok(0.0);
    };
    let got = answers(graph, *output, batches)?;
    let mut sum = 0.0;
    for (expected, got) in expected.iter().zip(&got) {
        sum += divergence(expected, got)?;
    }
    Ok(sum)
}
