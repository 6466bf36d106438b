//! [`Program`]: steps in order.

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use bantam_graph::{Graph, ValueId};
use bantam_tensor::{DType, Tensor};
use rayon::prelude::*;

use crate::batchwise::Parts;
use crate::inputs::{Argument, Inputs};
use crate::step::{Step, StepInfo};
use crate::{Context, OpError, RunError, Taps};

/// An input of a program.
struct Input {
    name: String,
    value: ValueId,
    dtype: Option<DType>,
    shape: Option<Vec<Option<usize>>>,
    has_default: bool,
}

/// A compiled graph.
pub struct Program {
    steps: Vec<Step>,
    constants: Vec<Option<Tensor>>,
    inputs: Vec<Input>,
    captured: Vec<Option<ValueId>>,
    outputs: Vec<(String, ValueId)>,
    context: Context,
    /// How a large batch runs, if its samples do not depend on each other.
    parts: Option<Parts>,
    /// Values that taps know under another id.
    stands_for: HashMap<ValueId, ValueId>,
}

impl Program {
    pub(crate) fn new(
        graph: &Graph,
        steps: Vec<Step>,
        constants: Vec<Option<Tensor>>,
        captured: Vec<Option<ValueId>>,
        parts: Option<Parts>,
        stands_for: HashMap<ValueId, ValueId>,
    ) -> Program {
        let inputs = graph.inputs.iter().map(|&value| {
            let facts = graph.value(value);
            Input {
                name: facts.name.clone(),
                value,
                dtype: facts.ty.dtype(),
                shape: facts
                    .ty
                    .shape()
                    .map(|dims| dims.iter().map(bantam_graph::Dim::known).collect()),
                has_default: facts.initializer.is_some(),
            }
        });
        let outputs = graph
            .outputs
            .iter()
            .map(|&value| (graph.value(value).name.clone(), value));
        Program {
            steps,
            constants,
            inputs: inputs.collect(),
            captured,
            outputs: outputs.collect(),
            context: Context::default(),
            parts,
            stands_for,
        }
    }

    /// The steps in order.
    pub fn steps(&self) -> Vec<StepInfo> {
        self.steps.iter().map(Step::info).collect()
    }

    /// Whether taps see this value with its dimension 1 behind the others: one of
    /// [`crate::CompileOptions::in_any_order`] that no node needs in the graph's own order.
    pub fn has_channels_last(&self, value: ValueId) -> bool {
        self.stands_for.values().any(|seen| *seen == value)
    }

