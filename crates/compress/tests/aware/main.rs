//! Quantization-aware training of a small network: what is trained is what is baked.

mod algorithms;
mod descent;
mod networks;
mod powers;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../quantization/support.rs"]
mod support;

use std::collections::BTreeSet;

use bantam_compress::plan::{Action, Plan, Site};
use bantam_compress::quantize::aware::{
    ActivationMapping, Aware, AwareError, AwareSettings, BatchNormalizationMode, InitialScale, ScaleTraining,
    WeightMapping, Width, bake, round_weights, strip,
};
use bantam_compress::target::{ScaleForm, TARGETS, Target, target_by_name};
use bantam_compress::train::parameters;
use bantam_graph::ops::{Binary, Variadic};
use bantam_graph::{Graph, Op, verify};
use bantam_tensor::{DType, Granularity, Tensor};

use descent::Descent;
use networks::{aware, decibels, halves, residual, run, settings, shaken};

/// All of one width, so that nothing runs in integers but what is 8 bits wide.
fn without_edges(target: &'static Target, weights: &str, activations: &str) -> AwareSettings {
    let mut settings = settings(target, weights, activations);
    settings.set_edges("none").unwrap();
    settings
}

/// Every setting that changes what nodes there are, with its name.
fn variants() -> Vec<(String, AwareSettings)> {
    let mut all = Vec::new();
    for target in TARGETS {
        for (weights, activations) in [
            ("int8", "int8"),
            ("int4", "uint4"),
            ("int2", "uint2"),
            ("int3", "int3"),
            ("int5", "uint6"),
            ("int4", "float"),
        ] {
            let name = format!("{} {weights} {activations}", target.name);
            all.push((name, without_edges(target, weights, activations)));
        }
    }
    let target = target_by_name("onnxruntime").unwrap();
    all.push(("uint8 activations".to_owned(), settings(target, "int8", "uint8")));
    for &scales in ScaleTraining::ALL {
        for &mapping in WeightMapping::ALL {
            for &activations in ActivationMapping::ALL {
                let mut settings = without_edges(target, "int3", "uint3");
                (settings.scales, settings.weight_mapping) = (scales, mapping);
                settings.activation_mapping = activations;
                let names = [scales.name(), mapping.name(), activations.name()].join(" ");
                all.push((names, settings));
            }
        }
    }
    let mut edit = |name: &str, edit: fn(&mut AwareSettings)| {
        let mut settings = without_edges(target, "int4", "uint4");
        edit(&mut settings);
        all.push((name.to_owned(), settings));
    };
    edit("one scale for a weight", |s| {
        s.quantize.granularity = Granularity::Tensor
    });
    edit("zero points of weights", |s| s.quantize.symmetric_weights = false);
    edit("start of LSQ", |s| s.initial = InitialScale::Lsq);
    edit("8-bit edges", |s| s.set_edges("int8").unwrap());
    edit("6-bit edges", |s| s.set_edges("int6").unwrap());
    edit("dorefa of int8", |s| {
        s.weight_mapping = WeightMapping::Dorefa;
        s.set_formats("int8", "uint8").unwrap();
    });
    all
}

#[test]
fn baked_graphs_compute_what_trained_graphs_compute() {
    let graph = residual();
    for (name, mut settings) in variants() {
        for &mode in BatchNormalizationMode::ALL {
            settings.batch_normalization = mode;
            let powers = settings.quantize.target.scales == ScaleForm::PowerOfTwo;
            if powers && mode == BatchNormalizationMode::Keep {
                continue;
            }
            let aware = shaken(aware(&graph, &settings).unwrap_or_else(|error| panic!("{name}: {error}")));
            let baked = bake(&aware)
                .unwrap_or_else(|error| panic!("{name}: {error}"))
                .graph;
            verify(&baked).unwrap();
            assert!(!baked.nodes.iter().any(|node| node.op.is_own()), "{name}");
            let db = agreement(&run(&aware.graph), &run(&baked));
            // Biases become 32-bit codes where the target, or our executor, multiplies codes of whole bytes in integers.
            let integers = ["int8", "int5", "8-bit", "6-bit"]
                .iter()
                .any(|eight| name.contains(eight));
            let least = if integers { 40.0 } else { 80.0 };
            assert!(
                db[1] > least,
                "{name}, BatchNormalization {}: {db:?} dB",
                mode.name()
            );
            assert!(
                db[0] > 20.0,
                "{name}, BatchNormalization {}: {db:?} dB",
                mode.name()
            );
        }
    }
}

