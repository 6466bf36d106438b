//! Training steps whose data have their channels last, in `f32`, against the same steps in the graph's order, in `f64`.

use std::collections::HashSet;

use bantam_exec::{CompileOptions, Program, Taps, compile};
use bantam_graph::ops::*;
use bantam_graph::{
    Dim, Graph, InferOptions, Op, ValueId, differentiate, infer_shapes, peak_bytes, recompute, training_mode,
};
use bantam_tensor::{DType, Tensor};
use half::bf16;

use crate::check::Random;

/// A training step of a network in some type, with its inputs.
struct Network {
    graph: Graph,
    dtype: DType,
    inputs: Vec<(String, Tensor)>,
    parameters: Vec<ValueId>,
    random: Random,
}

impl Network {
    fn new(dtype: DType) -> Network {
        Network {
            graph: Graph::default(),
            dtype,
            inputs: Vec::new(),
            parameters: Vec::new(),
            random: Random::new("regions"),
        }
    }

    fn tensor(&mut self, shape: &[usize], low: f64, high: f64) -> Tensor {
        let count = shape.iter().product::<usize>();
        // Numbers that both types have.
        let values: Vec<f32> = (0..count).map(|_| self.random.next(low, high) as f32).collect();
        match self.dtype {
            DType::F64 => {
                let values: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
                Tensor::from_slice(shape, &values).unwrap()
            }
            _ => Tensor::from_slice(shape, &values).unwrap(),
        }
    }

    fn input(&mut self, name: &str, shape: &[usize], low: f64, high: f64) -> ValueId {
        let tensor = self.tensor(shape, low, high);
        self.inputs.push((name.to_owned(), tensor));
        let dims = shape.iter().copied().map(Dim::Known).collect();
        self.graph.add_input(name, self.dtype, dims)
    }

    fn parameter(&mut self, name: &str, shape: &[usize], low: f64, high: f64) -> ValueId {
        let id = self.input(name, shape, low, high);
        self.parameters.push(id);
        id
    }

    fn constant(&mut self, name: &str, shape: &[usize], low: f64, high: f64) -> ValueId {
        let tensor = self.tensor(shape, low, high);
        self.graph.add_constant(name, tensor)
    }

    fn integers(&mut self, values: &[i64]) -> ValueId {
        self.graph.add_constant("integers", Tensor::from_vec1(values))
    }

    fn add(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        self.graph.add_node(name, op, inputs)
    }

    fn conv(&mut self, name: &str, x: ValueId, shape: [usize; 4], stride: i64, group: i64) -> ValueId {
        let weight = self.parameter(&format!("{name}_weight"), &shape, -0.5, 0.5);
        let op = Conv {
            auto_pad: AutoPad::NotSet,
            dilations: vec![],
            group,
            kernel_shape: vec![],
            pads: vec![shape[2] as i64 / 2; 4],
            strides: vec![stride; 2],
        };
        self.add(name, op, &[x, weight])
    }

    fn normalization(&mut self, name: &str, x: ValueId, channels: usize) -> ValueId {
        let scale = self.parameter(&format!("{name}_scale"), &[channels], 0.5, 1.5);
        let bias = self.parameter(&format!("{name}_bias"), &[channels], -0.5, 0.5);
        let mean = self.constant(&format!("{name}_mean"), &[channels], 0.0, 0.0);
        let variance = self.constant(&format!("{name}_variance"), &[channels], 1.0, 1.0);
        let op = BatchNormalization {
            epsilon: 1e-5,
            momentum: 0.9,
            training_mode: false,
        };
        self.add(name, op, &[x, scale, bias, mean, variance])
    }

    /// Blocks with residuals, shortcuts by slices and by convolutions, depthwise convolutions, pools and clamps.
    fn build(&mut self) -> ValueId {
        let x = self.input("x", &[3, 3, 12, 12], -1.0, 1.0);
        let y = self.conv("first", x, [16, 3, 3, 3], 1, 1);
        let y = self.normalization("first_norm", y, 16);
        let stem = self.add("first_relu", Unary::Relu, &[y]);
        let y = self.conv("a", stem, [16, 16, 3, 3], 1, 1);
        let y = self.normalization("a_norm", y, 16);
        let y = self.add("a_add", Binary::Add, &[y, stem]);
        let a = self.add("a_relu", Unary::Relu, &[y]);
        let b = self.shortcut(a);
        let c = self.bottleneck(b);
        let pool = MaxPool {
            auto_pad: AutoPad::NotSet,
            ceil_mode: false,
            dilations: vec![],
            kernel_shape: vec![3, 3],
            pads: vec![1; 4],
            strides: vec![2, 2],
            storage_order: 0,
        };
        let y = self.add("pool", pool, &[c]);
        let y = self.add("mean", GlobalAveragePool {}, &[y]);
        let y = self.add("flat", Flatten { axis: 1 }, &[y]);
        let classes = self.parameter("classes", &[5, 20], -0.5, 0.5);
        let gemm = Gemm {
            alpha: 1.0,
            beta: 1.0,
            transA: false,
            transB: true,
        };
        let scores = self.add("scores", gemm, &[y, classes]);
        let labels = self.integers(&[0, 3, 1]);
        let loss = SoftmaxCrossEntropyLoss {
            ignore_index: None,
            reduction: "mean".to_owned(),
        };
        self.add("loss", loss, &[scores, labels])
    }

