//! Quantization of whole small networks, for every target.

mod causes;
mod codebooks;
mod dynamic;
mod floats;
mod groups;
mod outliers;
mod rescale;
mod rotate;
mod scales;
mod support;
mod tables;

use bantam_compress::RewriteError;
use bantam_compress::plan::Action;
use bantam_compress::select::Selector;
use bantam_compress::target::{TARGETS, is_power_of_two, target_by_name};
use bantam_graph::ops::{Binary, Concat, DequantizeLinear, Gemm, MatMul, QuantizeLinear, Unary};
use bantam_graph::{Graph, Op};
use bantam_tensor::Tensor;

use support::{agreement, constant, convolution, finish, input, max_pool, quantized};

/// Two branches of different ranges, one below zero, that are pooled, concatenated and added.
fn branches() -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[3, 8, 8]);
    let first = convolution(&mut graph, "first", x, [3, 4]);
    let relu = graph.add_node("relu", Unary::Relu, &[first]);
    let pooled = max_pool(&mut graph, "pooled", relu);
    let second = convolution(&mut graph, "second", pooled, [4, 4]);
    let joined = graph.add_node("joined", Concat { axis: 1 }, &[pooled, second]);
    let third = convolution(&mut graph, "third", joined, [8, 4]);
    let sum = graph.add_node("sum", Binary::Add, &[third, pooled]);
    let last = convolution(&mut graph, "last", sum, [4, 2]);
    finish(graph, &[last])
}

/// One matrix that is read three times, with its channels along either axis.
fn shared_weights() -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[6]);
    let w = constant(&mut graph, "w", &[6, 6], 0.6);
    let gemm = |transposed| Gemm {
        alpha: 1.0,
        beta: 1.0,
        transA: false,
        transB: transposed,
    };
    let a = graph.add_node("a", gemm(true), &[x, w]);
    let b = graph.add_node("b", gemm(false), &[a, w]);
    let c = graph.add_node("c", MatMul {}, &[b, w]);
    finish(graph, &[a, c])
}

#[test]
fn every_target_keeps_what_a_network_computes() {
    for target in TARGETS {
        for (name, graph) in [("branches", branches()), ("shared", shared_weights())] {
            let (_, result) = quantized(&graph, "static", target, |_| ()).unwrap();
            let db = agreement(&graph, &result);
            assert!(db > 28.0, "{} {name}: {db:.1} dB", target.name);
        }
    }
}

/// The way back from codes leaves no rounding, and computes what the weights' codes stand for.
#[test]
fn a_network_without_its_codes_is_in_float() {
    for target in TARGETS {
        for (name, graph) in [("branches", branches()), ("shared", shared_weights())] {
            let (_, result) = quantized(&graph, "static", target, |_| ()).unwrap();
            let float = bantam_compress::dequantize(&result).unwrap();
            let rounds = |op: &Op| matches!(op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_));
            assert!(!float.nodes.iter().any(|node| rounds(&node.op)));
            let weight = float
                .nodes
                .iter()
                .find_map(|node| node.input(1).filter(|value| float.constant(*value).is_some()));
            let named = weight.map(|weight| float.value(weight).name.as_str());
            assert!(
                named.is_some_and(|name| graph.value_by_name(name).is_some()),
                "{named:?}"
            );
            let (before, after) = (agreement(&graph, &result), agreement(&graph, &float));
            assert!(
                after > before,
                "{} {name}: {before:.1} dB with codes, {after:.1} dB without",
                target.name
            );
            assert!(matches!(
                bantam_compress::dequantize(&float),
                Err(RewriteError::NoCodes)
            ));
        }
    }
}

/// Where runtimes leave a Relu to the rounding, the way back restores it.
#[test]
fn what_rounding_cut_off_below_zero_stays_cut_off() {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[4]);
    let scale = graph.add_constant("scale", Tensor::scalar(0.1f32));
    let codes = |graph: &mut Graph, zero: Tensor| {
        let zero = graph.add_constant("zero", zero);
        let quantize = QuantizeLinear {
            axis: 1,
            block_size: 0,
            output_dtype: None,
            precision: None,
            saturate: true,
        };
        let codes = graph.add_node("q", quantize, &[x, scale, zero]);
        let dequantize = DequantizeLinear {
            axis: 1,
            block_size: 0,
            output_dtype: None,
        };
        graph.add_node("dq", dequantize, &[codes, scale, zero])
    };
    let cut = codes(&mut graph, Tensor::scalar(-128i8));
    let whole = codes(&mut graph, Tensor::scalar(0i8));
    let float = bantam_compress::dequantize(&finish(graph, &[cut, whole])).unwrap();
    let ops: Vec<&str> = float.nodes.iter().map(|node| node.op.name()).collect();
    assert_eq!(ops.iter().filter(|op| **op == "Relu").count(), 1, "{ops:?}");
    assert!(
        !ops.contains(&"QuantizeLinear") && !ops.contains(&"DequantizeLinear"),
        "{ops:?}"
    );
}