/// Decibels of the worst and of the second worst of eight samples: sums are rounded in another order, and a number on the
/// border of two levels may go to the other.
fn agreement(expected: &[f64], got: &[f64]) -> Vec<f64> {
    let samples = expected
        .chunks(expected.len() / 8)
        .zip(got.chunks(expected.len() / 8));
    let mut db: Vec<f64> = samples.map(|(expected, got)| decibels(expected, got)).collect();
    db.sort_by(f64::total_cmp);
    db.truncate(2);
    db
}

#[test]
fn weights_are_trained_whatever_they_are_mapped_by() {
    let graph = residual();
    let names = |graph: &Graph, aware: Option<&Aware>| -> BTreeSet<String> {
        let rules = aware.map_or(Vec::new(), Aware::rules);
        let found = parameters(graph, &rules, &[]).unwrap().into_iter();
        found
            .filter(|found| found.decays)
            .map(|found| found.name)
            .collect()
    };
    let weights = names(&graph, None);
    assert!(weights.len() >= 4, "{weights:?}");
    for (name, settings) in variants() {
        let aware = aware(&graph, &settings).unwrap();
        let trained = names(&aware.graph, Some(&aware));
        let missing: Vec<_> = weights.difference(&trained).collect();
        assert!(missing.is_empty(), "{name}: {missing:?} are not trained");
    }
}

#[test]
fn channels_of_zeros_stay_zeros_in_three_levels() {
    let mut graph = residual();
    let conv = graph
        .nodes
        .iter()
        .find(|node| matches!(node.op, Op::Conv(_)))
        .unwrap();
    let weight = conv.input(1).unwrap();
    let shape = graph.constant(weight).unwrap().shape().to_vec();
    let mut values = graph.constant(weight).unwrap().to_f32().unwrap();
    let row = values.len() / shape[0];
    values[..row].fill(0.0);
    graph.values[weight.index()].initializer = Some(Tensor::from_slice(&shape, &values).unwrap());
    let mut settings = without_edges(target_by_name("onnxruntime").unwrap(), "int3", "float");
    settings.weight_mapping = WeightMapping::Ternary;
    for scales in [ScaleTraining::Fixed, ScaleTraining::Learned] {
        settings.scales = scales;
        let rounded = round_weights(&aware(&graph, &settings).unwrap()).unwrap();
        let conv = rounded
            .nodes
            .iter()
            .find(|node| matches!(node.op, Op::Conv(_)))
            .unwrap();
        let after = rounded
            .constant(conv.input(1).unwrap())
            .unwrap()
            .to_f32()
            .unwrap();
        assert!(
            after[..row].iter().all(|value| *value == 0.0),
            "{scales:?}: {:?}",
            &after[..row]
        );
        assert!(after[row..].iter().any(|value| *value != 0.0));
    }
}

#[test]
fn layers_have_widths_of_their_own() {
    let graph = residual();
    let mut settings = settings(target_by_name("onnxruntime").unwrap(), "int8", "uint8");
    settings.widths = vec![
        Width::parse("op:Conv=int4").unwrap(),
        Width::parse("role:first=int2").unwrap(),
    ];
    let aware = aware(&graph, &settings).unwrap();
    let products = aware
        .graph
        .nodes
        .iter()
        .filter(|node| matches!(node.op.name(), "Conv" | "Gemm" | "MatMul"));
    let producers = aware.graph.producers();
    let codes = products.filter_map(|node| {
        let quantizer = aware.graph.node(producers[node.input(1)?.index()]?);
        match &quantizer.op {
            Op::FakeQuant(op) => Some((node.op.name(), op.high - op.low + 1)),
            _ => None,
        }
    });
    let codes: Vec<(&str, i64)> = codes.collect();
    assert_eq!(codes[0].1, 4, "{codes:?}");
    let others = &codes[1..];
    assert!(
        others
            .iter()
            .all(|(op, codes)| *codes == if *op == "Conv" { 15 } else { 255 }),
        "{others:?}"
    );
    assert!(
        others.iter().any(|(op, _)| *op == "Conv") && others.iter().any(|(op, _)| *op != "Conv"),
        "{others:?}"
    );
    let message = Width::parse("conv1:int4").err().unwrap().to_string();
    assert!(message.contains("hint: SELECTOR=FORMAT"), "{message}");
}

