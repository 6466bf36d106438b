//! What `analyze` says of layers that were made to suffer from one thing each.

use bantam_compress::analyze::{Analysis, Evidence};
use bantam_compress::quantize::aware::AwareSettings;
use bantam_compress::stats::{ObserveOptions, observe};
use bantam_compress::target::target_by_name;
use bantam_graph::ops::{Clip, Unary};
use bantam_graph::{Graph, ValueId};
use bantam_tensor::{BatchSize, Granularity, Tensor};

use super::support::{Noise, constant, convolution, finish, input, same_size};

/// What is said of a layer's causes, and the remedies that come with them.
fn said(graph: &Graph, layer: &str, edit: impl Fn(&mut AwareSettings)) -> Vec<(String, Vec<String>)> {
    let mut settings = AwareSettings::for_target(target_by_name("onnxruntime").unwrap()).untrained();
    settings.edges = None;
    settings.set_formats("int3", "uint8").unwrap();
    edit(&mut settings);
    let analysis = Analysis::new(graph, &settings).unwrap();
    let (samples, indices) = (Noise::for_graph(graph), [0, 1, 2, 3, 4, 5, 6, 7]);
    let batch_size = BatchSize::AtMost(4);
    let options = ObserveOptions {
        indices: &indices,
        batch_size,
        progress: &|_| (),
    };
    let stats = observe(analysis.observed(), &samples, &analysis.requests(), &options).unwrap();
    let evidence = Evidence {
        samples: &samples,
        indices: &indices,
        compared: &indices,
        batch_size,
        seed: 0,
    };
    let found = analysis.diagnose(&stats, &evidence, 0, &|_, _| ()).unwrap();
    let found = found
        .into_iter()
        .find(|diagnosis| diagnosis.layer == layer)
        .unwrap();
    let words = |cause: bantam_compress::analyze::Cause| {
        let remedies = cause.remedies.into_iter().map(|remedy| remedy.words);
        (cause.fact, remedies.collect())
    };
    found.causes.into_iter().map(words).collect()
}

/// Fails unless a cause with these words, and a remedy with those, is there.
fn assert_said(said: &[(String, Vec<String>)], fact: &str, remedy: &str) {
    let fits = |(cause, remedies): &&(String, Vec<String>)| {
        cause.contains(fact) && remedies.iter().any(|words| words.contains(remedy))
    };
    assert!(said.iter().any(|cause| fits(&cause)), "`{fact}` not in {said:?}");
}

/// The weight of the first convolution with each row times a factor.
fn scale_rows(graph: &mut Graph, weight: &str, factor: impl Fn(usize) -> f32) {
    let value = graph.value_by_name(weight).unwrap();
    let tensor = graph.constant(value).unwrap();
    let (shape, values) = (tensor.shape().to_vec(), tensor.to_f32().unwrap());
    let row = values.len() / shape[0];
    let scaled = values
        .iter()
        .enumerate()
        .map(|(index, x)| x * factor(index / row));
    let scaled = Tensor::from_slice(&shape, &scaled.collect::<Vec<f32>>()).unwrap();
    graph.values[value.index()].initializer = Some(scaled);
}

/// Two convolutions with something between them.
fn chain(between: impl Fn(&mut Graph, ValueId) -> ValueId) -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[3, 8, 8]);
    let first = convolution(&mut graph, "first", x, [3, 6]);
    let middle = between(&mut graph, first);
    let last = convolution(&mut graph, "last", middle, [6, 4]);
    finish(graph, &[last])
}

fn relu(graph: &mut Graph, x: ValueId) -> ValueId {
    graph.add_node("relu", Unary::Relu, &[x])
}

#[test]
fn values_that_pile_up_at_the_bound_of_a_clamp() {
    let clamp = |graph: &mut Graph, x| {
        let [low, high] = [("low", 0.0f32), ("high", 6.0)]
            .map(|(name, bound)| graph.add_constant(name, Tensor::scalar(bound)));
        graph.add_node("clamp", Clip {}, &[x, low, high])
    };
    let mut graph = chain(clamp);
    scale_rows(&mut graph, "first_w", |_| 8.0);
    assert_said(
        &said(&graph, "last", |_| ()),
        "at the bound 6 of the clamp",
        "--equalize unbound",
    );
    let gentle = said(&chain(clamp), "last", |_| ());
    assert!(
        !gentle.iter().any(|(fact, _)| fact.contains("clamp")),
        "{gentle:?}"
    );
}

#[test]
fn filters_of_few_products() {
    let depthwise = |graph: &mut Graph, x| {
        let weight = constant(graph, "filters", &[6, 1, 3, 3], 0.5);
        graph.add_node("depthwise", same_size(3, 6), &[x, weight])
    };
    let found = said(&chain(depthwise), "depthwise", |_| ());
    assert_said(&found, "each output sums 9 products only", "--algorithm adaround");
}

#[test]
fn biases_beyond_the_sums_of_products() {
    let mut graph = chain(relu);
    // Their steps are so small that 32 bits do not reach the biases.
    scale_rows(&mut graph, "last_w", |row| if row == 1 { 1e-9 } else { 1.0 });
    assert_said(
        &said(&graph, "last", |_| ()),
        "1 of its biases do not fit into 32 bits",
        "--equalize",
    );
}

#[test]
fn channels_that_reach_further_than_others() {
    let mut graph = chain(relu);
    scale_rows(&mut graph, "first_w", |row| if row == 4 { 40.0 } else { 1.0 });
    let found = said(&graph, "last", |_| ());
    assert_said(&found, "channel 4 of its input reaches", "--smooth");
    let of_tensor = |settings: &mut AwareSettings| settings.quantize.granularity = Granularity::Tensor;
    let found = said(&graph, "first", of_tensor);
    assert_said(
        &found,
        "one output channel of its weight is",
        "--granularity channel",
    );
}

#[test]
fn codes_on_the_empty_side_of_zero() {
    let mut graph = chain(relu);
    let value = graph.value_by_name("last_w").unwrap();
    let tensor = graph.constant(value).unwrap();
    let positive: Vec<f32> = tensor.to_f32().unwrap().iter().map(|x| x.abs()).collect();
    let positive = Tensor::from_slice(tensor.shape(), &positive).unwrap();
    graph.values[value.index()].initializer = Some(positive);
    let symmetric = |settings: &mut AwareSettings| {
        settings.quantize.symmetric_activations = true;
        settings.quantize.symmetric_weights = true;
    };
    let found = said(&graph, "last", symmetric);
    assert_said(
        &found,
        "weights of 4 of its 4 output channels lie on one side",
        "--symmetric-weights",
    );
    assert_said(
        &found,
        "codes are spent on both sides of zero alike",
        "--symmetric-activations",
    );
}

#[test]
fn channels_that_do_nothing() {
    let mut graph = chain(relu);
    scale_rows(&mut graph, "first_w", |row| if row == 2 { 0.0 } else { 1.0 });
    let bias = graph.value_by_name("first_b").unwrap();
    graph.values[bias.index()].initializer = Some(Tensor::from_vec1(&[0.1f32, 0.1, -1.0, 0.1, 0.1, 0.1]));
    let found = said(&graph, "first", |_| ());
    assert_said(
        &found,
        "all weights of 1 of its 6 output channels are zero",
        "prune",
    );
    let found = said(&graph, "last", |_| ());
    assert_said(&found, "1 of the 6 channels of its input are zero", "prune");
}