    /// A residual block with strides whose shortcut takes every other pixel and adds channels of zeros.
    fn shortcut(&mut self, x: ValueId) -> ValueId {
        let y = self.conv("b", x, [20, 16, 3, 3], 2, 1);
        let y = self.normalization("b_norm", y, 20);
        let bounds = [[0, 0], [12, 12], [2, 3], [2, 2]].map(|bounds| self.integers(&bounds));
        let part = self.add("part", Slice {}, &[x, bounds[0], bounds[1], bounds[2], bounds[3]]);
        let pads = self.integers(&[0, 2, 0, 0, 0, 2, 0, 0]);
        let mode = PadMode::Constant;
        let padded = self.add("padded", Pad { mode }, &[part, pads]);
        let y = self.add("b_add", Binary::Add, &[padded, y]);
        self.add("b_relu", Unary::Relu, &[y])
    }

    /// A depthwise convolution between two others, with Clip, a bias, rounding to codes and a shortcut of its own.
    fn bottleneck(&mut self, x: ValueId) -> ValueId {
        let (low, high) = (
            self.constant("low", &[], 0.0, 0.0),
            self.constant("high", &[], 1.2, 1.2),
        );
        let y = self.conv("c", x, [24, 20, 1, 1], 1, 1);
        let y = self.normalization("c_norm", y, 24);
        let y = self.add("c_clip", Clip {}, &[y, low, high]);
        let scale = self.parameter("codes_scale", &[], 0.11, 0.11);
        let zero = self.constant("codes_zero", &[], 0.0, 0.0);
        let codes = FakeQuant {
            axis: None,
            gradient_scale: 0.5,
            high: 7,
            low: 0,
        };
        let y = self.add("codes", codes, &[y, scale, zero]);
        let y = self.conv("depthwise", y, [24, 1, 3, 3], 1, 24);
        let y = self.normalization("depthwise_norm", y, 24);
        let y = self.add("depthwise_clip", Clip {}, &[y, low, high]);
        let weight = self.parameter("d_weight", &[20, 24, 1, 1], -0.5, 0.5);
        let bias = self.parameter("d_bias", &[20], -0.5, 0.5);
        let op = Conv {
            auto_pad: AutoPad::NotSet,
            dilations: vec![],
            group: 1,
            kernel_shape: vec![],
            pads: vec![],
            strides: vec![],
        };
        let y = self.add("d", op, &[y, weight, bias]);
        self.add("d_add", Binary::Add, &[y, x])
    }
}

/// A training step that gives the loss, then the gradients of all parameters and the running statistics; and how many nodes
/// the forward pass has.
fn step(network: &mut Network) -> (Graph, usize) {
    let loss = network.build();
    infer_shapes(&mut network.graph, &InferOptions::default()).unwrap();
    let training = training_mode(&network.graph);
    let mut step = differentiate(&training.graph, loss, &network.parameters).unwrap();
    let mut outputs = vec![loss];
    outputs.extend(step.gradients.iter().map(|gradient| gradient.unwrap()));
    outputs.extend(training.running.iter().map(|(_, updated)| updated));
    step.graph.outputs = outputs;
    (step.graph, training.graph.nodes.len())
}

/// Names and elements of what a training step gives, and its steps in words.
fn run(dtype: DType, observe_all: bool, bf16: bool) -> (Vec<String>, Vec<Vec<f32>>, Vec<String>) {
    let mut network = Network::new(dtype);
    let (graph, _) = step(&mut network);
    let values = (0..graph.values.len()).map(ValueId::new);
    let observed: HashSet<ValueId> = values.filter(|_| observe_all).collect();
    let options = CompileOptions {
        in_any_order: observed.clone(),
        observed,
        bf16,
    };
    let program = compile(&graph, &options).unwrap();
    let results = results(&network, &program);
    let names = program.output_names().map(str::to_owned).collect();
    let steps = program.steps();
    let steps = steps.iter().map(|step| format!("{}: {}", step.node, step.kernel));
    (names, results, steps.collect())
}