#[test]
fn without_quantizers_it_is_the_network_again() {
    let graph = residual();
    let before = run(&graph);
    for (name, settings) in variants() {
        let aware = aware(&graph, &settings).unwrap();
        let db = decibels(&before, &run(&strip(&aware).unwrap()));
        assert!(db > 110.0, "{name}: {db:.1} dB");
    }
}

#[test]
fn eight_bits_change_little_at_the_start() {
    let graph = residual();
    for target in TARGETS {
        let settings = settings(target, "int8", "int8");
        let db = decibels(&run(&graph), &run(&aware(&graph, &settings).unwrap().graph));
        assert!(db > 25.0, "{}: {db:.1} dB", target.name);
    }
}

/// Every way to train scales and to map weights and activations makes the loss small, and what it leaves is baked.
#[test]
fn every_quantizer_learns() {
    let graph = residual();
    let target = target_by_name("onnxruntime").unwrap();
    let (x, labels) = halves(32, 5);
    let mut cases: Vec<(String, AwareSettings)> = Vec::new();
    let mut case = |name: &str, formats: [&str; 2], edit: &dyn Fn(&mut AwareSettings)| {
        let mut settings = settings(target, formats[0], formats[1]);
        edit(&mut settings);
        cases.push((name.to_owned(), settings));
    };
    for &scales in ScaleTraining::ALL {
        case(scales.name(), ["int4", "uint4"], &|s| s.scales = scales);
    }
    for &mapping in WeightMapping::ALL {
        case(mapping.name(), ["int2", "uint2"], &|s| s.weight_mapping = mapping);
        case(mapping.name(), ["int2", "float"], &|s| {
            s.weight_mapping = mapping;
            s.scales = ScaleTraining::Fixed;
        });
    }
    for &mapping in ActivationMapping::ALL {
        case(mapping.name(), ["int4", "int4"], &|s| {
            s.activation_mapping = mapping
        });
    }
    case("folded", ["int4", "uint4"], &|s| {
        s.batch_normalization = BatchNormalizationMode::Fold
    });
    for (name, settings) in cases {
        let mut aware = aware(&graph, &settings).unwrap();
        let mut descent = Descent::new(&aware);
        let losses: Vec<f32> = (0..40).map(|_| descent.step(&x, &labels, 0.02)).collect();
        let last = losses[35..].iter().sum::<f32>() / 5.0;
        assert!(last < 0.5 * losses[0] && last < 0.3, "{name}: {losses:?}");
        let before = aware.clone();
        descent.write(&mut aware);
        for rule in &aware.parameters {
            let value = |graph: &bantam_graph::Graph| {
                let id = graph.value_by_name(&rule.name).unwrap();
                graph.constant(id).unwrap().to_f32().unwrap()
            };
            assert_ne!(
                value(&before.graph),
                value(&aware.graph),
                "{name}: {} is not trained",
                rule.name
            );
        }
        let baked = bake(&aware)
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .graph;
        let db = agreement(&run(&aware.graph), &run(&baked));
        assert!(db[1] > 40.0, "{name}: {db:?} dB");
    }
}

/// Type of the codes of a value, or of the weight that a node reads.
fn types(plan: &Plan) -> Vec<(&str, DType)> {
    let of = |decision: &'_ bantam_compress::plan::Decision| match &decision.action {
        Action::QuantizeActivation(params) | Action::QuantizeConstant { params, .. } => Some(params.dtype),
        _ => None,
    };
    plan.decisions
        .iter()
        .filter_map(|decision| Some((decision.site.name(), of(decision)?)))
        .collect()
}

#[test]
fn low_widths_are_for_what_products_inside_read() {
    let target = target_by_name("onnxruntime").unwrap();
    let aware = aware(&residual(), &settings(target, "int4", "uint4")).unwrap();
    let baked = bake(&aware).unwrap();
    let expected = [
        ("x", DType::U8),
        ("first_w", DType::I8),
        ("relu_factor", DType::U4),
        ("second_w", DType::I4),
        ("relu_2", DType::U4),
        ("third_w", DType::I4),
        ("relu_3", DType::U4),
        ("fourth_w", DType::I4),
        // What the last layer reads; sums and means around it stay in float.
        ("mean", DType::U8),
        ("flat", DType::U8),
        ("fc_w", DType::I8),
    ];
    assert_eq!(types(&baked.plan), expected);
    // What stands between is no news to users.
    let kept = baked.plan.decisions.iter().filter(|it| it.action == Action::Keep);
    let mut kept = kept.map(|decision| decision.site.name());
    assert!(kept.all(|name| !name.ends_with("_factor")));
    // The sum reads what is not rounded.
    let sum = baked
        .graph
        .nodes
        .iter()
        .find(|node| matches!(node.op, Op::Binary(Binary::Add)));
    let read = baked.graph.value(sum.unwrap().input(1).unwrap());
    assert_eq!(read.name, "relu");
}

