//! One step of training as a program.

use bantam_exec::{CompileOptions, Program, Taps, compile};
use bantam_graph::{
    Dim, Graph, InferOptions, ValueId, differentiate, infer_shapes, recompute, training_mode,
    training_mode_with_running_statistics,
};
use bantam_tensor::{Batch, DType, Tensor};

use super::feature::Feature;
use super::loss::{LABELS, Losses, TEACHER, append, with_batch};
use super::state::State;
use super::{Parameter, Precision, TrainError, TrainSettings};

/// What a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// The loss alone, as the model is deployed.
    Evaluate,
    /// Gradients of the model as it is deployed: nothing drops, BatchNormalization takes its running statistics.
    Deployed,
    /// Gradients; BatchNormalization takes the batch's statistics.
    Train,
    /// Gradients; BatchNormalization takes its running statistics.
    TrainWithRunningStatistics,
}

/// What a step is made from.
pub(super) struct Plan<'a> {
    pub(super) graph: &'a Graph,
    pub(super) settings: &'a TrainSettings,
    pub(super) parameters: &'a [Parameter],
    /// Running statistics that are inputs of the program.
    pub(super) statistics: &'a [ValueId],
    /// The student's values that are compared with the teacher's.
    pub(super) features: &'a [Feature],
    /// What a sample's label has.
    pub(super) label_shape: &'a [usize],
}

/// A program for batches of one size.
pub(super) struct Step {
    program: Program,
    /// The graph that it was made from, for finding what went wrong.
    graph: Graph,
    labels: Option<(DType, Vec<usize>)>,
    /// The shape of what the teacher says, if it is asked.
    teacher: Option<Vec<usize>>,
    features: Vec<String>,
    parameters: Vec<String>,
    statistics: Vec<String>,
    /// Which statistics the outputs at the end are.
    updated: Vec<usize>,
    /// The name of the input that takes the number of the step.
    number: Option<String>,
    /// Segments of the forward pass.
    pub(super) segments: usize,
}

/// What a step gives.
pub(super) struct Outcome {
    pub(super) loss: f32,
    pub(super) scores: Tensor,
    pub(super) gradients: Vec<Tensor>,
    /// By the index of the statistic.
    pub(super) updated: Vec<(usize, Tensor)>,
}

/// A batch with what the teacher says of it: its output, then its features.
pub(super) struct Lesson {
    pub(super) batch: Batch,
    pub(super) teacher: Vec<Tensor>,
}

