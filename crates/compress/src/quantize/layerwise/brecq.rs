//! Trains block after block to give what the float network gives there (BRECQ, Li et al. 2021).
//!
//! A block ends where a single value leads on, as behind the sum of a residual block; what a block learns from are its inputs in the
//! quantized network, half of their elements, drawn anew for each step, those of the float network (QDrop, Wei et al. 2022, equation 7),
//! so that it does not rely on errors that other samples may not have. Weights, scales and biases move by straight-through gradients
//! from where they are: learned rounding is `adaround`.

use bantam_graph::{Graph, ValueId, part};
use bantam_tensor::{Batch, DType, Samples, SamplesError, SplitMix64, Tensor, TensorError};

use super::layers::layers;
use super::walk::Walk;
use super::{Algorithm, Calibration, LayerwiseError};
use crate::quantize::aware::Aware;
use crate::train::{Loss, Observer, Optimizer, StepReport, TrainSettings, train};

/// Block reconstruction.
pub(super) struct Brecq;

/// Samples of a step.
const BATCH: usize = 32;
/// Steps of a block where nothing else is asked for.
const STEPS: usize = 2000;
/// The largest learning rate, where nothing else is asked for.
const LEARNING_RATE: f32 = 2e-4;
/// Share that stays of the moving average of the weights: codes that flip to and fro settle.
const AVERAGE: f32 = 0.99;

impl Algorithm for Brecq {
    fn name(&self) -> &'static str {
        "brecq"
    }

    fn summary(&self) -> &'static str {
        "trains block after block to give the outputs of the float block (Li et al. 2021), on inputs of which half are not quantized (Wei et al. 2022)"
    }

    fn apply(&self, aware: &mut Aware, calibration: &Calibration<'_>) -> Result<(), LayerwiseError> {
        let blocks = blocks(aware, calibration.float);
        let batches = calibration.batches()?;
        let mut quantized = Walk::new(&aware.graph, &batches)?;
        let mut float = Walk::new(calibration.float, &batches)?;
        for (index, block) in blocks.iter().enumerate() {
            (calibration.progress)(index, blocks.len());
            quantized.advance(&aware.graph, block.first)?;
            let (Some(x), Some(float_x)) = (quantized.get(block.input), float.get(block.float_input)) else {
                continue;
            };
            let inputs = [x.to_vec(), float_x.to_vec()];
            float.advance(calibration.float, block.float_end)?;
            let Some(outputs) = float.get(block.float_output) else {
                continue;
            };
            let samples = BlockSamples {
                input: aware.graph.value(block.input).name.clone(),
                inputs,
                outputs,
            };
            block.train(aware, &samples, calibration)?;
        }
        (calibration.progress)(blocks.len(), blocks.len());
        Ok(())
    }
}

/// Nodes between two places where a single value leads on.
struct Block {
    /// The first node, in the graph with quantizers.
    first: usize,
    input: ValueId,
    output: ValueId,
    float_input: ValueId,
    float_output: ValueId,
    /// The node behind the last, in the float graph.
    float_end: usize,
}

impl Block {
    fn train(
        &self,
        aware: &mut Aware,
        samples: &BlockSamples<'_>,
        calibration: &Calibration<'_>,
    ) -> Result<(), LayerwiseError> {
        let part = part(&aware.graph, &[self.input], &[self.output]);
        let read: Vec<ValueId> = part
            .nodes
            .iter()
            .flat_map(|node| node.inputs.iter().flatten().copied())
            .collect();
        let mut rules = aware.rules();
        rules.retain(|rule| read.iter().any(|value| part.value(*value).name == rule.name));
        let batch = calibration.of_step(BATCH);
        let steps = calibration.steps.unwrap_or(STEPS);
        let settings = TrainSettings {
            batch,
            epochs: steps.div_ceil((samples.len() / batch).max(1)),
            max_steps: Some(steps as u64),
            loss: Loss::Mse,
            optimizer: Optimizer::Adamw {
                beta1: 0.9,
                beta2: 0.999,
            },
            learning_rate: calibration.learning_rate.unwrap_or(LEARNING_RATE),
            weight_decay: 0.0,
            ema: Some(AVERAGE),
            freeze_statistics: Some(0),
            seed: calibration.seed,
            ..TrainSettings::default()
        };
        let trained = train(&part, samples, &settings, &rules, None, None, &mut Silent)?;
        for value in read {
            if let Some(constant) = trained.graph.constant(value) {
                aware.graph.values[value.index()].initializer = Some(constant.clone());
            }
        }
        Ok(())
    }
}

