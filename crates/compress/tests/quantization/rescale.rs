//! Scales that move between constants: the float network stays the same, the quantized one comes nearer to it.

use bantam_compress::plan::{Action, Decision, Plan};
use bantam_compress::quantize::QuantizeSettings;
use bantam_compress::quantize::groups::{Addition, GroupSettings, group_algorithm_by_name, quantize_groups};
use bantam_compress::quantize::layerwise::Calibration;
use bantam_compress::quantize::rescale::{Smooth, equalize, unbound};
use bantam_compress::rewrite;
use bantam_compress::stats::{ObserveOptions, observe};
use bantam_compress::target::target_by_name;
use bantam_graph::ops::{Attention, Binary, Clip, Flatten, Gemm, LeakyRelu, MatMul, RmsNormalization, Unary};
use bantam_graph::{Graph, InferOptions, ValueId, infer_shapes};
use bantam_tensor::formats::blocks::IntegerGroups;
use bantam_tensor::{BatchSize, Granularity, Samples, Tensor};

use crate::support::{Noise, agreement, constant, finish, input, max_pool, noise, quantized, same_size};

fn rescaled(graph: &Graph, decisions: Vec<Decision>) -> Graph {
    let plan = Plan {
        version: Plan::VERSION,
        model: None,
        method: "rescaling".to_owned(),
        target: "any".to_owned(),
        decisions,
    };
    let mut graph = rewrite(graph, &plan).unwrap();
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    graph
}

/// Why the channels of a node keep their scale.
fn left<'a>(decisions: &'a [Decision], node: &str) -> Option<&'a str> {
    let found = decisions
        .iter()
        .find(|decision| decision.action == Action::KeepScale && decision.site.name() == node);
    found.map(|decision| decision.why.as_str())
}

fn factors<'a>(decisions: &'a [Decision], constant: &str) -> Vec<&'a [f32]> {
    let of = |decision: &'a Decision| match &decision.action {
        Action::ScaleConstant { by, .. } if decision.site.name() == constant => Some(by.as_slice()),
        _ => None,
    };
    decisions.iter().filter_map(of).collect()
}

/// Filters whose output channels have sizes from 1 to 1/1000.
fn uneven(graph: &mut Graph, name: &str, x: ValueId, shape: [usize; 3], group: i64) -> ValueId {
    let [to, from, kernel] = shape;
    let weight = noise(to * from * kernel * kernel, 3 + to as u32);
    let per_filter = from * kernel * kernel;
    let size = |index: usize| 0.1f32.powf((index / per_filter % 4) as f32);
    let values: Vec<f32> = weight
        .iter()
        .enumerate()
        .map(|(index, w)| w * size(index))
        .collect();
    let weight = Tensor::from_slice(&[to, from, kernel, kernel], &values).unwrap();
    let weight = graph.add_constant(&format!("{name}_w"), weight);
    let bias = constant(graph, &format!("{name}_b"), &[to], 0.1);
    let op = same_size(kernel, group);
    graph.add_node(name, op, &[x, weight, bias])
}

/// Expansion, depthwise and grouped convolutions, a branch around one of them, pooling and a classifier.
fn network(activation: impl Fn(&mut Graph, &str, ValueId) -> ValueId) -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[3, 8, 8]);
    let y = uneven(&mut graph, "expand", x, [8, 3, 3], 1);
    let y = activation(&mut graph, "act1", y);
    let y = uneven(&mut graph, "depthwise", y, [8, 1, 3], 8);
    let y = activation(&mut graph, "act2", y);
    let y = uneven(&mut graph, "grouped", y, [12, 4, 1], 2);
    let y = graph.add_node("leaky", LeakyRelu { alpha: 0.1 }, &[y]);
    let y = max_pool(&mut graph, "pool", y);
    let y = uneven(&mut graph, "trunk", y, [6, 12, 3], 1);
    let around = uneven(&mut graph, "branch", y, [6, 6, 3], 1);
    let y = graph.add_node("sum", Binary::Add, &[y, around]);
    let y = graph.add_node("head", same_size(1, 1), &[y]);
    let weight = constant(&mut graph, "head_w", &[5, 6, 1, 1], 0.5);
    graph.nodes.last_mut().unwrap().inputs.push(Some(weight));
    let y = graph.add_node("relu", Unary::Relu, &[y]);
    let flat = graph.add_node("flat", Flatten { axis: 1 }, &[y]);
    let weight = constant(&mut graph, "classifier_w", &[4, 80], 0.5);
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transA: false,
        transB: true,
    };
    let y = graph.add_node("classifier", gemm, &[flat, weight]);
    finish(graph, &[y])
}

