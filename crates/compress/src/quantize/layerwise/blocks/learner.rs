//! What is trained of a unit: levels of weights, scales of activations, biases.

use bantam_graph::{Graph, Op, ValueId};
use bantam_kernels::training::optimizer::Adam;
use bantam_tensor::Tensor;

use super::units::{Unit, varying};
use crate::quantize::aware::Grid;
use crate::quantize::layerwise::LayerwiseError;
use crate::quantize::layerwise::layers::{Layer, Layout, Mean};

/// How far a weight could go, in levels, if all steps went one way: only those whose gradients agree get to another level.
const WAY: f32 = 1.0;
/// The same for scales and biases, as a share of them (of the root mean square of biases).
const SHARE: f32 = 0.1;

/// Trained numbers of a unit.
pub(super) struct Learner {
    weights: Vec<Weight>,
    parameters: Vec<Parameter>,
}

/// Numbers that Adam moves.
struct Moved {
    values: Vec<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
}

/// A weight, as its product reads it.
struct Weight {
    rounded: ValueId,
    weight: ValueId,
    shape: Vec<usize>,
    /// Places between levels.
    places: Moved,
    /// For each place its grid, and the scale of its channel.
    grids: Vec<Grid>,
    scales: Vec<f32>,
    layout: Layout,
}

/// A scale or a bias.
struct Parameter {
    value: ValueId,
    shape: Vec<usize>,
    moved: Moved,
    /// How far it may go.
    way: f32,
    smallest: Option<f32>,
}

impl Moved {
    fn new(values: Vec<f32>) -> Moved {
        let zeros = vec![0.0; values.len()];
        Moved {
            mean: zeros.clone(),
            square: zeros,
            values,
        }
    }

    fn step(&mut self, gradient: &[f32], number: u64, learning_rate: f32) {
        let adam = Adam {
            learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-12,
            weight_decay: 0.0,
            decoupled: false,
        };
        let (values, mean, square) = (&mut self.values, &mut self.mean, &mut self.square);
        adam.step(number, values, gradient, mean, square);
    }
}

impl Weight {
    fn new(graph: &Graph, layer: &Layer) -> Result<Option<Weight>, LayerwiseError> {
        let (weight, scale) = (graph.constant(layer.weight), graph.constant(layer.scale));
        let rounded = graph.node(layer.product).input(1);
        let (Some(tensor), Some(scales), Some(rounded)) = (weight, scale, rounded) else {
            return Ok(None);
        };
        let scales = scales.to_f32()?;
        let mut weight = Weight {
            rounded,
            weight: layer.weight,
            shape: tensor.shape().to_vec(),
            places: Moved::new(tensor.to_f32()?),
            grids: (layer.zero_points.iter())
                .map(|zero_point| Grid {
                    zero_point: *zero_point,
                    ..layer.grid
                })
                .collect(),
            scales,
            layout: layer.layout,
        };
        for index in 0..weight.places.values.len() {
            weight.places.values[index] /= weight.scale(index);
        }
        Ok(Some(weight))
    }

    /// The output channel of an element.
    fn channel(&self, index: usize) -> usize {
        match self.layout {
            Layout::Rows => index / self.shape[1..].iter().product::<usize>(),
            Layout::Columns => index % self.shape[self.shape.len() - 1],
        }
    }

    fn scale(&self, index: usize) -> f32 {
        self.scales[self.channel(index) % self.scales.len()]
    }

    fn grid(&self, index: usize) -> &Grid {
        &self.grids[self.channel(index) % self.grids.len()]
    }

    /// The nearest levels, as numbers.
    fn values(&self) -> Vec<f32> {
        let value = |(index, place): (usize, &f32)| self.grid(index).round(*place, 1.0) * self.scale(index);
        self.places.values.iter().enumerate().map(value).collect()
    }

    /// Straight through the rounding; what is beyond the last level comes back to it.
    fn step(&mut self, gradient: &[f32], number: u64, rate: f32) {
        let scaled = gradient
            .iter()
            .enumerate()
            .map(|(index, slope)| slope * self.scale(index));
        let scaled: Vec<f32> = scaled.collect();
        self.places.step(&scaled, number, rate);
        for index in 0..self.places.values.len() {
            let bounds = (self.grid(index).smallest(), self.grid(index).largest());
            let place = &mut self.places.values[index];
            *place = place.clamp(bounds.0, bounds.1);
        }
    }
}

