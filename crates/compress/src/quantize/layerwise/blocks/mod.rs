//! Reconstruction of blocks (BRECQ, Li et al. 2021): everything between two places where a single value passes is trained together, so
//! that it gives what the float network's block gives.
//!
//! Weights move around their codes by straight-through gradients, with scales of activations and biases beside them. Inputs of a block are
//! those that the blocks before it give once they are quantized, each element replaced by that of the float network at random, so that what is
//! found holds for errors of either size (QDrop, Wei et al. 2022; there inside blocks too).

mod data;
mod learner;
mod program;
mod units;

use std::collections::BTreeSet;

use bantam_graph::{Graph, ValueId};
use bantam_tensor::{Batch, SplitMix64, Tensor};

use self::data::Data;
use self::learner::Learner;
use self::program::{StepProgram, TARGET};
use self::units::{Unit, units};
use super::layers::layers;
use super::walk::Walk;
use super::{Algorithm, Calibration, LayerwiseError};
use crate::quantize::aware::Aware;

/// See the module.
pub(super) struct Blocks;

/// Samples of a step.
const BATCH: usize = 32;
/// Steps of each block, where nothing else is asked for.
const STEPS: usize = 96;

impl Algorithm for Blocks {
    fn name(&self) -> &'static str {
        "brecq"
    }

    fn summary(&self) -> &'static str {
        "block by block: trains codes, scales of activations and biases against the float block (Li et al. 2021, Wei et al. 2022)"
    }

    fn apply(&self, aware: &mut Aware, calibration: &Calibration<'_>) -> Result<(), LayerwiseError> {
        let layers = layers(aware);
        let solved: BTreeSet<usize> = layers.iter().map(|layer| layer.product.index()).collect();
        let units = units(&aware.graph, &solved);
        let batches: Vec<Batch> = calibration.batches()?;
        let mut walks = Walks {
            quantized: Walk::new(&aware.graph, &batches)?,
            float: Walk::new(calibration.float, &batches)?,
        };
        for (index, unit) in units.iter().enumerate() {
            (calibration.progress)(index, units.len());
            // Values that are no floats with the samples first are not trained on.
            let Some(lessons) = walks.lessons(aware, calibration, unit)? else {
                continue;
            };
            let inside = layers
                .iter()
                .filter(|layer| unit.nodes.contains(&layer.product.index()));
            let mut learner = Learner::new(&aware.graph, unit, &inside.collect::<Vec<_>>())?;
            let seed = calibration.seed.wrapping_add((index as u64) << 32);
            let steps = calibration.steps.unwrap_or(STEPS);
            lessons.teach(&aware.graph, unit, &mut learner, (steps, seed))?;
            learner.write(&mut aware.graph)?;
        }
        (calibration.progress)(units.len(), units.len());
        Ok(())
    }
}

/// Where we are in the quantized network, and in that in float.
struct Walks {
    quantized: Walk,
    float: Walk,
}

impl Walks {
    /// What a unit is trained on, if it can be.
    fn lessons(
        &mut self,
        aware: &Aware,
        calibration: &Calibration<'_>,
        unit: &Unit,
    ) -> Result<Option<Lessons>, LayerwiseError> {
        self.quantized.advance(&aware.graph, unit.nodes.start)?;
        let graph = calibration.float;
        let find = |value: ValueId| graph.value_by_name(&aware.graph.value(value).name);
        let (Some(input), Some(output)) = (find(unit.input), find(unit.output)) else {
            return Ok(None);
        };
        let float = self.float.get(input).and_then(Data::of);
        if let Some(producer) = graph.producers()[output.index()] {
            self.float.advance(graph, producer.index() + 1)?;
        }
        let target = self.float.get(output).and_then(Data::of);
        let quantized = self.quantized.get(unit.input).and_then(Data::of);
        Ok(
            (quantized.zip(float).zip(target)).map(|((quantized, float), target)| Lessons {
                quantized,
                float,
                target,
            }),
        )
    }
}

/// What a unit is trained on.
struct Lessons {
    /// Its inputs in the quantized network.
    quantized: Data,
    /// And in the float network.
    float: Data,
    /// What it should give.
    target: Data,
}

impl Lessons {
    fn teach(
        &self,
        graph: &Graph,
        unit: &Unit,
        learner: &mut Learner,
        (steps, seed): (usize, u64),
    ) -> Result<(), LayerwiseError> {
        let samples = self
            .quantized
            .samples
            .min(self.float.samples)
            .min(self.target.samples);
        let batch = BATCH.min(samples).max(1);
        let (input_shape, target_shape) = (self.quantized.shape_of(batch), self.target.shape_of(batch));
        let held = learner.held();
        let program = StepProgram::new(
            graph,
            (unit.input, &input_shape),
            (unit.output, &target_shape),
            &held,
        )?;
        let mut random = SplitMix64::new(seed);
        let mut order: Vec<usize> = Vec::new();
        let input = graph.value(unit.input).name.as_str();
        for step in 0..steps {
            if order.len() < batch {
                order = (0..samples).collect();
                random.shuffle(&mut order);
            }
            let chosen = order.split_off(order.len() - batch);
            let x = self.quantized.mixed(&self.float, &chosen, &mut random);
            let mut inputs = vec![
                (input, Tensor::from_slice(&input_shape, &x)?),
                (
                    TARGET,
                    Tensor::from_slice(&target_shape, &self.target.rows(&chosen))?,
                ),
            ];
            inputs.extend(learner.inputs(graph)?);
            let gradients = program.gradients(&inputs)?;
            learner.step(&gradients, (step, steps));
        }
        Ok(())
    }
}