fn relu(graph: &mut Graph, name: &str, x: ValueId) -> ValueId {
    graph.add_node(name, Unary::Relu, &[x])
}

fn relu6(graph: &mut Graph, name: &str, x: ValueId) -> ValueId {
    let [low, high] = [0f32, 6.0].map(Tensor::scalar);
    let low = graph.add_constant(&format!("{name}_low"), low);
    let high = graph.add_constant(&format!("{name}_high"), high);
    graph.add_node(name, Clip {}, &[x, low, high])
}

#[test]
fn equalization_leaves_the_float_network_as_it_is() {
    let graph = network(relu);
    let decisions = equalize(&graph).unwrap();
    for constant in [
        "expand_w",
        "expand_b",
        "depthwise_b",
        "grouped_b",
        "trunk_w",
        "head_w",
        "classifier_w",
    ] {
        assert_eq!(factors(&decisions, constant).len(), 1, "{constant}");
    }
    // Divided as what is read, multiplied as what is written.
    assert_eq!(factors(&decisions, "depthwise_w").len(), 2);
    assert_eq!(factors(&decisions, "grouped_w").len(), 2);
    for branch in ["trunk", "branch"] {
        let why = left(&decisions, branch).unwrap();
        assert!(why.contains("`sum`") && why.contains("another branch"), "{why}");
    }
    assert!(
        left(&decisions, "classifier")
            .unwrap()
            .contains("output of the network")
    );
    let moved = rescaled(&graph, decisions);
    assert!(agreement(&graph, &moved) > 100.0);
    // Nothing is left to do.
    let again = equalize(&moved).unwrap();
    let settled = |by: &[f32]| by.iter().all(|factor| (factor - 1.0).abs() < 0.02);
    assert!(factors(&again, "depthwise_w").into_iter().all(settled));
}

/// Two convolutions; channels between them are up to 1,000 times smaller than others, and read with weights as much larger.
fn unbalanced() -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[3, 8, 8]);
    let size = |channel: usize| 0.1f32.powf((channel % 4) as f32);
    let scaled = |shape: &[usize], seed: u32, by: &dyn Fn(usize) -> f32| {
        let numbers = noise(shape.iter().product(), seed).into_iter().enumerate();
        let numbers: Vec<f32> = numbers.map(|(index, number)| number * by(index)).collect();
        Tensor::from_slice(shape, &numbers).unwrap()
    };
    let first = graph.add_constant("first_w", scaled(&[8, 3, 3, 3], 1, &|index| size(index / 27)));
    let bias = graph.add_constant("first_b", scaled(&[8], 2, &size));
    let y = graph.add_node("first", same_size(3, 1), &[x, first, bias]);
    let y = relu(&mut graph, "act", y);
    let second = graph.add_constant(
        "second_w",
        scaled(&[6, 8, 3, 3], 3, &|index| 1.0 / size(index / 9 % 8)),
    );
    let y = graph.add_node("second", same_size(3, 1), &[y, second]);
    finish(graph, &[y])
}

#[test]
fn equal_ranges_save_scales_of_whole_weights() {
    let target = target_by_name("onnxruntime").unwrap();
    let graph = unbalanced();
    let moved = rescaled(&graph, equalize(&graph).unwrap());
    let quality = |from: &Graph| {
        let (_, result) = quantized(from, "static", target, |settings| {
            settings.granularity = Granularity::Tensor;
        })
        .unwrap();
        agreement(&graph, &result)
    };
    let (before, after) = (quality(&graph), quality(&moved));
    assert!(after > before + 6.0, "{before:.1} dB, then {after:.1} dB");
}

