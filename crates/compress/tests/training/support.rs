//! A data set of bars, and networks that learn it.

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::ops::*;
use bantam_graph::{Dim, Graph, ValueId};
use bantam_tensor::{Batch, DType, Samples, SamplesError, SplitMix64, Tensor};

/// Images of 6 x 6 with a bright row or column, and noise; the class says which of both.
pub(crate) struct Bars {
    pixels: Vec<f32>,
    labels: Vec<i64>,
    form: Form,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Classes,
    Real,
    None,
}

impl Bars {
    pub(crate) fn new(count: usize) -> Bars {
        Bars::of(count, Form::Classes)
    }

    pub(crate) fn with_real_labels(count: usize) -> Bars {
        Bars::of(count, Form::Real)
    }

    pub(crate) fn without_labels(count: usize) -> Bars {
        Bars::of(count, Form::None)
    }

    fn of(count: usize, form: Form) -> Bars {
        let mut random = SplitMix64::new(5);
        let labels: Vec<i64> = (0..count).map(|_| random.below(2) as i64).collect();
        let mut pixels = Vec::new();
        for label in &labels {
            let place = random.below(6);
            for pixel in 0..36 {
                let (row, column) = (pixel / 6, pixel % 6);
                let bright = place == if *label == 0 { row } else { column };
                pixels.push(f32::from(u8::from(bright)) * 2.0 + random.unit() * 0.6 - 0.6);
            }
        }
        Bars { pixels, labels, form }
    }

    /// The share of samples whose class a graph finds.
    pub(crate) fn accuracy(&self, graph: &Graph) -> f64 {
        let program = compile(graph, &CompileOptions::default()).unwrap();
        let batch = self.batch(&(0..self.len()).collect::<Vec<_>>()).unwrap();
        let outputs = program
            .run(&[("x", batch.inputs[0].1.clone())], &mut Taps::none())
            .unwrap();
        let scores = outputs[0].to_f32().unwrap();
        let right = scores.chunks(2).zip(&self.labels);
        right
            .filter(|(scores, label)| i64::from(scores[1] > scores[0]) == **label)
            .count() as f64
            / self.len() as f64
    }
}

impl Samples for Bars {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn has_labels(&self) -> bool {
        self.form != Form::None
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, SamplesError> {
        let pixels: Vec<f32> = indices
            .iter()
            .flat_map(|i| self.pixels[i * 36..(i + 1) * 36].to_vec())
            .collect();
        let labels = indices.iter().map(|&index| self.labels[index]);
        let labels = match self.form {
            Form::Classes => Some(Tensor::from_vec1(&labels.collect::<Vec<i64>>())),
            Form::Real => {
                let both: Vec<f32> = labels
                    .flat_map(|label| [1.0 - label as f32, label as f32])
                    .collect();
                Some(Tensor::from_slice(&[indices.len(), 2], &both).unwrap())
            }
            Form::None => None,
        };
        let x = Tensor::from_slice(&[indices.len(), 1, 6, 6], &pixels).unwrap();
        Ok(Batch {
            inputs: vec![("x".to_owned(), x)],
            labels,
        })
    }
}

/// A convolution of 6 filters, normalization, and two layers.
pub(crate) fn network() -> Graph {
    of_filters(6)
}

/// The same with more filters.
pub(crate) fn wide_network() -> Graph {
    of_filters(16)
}

fn of_filters(filters: usize) -> Graph {
    let mut graph = Graph::default();
    let mut random = SplitMix64::new(3);
    let batch = Dim::Symbol("batch".into());
    let dims = [batch, 1usize.into(), 6usize.into(), 6usize.into()];
    let x = graph.add_input("x", DType::F32, dims.to_vec());
    let mut drawn = |graph: &mut Graph, name: &str, shape: &[usize], size: f32| {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| (random.unit() * 2.0 - 1.0) * size).collect();
        graph.add_constant(name, Tensor::from_slice(shape, &values).unwrap())
    };
    let conv = drawn(&mut graph, "conv_weight", &[filters, 1, 3, 3], 0.4);
    let hidden = drawn(&mut graph, "hidden_w", &[8, filters * 9], 0.15);
    let last = drawn(&mut graph, "last_w", &[2, 8], 0.4);
    let list = |graph: &mut Graph, name: &str, count: usize, value: f32| {
        graph.add_constant(name, Tensor::from_vec1(&vec![value; count]))
    };
    let op = Conv {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group: 1,
        kernel_shape: vec![],
        pads: vec![1; 4],
        strides: vec![],
    };
    let y = graph.add_node("conv", op, &[x, conv]);
    let mut inputs: Vec<ValueId> = vec![y];
    for (name, value) in [("scale", 1.0), ("bias", 0.0), ("mean", 0.0), ("variance", 1.0)] {
        inputs.push(list(&mut graph, &format!("bn_{name}"), filters, value));
    }
    let normalization = BatchNormalization {
        epsilon: 1e-5,
        momentum: 0.9,
        training_mode: false,
    };
    let y = graph.add_node("bn", normalization, &inputs);
    let y = graph.add_node("relu", Unary::Relu, &[y]);
    let pool = MaxPool {
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
        dilations: vec![],
        kernel_shape: vec![2, 2],
        pads: vec![],
        strides: vec![2, 2],
        storage_order: 0,
    };
    let y = graph.add_node("pool", pool, &[y]);
    let y = graph.add_node("flat", Flatten { axis: 1 }, &[y]);
    let gemm = || Gemm {
        alpha: 1.0,
        beta: 1.0,
        transA: false,
        transB: true,
    };
    let bias = list(&mut graph, "hidden_b", 8, 0.0);
    let y = graph.add_node("hidden", gemm(), &[y, hidden, bias]);
    let y = graph.add_node("tanh", Unary::Tanh, &[y]);
    let bias = list(&mut graph, "last_b", 2, 0.0);
    let y = graph.add_node("scores", gemm(), &[y, last, bias]);
    graph.outputs = vec![y];
    graph
}