/// The blocks: each holds a layer at least, and ends as late as it can; what leads from one to the next are floats.
fn blocks(aware: &Aware, float: &Graph) -> Vec<Block> {
    let graph = &aware.graph;
    let producers = float.producers();
    let mut single = singles(graph);
    single.retain(|(_, value)| {
        let value = graph.value(*value);
        let is_float = value.ty.dtype().is_none_or(|dtype| dtype == DType::F32);
        is_float && float.value_by_name(&value.name).is_some()
    });
    let mut products: Vec<usize> = layers(aware).iter().map(|layer| layer.product.index()).collect();
    products.push(graph.nodes.len());
    let mut ends: Vec<(usize, ValueId)> = Vec::new();
    let mut before = None;
    for product in products {
        // Before the first layer, what the network takes in.
        let latest = single.iter().rev().find(|(place, _)| *place <= product);
        let latest = latest.filter(|(place, _)| before.is_none_or(|before| *place > before));
        ends.extend(latest);
        before = Some(product);
    }
    ends.dedup();
    let block = |pair: &[(usize, ValueId)]| {
        let [(first, input), (_, output)] = [pair[0], pair[1]];
        let of_float = |value: ValueId| float.value_by_name(&graph.value(value).name);
        let float_output = of_float(output)?;
        Some(Block {
            first,
            input,
            output,
            float_input: of_float(input)?,
            float_output,
            float_end: producers[float_output.index()]?.index() + 1,
        })
    };
    ends.windows(2).filter_map(block).collect()
}

/// Places, by the index of the node behind, where one value alone leads on from what comes before.
fn singles(graph: &Graph) -> Vec<(usize, ValueId)> {
    let count = graph.nodes.len();
    let mut varies = vec![false; graph.values.len()];
    let mut living: Vec<Vec<ValueId>> = vec![Vec::new(); count + 1];
    let consumers = graph.consumers();
    let mut live = |value: ValueId, from: usize| {
        let last = consumers[value.index()]
            .iter()
            .map(|(node, _)| node.index())
            .max();
        let last = if graph.outputs.contains(&value) {
            Some(count)
        } else {
            last
        };
        let places = living.iter_mut().take(last.map_or(0, |last| last + 1)).skip(from);
        // Two are as good as many.
        places
            .filter(|values| values.len() < 2)
            .for_each(|values| values.push(value));
    };
    for input in &graph.inputs {
        if graph.value(*input).initializer.is_none() {
            varies[input.index()] = true;
            live(*input, 0);
        }
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        if node.inputs.iter().flatten().any(|input| varies[input.index()]) {
            for output in node.outputs.iter().flatten() {
                varies[output.index()] = true;
                live(*output, index + 1);
            }
        }
    }
    let places = living.into_iter().enumerate();
    places
        .filter_map(|(place, values)| match values[..] {
            [value] => Some((place, value)),
            _ => None,
        })
        .collect()
}

/// What goes into a block and what is to come out, batch by batch.
struct BlockSamples<'a> {
    /// Name of the input.
    input: String,
    /// In the quantized and in the float network.
    inputs: [Vec<Tensor>; 2],
    outputs: &'a [Tensor],
}