fn results(network: &Network, program: &Program) -> Vec<Vec<f32>> {
    let inputs: Vec<(&str, Tensor)> = (network.inputs.iter())
        .map(|(name, tensor)| (name.as_str(), tensor.clone()))
        .collect();
    let results = program.run(&inputs, &mut Taps::none()).unwrap();
    results.iter().map(|result| result.to_f32().unwrap()).collect()
}

#[test]
fn steps_with_the_channels_last_give_the_same_gradients() {
    let (names, expected, _) = run(DType::F64, false, false);
    for observe_all in [false, true] {
        let (_, got, steps) = run(DType::F32, observe_all, false);
        for ((name, got), expected) in names.iter().zip(&got).zip(&expected) {
            let largest = expected
                .iter()
                .fold(0.0f32, |largest, value| largest.max(value.abs()));
            assert_eq!(got.len(), expected.len());
            for (got, expected) in got.iter().zip(expected) {
                let error = (got - expected).abs();
                assert!(
                    error <= 1e-4 * largest + 1e-6,
                    "{name}: {got} for {expected}, observed: {observe_all}"
                );
            }
        }
        let count = |what: &str| steps.iter().filter(|step| step.contains(what)).count();
        assert!(count("Transpose") <= 4, "{steps:#?}");
        assert_eq!(count("gradient of a convolution's weights, channels last"), 6);
        let fused = steps.iter().filter(|step| step.contains(" + "));
        assert_eq!(fused.count() >= 12, !observe_all, "{steps:#?}");
    }
}

/// The rounding of values to BF16 moves gradients by no more than a few times what rounding the network's inputs and parameters alone
/// moves them by: this network rounds to few codes and normalizes small batches, so that small changes grow.
#[test]
fn steps_in_bf16_give_about_the_same_gradients() {
    let (names, expected, _) = run(DType::F32, false, false);
    let (_, got, steps) = run(DType::F32, false, true);
    let mut network = Network::new(DType::F32);
    let (graph, _) = step(&mut network);
    for (_, tensor) in &mut network.inputs {
        if tensor.dtype() == DType::F32 {
            let rounded = tensor.to_f32().unwrap().into_iter();
            let rounded: Vec<f32> = rounded.map(|value| bf16::from_f32(value).to_f32()).collect();
            *tensor = Tensor::from_slice(tensor.shape(), &rounded).unwrap();
        }
    }
    let program = compile(&graph, &CompileOptions::default()).unwrap();
    let moved = results(&network, &program);
    for (((name, got), expected), moved) in names.iter().zip(&got).zip(&expected).zip(&moved) {
        let length = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
        let distance = |a: &[f32], b: &[f32]| length(&mut a.iter().zip(b).map(|(a, b)| a - b));
        let (error, natural) = (distance(got, expected), distance(moved, expected));
        let size = length(&mut expected.iter().copied());
        assert!(
            error <= 8.0 * natural + 1e-3 * size,
            "{name}: {error} of {size}, {natural} from the inputs alone"
        );
        assert_ne!(got, expected, "{name} is rounded on the way");
    }
    let count = |what: &str| steps.iter().filter(|step| step.contains(what)).count();
    assert!(count("(Cast)") <= 20, "{steps:#?}");
    assert!(
        steps.iter().filter(|step| step.contains(" + ")).count() >= 10,
        "{steps:#?}"
    );
}

#[test]
fn what_is_computed_again_is_the_same_in_less_memory() {
    let mut network = Network::new(DType::F32);
    let (graph, forward) = step(&mut network);
    let expected = results(&network, &compile(&graph, &CompileOptions::default()).unwrap());
    let whole = peak_bytes(&graph).unwrap();
    let limit = whole * 4 / 5;
    let smaller = recompute(&graph, forward, limit).unwrap();
    assert!(
        smaller.segments > 1 && smaller.peak <= limit,
        "{} of {whole}",
        smaller.peak
    );
    assert_eq!(peak_bytes(&smaller.graph), Some(smaller.peak));
    let got = results(
        &network,
        &compile(&smaller.graph, &CompileOptions::default()).unwrap(),
    );
    assert_eq!(got, expected);
    let unchanged = recompute(&graph, forward, whole).unwrap();
    assert_eq!((unchanged.segments, unchanged.peak), (1, whole));
    let error = recompute(&graph, forward, 1000).unwrap_err();
    assert!(error.least > 1000 && error.least < whole);
    assert!(error.to_string().contains("hint: use a smaller batch"), "{error}");
}
