//! Weights in groups: each algorithm changes outputs less than nearest codes do, and the graph computes what was chosen.

use bantam_compress::plan::{Action, Plan, Site};
use bantam_compress::quantize::QuantizeSettings;
use bantam_compress::quantize::groups::{
    Addition, GROUP_ALGORITHMS, GroupError, GroupSettings, group_algorithm_by_name, quantize_groups,
};
use bantam_compress::quantize::layerwise::Calibration;
use bantam_compress::rewrite;
use bantam_compress::select::Selector;
use bantam_compress::target::target_by_name;
use bantam_graph::ops::{Gemm, MatMul, Reshape, Unary};
use bantam_graph::passes::{ELIMINATE_DEAD_NODES, JOIN_GROUPS, run_passes};
use bantam_graph::{Graph, InferOptions, Op, ValueId, infer_shapes};
use bantam_tensor::formats::blocks::IntegerGroups;
use bantam_tensor::{BatchSize, DType, QParams, Samples, Tensor};

use crate::support::{Noise, agreement, constant, finish, input, kept};

/// Weights of both layouts, with rows of one whole group and a shorter one.
pub(crate) fn network() -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[24, 16]);
    let product = |graph: &mut Graph, name: &str, x: ValueId, [from, to]: [usize; 2]| {
        let weight = constant(graph, &format!("{name}_w"), &[from, to], 0.5);
        graph.add_node(name, MatMul {}, &[x, weight])
    };
    let y = product(&mut graph, "first", x, [16, 40]);
    let y = graph.add_node("relu", Unary::Relu, &[y]);
    let y = product(&mut graph, "second", y, [40, 40]);
    let y = graph.add_node("relu_2", Unary::Relu, &[y]);
    let shape = graph.add_constant("shape", Tensor::from_vec1(&[-1i64, 40]));
    let flat = graph.add_node("flat", Reshape { allowzero: false }, &[y, shape]);
    let weight = constant(&mut graph, "third_w", &[12, 40], 0.5);
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transA: false,
        transB: true,
    };
    let y = graph.add_node("third", gemm, &[flat, weight]);
    finish(graph, &[y])
}

pub(crate) fn settings(name: &str, bits: u32, zero_point: bool) -> GroupSettings {
    GroupSettings {
        format: IntegerGroups::new(bits, 32, zero_point, false).into(),
        algorithm: group_algorithm_by_name(name).unwrap(),
        smooth: false,
        addition: Addition::None,
        tables: None,
        quantize: QuantizeSettings::for_target(target_by_name("onnxruntime").unwrap()),
    }
}

pub(crate) fn quantized(graph: &Graph, settings: &GroupSettings) -> Result<(Graph, Plan), GroupError> {
    let samples = Noise::for_graph(graph);
    let indices: Vec<usize> = (0..samples.len()).collect();
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
    quantize_groups(graph, settings, Some(&calibration), &|_, _| ())
}

fn quality(name: &str, bits: u32, zero_point: bool) -> f64 {
    let graph = network();
    agreement(
        &graph,
        &quantized(&graph, &settings(name, bits, zero_point)).unwrap().0,
    )
}

#[test]
fn each_is_better_than_the_nearest_codes() {
    for (bits, zero_point) in [(4, false), (4, true), (3, false), (3, true), (2, true)] {
        let nearest = quality("nearest", bits, zero_point);
        let found = |name: &str| quality(name, bits, zero_point) - nearest;
        for (name, least) in [("search", 0.2), ("hqq", 0.0), ("awq", 0.2)] {
            // The weights are spread evenly: two bits want their whole range.
            let gain = found(name);
            assert!(
                gain > least || bits == 2,
                "{name}, {bits} bits, {zero_point}: {gain:.2} dB"
            );
        }
        let signed = found("signround");
        assert!(
            signed > 1.0,
            "signround, {bits} bits, {zero_point}: {signed:.2} dB"
        );
        let (gptq, better) = (found("gptq"), found("least-squares"));
        assert!(
            gptq > 1.0 && better > gptq + 1.0,
            "{bits} bits, {zero_point}: {better:.1} dB, {gptq:.1} dB"
        );
    }
}

fn constants(plan: &Plan) -> impl Iterator<Item = (&str, &QParams)> {
    plan.decisions
        .iter()
        .filter_map(|decision| match (&decision.site, &decision.action) {
            (Site::Input { value, .. }, Action::QuantizeConstant { params, .. }) => {
                Some((value.as_str(), params))
            }
            _ => None,
        })
}

