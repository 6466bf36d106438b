//! From the graph that is deployed to the one that is trained.

use bantam_tensor::{DType, Tensor};

use crate::ops::{BatchNormalizationTraining, DropoutTraining};
use crate::{Graph, Op, Value, ValueId, ValueType};

/// A graph in training mode.
#[derive(Clone, Debug)]
pub struct TrainingGraph {
    /// The graph, with the same value ids.
    pub graph: Graph,
    /// Pairs of values: a running mean or variance, and what it becomes in this step.
    pub running: Vec<(ValueId, ValueId)>,
    /// The graph input that takes the number of the step (a scalar `i64`), if anything is random.
    pub step: Option<ValueId>,
}

/// Replaces BatchNormalization by [`BatchNormalizationTraining`], which takes the statistics of the batch and moves the
/// running ones, and Dropout by [`DropoutTraining`], which drops. Other nodes stay as they are; so do those in subgraphs.
///
/// A Dropout draws by its `seed`, or else by its place in the graph.
pub fn training_mode(graph: &Graph) -> TrainingGraph {
    mode(graph, true)
}

/// As [`training_mode`], but BatchNormalization stays with its running statistics, which do not move.
pub fn training_mode_with_running_statistics(graph: &Graph) -> TrainingGraph {
    mode(graph, false)
}

fn mode(graph: &Graph, batch_statistics: bool) -> TrainingGraph {
    let mut training = TrainingGraph {
        graph: graph.clone(),
        running: Vec::new(),
        step: None,
    };
    for index in 0..training.graph.nodes.len() {
        match training.graph.nodes[index].op.clone() {
            Op::BatchNormalization(op) if batch_statistics => training.batch_normalization(
                index,
                BatchNormalizationTraining {
                    epsilon: op.epsilon,
                    momentum: op.momentum,
                },
            ),
            Op::Dropout(op) => training.dropout(index, op.seed.unwrap_or(index as i64)),
            _ => {}
        }
    }
    training
}

impl TrainingGraph {
    fn batch_normalization(&mut self, index: usize, op: BatchNormalizationTraining) {
        self.graph.nodes[index].op = op.into();
        self.graph.nodes[index].outputs.resize(3, None);
        for (input, output) in [(3, 1), (4, 2)] {
            let Some(running) = self.graph.nodes[index].input(input) else {
                continue;
            };
            let updated = match self.graph.nodes[index].output(output) {
                Some(updated) => updated,
                None => {
                    let value = self.graph.value(running);
                    let (name, ty) = (format!("{}_updated", value.name), value.ty.clone());
                    self.graph.add_value(Value {
                        name,
                        ty,
                        ..Value::default()
                    })
                }
            };
            self.graph.nodes[index].outputs[output] = Some(updated);
            self.running.push((running, updated));
        }
    }

    fn dropout(&mut self, index: usize, seed: i64) {
        let step = self.step();
        let node = &self.graph.nodes[index];
        let (x, ratio) = (node.input(0), node.input(1));
        let ratio = ratio.unwrap_or_else(|| self.graph.add_constant("dropout_ratio", Tensor::scalar(0.5f32)));
        let node = &mut self.graph.nodes[index];
        node.op = DropoutTraining { seed }.into();
        node.inputs = vec![x, Some(ratio), Some(step)];
    }

    fn step(&mut self) -> ValueId {
        if let Some(step) = self.step {
            return step;
        }
        let step = self.graph.add_value(Value {
            name: "step".to_owned(),
            ty: ValueType::tensor(DType::I64, Vec::new()),
            ..Value::default()
        });
        self.graph.inputs.push(step);
        self.step = Some(step);
        step
    }
}
