//! Floats of 16 and of 8 bits.

use bantam_compress::plan::Action;
use bantam_compress::quantize::QuantizeError;
use bantam_compress::range::range_by_name;
use bantam_compress::target::target_by_name;
use bantam_graph::Op;
use bantam_graph::ops::{Binary, Cast, Unary};
use bantam_tensor::{DType, Tensor, format_by_name};

use super::support::{agreement, constant, convolution, finish, input, quantized};
use super::{branches, shared_weights};

#[test]
fn half_of_the_bits_keep_what_a_network_computes() {
    let target = target_by_name("onnxruntime").unwrap();
    for (method, least) in [
        ("f16", 50.0),
        ("bf16", 30.0),
        ("f16-weights", 55.0),
        ("bf16-weights", 40.0),
    ] {
        for (name, graph) in [("branches", branches()), ("shared", shared_weights())] {
            let (plan, result) = quantized(&graph, method, target, |_| ()).unwrap();
            let db = agreement(&graph, &result);
            assert!(db > least, "{method} {name}: {db:.1} dB");
            let kept = plan
                .decisions
                .iter()
                .filter(|decision| decision.action == Action::Keep);
            assert_eq!(kept.count(), 0, "{method} {name}");
            let wide = |value: &bantam_graph::Value| {
                let constant = value.initializer.as_ref();
                constant.is_some_and(|tensor| tensor.dtype() == DType::F32 && tensor.rank() > 1)
            };
            assert!(
                !result.values.iter().any(wide),
                "{method} {name}: weights have 16 bits"
            );
        }
    }
}

/// Nodes that overflow and those that read from them stay as they are, and say why; the others do not.
#[test]
fn what_overflows_stays_in_float32() {
    let mut graph = bantam_graph::Graph::default();
    let x = input(&mut graph, &[3, 8, 8]);
    let first = convolution(&mut graph, "first", x, [3, 4]);
    let large = graph.add_constant("large", Tensor::scalar(60_000f32));
    let product = graph.add_node("product", Binary::Mul, &[first, large]);
    let quotient = graph.add_node("quotient", Binary::Div, &[product, large]);
    let last = convolution(&mut graph, "last", quotient, [4, 2]);
    let graph = finish(graph, &[last]);
    let target = target_by_name("onnxruntime").unwrap();
    let (plan, result) = quantized(&graph, "f16", target, |_| ()).unwrap();
    let actions: Vec<(bool, &str)> = plan
        .decisions
        .iter()
        .map(|decision| (decision.action == Action::Keep, decision.why.as_str()))
        .collect();
    assert_eq!(
        actions.iter().map(|(kept, _)| *kept).collect::<Vec<_>>(),
        [false, true, true, false]
    );
    assert!(actions[1].1.contains("f16 ends at 65504"), "{actions:?}");
    let db = agreement(&graph, &result);
    assert!(db > 50.0, "{db:.1} dB");
    // What every number fits into needs no look at data.
    let (plan, _) = quantized(&graph, "bf16", target, |_| ()).unwrap();
    assert!(
        plan.decisions
            .iter()
            .all(|decision| decision.action != Action::Keep)
    );
}

/// Angles of rotary embeddings: a bfloat16 holds no whole number above 256 exactly.
#[test]
fn positions_keep_their_digits() {
    let mut graph = bantam_graph::Graph::default();
    let x = input(&mut graph, &[512]);
    let positions: Vec<i64> = (0..512).collect();
    let positions = graph.add_constant("positions", Tensor::from_vec1(&positions));
    let cast = Cast {
        saturate: true,
        to: DType::F32,
        round_mode: "up".to_owned(),
    };
    let numbers = graph.add_node("numbers", cast, &[positions]);
    let frequency = graph.add_constant("frequency", Tensor::scalar(0.37f32));
    let angles = graph.add_node("angles", Binary::Mul, &[numbers, frequency]);
    let cosines = graph.add_node("cosines", Unary::Cos, &[angles]);
    let turned = graph.add_node("turned", Binary::Mul, &[x, cosines]);
    let graph = finish(graph, &[turned]);
    let (plan, result) = quantized(&graph, "bf16", target_by_name("onnxruntime").unwrap(), |_| ()).unwrap();
    let kept = plan
        .decisions
        .iter()
        .filter(|decision| decision.action == Action::Keep);
    assert_eq!(kept.count(), 3, "{:?}", plan.decisions);
    let db = agreement(&graph, &result);
    assert!(db > 40.0, "{db:.1} dB");
}

#[test]
fn floats_of_eight_bits_have_scales_and_no_zero_points() {
    let target = target_by_name("tensorrt").unwrap();
    for (name, least) in [("f8e4m3fn", 20.0), ("f8e5m2", 14.0)] {
        let format = format_by_name(name).unwrap();
        let graph = branches();
        let (_, result) = quantized(&graph, "static", target, |settings| {
            (settings.weights, settings.activations) = (format, format);
            (settings.symmetric_weights, settings.symmetric_activations) = (true, true);
        })
        .unwrap();
        let db = agreement(&graph, &result);
        assert!(db > least, "{name}: {db:.1} dB");
        let zeros = result
            .nodes
            .iter()
            .filter(|node| matches!(node.op, Op::QuantizeLinear(_)));
        for node in zeros {
            assert_eq!(result.constant_input(node, 2).unwrap().dtype(), format.storage());
        }
    }
}

#[test]
fn ranges_for_even_steps_are_refused_for_floats() {
    let mut graph = bantam_graph::Graph::default();
    let x = input(&mut graph, &[6]);
    let w = constant(&mut graph, "w", &[6, 6], 0.6);
    let y = graph.add_node("y", bantam_graph::ops::MatMul {}, &[x, w]);
    let graph = finish(graph, &[y]);
    let found = quantized(
        &graph,
        "static",
        target_by_name("tensorrt").unwrap(),
        |settings| {
            settings.weights = format_by_name("f8e4m3fn").unwrap();
            settings.weight_range = range_by_name("mse").unwrap();
        },
    );
    assert!(
        matches!(found, Err(QuantizeError::RangeOfFloats { .. })),
        "{:?}",
        found.err()
    );
}