#[test]
fn weights_are_codes_with_scales_of_groups() {
    let graph = network();
    for algorithm in GROUP_ALGORITHMS {
        for (bits, zero_point, dtype) in [(4, false, DType::I4), (3, true, DType::U4), (6, true, DType::U8)] {
            let (result, plan) = quantized(&graph, &settings(algorithm.name(), bits, zero_point)).unwrap();
            let blocks = result.nodes.iter().filter_map(|node| match &node.op {
                Op::DequantizeLinear(op) => Some((node, op)),
                _ => None,
            });
            let shapes = blocks.map(|(node, op)| {
                assert_eq!(op.block_size, 32);
                let [codes, scale, zero] = [0, 1, 2].map(|index| result.constant_input(node, index).unwrap());
                assert_eq!((codes.dtype(), zero.dtype()), (dtype, dtype));
                assert_eq!(scale.shape(), zero.shape());
                let codes_fit = codes
                    .to_i64()
                    .unwrap()
                    .iter()
                    .all(|code| (code + 4) / 4 < 1 << bits);
                assert!(codes_fit);
                (op.axis, codes.shape().to_vec(), scale.shape().to_vec())
            });
            let shapes: Vec<_> = shapes.collect();
            let expected = [
                (0, vec![16, 40], vec![1, 40]),
                (0, vec![40, 40], vec![2, 40]),
                (1, vec![12, 40], vec![12, 2]),
            ];
            assert_eq!(shapes, expected);
            // Scales are those that 16 bits can say.
            let scales = || constants(&plan).flat_map(|(_, params)| &params.scale);
            let format = settings(algorithm.name(), bits, zero_point).format;
            assert!(scales().all(|scale| format.stored_scale(*scale) == *scale));
        }
    }
}

/// Codes by the formula, for both axes and a group that is not whole.
#[test]
fn codes_follow_the_formula() {
    let mut graph = network();
    let (_, plan) = quantized(&graph, &settings("nearest", 4, true)).unwrap();
    let result = rewrite(&graph, &plan).unwrap();
    for (name, params) in constants(&plan) {
        let weight = graph.constant(graph.value_by_name(name).unwrap()).unwrap();
        let (values, shape) = (weight.to_f32().unwrap(), weight.shape());
        let codes = result.value_by_name(&format!("{name}_q")).unwrap();
        let codes = result.constant(codes).unwrap().to_i64().unwrap();
        for (index, (x, code)) in values.iter().zip(codes).enumerate() {
            let [row, column] = [index / shape[1], index % shape[1]];
            let scale = match params.axis {
                Some(0) => row / 32 * shape[1] + column,
                _ => row * shape[1].div_ceil(32) + column / 32,
            };
            let exact =
                (x / params.scale[scale]).round_ties_even() as i64 + i64::from(params.zero_point[scale]);
            assert_eq!(code, exact.clamp(0, 15), "{name}, {index}");
        }
    }
    // A plan for other shapes is refused.
    let third = graph.value_by_name("third_w").unwrap();
    graph.values[third.index()].initializer = Some(Tensor::zeros(DType::F32, &[12, 80]).unwrap());
    assert!(rewrite(&graph, &plan).is_err());
}

/// Products as ONNX Runtime's op compute what they computed before, whatever the layout, codes and ends of rows.
#[test]
fn products_become_matmul_nbits() {
    let graph = network();
    for (bits, zero_point) in [(4, false), (4, true), (8, false), (8, true)] {
        let (mut result, _) = quantized(&graph, &settings("nearest", bits, zero_point)).unwrap();
        let reports = run_passes(&mut result, &[JOIN_GROUPS, ELIMINATE_DEAD_NODES]).unwrap();
        assert_eq!(
            (reports[0].applied, reports[0].not_applied.as_slice()),
            (3, &[][..])
        );
        let mut joined = 0;
        for node in &result.nodes {
            assert_ne!(node.op.name(), "DequantizeLinear");
            if let Op::MatMulNBits(op) = &node.op {
                assert_eq!((op.bits, op.block_size), (i64::from(bits), 32));
                // Only codes of zero that are not in the middle are stored.
                assert_eq!(node.input(3).is_some(), zero_point);
                joined += 1;
            }
        }
        assert_eq!(joined, 3);
        infer_shapes(&mut result, &InferOptions::default()).unwrap();
        let (before, _) = quantized(&graph, &settings("nearest", bits, zero_point)).unwrap();
        assert!(agreement(&before, &result) > 100.0);
    }
    // Groups that the op does not have are left alone.
    let mut odd = settings("nearest", 4, false);
    odd.format = IntegerGroups::new(4, 12, false, false).into();
    let (mut result, _) = quantized(&graph, &odd).unwrap();
    let reports = run_passes(&mut result, &[JOIN_GROUPS]).unwrap();
    assert_eq!((reports[0].applied, reports[0].not_applied.len()), (0, 3));
}