/// Where the target multiplies codes, sums get codes too.
#[test]
fn targets_with_kernels_of_any_width_add_codes() {
    let target = target_by_name("fpga").unwrap();
    let aware = aware(&residual(), &settings(target, "int4", "int4")).unwrap();
    let names: Vec<&str> = types(&aware.plan).into_iter().map(|(name, _)| name).collect();
    assert!(
        names.contains(&"relu") && !names.contains(&"relu_factor"),
        "{names:?}"
    );
}

#[test]
fn integer_targets_get_everything_that_static_quantizes() {
    let target = target_by_name("onnxruntime").unwrap();
    let graph = residual();
    let trained = bake(&aware(&graph, &settings(target, "int8", "uint8")).unwrap()).unwrap();
    let preparation =
        bantam_compress::quantize::aware::prepare(&graph, &settings(target, "int8", "uint8")).unwrap();
    let (plan, _) = support::quantized(&preparation.observed, "static", target, |s| {
        s.bias_correction = false
    })
    .unwrap();
    assert_eq!(types(&trained.plan), types(&plan));
}

#[test]
fn widths_that_files_cannot_say_are_bounded() {
    let target = target_by_name("onnxruntime").unwrap();
    let aware = aware(&residual(), &settings(target, "int2", "uint2")).unwrap();
    let baked = bake(&aware).unwrap();
    let bounds = baked
        .graph
        .nodes
        .iter()
        .filter(|node| node.op == Op::Variadic(Variadic::Min));
    assert_eq!(
        bounds.count(),
        3,
        "relu, relu_2 and relu_3 before they are stored as uint4"
    );
    let id = baked.graph.value_by_name("second_w_q").unwrap();
    let mut codes = baked.graph.constant(id).unwrap().to_i64().unwrap();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes, [-3, -1, 1, 3]);
}

#[test]
fn mistakes_are_told() {
    let target = target_by_name("onnxruntime").unwrap();
    let mut wrong = AwareSettings::for_target(target);
    let error = wrong.set_formats("int44", "uint4").unwrap_err();
    assert!(error.to_string().contains("the nearest is `int4`"), "{error}");
    assert!(wrong.set_formats("f8e4m3fn", "uint4").is_err());

    let good = aware(&residual(), &settings(target, "int4", "uint4")).unwrap();
    let mut negative = good.clone();
    let scale = negative
        .parameters
        .iter()
        .find(|rule| rule.name.contains("second_w"))
        .unwrap();
    let id = negative.graph.value_by_name(&scale.name).unwrap();
    negative.graph.value_mut(id).initializer = Some(Tensor::from_vec1(&[-1f32; 8]));
    assert!(matches!(
        bake(&negative),
        Err(AwareError::Scale { scale: -1.0, .. })
    ));

    let mut gone = good;
    gone.graph.nodes.retain(|node| node.name != "relu_2_rounded");
    assert!(matches!(bake(&gone), Err(AwareError::NoQuantizer { node }) if node == "relu_2_rounded"));
    let mut excluded = settings(target, "int4", "uint4");
    excluded.quantize.exclude = vec![bantam_compress::select::Selector::parse("nothing").unwrap()];
    assert!(aware(&residual(), &excluded).is_err());
}

#[test]
fn excluded_nodes_stay_in_float() {
    let target = target_by_name("onnxruntime").unwrap();
    let mut settings = settings(target, "int4", "uint4");
    settings.quantize.exclude = vec![bantam_compress::select::Selector::parse("second").unwrap()];
    let aware = aware(&residual(), &settings).unwrap();
    assert!(
        !aware
            .parameters
            .iter()
            .any(|rule| rule.name.starts_with("second_w"))
    );
    let plan = bake(&aware).unwrap().plan;
    assert!(!types(&plan).iter().any(|(name, _)| *name == "second_w"));
    let kept = plan
        .decisions
        .iter()
        .any(|decision| decision.action == Action::Keep && decision.site == Site::Node("second".to_owned()));
    assert!(kept);
}