#[test]
fn an_excluded_convolution_stays_in_float_in_runtimes_that_would_quantize_it() {
    let graph = branches();
    for target in TARGETS {
        let (plan, result) = quantized(&graph, "static", target, |settings| {
            settings.exclude = vec![Selector::parse("third").unwrap()];
        })
        .unwrap();
        let apart = |action: &Action| matches!(action, Action::DequantizeApart(_));
        let count = plan
            .decisions
            .iter()
            .filter(|decision| apart(&decision.action))
            .count();
        assert_eq!(count, usize::from(target.requantizes), "{}", target.name);
        let node = result.nodes.iter().find(|node| node.name == "third").unwrap();
        let input = result.producers()[node.input(0).unwrap().index()].unwrap();
        let scales = result
            .constant_input(result.node(input), 1)
            .map_or(0, |scale| scale.len());
        if target.requantizes {
            assert_eq!(scales, 8, "one for each channel");
        }
        assert!(
            result.constant_input(node, 1).is_some(),
            "its weight is a float constant"
        );
        assert!(agreement(&graph, &result) > 28.0, "{}", target.name);
    }
}

#[test]
fn integer_forms_that_only_floats_read_are_left_out() {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[3, 8, 8]);
    let a = convolution(&mut graph, "a", x, [3, 4]);
    let b = convolution(&mut graph, "b", a, [4, 4]);
    let sum = graph.add_node("sum", Binary::Add, &[a, b]);
    let end = graph.add_node("end", Unary::Tanh, &[sum]);
    let graph = finish(graph, &[end]);
    let (plan, result) = quantized(&graph, "static", target_by_name("onnxruntime").unwrap(), |_| ()).unwrap();
    assert_eq!(
        support::kept(&plan, "sum"),
        Some("its result is used in float only")
    );
    let quantizers = result
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::QuantizeLinear(_)));
    assert_eq!(quantizers.count(), 3, "x and both convolutions");
}

/// What targets want of scales: prescribed ones, one for a whole weight, or powers of two.
#[test]
fn scales_are_those_that_the_target_takes() {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[6, 16]);
    let product = |graph: &mut Graph, name: &str, x, sizes: [usize; 2]| {
        let weight = constant(graph, &format!("{name}_w"), &sizes, 0.5);
        graph.add_node(name, MatMul {}, &[x, weight])
    };
    let first = product(&mut graph, "first", x, [16, 12]);
    let shares = graph.add_node("shares", bantam_graph::ops::Softmax { axis: -1 }, &[first]);
    let last = product(&mut graph, "last", shares, [12, 4]);
    let graph = finish(graph, &[last]);
    let scales = |target: &str, site: &str| {
        let target = target_by_name(target).unwrap();
        let (plan, _) = quantized(&graph, "static", target, |_| ()).unwrap();
        let found = plan
            .decisions
            .into_iter()
            .find(|decision| decision.site.name() == site);
        match found.map(|decision| decision.action) {
            Some(Action::QuantizeActivation(params) | Action::QuantizeConstant { params, .. }) => params,
            other => panic!("{site}: {other:?}"),
        }
    };
    for target in ["tflite", "tflite-micro", "cortex-m", "edgetpu"] {
        let params = scales(target, "shares");
        assert_eq!(
            (params.scale[0], params.zero_point[0]),
            (1.0 / 256.0, -128),
            "{target}"
        );
        assert_eq!(scales(target, "first_w").scale.len(), 1, "{target}");
    }
    assert_eq!(scales("bantam", "first_w").scale.len(), 12);
    for site in ["first_w", "last_w", "first"] {
        let params = scales("fpga", site);
        assert!(
            params.scale.iter().all(|scale| is_power_of_two(*scale)),
            "{site}: {params:?}"
        );
    }
}