#[test]
fn zeros_stay_zeros() {
    let mut graph = network();
    let weight = graph.value_by_name("second_w").unwrap();
    graph.values[weight.index()].initializer = Some(Tensor::zeros(DType::F32, &[40, 40]).unwrap());
    for algorithm in GROUP_ALGORITHMS {
        let (result, _) = quantized(&graph, &settings(algorithm.name(), 4, true)).unwrap();
        let codes = result.value_by_name("second_w_q").unwrap();
        let zero = result.value_by_name("second_w_zero").unwrap();
        let numbers = |value| result.constant(value).unwrap().to_i64().unwrap();
        assert_eq!(numbers(codes)[0], numbers(zero)[0], "{}", algorithm.name());
    }
}

#[test]
fn what_is_excluded_or_shared_stays_in_float() {
    let mut graph = network();
    let mut settings = settings("nearest", 4, false);
    settings.quantize.exclude = vec![Selector::parse("name:first").unwrap()];
    let weight = graph.value_by_name("third_w").unwrap();
    let again = graph.add_node("again", Unary::Neg, &[weight]);
    graph.outputs.push(again);
    let graph = finish(graph, &[]);
    let (_, plan) = quantized(&graph, &settings).unwrap();
    let names: Vec<&str> = constants(&plan).map(|(name, _)| name).collect();
    assert_eq!(names, ["second_w"]);
    assert_eq!(kept(&plan, "first"), Some("excluded by the user"));
    assert_eq!(kept(&plan, "third"), Some("its weight has other readers too"));
}

#[test]
fn what_cannot_be_done_is_said() {
    let graph = network();
    for algorithm in GROUP_ALGORITHMS {
        let settings = settings(algorithm.name(), 4, false);
        let without = quantize_groups(&graph, &settings, None, &|_, _| ());
        let needs_none = ["nearest", "hqq"].contains(&algorithm.name());
        assert_eq!(without.is_ok(), needs_none, "{}", algorithm.name());
        assert!(needs_none || matches!(without, Err(GroupError::NoSamples { .. })));
    }
    let mut empty = Graph::default();
    let x = input(&mut empty, &[4]);
    let y = empty.add_node("relu", Unary::Relu, &[x]);
    let empty = finish(empty, &[y]);
    let nothing = quantized(&empty, &settings("nearest", 4, false));
    assert!(matches!(nothing, Err(GroupError::Nothing)));
    let mut infinite = network();
    let weight = infinite.value_by_name("first_w").unwrap();
    for value in [f32::MAX, f32::NAN, f32::INFINITY] {
        let values = Tensor::from_slice(&[16, 40], &[value; 640]).unwrap();
        infinite.values[weight.index()].initializer = Some(values);
        let result = quantized(&infinite, &settings("gptq", 4, false));
        assert!(matches!(result, Err(GroupError::Weights { .. })), "{value}");
    }
}

/// The network with codes and added products is closer to the one in float.
#[test]
fn products_of_low_rank_take_back_what_rounding_loses() {
    let graph = network();
    for algorithm in GROUP_ALGORITHMS {
        let with_rank = |low_rank: usize| {
            let settings = GroupSettings {
                addition: Addition::LowRank(low_rank),
                ..settings(algorithm.name(), 3, true)
            };
            quantized(&graph, &settings).unwrap()
        };
        let none = agreement(
            &graph,
            &quantized(&graph, &settings(algorithm.name(), 3, true)).unwrap().0,
        );
        let some = agreement(&graph, &with_rank(4).0);
        let name = algorithm.name();
        assert!(some > none + 1.0, "{name}: {some:.2} dB, {none:.2} dB without");
    }
}

#[test]
fn added_products_are_plain_ops_of_16_bits() {
    let graph = network();
    let settings = GroupSettings {
        addition: Addition::LowRank(3),
        ..settings("nearest", 4, false)
    };
    let (result, plan) = quantized(&graph, &settings).unwrap();
    let added = |decision: &&bantam_compress::plan::Decision| {
        matches!(&decision.action, Action::AddLowRank { rank: 3, down, up }
            if down.0.len().is_multiple_of(3) && up.0.len().is_multiple_of(3))
    };
    assert_eq!(plan.decisions.iter().filter(added).count(), 3);
    let halves = result
        .values
        .iter()
        .filter_map(|value| value.initializer.as_ref());
    assert_eq!(halves.filter(|tensor| tensor.dtype() == DType::F16).count(), 6);
    // A plan for other shapes is refused.
    let mut other = plan.clone();
    for decision in &mut other.decisions {
        if let Action::AddLowRank { down, .. } = &mut decision.action {
            down.0.truncate(6);
        }
    }
    assert!(rewrite(&graph, &other).is_err());
    assert!(rewrite(&graph, &plan).is_ok());
}