impl Plan<'_> {
    /// Makes the program for batches of `batch` samples.
    pub(super) fn step(&self, batch: usize, mode: Mode) -> Result<Step, TrainError> {
        let mut graph = self.graph.clone();
        set_batch(&mut graph, batch)?;
        let data_inputs = graph.inputs.len();
        let held = self
            .parameters
            .iter()
            .map(|parameter| parameter.value)
            .chain(self.statistics.iter().copied());
        for value in held {
            let facts = &mut graph.values[value.index()];
            let Some(tensor) = facts.initializer.take() else {
                continue;
            };
            let dims = tensor.shape().iter().map(|&size| Dim::Known(size)).collect();
            facts.ty = bantam_graph::ValueType::tensor(tensor.dtype(), dims);
            graph.inputs.retain(|input| *input != value);
            graph.inputs.push(value);
        }
        infer_shapes(&mut graph, &InferOptions::default())?;
        let label_shape: Vec<usize> = match self.label_shape.is_empty() && !self.settings.needs_labels() {
            true => Vec::new(),
            false => [&[batch], self.label_shape].concat(),
        };
        let mut losses = append(&mut graph, self.settings, &label_shape)?;
        let mut features = Vec::new();
        let factor = self
            .settings
            .distillation
            .as_ref()
            .map_or(0.0, |it| it.feature_weight);
        for (index, feature) in self.features.iter().enumerate() {
            let name = format!("bantam:feature{index}");
            losses.loss = feature.add_to(&mut graph, losses.loss, &name, (batch, factor));
            features.push(name);
        }
        infer_shapes(&mut graph, &InferOptions::default())?;
        debug_assert!(graph.inputs.len() >= data_inputs);
        self.finish(graph, mode, Ends { losses, features })
    }

    fn finish(&self, graph: Graph, mode: Mode, ends: Ends) -> Result<Step, TrainError> {
        let training = match mode {
            Mode::Train => training_mode(&graph),
            Mode::TrainWithRunningStatistics => training_mode_with_running_statistics(&graph),
            Mode::Evaluate | Mode::Deployed => bantam_graph::TrainingGraph {
                graph,
                running: Vec::new(),
                step: None,
            },
        };
        let forward = training.graph.nodes.len();
        let mut outputs = vec![ends.losses.loss, ends.losses.scores];
        let (mut step, gradients) = match mode {
            Mode::Evaluate => (training.graph, Vec::new()),
            _ => self.differentiated(&training.graph, ends.losses.loss)?,
        };
        outputs.extend(gradients);
        let mut updated = Vec::new();
        for (running, after) in &training.running {
            if let Some(index) = self.statistics.iter().position(|value| value == running) {
                outputs.push(*after);
                updated.push(index);
            }
        }
        step.outputs = outputs;
        let mut segments = 1;
        if let (Some(limit), true) = (self.settings.memory_limit, mode != Mode::Evaluate) {
            let smaller = recompute(&step, forward, limit)?;
            (step, segments) = (smaller.graph, smaller.segments);
        }
        let name = |value: ValueId| step.value(value).name.clone();
        let options = CompileOptions {
            bf16: self.settings.precision == Precision::Bf16 && mode != Mode::Evaluate,
            ..CompileOptions::default()
        };
        let labels = Some(LABELS).filter(|_| ends.losses.labels);
        let parameters = self.parameters.iter().map(|parameter| parameter.value);
        Ok(Step {
            program: compile(&step, &options)?,
            labels: labels.and_then(|labels| {
                let ty = &step.value(step.value_by_name(labels)?).ty;
                Some((ty.dtype()?, known_shape(&step, labels)?))
            }),
            teacher: known_shape(&step, TEACHER),
            features: ends.features,
            parameters: parameters.map(name).collect(),
            statistics: self.statistics.iter().map(|value| name(*value)).collect(),
            updated,
            number: training.step.map(name),
            segments,
            graph: step,
        })
    }

    /// The graph with gradients, and these, one for each parameter.
    fn differentiated(&self, graph: &Graph, loss: ValueId) -> Result<(Graph, Vec<ValueId>), TrainError> {
        let wrt: Vec<ValueId> = self.parameters.iter().map(|parameter| parameter.value).collect();
        let differentiated = differentiate(graph, loss, &wrt)?;
        let pairs = differentiated.gradients.iter().zip(self.parameters);
        let gradients = pairs.map(|(gradient, parameter)| {
            gradient.ok_or_else(|| TrainError::NoGradient {
                parameter: parameter.name.clone(),
            })
        });
        let gradients = gradients.collect::<Result<_, _>>()?;
        Ok((differentiated.graph, gradients))
    }
}

/// What was put behind a model, with the names of the inputs that take features.
struct Ends {
    losses: Losses,
    features: Vec<String>,
}

/// The sizes of a value by its name, where they are known.
fn known_shape(graph: &Graph, name: &str) -> Option<Vec<usize>> {
    let dims = graph.value(graph.value_by_name(name)?).ty.shape()?;
    dims.iter().map(Dim::known).collect()
}

/// Tells the inputs how many samples a batch has.
pub(super) fn set_batch(graph: &mut Graph, batch: usize) -> Result<(), TrainError> {
    for input in graph.inputs.clone() {
        let value = &mut graph.values[input.index()];
        if value.initializer.is_some() {
            continue;
        }
        let name = || value.name.clone();
        let first = value
            .ty
            .shape()
            .and_then(|dims| dims.first().and_then(Dim::known));
        if let Some(fixed) = first.filter(|fixed| *fixed != batch) {
            return Err(TrainError::Batch { input: name(), fixed });
        }
        value.ty = with_batch(&value.ty, batch).ok_or_else(|| TrainError::InputShape { input: name() })?;
    }
    Ok(())
}

