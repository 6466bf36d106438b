//! A step of a unit as a program.

use bantam_exec::{CompileOptions, Program, Taps, compile};
use bantam_graph::ops::{Binary, Reduce, ReduceKind};
use bantam_graph::{Dim, Graph, InferOptions, ValueId, ValueType, differentiate, infer_shapes, part};
use bantam_tensor::{DType, Tensor};

use crate::quantize::layerwise::LayerwiseError;
use crate::train::TrainError;

/// The input that takes what the unit should give.
pub(super) const TARGET: &str = "bantam:target";

/// Gives the gradients of the mean squared difference of a unit's output from its target.
pub(super) struct StepProgram {
    program: Program,
    /// Which of the values that were asked for have a gradient.
    reached: Vec<bool>,
}

impl StepProgram {
    /// For the part of the graph from one value to another, of these shapes. Its inputs are the first of them, [`TARGET`], and the values
    /// `held`, which gradients are wanted of.
    ///
    /// # Errors
    /// When the part cannot be differentiated or compiled.
    pub(super) fn new(
        graph: &Graph,
        (input, input_shape): (ValueId, &[usize]),
        (output, output_shape): (ValueId, &[usize]),
        held: &[ValueId],
    ) -> Result<StepProgram, LayerwiseError> {
        let inputs = [&[input], held].concat();
        let mut unit = part(graph, &inputs, &[output]);
        for value in held {
            let value = &mut unit.values[value.index()];
            if let Some(tensor) = value.initializer.take() {
                value.ty = ValueType::tensor(DType::F32, known(tensor.shape()));
            }
        }
        unit.values[input.index()].ty = ValueType::tensor(DType::F32, known(input_shape));
        for node in &unit.nodes {
            for output in node.outputs.iter().flatten() {
                unit.values[output.index()].ty = ValueType::Unknown;
            }
        }
        let target = unit.add_input(TARGET, DType::F32, known(output_shape));
        let difference = unit.add_node("bantam:difference", Binary::Sub, &[output, target]);
        let square = unit.add_node("bantam:square", Binary::Mul, &[difference, difference]);
        let mean = Reduce {
            kind: ReduceKind::Mean,
            keepdims: false,
            noop_with_empty_axes: false,
        };
        let loss = unit.add_node("bantam:loss", mean, &[square]);
        infer_shapes(&mut unit, &InferOptions::default())?;
        let differentiated = differentiate(&unit, loss, held).map_err(TrainError::from)?;
        let mut step = differentiated.graph;
        step.outputs = differentiated.gradients.iter().flatten().copied().collect();
        Ok(StepProgram {
            reached: differentiated.gradients.iter().map(Option::is_some).collect(),
            program: compile(&step, &CompileOptions::default())?,
        })
    }

    /// For each value that was asked for its gradient, if the output depends on it.
    pub(super) fn gradients(
        &self,
        inputs: &[(&str, Tensor)],
    ) -> Result<Vec<Option<Vec<f32>>>, LayerwiseError> {
        let mut found = self.program.run(inputs, &mut Taps::none())?.into_iter();
        let mut next = |reached: &bool| {
            let gradient = found.next().filter(|_| *reached);
            gradient.map(|tensor| tensor.to_f32()).transpose()
        };
        let gradients = self.reached.iter().map(|reached| match reached {
            true => next(reached),
            false => Ok(None),
        });
        Ok(gradients.collect::<Result<_, _>>()?)
    }
}

fn known(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|size| Dim::Known(*size)).collect()
}