impl BlockSamples<'_> {
    /// The samples with these indices, of the batches of a value.
    fn rows(batches: &[Tensor], indices: &[usize]) -> Result<Vec<f32>, TensorError> {
        let mut values = Vec::new();
        for index in indices {
            let mut row = *index;
            for batch in batches {
                let count = samples(batch);
                if row < count {
                    values.extend(batch.rows(row, 1)?.to_f32()?);
                    break;
                }
                row -= count;
            }
        }
        Ok(values)
    }

    fn stacked(batches: &[Tensor], indices: &[usize], values: &[f32]) -> Result<Tensor, TensorError> {
        let of_sample = batches.first().map_or(&[][..], |batch| &batch.shape()[1..]);
        Tensor::from_slice(&[&[indices.len()], of_sample].concat(), values)
    }

    fn with(&self, indices: &[usize], x: &[f32]) -> Result<Batch, TensorError> {
        let y = BlockSamples::rows(self.outputs, indices)?;
        Ok(Batch {
            inputs: vec![(
                self.input.clone(),
                BlockSamples::stacked(&self.inputs[0], indices, x)?,
            )],
            labels: Some(BlockSamples::stacked(self.outputs, indices, &y)?),
        })
    }
}

fn samples(batch: &Tensor) -> usize {
    batch.shape().first().copied().unwrap_or(0)
}

fn unread(error: TensorError) -> SamplesError {
    SamplesError(Box::new(error))
}

impl Samples for BlockSamples<'_> {
    fn len(&self) -> usize {
        self.outputs.iter().map(samples).sum()
    }

    fn has_labels(&self) -> bool {
        true
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, SamplesError> {
        let x = BlockSamples::rows(&self.inputs[0], indices).map_err(unread)?;
        self.with(indices, &x).map_err(unread)
    }

    /// Each element is that of the float network as likely as that of the quantized one.
    fn training_batch(&self, indices: &[usize], draw: u64) -> Result<Batch, SamplesError> {
        let [mut x, float] = [
            BlockSamples::rows(&self.inputs[0], indices).map_err(unread)?,
            BlockSamples::rows(&self.inputs[1], indices).map_err(unread)?,
        ];
        let first = indices.first().copied().unwrap_or(0) as u64;
        let mut random = SplitMix64::new(draw.wrapping_add(first));
        for (x, float) in x.chunks_mut(64).zip(float.chunks(64)) {
            let coins = random.next_u64();
            for (index, (x, float)) in x.iter_mut().zip(float).enumerate() {
                if coins >> index & 1 == 1 {
                    *x = *float;
                }
            }
        }
        self.with(indices, &x).map_err(unread)
    }
}

/// Says nothing: what counts are blocks.
struct Silent;

impl Observer for Silent {
    fn step(&mut self, _: &StepReport) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bantam_graph::Dim;
    use bantam_graph::ops::{Binary, Unary};

    use super::*;

    #[test]
    fn one_value_leads_on_behind_sums_but_not_beside_shortcuts() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![Dim::Symbol("N".into()), Dim::Known(4)]);
        let stem = graph.add_node("stem", Unary::Relu, &[x]);
        let inner = graph.add_node("inner", Unary::Tanh, &[stem]);
        let outer = graph.add_node("outer", Unary::Exp, &[inner]);
        let sum = graph.add_node("sum", Binary::Add, &[outer, stem]);
        let last = graph.add_node("last", Unary::Relu, &[sum]);
        graph.outputs.push(last);
        assert_eq!(singles(&graph), [(0, x), (1, stem), (4, sum), (5, last)]);
    }

    #[test]
    fn half_of_what_a_step_sees_is_of_the_float_network() {
        let values = |value: f32| vec![Tensor::from_slice(&[3, 50], &[value; 150]).unwrap(); 2];
        let outputs = values(0.0);
        let samples = BlockSamples {
            input: "x".to_owned(),
            inputs: [values(1.0), values(3.0)],
            outputs: &outputs,
        };
        let seen = |batch: Batch| batch.inputs[0].1.to_f32().unwrap();
        assert_eq!(samples.len(), 6);
        assert_eq!(seen(samples.batch(&[5, 0]).unwrap()), [1.0; 100]);
        let mixed = seen(samples.training_batch(&[0, 1, 2, 3, 4, 5], 7).unwrap());
        let float = mixed.iter().filter(|value| **value == 3.0).count();
        assert!((110..190).contains(&float), "{float} of 300");
        let again = seen(samples.training_batch(&[0, 1, 2, 3, 4, 5], 7).unwrap());
        assert_eq!(mixed, again);
    }
}