impl Parameter {
    fn new(graph: &Graph, value: ValueId, is_scale: bool) -> Result<Option<Parameter>, LayerwiseError> {
        let Some(tensor) = graph.constant(value) else {
            return Ok(None);
        };
        let values = tensor.to_f32()?;
        let squares: f32 = values.iter().map(|x| x * x).sum();
        let size = (squares / values.len().max(1) as f32).sqrt();
        Ok(Some(Parameter {
            value,
            shape: tensor.shape().to_vec(),
            moved: Moved::new(values),
            way: SHARE * size,
            smallest: is_scale.then_some(0.1 * size),
        }))
    }

    fn step(&mut self, gradient: &[f32], number: u64, rate: f32) {
        self.moved.step(gradient, number, rate * self.way);
        if let Some(smallest) = self.smallest {
            self.moved.values.iter_mut().for_each(|x| *x = x.max(smallest));
        }
    }
}

impl Learner {
    /// What there is to train in a unit.
    ///
    /// # Errors
    /// When constants are no numbers.
    pub(super) fn new(graph: &Graph, unit: &Unit, layers: &[&Layer]) -> Result<Learner, LayerwiseError> {
        let mut learner = Learner {
            weights: Vec::new(),
            parameters: Vec::new(),
        };
        for layer in layers {
            learner.weights.extend(Weight::new(graph, layer)?);
            if let Some(Mean::Bias(bias)) = layer.mean {
                learner.parameters.extend(Parameter::new(graph, bias, false)?);
            }
        }
        for scale in activation_scales(graph, unit) {
            learner.parameters.extend(Parameter::new(graph, scale, true)?);
        }
        Ok(learner)
    }

    /// The values that are trained, in the order of their gradients.
    pub(super) fn held(&self) -> Vec<ValueId> {
        let weights = self.weights.iter().map(|weight| weight.rounded);
        weights
            .chain(self.parameters.iter().map(|parameter| parameter.value))
            .collect()
    }

    /// What these values are now.
    pub(super) fn inputs<'g>(&self, graph: &'g Graph) -> Result<Vec<(&'g str, Tensor)>, LayerwiseError> {
        let name = |value: ValueId| graph.value(value).name.as_str();
        let mut inputs = Vec::new();
        for weight in &self.weights {
            let tensor = Tensor::from_slice(&weight.shape, &weight.values())?;
            inputs.push((name(weight.rounded), tensor));
        }
        for parameter in &self.parameters {
            let tensor = Tensor::from_slice(&parameter.shape, &parameter.moved.values)?;
            inputs.push((name(parameter.value), tensor));
        }
        Ok(inputs)
    }

    /// A step of so many against these gradients; rates fall along half a cosine.
    pub(super) fn step(&mut self, gradients: &[Option<Vec<f32>>], (step, steps): (usize, usize)) {
        let share = step as f32 / steps as f32;
        // The mean of the cosine is a half.
        let rate = (1.0 + (share * std::f32::consts::PI).cos()) / steps as f32;
        let number = step as u64 + 1;
        let (of_weights, of_parameters) = gradients.split_at(self.weights.len());
        for (weight, gradient) in self.weights.iter_mut().zip(of_weights) {
            if let Some(gradient) = gradient {
                weight.step(gradient, number, WAY * rate);
            }
        }
        for (parameter, gradient) in self.parameters.iter_mut().zip(of_parameters) {
            if let Some(gradient) = gradient {
                parameter.step(gradient, number, rate);
            }
        }
    }

    /// Puts what was found into the network.
    ///
    /// # Errors
    /// Never: shapes are those that were read.
    pub(super) fn write(&self, graph: &mut Graph) -> Result<(), LayerwiseError> {
        for weight in &self.weights {
            let tensor = Tensor::from_slice(&weight.shape, &weight.values())?;
            graph.values[weight.weight.index()].initializer = Some(tensor);
        }
        for parameter in &self.parameters {
            let tensor = Tensor::from_slice(&parameter.shape, &parameter.moved.values)?;
            graph.values[parameter.value.index()].initializer = Some(tensor);
        }
        Ok(())
    }
}

/// Constants that nodes of the unit alone read as scales of activations, but for those of the network's inputs: nothing that is trained lies
/// before these.
fn activation_scales(graph: &Graph, unit: &Unit) -> Vec<ValueId> {
    let (varies, consumers) = (varying(graph), graph.consumers());
    let mut scales: Vec<ValueId> = Vec::new();
    for node in &graph.nodes[unit.nodes.clone()] {
        let (Op::FakeQuant(_), Some(data), Some(scale)) = (&node.op, node.input(0), node.input(1)) else {
            continue;
        };
        let inside = (consumers[scale.index()].iter()).all(|(node, _)| unit.nodes.contains(&node.index()));
        let trained = varies[data.index()] && !graph.inputs.contains(&data);
        if inside && trained && graph.constant(scale).is_some() && !scales.contains(&scale) {
            scales.push(scale);
        }
    }
    scales
}