impl Step {
    /// Runs the step numbered `number`.
    pub(super) fn run(&self, state: &State, lesson: &Lesson, number: u64) -> Result<Outcome, TrainError> {
        let inputs = self.inputs(state, lesson, number)?;
        let mut outputs = self.program.run(&inputs, &mut Taps::none())?.into_iter();
        let mut next = || outputs.next().ok_or(TrainError::NoOutput);
        let loss = next()?.to_f32()?.first().copied().unwrap_or(f32::NAN);
        let scores = next()?;
        let rest: Vec<Tensor> = outputs.collect();
        let gradients = rest.len() - self.updated.len();
        let mut rest = rest.into_iter();
        Ok(Outcome {
            loss,
            scores,
            gradients: rest.by_ref().take(gradients).collect(),
            updated: self.updated.iter().copied().zip(rest).collect(),
        })
    }

    fn inputs<'a>(
        &'a self,
        state: &State,
        lesson: &'a Lesson,
        number: u64,
    ) -> Result<Vec<(&'a str, Tensor)>, TrainError> {
        let mut inputs: Vec<(&str, Tensor)> = Vec::new();
        let data = lesson.batch.inputs.iter();
        inputs.extend(data.map(|(name, tensor)| (name.as_str(), tensor.clone())));
        if let Some((dtype, shape)) = &self.labels {
            let labels = lesson.batch.labels.as_ref().ok_or(TrainError::NoLabels)?;
            inputs.push((LABELS, labels_as(labels, *dtype, shape)?));
        }
        let mut said = lesson.teacher.iter().cloned();
        if let (Some(shape), Some(output)) = (&self.teacher, said.next()) {
            if output.shape() != shape {
                return Err(TrainError::Teacher {
                    teacher: output.shape().to_vec(),
                    student: shape.clone(),
                });
            }
            inputs.push((TEACHER, output));
        }
        inputs.extend(self.features.iter().map(String::as_str).zip(said));
        inputs.extend(
            self.parameters
                .iter()
                .map(String::as_str)
                .zip(state.weights.iter().cloned()),
        );
        inputs.extend(
            self.statistics
                .iter()
                .map(String::as_str)
                .zip(state.statistics.iter().cloned()),
        );
        if let Some(name) = &self.number {
            inputs.push((name, Tensor::scalar(number as i64)));
        }
        Ok(inputs)
    }

    /// The first node of this step one of whose results is not finite.
    pub(super) fn culprit(&self, state: &State, lesson: &Lesson, number: u64) -> Option<String> {
        let observed: Vec<ValueId> = (self.graph.nodes.iter())
            .filter_map(|node| node.output(0))
            .filter(|value| self.graph.value(*value).ty.dtype().is_none_or(DType::is_float))
            .collect();
        let options = CompileOptions {
            observed: observed.iter().copied().collect(),
            in_any_order: observed.iter().copied().collect(),
            bf16: false,
        };
        let program = compile(&self.graph, &options).ok()?;
        let found = std::sync::Mutex::new(None);
        let mut taps = Taps::none();
        for &value in &observed {
            let found = &found;
            taps.add(value, move |tensor| {
                let finite = tensor
                    .to_f32()
                    .is_ok_and(|values| values.iter().all(|value| value.is_finite()));
                if let (false, Ok(mut found)) = (finite, found.lock()) {
                    found.get_or_insert(value);
                }
            });
        }
        program
            .run(&self.inputs(state, lesson, number).ok()?, &mut taps)
            .ok()?;
        drop(taps);
        let value = found.into_inner().ok()??;
        let node = self
            .graph
            .nodes
            .iter()
            .find(|node| node.outputs.contains(&Some(value)))?;
        Some(self.graph.describe(node))
    }
}

/// Labels in the type and shape that the loss wants.
fn labels_as(labels: &Tensor, dtype: DType, shape: &[usize]) -> Result<Tensor, TrainError> {
    let labels = match (labels.dtype() == dtype, dtype) {
        (true, _) => labels.clone(),
        (false, DType::I64) => Tensor::from_slice(labels.shape(), &labels.to_i64()?)?,
        (false, _) => Tensor::from_slice(labels.shape(), &labels.to_f32()?)?,
    };
    Ok(labels.reshape(shape)?)
}
