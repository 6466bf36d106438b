//! Plain gradient descent with momentum, to see quantizers being trained.

use bantam_compress::quantize::aware::Aware;
use bantam_exec::{CompileOptions, Program, Taps, compile};
use bantam_graph::ops::SoftmaxCrossEntropyLoss;
use bantam_graph::{Dim, Graph, InferOptions, ValueId, differentiate, infer_shapes, training_mode};
use bantam_tensor::{DType, Tensor};

const MOMENTUM: f32 = 0.9;
const WEIGHT_DECAY: f32 = 1e-4;

/// An initializer that is trained, or replaced by what a step computes.
struct Parameter {
    name: String,
    value: Tensor,
    velocity: Vec<f32>,
    rate_factor: f32,
    decays: bool,
    lower_bound: Option<f32>,
}

/// A training step as a program, and what it changes.
pub(crate) struct Descent {
    program: Program,
    input: String,
    parameters: Vec<Parameter>,
    running: Vec<Parameter>,
}

impl Descent {
    /// Trains all float initializers of a classifier of one input and one output, but for those that are fixed.
    pub(crate) fn new(aware: &Aware) -> Descent {
        let mut graph = aware.graph.clone();
        let input = graph.value(graph.inputs[0]).name.clone();
        let labels = graph.add_input("labels", DType::I64, vec![Dim::Unknown]);
        let loss = SoftmaxCrossEntropyLoss {
            ignore_index: None,
            reduction: "mean".to_owned(),
        };
        let loss = graph.add_node("loss", loss, &[graph.outputs[0], labels]);
        infer_shapes(&mut graph, &InferOptions::default()).unwrap();
        let training = training_mode(&graph);
        let mut graph = training.graph;
        let is_running = |id: &ValueId| training.running.iter().any(|(before, _)| before == id);
        let trained: Vec<ValueId> = (0..graph.values.len())
            .map(ValueId::new)
            .filter(|id| {
                let value = graph.value(*id);
                let float = value
                    .initializer
                    .as_ref()
                    .is_some_and(|tensor| tensor.dtype() == DType::F32);
                float && !is_running(id) && !aware.fixed.contains(&value.name)
            })
            .collect();
        let take = |graph: &mut Graph, id: ValueId| {
            let value = graph.value_mut(id);
            let rule = aware.parameters.iter().find(|rule| rule.name == value.name);
            let tensor = value.initializer.take().unwrap();
            let tensor_rank = tensor.rank();
            graph.inputs.push(id);
            Parameter {
                name: graph.value(id).name.clone(),
                velocity: vec![0.0; tensor.len()],
                value: tensor,
                rate_factor: rule.map_or(1.0, |rule| rule.learning_rate_factor),
                // As usual, neither biases nor normalization.
                decays: rule.map_or(tensor_rank > 1, |rule| rule.decay),
                lower_bound: rule.and_then(|rule| rule.lower_bound),
            }
        };
        let mut parameters: Vec<Parameter> = trained.iter().map(|id| take(&mut graph, *id)).collect();
        let running = training
            .running
            .iter()
            .map(|(before, _)| take(&mut graph, *before))
            .collect();
        let step = differentiate(&graph, loss, &trained).unwrap();
        let mut graph = step.graph;
        let mut gradients = step.gradients.iter();
        parameters.retain(|_| gradients.next().is_some_and(Option::is_some));
        graph.outputs = vec![loss];
        graph
            .outputs
            .extend(training.running.iter().map(|(_, after)| *after));
        graph.outputs.extend(step.gradients.into_iter().flatten());
        let unused: Vec<ValueId> = trained
            .into_iter()
            .filter(|id| {
                !parameters
                    .iter()
                    .any(|parameter| parameter.name == graph.value(*id).name)
            })
            .collect();
        graph.inputs.retain(|id| !unused.contains(id));
        Descent {
            program: compile(&graph, &CompileOptions::default()).unwrap(),
            input,
            parameters,
            running,
        }
    }

    /// One step; gives the loss before it.
    pub(crate) fn step(&mut self, x: &Tensor, labels: &Tensor, rate: f32) -> f32 {
        let mut inputs = vec![(self.input.as_str(), x.clone()), ("labels", labels.clone())];
        let all = self.parameters.iter().chain(&self.running);
        inputs.extend(all.map(|parameter| (parameter.name.as_str(), parameter.value.clone())));
        let outputs = self.program.run(&inputs, &mut Taps::none()).unwrap();
        let (running, gradients) = outputs[1..].split_at(self.running.len());
        for (parameter, value) in self.running.iter_mut().zip(running) {
            parameter.value = value.clone();
        }
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients) {
            parameter.update(&gradient.to_f32().unwrap(), rate);
        }
        outputs[0].to_f32().unwrap()[0]
    }

    /// Writes what was trained back into the graph.
    pub(crate) fn write(&self, aware: &mut Aware) {
        for parameter in self.parameters.iter().chain(&self.running) {
            let id = aware.graph.value_by_name(&parameter.name).unwrap();
            aware.graph.value_mut(id).initializer = Some(parameter.value.clone());
        }
    }
}

impl Parameter {
    fn update(&mut self, gradient: &[f32], rate: f32) {
        let decay = if self.decays { WEIGHT_DECAY } else { 0.0 };
        let mut values = self.value.to_f32().unwrap();
        for ((value, velocity), gradient) in values.iter_mut().zip(&mut self.velocity).zip(gradient) {
            *velocity = MOMENTUM * *velocity + gradient + decay * *value;
            *value -= rate * self.rate_factor * *velocity;
            *value = self.lower_bound.map_or(*value, |bound| value.max(bound));
        }
        self.value = Tensor::from_slice(self.value.shape(), &values).unwrap();
    }
}