    /// Names of the outputs, in the order of [`Program::run`]'s result.
    pub fn output_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.outputs.iter().map(|(name, _)| name.as_str())
    }

    /// Runs on named inputs; gives the outputs in order.
    ///
    /// # Errors
    /// When an input is missing, unknown or of another type or shape than declared, or when a node fails.
    pub fn run(&self, inputs: &[(&str, Tensor)], taps: &mut Taps<'_>) -> Result<Vec<Tensor>, RunError> {
        let values = self.with_inputs(inputs)?;
        match self.split(inputs).filter(|_| taps.is_empty()) {
            Some(parts) => self.run_parts(inputs, &parts),
            None => self.run_steps(values, taps, &mut |_, _| {}),
        }
    }

    /// The samples of each part of a batch that is large enough to be split.
    fn split(&self, inputs: &[(&str, Tensor)]) -> Option<Vec<Range<usize>>> {
        let most = self.parts?.samples;
        let batch = *inputs.first()?.1.shape().first()?;
        let same = |(_, input): &(&str, Tensor)| input.shape().first() == Some(&batch);
        let count = batch.div_ceil(most);
        let part = |index: usize| batch * index / count..batch * (index + 1) / count;
        (count > 1 && inputs.iter().all(same)).then(|| (0..count).map(part).collect())
    }

    fn run_parts(&self, inputs: &[(&str, Tensor)], parts: &[Range<usize>]) -> Result<Vec<Tensor>, RunError> {
        let run = |part: &Range<usize>| self.run_part(inputs, part, &mut |_, _| {});
        let results: Vec<Vec<Tensor>> = parts.par_iter().map(run).collect::<Result<_, _>>()?;
        let joined = (0..self.outputs.len()).map(|index| {
            let pieces: Vec<&Tensor> = results.iter().map(|outputs| &outputs[index]).collect();
            join_rows(&pieces).map_err(|source| RunError::Node {
                node: self.outputs[index].0.clone(),
                inputs: "the parts of a batch".to_owned(),
                source,
            })
        });
        joined.collect()
    }

    fn run_part(
        &self,
        inputs: &[(&str, Tensor)],
        part: &Range<usize>,
        note_time: &mut dyn FnMut(usize, Duration),
    ) -> Result<Vec<Tensor>, RunError> {
        let values = self.part(inputs, part)?;
        // Held, since memory that does not come from the pool must not get into it: each run would leave more there.
        let held: Vec<Option<Tensor>> = (self.inputs.iter())
            .map(|input| values[input.value.index()].clone())
            .collect();
        let outputs = self.run_steps(values, &mut Taps::none(), note_time);
        drop(held);
        outputs
    }

    /// The constants, and some samples of the inputs.
    fn part(&self, inputs: &[(&str, Tensor)], part: &Range<usize>) -> Result<Vec<Option<Tensor>>, RunError> {
        let mut values = self.constants.clone();
        for input in &self.inputs {
            let Some((_, tensor)) = inputs.iter().find(|(name, _)| *name == input.name) else {
                continue;
            };
            let rows = tensor.rows(part.start, part.len());
            values[input.value.index()] = Some(rows.map_err(|source| RunError::Node {
                node: input.name.clone(),
                inputs: "a batch".to_owned(),
                source: source.into(),
            })?);
        }
        Ok(values)
    }

    /// As [`Program::run`], but gives the time of each step.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn profile(&self, inputs: &[(&str, Tensor)]) -> Result<Vec<Duration>, RunError> {
        let mut times = vec![Duration::ZERO; self.steps.len()];
        let mut note = |step: usize, time| times[step] += time;
        let whole = self.with_inputs(inputs)?;
        let Some(parts) = self.split(inputs) else {
            self.run_steps(whole, &mut Taps::none(), &mut note)?;
            return Ok(times);
        };
        for part in &parts {
            self.run_part(inputs, part, &mut note)?;
        }
        Ok(times)
    }

    /// The constants and the inputs, checked.
    fn with_inputs(&self, inputs: &[(&str, Tensor)]) -> Result<Vec<Option<Tensor>>, RunError> {
        let mut values = self.constants.clone();
        if let Some((name, _)) = inputs
            .iter()
            .find(|(name, _)| self.inputs.iter().all(|i| i.name != *name))
        {
            return Err(RunError::UnknownInput {
                name: (*name).to_owned(),
                expected: self.input_names(),
            });
        }
        for input in &self.inputs {
            match inputs.iter().find(|(name, _)| *name == input.name) {
                Some((_, tensor)) => {
                    input.check(tensor)?;
                    values[input.value.index()] = Some(tensor.clone());
                }
                None if input.has_default => {}
                None => {
                    let (name, expected) = (input.name.clone(), self.input_names());
                    return Err(RunError::MissingInput { name, expected });
                }
            }
        }
        Ok(values)
    }

    /// Runs a subgraph on positional inputs and the captured values in order.
    pub(crate) fn run_subgraph(
        &self,
        inputs: &[Tensor],
        captured: &[Tensor],
    ) -> Result<Vec<Tensor>, OpError> {
        let mut values = self.constants.clone();
        for (input, tensor) in self.inputs.iter().zip(inputs) {
            values[input.value.index()] = Some(tensor.clone());
        }
        for (id, tensor) in self.captured.iter().zip(captured) {
            if let Some(id) = id {
                values[id.index()] = Some(tensor.clone());
            }
        }
        let run = self.run_steps(values, &mut Taps::none(), &mut |_, _| {});
        run.map_err(|error| OpError::Subgraph(Box::new(error)))
    }

    fn run_steps(
        &self,
        mut values: Vec<Option<Tensor>>,
        taps: &mut Taps<'_>,
        note_time: &mut dyn FnMut(usize, Duration),
    ) -> Result<Vec<Tensor>, RunError> {
        let known: Vec<ValueId> = (0..values.len()).map(ValueId::new).collect();
        for id in known {
            if let Some(tensor) = &values[id.index()] {
                taps.see(id, tensor);
            }
        }
        for (index, step) in self.steps.iter().enumerate() {
            let start = Instant::now();
            self.run_step(step, &mut values, taps)?;
            note_time(index, start.elapsed());
        }
        let output = |(name, id): &(String, ValueId)| {
            values[id.index()].clone().ok_or_else(|| RunError::Node {
                node: name.clone(),
                inputs: "none".to_owned(),
                source: OpError::value("the graph's output was not computed"),
            })
        };
        self.outputs.iter().map(output).collect()
    }

    fn run_step(
        &self,
        step: &Step,
        values: &mut [Option<Tensor>],
        taps: &mut Taps<'_>,
    ) -> Result<(), RunError> {
        let taken: Vec<Option<Tensor>> = (step.inputs.iter().zip(&step.last_uses))
            .map(|(input, last)| input.filter(|_| *last).and_then(|id| values[id.index()].take()))
            .collect();
        let arguments = (step.inputs.iter().zip(taken))
            .map(|(input, taken)| match taken {
                Some(tensor) => Some(Argument::Last(tensor)),
                None => input
                    .and_then(|id| values[id.index()].as_ref())
                    .map(Argument::Shared),
            })
            .collect();
        let mut inputs = Inputs::new(arguments);
        let fail = |source, inputs: &Inputs<'_>| {
            let shapes: Vec<String> = (0..inputs.len())
                .map(|i| {
                    inputs
                        .optional(i)
                        .map_or("-".to_owned(), |t| format!("{}{:?}", t.dtype(), t.shape()))
                })
                .collect();
            RunError::Node {
                node: step.node.clone(),
                inputs: shapes.join(", "),
                source,
            }
        };
        let outputs = step
            .operator
            .run(&mut inputs, &self.context)
            .map_err(|e| fail(e, &inputs))?;
        inputs.into_last().for_each(|tensor| self.context.recycle(tensor));
        for (id, tensor) in step.outputs.iter().zip(outputs) {
            if let (Some(id), Some(tensor)) = (id, tensor) {
                taps.see(self.stands_for.get(id).copied().unwrap_or(*id), &tensor);
                values[id.index()] = Some(tensor);
            }
        }
        Ok(())
    }

    fn input_names(&self) -> String {
        let names: Vec<String> = self
            .inputs
            .iter()
            .map(|input| format!("`{}`", input.name))
            .collect();
        names.join(", ")
    }
}

