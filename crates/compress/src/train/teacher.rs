//! The network that is learned from.

use bantam_exec::{CompileOptions, Program, Taps, compile};
use bantam_graph::ops::Unary;
use bantam_graph::passes::{PASSES, run_passes};
use bantam_graph::{Graph, InferOptions, Op, infer_shapes};
use bantam_tensor::{Batch, Tensor};

use super::{Distillation, TrainError};

/// A compiled teacher.
pub(super) struct Teacher {
    program: Program,
    inputs: Vec<String>,
}

impl Teacher {
    /// Compiles the teacher for its scores (before a Softmax or Sigmoid at the end) and its side of the features.
    ///
    /// # Errors
    /// When it has no output, or cannot be compiled.
    pub(super) fn new(graph: &Graph, how: &Distillation) -> Result<Teacher, TrainError> {
        let mut graph = graph.clone();
        let output = *graph.outputs.first().ok_or(TrainError::NoOutput)?;
        let producer = graph.nodes.iter().find(|node| node.output(0) == Some(output));
        let scores = producer.and_then(|node| match node.op {
            Op::Softmax(_) | Op::Unary(Unary::Sigmoid) => node.input(0),
            _ => None,
        });
        graph.outputs = vec![scores.unwrap_or(output)];
        for feature in &how.features {
            let name = feature.split_once('=').map_or("", |(_, name)| name);
            let missing = || TrainError::Feature {
                feature: feature.clone(),
            };
            let value = graph.value_by_name(name).ok_or_else(missing)?;
            graph.outputs.push(value);
        }
        infer_shapes(&mut graph, &InferOptions::default())?;
        run_passes(&mut graph, PASSES)?;
        let inputs = graph.inputs.iter().map(|input| graph.value(*input));
        let inputs = inputs
            .filter(|value| value.initializer.is_none())
            .map(|value| value.name.clone());
        Ok(Teacher {
            inputs: inputs.collect(),
            program: compile(&graph, &CompileOptions::default())?,
        })
    }

    /// What the teacher says of a batch: its inputs are taken by name, or in order where the names differ.
    ///
    /// # Errors
    /// When it does not run on these inputs.
    pub(super) fn say(&self, batch: &Batch) -> Result<Vec<Tensor>, TrainError> {
        let by_name = |name: &String| batch.inputs.iter().find(|(given, _)| given == name);
        let inputs = self.inputs.iter().enumerate().filter_map(|(index, name)| {
            let (_, tensor) = by_name(name).or_else(|| batch.inputs.get(index))?;
            Some((name.as_str(), tensor.clone()))
        });
        Ok(self.program.run(&inputs.collect::<Vec<_>>(), &mut Taps::none())?)
    }
}
