//! A small residual classifier with BatchNormalization, and images that it can tell apart.

use bantam_compress::quantize::aware::{Aware, AwareError, AwareSettings, make_aware, prepare};
use bantam_compress::stats::{ObserveOptions, Stats, observe};
use bantam_compress::target::Target;
use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::ops::{BatchNormalization, Binary, Flatten, Gemm, GlobalAveragePool, Unary};
use bantam_graph::{Graph, ValueId};
use bantam_tensor::{BatchSize, Tensor};

use crate::support::{Noise, constant, finish, input, max_pool, noise, same_size};

/// Convolution without bias, and BatchNormalization with factors on both sides of zero.
fn block(graph: &mut Graph, name: &str, x: ValueId, [from, to]: [usize; 2]) -> ValueId {
    let weight = constant(graph, &format!("{name}_w"), &[to, from, 3, 3], 0.4);
    let y = graph.add_node(name, same_size(3, 1), &[x, weight]);
    let mut vector = |suffix: &str, gain: f32, shift: f32| {
        let seed = (name.len() + suffix.len()) as u32 * 7 + u32::from(name.as_bytes()[0]);
        let values: Vec<f32> = noise(to, seed).iter().map(|x| x * gain + shift).collect();
        graph.add_constant(&format!("{name}_{suffix}"), Tensor::from_vec1(&values))
    };
    let scale = vector("gamma", 1.2, 0.4);
    let bias = vector("beta", 0.3, 0.1);
    let mean = vector("mean", 0.2, 0.0);
    let variance = vector("variance", 0.3, 0.8);
    let op = BatchNormalization {
        epsilon: 1e-5,
        momentum: 0.9,
        training_mode: false,
    };
    graph.add_node(&format!("{name}_bn"), op, &[y, scale, bias, mean, variance])
}

pub(crate) fn residual() -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[3, 8, 8]);
    let first = block(&mut graph, "first", x, [3, 8]);
    let relu = graph.add_node("relu", Unary::Relu, &[first]);
    let second = block(&mut graph, "second", relu, [8, 8]);
    let relu_2 = graph.add_node("relu_2", Unary::Relu, &[second]);
    let third = block(&mut graph, "third", relu_2, [8, 8]);
    let sum = graph.add_node("sum", Binary::Add, &[third, relu]);
    let relu_3 = graph.add_node("relu_3", Unary::Relu, &[sum]);
    let pooled = max_pool(&mut graph, "pooled", relu_3);
    let fourth = block(&mut graph, "fourth", pooled, [8, 8]);
    let mean = graph.add_node("mean", GlobalAveragePool {}, &[fourth]);
    let flat = graph.add_node("flat", Flatten { axis: 1 }, &[mean]);
    let weight = constant(&mut graph, "fc_w", &[2, 8], 0.6);
    let bias = constant(&mut graph, "fc_b", &[2], 0.2);
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transA: false,
        transB: true,
    };
    let scores = graph.add_node("scores", gemm, &[flat, weight, bias]);
    finish(graph, &[scores])
}

/// Defaults for a target, with these formats.
pub(crate) fn settings(target: &'static Target, weights: &str, activations: &str) -> AwareSettings {
    let mut settings = AwareSettings::for_target(target);
    settings.set_formats(weights, activations).unwrap();
    settings
}

/// The graph to train, its scales from noise.
pub(crate) fn aware(graph: &Graph, settings: &AwareSettings) -> Result<Aware, AwareError> {
    let preparation = prepare(graph, settings)?;
    let options = ObserveOptions {
        indices: &[0, 1, 2, 3, 4, 5, 6, 7],
        batch_size: BatchSize::AtMost(4),
        progress: &|_| (),
    };
    let samples = Noise::for_graph(graph);
    let stats = if preparation.requests.is_empty() {
        Stats::default()
    } else {
        observe(&preparation.observed, &samples, &preparation.requests, &options).unwrap()
    };
    make_aware(&preparation, &stats)
}

/// What a graph gives for eight samples of noise.
pub(crate) fn run(graph: &Graph) -> Vec<f64> {
    let inputs = Noise::for_graph(graph).all().inputs;
    let inputs: Vec<(&str, Tensor)> = inputs
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.clone()))
        .collect();
    let program = compile(graph, &CompileOptions::default()).unwrap();
    program.run(&inputs, &mut Taps::none()).unwrap()[0]
        .to_f64()
        .unwrap()
}

/// Signal to noise in decibels.
pub(crate) fn decibels(expected: &[f64], got: &[f64]) -> f64 {
    let noise: f64 = expected.iter().zip(got).map(|(a, b)| (a - b) * (a - b)).sum();
    10.0 * (expected.iter().map(|a| a * a).sum::<f64>() / noise).log10()
}

/// Moves everything that training may move by up to a tenth.
pub(crate) fn shaken(mut aware: Aware) -> Aware {
    for index in 0..aware.graph.values.len() {
        let id = ValueId::new(index);
        let value = aware.graph.value(id);
        let is_float = |tensor: &&Tensor| tensor.dtype() == bantam_tensor::DType::F32;
        let Some(tensor) = value.initializer.as_ref().filter(is_float) else {
            continue;
        };
        if aware.fixed.contains(&value.name) {
            continue;
        }
        let by = noise(tensor.len(), index as u32);
        let values: Vec<f32> = tensor
            .to_f32()
            .unwrap()
            .iter()
            .zip(by)
            .map(|(x, by)| x * (1.0 + 0.1 * by))
            .collect();
        let tensor = Tensor::from_slice(tensor.shape(), &values).unwrap();
        aware.graph.value_mut(id).initializer = Some(tensor);
    }
    aware
}

/// Images with a bright left or right half, and noise; and their labels.
pub(crate) fn halves(count: usize, seed: u32) -> (Tensor, Tensor) {
    let mut pixels = noise(count * 192, seed);
    for (index, pixel) in pixels.iter_mut().enumerate() {
        let (image, column) = (index / 192, index % 8);
        if (column < 4) == image.is_multiple_of(2) {
            *pixel += 0.7;
        }
    }
    let labels: Vec<i64> = (0..count as i64).map(|image| image % 2).collect();
    (
        Tensor::from_slice(&[count, 3, 8, 8], &pixels).unwrap(),
        Tensor::from_vec1(&labels),
    )
}