#[test]
fn bounded_activations_keep_their_scale_until_the_bound_is_gone() {
    let graph = network(relu6);
    let decisions = equalize(&graph).unwrap();
    let why = left(&decisions, "expand").unwrap();
    assert!(why.contains("`act1`") && why.contains("bounds it"), "{why}");
    assert!(factors(&decisions, "expand_w").is_empty());
    assert!(agreement(&graph, &rescaled(&graph, decisions)) > 100.0);
    let free = rescaled(&graph, unbound(&graph));
    assert!(free.nodes.iter().all(|node| node.op.name() != "Clip"));
    let decisions = equalize(&free).unwrap();
    assert_eq!(factors(&decisions, "expand_w").len(), 1);
}

/// A norm with some large weights, queries, keys and values of grouped attention, their output and a gated feed-forward part.
fn language_model() -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[6, 32]);
    let norm = |graph: &mut Graph, name: &str, x: ValueId| {
        let scale = |index: usize| if index % 16 == 3 { 40.0 } else { 1.0 };
        let scale: Vec<f32> = (0..32).map(scale).collect();
        let scale = graph.add_constant(&format!("{name}_w"), Tensor::from_vec1(&scale));
        let op = RmsNormalization {
            axis: -1,
            epsilon: 1e-5,
            stash_type: 1,
        };
        graph.add_node(name, op, &[x, scale])
    };
    let product = |graph: &mut Graph, name: &str, x: ValueId, [from, to]: [usize; 2]| {
        let weight = constant(graph, &format!("{name}_w"), &[from, to], 0.3);
        graph.add_node(name, MatMul {}, &[x, weight])
    };
    let normal = norm(&mut graph, "norm1", x);
    let [q, k, v] =
        [("q", 32), ("k", 16), ("v", 16)].map(|(name, to)| product(&mut graph, name, normal, [32, to]));
    let bias = constant(&mut graph, "v_b", &[16], 0.2);
    let v = graph.add_node("v_biased", Binary::Add, &[v, bias]);
    let op = Attention {
        is_causal: true,
        kv_num_heads: Some(2),
        left_window_size: -1,
        q_num_heads: Some(4),
        qk_matmul_output_mode: 0,
        right_window_size: -1,
        scale: None,
        softcap: 0.0,
        softmax_precision: None,
    };
    let context = graph.add_node("attention", op, &[q, k, v]);
    let part = product(&mut graph, "o", context, [32, 32]);
    let x = graph.add_node("attended", Binary::Add, &[x, part]);
    let normal = norm(&mut graph, "norm2", x);
    let gate = product(&mut graph, "gate", normal, [32, 48]);
    let gate = graph.add_node("sigmoid", Unary::Sigmoid, &[gate]);
    let up = product(&mut graph, "up", normal, [32, 48]);
    let wide = graph.add_node("gated", Binary::Mul, &[gate, up]);
    let down = product(&mut graph, "down", wide, [48, 32]);
    let y = graph.add_node("result", Binary::Add, &[x, down]);
    finish(graph, &[y])
}

fn groups(graph: &Graph, algorithm: &str, smooth: bool) -> (Graph, Plan) {
    let samples = Noise::for_graph(graph);
    let indices: Vec<usize> = (0..samples.len()).collect();
    let settings = GroupSettings {
        format: IntegerGroups::new(3, 16, false, false).into(),
        algorithm: group_algorithm_by_name(algorithm).unwrap(),
        smooth,
        addition: Addition::None,
        tables: None,
        quantize: QuantizeSettings::for_target(target_by_name("onnxruntime").unwrap()),
    };
    let calibration = Calibration {
        float: graph,
        samples: &samples,
        indices: &indices,
        batch_size: BatchSize::AtMost(3),
        steps: None,
        learning_rate: None,
        seed: 1,
        progress: &|_, _| (),
    };
    quantize_groups(graph, &settings, Some(&calibration), &|_, _| ()).unwrap()
}