/// Tensors of the same type joined along dimension 0.
fn join_rows(parts: &[&Tensor]) -> Result<Tensor, OpError> {
    let mut shape = parts.first().map_or(vec![], |first| first.shape().to_vec());
    let dtype = parts.first().map_or(DType::F32, |first| first.dtype());
    let alike = |part: &&Tensor| part.dtype() == dtype && part.rank() > 0 && part.shape()[1..] == shape[1..];
    if shape.is_empty() || !parts.iter().all(alike) {
        return Err(OpError::value("the parts of a batch do not fit together"));
    }
    shape[0] = parts.iter().map(|part| part.shape()[0]).sum();
    let bytes: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    Ok(Tensor::from_raw(dtype, &shape, &bytes.concat())?)
}

impl Input {
    fn check(&self, tensor: &Tensor) -> Result<(), RunError> {
        let shape_fits = self.shape.as_ref().is_none_or(|dims| {
            dims.len() == tensor.rank()
                && dims
                    .iter()
                    .zip(tensor.shape())
                    .all(|(dim, size)| dim.is_none_or(|dim| dim == *size))
        });
        if shape_fits && self.dtype.is_none_or(|dtype| dtype == tensor.dtype()) {
            return Ok(());
        }
        let dtype = self
            .dtype
            .map_or("any type".to_owned(), |dtype| dtype.to_string());
        let dims = self
            .shape
            .iter()
            .flatten()
            .map(|dim| dim.map_or("?".to_owned(), |size| size.to_string()));
        let expected = format!("{dtype}[{}]", dims.collect::<Vec<_>>().join(", "));
        let got = format!("{}{:?}", tensor.dtype(), tensor.shape());
        Err(RunError::Input {
            name: self.name.clone(),
            expected,
            got,
        })
    }
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::MatMul;
    use bantam_graph::{Dim, Graph};
    use bantam_tensor::{DType, Tensor};

    use crate::{CompileOptions, Taps, compile};

    #[test]
    fn runs_in_parts_leave_the_same_memory_behind() {
        let mut graph = Graph::default();
        let dims = vec![Dim::Symbol("n".to_owned()), Dim::Known(1 << 17)];
        let x = graph.add_input("x", DType::F32, dims);
        let weights = Tensor::from_slice(&[1 << 17, 2], &vec![0.5f32; 2 << 17]).unwrap();
        let weights = graph.add_constant("w", weights);
        let y = graph.add_node("y", MatMul {}, &[x, weights]);
        graph.outputs = vec![y];
        bantam_graph::infer_shapes(&mut graph, &bantam_graph::InferOptions::default()).unwrap();
        let program = compile(&graph, &CompileOptions::default()).unwrap();
        let input = Tensor::from_slice(&[8, 1 << 17], &vec![1.0f32; 8 << 17]).unwrap();
        let inputs = [("x", input)];
        assert!(
            program.split(&inputs).is_some(),
            "the batch is too small for parts"
        );
        let run = || {
            program.run(&inputs, &mut Taps::none()).unwrap();
            program.context.pool.bytes()
        };
        let (first, second) = (run(), run());
        assert_eq!(first, second);
    }
}
