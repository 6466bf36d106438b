//! A small network learns.

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::ops::*;
use bantam_graph::{Dim, Graph, Op, ValueId, differentiate, training_mode};
use bantam_tensor::{DType, Tensor};

use crate::check::Random;

/// A graph whose parameters are inputs, with their values.
struct Learner {
    graph: Graph,
    parameters: Vec<(String, ValueId, Tensor)>,
    random: Random,
}

impl Learner {
    fn parameter(&mut self, name: &str, shape: &[usize], low: f64, high: f64) -> ValueId {
        let dims = shape.iter().copied().map(Dim::Known).collect();
        let id = self.graph.add_input(name, DType::F32, dims);
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|_| self.random.next(low, high) as f32).collect();
        self.parameters
            .push((name.to_owned(), id, Tensor::from_slice(shape, &values).unwrap()));
        id
    }

    fn add(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        self.graph.add_node(name, op, inputs)
    }
}

/// Convolution, normalization, pool, and two layers; gives the loss.
fn network(learner: &mut Learner) -> ValueId {
    let batch = || Dim::Symbol("batch".into());
    let dims = vec![batch(), Dim::Known(1), Dim::Known(6), Dim::Known(6)];
    let x = learner.graph.add_input("x", DType::F32, dims);
    let labels = learner.graph.add_input("labels", DType::I64, vec![batch()]);
    let conv = Conv {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group: 1,
        kernel_shape: vec![],
        pads: vec![1; 4],
        strides: vec![],
    };
    let filters = learner.parameter("filters", &[4, 1, 3, 3], -0.5, 0.5);
    let y = learner.add("conv", conv, &[x, filters]);
    let scale = learner.parameter("scale", &[4], 1.0, 1.0);
    let bias = learner.parameter("bias", &[4], 0.0, 0.0);
    let mean = learner.graph.add_constant("mean", Tensor::from_vec1(&[0f32; 4]));
    let variance = learner
        .graph
        .add_constant("variance", Tensor::from_vec1(&[1f32; 4]));
    let normalization = BatchNormalization {
        epsilon: 1e-5,
        momentum: 0.9,
        training_mode: false,
    };
    let y = learner.add("bn", normalization, &[y, scale, bias, mean, variance]);
    let y = learner.add("relu", Unary::Relu, &[y]);
    let pool = MaxPool {
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
        dilations: vec![],
        kernel_shape: vec![2, 2],
        pads: vec![],
        strides: vec![2, 2],
        storage_order: 0,
    };
    let y = learner.add("pool", pool, &[y]);
    classifier(learner, y, labels)
}

/// Two layers and the loss.
fn classifier(learner: &mut Learner, y: ValueId, labels: ValueId) -> ValueId {
    let y = learner.add("flat", Flatten { axis: 1 }, &[y]);
    let gemm = || Gemm {
        alpha: 1.0,
        beta: 1.0,
        transA: false,
        transB: true,
    };
    let hidden = [
        learner.parameter("w1", &[8, 36], -0.2, 0.2),
        learner.parameter("b1", &[8], 0.0, 0.0),
    ];
    let y = learner.add("hidden", gemm(), &[y, hidden[0], hidden[1]]);
    let y = learner.add(
        "gelu",
        Gelu {
            approximate: GeluApproximation::Tanh,
        },
        &[y],
    );
    let last = [
        learner.parameter("w2", &[2, 8], -0.3, 0.3),
        learner.parameter("b2", &[2], 0.0, 0.0),
    ];
    let y = learner.add("scores", gemm(), &[y, last[0], last[1]]);
    let loss = SoftmaxCrossEntropyLoss {
        ignore_index: None,
        reduction: "mean".to_owned(),
    };
    learner.add("loss", loss, &[y, labels])
}

/// Images with a bright left or right half, and noise.
fn data(count: usize) -> (Tensor, Tensor) {
    let mut random = Random::new("data");
    let labels: Vec<i64> = (0..count).map(|i| (i % 2) as i64).collect();
    let pixel = |i: usize, random: &mut Random| {
        let (image, column) = (i / 36, i % 6);
        let bright = (column < 3) == (labels[image] == 0);
        (f64::from(u8::from(bright)) + random.next(-0.8, 0.8)) as f32
    };
    let pixels: Vec<f32> = (0..count * 36).map(|i| pixel(i, &mut random)).collect();
    (
        Tensor::from_slice(&[count, 1, 6, 6], &pixels).unwrap(),
        Tensor::from_vec1(&labels),
    )
}

#[test]
fn a_small_network_learns() {
    let mut learner = Learner {
        graph: Graph::default(),
        parameters: Vec::new(),
        random: Random::new("parameters"),
    };
    let loss = network(&mut learner);
    let training = training_mode(&learner.graph);
    let wrt: Vec<ValueId> = learner.parameters.iter().map(|(_, id, _)| *id).collect();
    let step = differentiate(&training.graph, loss, &wrt).unwrap();
    let mut graph = step.graph;
    graph.outputs = vec![loss];
    graph.outputs.extend(
        step.gradients
            .into_iter()
            .map(|gradient| gradient.expect("each parameter is used")),
    );
    let program = compile(&graph, &CompileOptions::default()).unwrap();
    let (x, labels) = data(16);
    let mut losses = Vec::new();
    for _ in 0..12 {
        let mut inputs = vec![("x", x.clone()), ("labels", labels.clone())];
        inputs.extend(
            learner
                .parameters
                .iter()
                .map(|(name, _, value)| (name.as_str(), value.clone())),
        );
        let outputs = program.run(&inputs, &mut Taps::none()).unwrap();
        losses.push(outputs[0].to_f32().unwrap()[0]);
        for ((_, _, parameter), gradient) in learner.parameters.iter_mut().zip(&outputs[1..]) {
            let moved: Vec<f32> = parameter
                .to_f32()
                .unwrap()
                .iter()
                .zip(gradient.to_f32().unwrap())
                .map(|(value, gradient)| value - 0.2 * gradient)
                .collect();
            *parameter = Tensor::from_slice(parameter.shape(), &moved).unwrap();
        }
    }
    assert!(losses[11] < 0.3 * losses[0], "{losses:?}");
}