#[test]
fn weights_that_meet_large_inputs_lose_less() {
    let graph = language_model();
    let quality = |algorithm, smooth| agreement(&graph, &groups(&graph, algorithm, smooth).0);
    let nearest = quality("nearest", false);
    for (algorithm, smooth) in [("nearest", true), ("awq", false), ("gptq", true)] {
        let found = quality(algorithm, smooth);
        assert!(
            found > nearest + 2.0,
            "{algorithm}: {found:.1} dB, nearest {nearest:.1} dB"
        );
    }
    // What moved leaves the float network as it is.
    let (_, plan) = groups(&graph, "awq", false);
    let moves = |decision: &Decision| matches!(decision.action, Action::ScaleConstant { .. });
    let moved: Vec<Decision> = plan
        .decisions
        .iter()
        .filter(|decision| moves(decision))
        .cloned()
        .collect();
    for constant in ["norm1_w", "q_w", "k_w", "norm2_w", "gate_w", "down_w"] {
        assert_eq!(factors(&moved, constant).len(), 1, "{constant}");
    }
    // Each value is mixed into two heads of queries.
    assert_eq!(factors(&moved, "v_b").len(), factors(&moved, "o_w").len());
    assert!(agreement(&graph, &rescaled(&graph, moved)) > 90.0);
    assert!(left(&plan.decisions, "gate").unwrap().contains("`sigmoid`"));
    assert!(left(&plan.decisions, "o").unwrap().contains("another branch"));
}

#[test]
fn large_inputs_move_into_weights() {
    let graph = language_model();
    let target = target_by_name("onnxruntime").unwrap();
    let samples = Noise::for_graph(&graph);
    let smooth = Smooth {
        alpha: 0.5,
        products: true,
    };
    let options = ObserveOptions {
        indices: &[0, 1, 2, 3, 4, 5, 6, 7],
        batch_size: BatchSize::AtMost(3),
        progress: &|_| (),
    };
    let stats = observe(&graph, &samples, &smooth.requests(&graph), &options).unwrap();
    let decisions = smooth.decide(&graph, &stats);
    // The four links: both norms, values to the output, and the gated product to what goes down.
    for constant in ["norm1_w", "v_b", "o_w", "norm2_w", "down_w"] {
        assert_eq!(factors(&decisions, constant).len(), 1, "{constant}");
    }
    assert_eq!(factors(&decisions, "up_w").len(), 2);
    let moved = rescaled(&graph, decisions);
    assert!(agreement(&graph, &moved) > 90.0);
    for method in ["static", "dynamic"] {
        let quality = |from: &Graph| agreement(&graph, &quantized(from, method, target, |_| ()).unwrap().1);
        let (before, after) = (quality(&graph), quality(&moved));
        assert!(
            after > before + 2.0,
            "{method}: {before:.1} dB, then {after:.1} dB"
        );
    }
    // Factors for norms alone where weights have one scale.
    let norms = Smooth {
        products: false,
        ..smooth
    }
    .decide(&graph, &stats);
    assert!(factors(&norms, "down_w").is_empty() && !factors(&norms, "norm1_w").is_empty());
}

#[test]
fn factors_that_do_not_fit_are_refused() {
    let graph = network(relu);
    let decision = |shape: &[usize], name: &str| Decision {
        site: bantam_compress::plan::Site::Value(name.to_owned()),
        action: Action::ScaleConstant {
            shape: shape.to_vec(),
            by: vec![2.0; 8],
        },
        why: String::new(),
        sqnr_db: None,
    };
    let apply = |decision: Decision| {
        let plan = Plan {
            version: Plan::VERSION,
            model: None,
            method: String::new(),
            target: String::new(),
            decisions: vec![decision],
        };
        rewrite(&graph, &plan)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(apply(decision(&[8, 1, 1, 1], "expand_w")), Ok(()));
    for (shape, name, expected) in [
        (&[8][..], "expand_w", "do not fit"),
        (&[1, 8, 1, 1], "expand_w", "do not fit"),
        (&[8, 1, 1, 1], "nowhere", "does not have"),
        (&[8], "act1", "but it is none"),
    ] {
        let error = apply(decision(shape, name)).unwrap_err();
        assert!(error.contains(expected) && error.contains("hint:"), "{error}");
    }
}
