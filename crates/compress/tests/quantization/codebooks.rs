//! Weights in groups whose codes stand for values of a table.

use bantam_compress::dequantize;
use bantam_compress::plan::{Action, Plan, Site};
use bantam_compress::quantize::groups::{GROUP_ALGORITHMS, GroupError, GroupSettings, TableGroups};
use bantam_compress::rewrite;
use bantam_graph::{Graph, Op};
use bantam_tensor::{DType, NumberFormat, QParams, TABLE_FORMATS, Tensor, table_format_by_name};

use crate::groups::{network, quantized, settings};
use crate::support::agreement;

/// As Dettmers et al. 2023, appendix E, has them.
const NF4: [f64; 16] = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
];

fn of_table(name: &str, format: &'static dyn NumberFormat) -> GroupSettings {
    GroupSettings {
        format: TableGroups::new(format, 32).into(),
        ..settings(name, 4, false)
    }
}

fn constants(plan: &Plan) -> impl Iterator<Item = (&str, &QParams)> {
    plan.decisions
        .iter()
        .filter_map(|decision| match (&decision.site, &decision.action) {
            (Site::Input { value, .. }, Action::LookUpConstant { params, .. }) => {
                Some((value.as_str(), params))
            }
            _ => None,
        })
}

/// The place of each element's scale among those of a weight in groups of 32.
fn scale_of(index: usize, shape: &[usize], axis: Option<usize>) -> usize {
    let [row, column] = [index / shape[1], index % shape[1]];
    match axis {
        Some(0) => row / 32 * shape[1] + column,
        _ => row * shape[1].div_ceil(32) + column / 32,
    }
}

fn f16(value: f32) -> f32 {
    let stored = Tensor::from_f64(DType::F16, &[1], &[f64::from(value)]).unwrap();
    stored.to_f32().unwrap()[0]
}

/// The network with the numbers that QLoRA's definition gives: the largest magnitude of a group, in 16 bits, times the nearest value.
fn by_definition(graph: &Graph, plan: &Plan) -> Graph {
    let mut expected = graph.clone();
    for (name, params) in constants(plan) {
        let id = graph.value_by_name(name).unwrap();
        let weight = graph.constant(id).unwrap();
        let (values, shape) = (weight.to_f32().unwrap(), weight.shape());
        let mut largest = vec![0f32; params.scale.len()];
        for (index, x) in values.iter().enumerate() {
            let of = &mut largest[scale_of(index, shape, params.axis)];
            *of = of.max(x.abs());
        }
        let number = |(index, x): (usize, &f32)| {
            let scale = f16(largest[scale_of(index, shape, params.axis)]);
            let numbers = NF4.iter().map(|value| *value as f32 * scale);
            numbers
                .min_by(|a, b| (a - x).abs().total_cmp(&(b - x).abs()))
                .unwrap()
        };
        let numbers: Vec<f32> = values.iter().enumerate().map(number).collect();
        expected.values[id.index()].initializer = Some(Tensor::from_slice(shape, &numbers).unwrap());
    }
    expected
}

#[test]
fn nf4_is_what_its_paper_says() {
    let graph = network();
    let nf4 = table_format_by_name("nf4").unwrap();
    let (result, plan) = quantized(&graph, &of_table("nearest", nf4)).unwrap();
    assert_eq!(constants(&plan).count(), 3);
    let expected = by_definition(&graph, &plan);
    assert!(agreement(&expected, &result) > 120.0);
    // A plan that is applied again does the same.
    let again = rewrite(&graph, &plan).unwrap();
    assert!(agreement(&result, &again) > 200.0);
    // The way back finds the same numbers.
    let float = dequantize(&result).unwrap();
    assert!(agreement(&expected, &float) > 120.0);
    let is_constant = |name: &str| {
        let node = |output| {
            float
                .nodes
                .iter()
                .find(move |node| node.output(0) == Some(output))
        };
        let product = node(float.value_by_name(name).unwrap()).unwrap();
        float.constant_input(product, 1).is_some()
    };
    assert!(["first", "second", "third"].into_iter().all(is_constant));
}

/// Codes take 4 bits and scales 16, and what reads them are ops that any runtime has.
#[test]
fn files_hold_codes_and_plain_ops() {
    let graph = network();
    for (name, dtype) in [("nf4", DType::U4), ("log3", DType::U4), ("apot5", DType::U8)] {
        let format = table_format_by_name(name).unwrap();
        let (result, _) = quantized(&graph, &of_table("nearest", format)).unwrap();
        let constant = |name: &str| {
            let value = result.value_by_name(name);
            value.and_then(|value| result.constant(value)).unwrap().dtype()
        };
        for weight in ["first_w_q", "second_w_q", "third_w_q"] {
            assert_eq!(constant(weight), dtype, "{name}");
        }
        assert_eq!(constant("t0_scale_half"), DType::F16, "{name}");
        let tables = result.nodes.iter().filter_map(|node| match node.op {
            Op::Gather(_) => node.input(0),
            _ => None,
        });
        let tables: std::collections::BTreeSet<_> =
            tables.filter(|table| result.constant(*table).is_some()).collect();
        assert_eq!(tables.len(), 1, "{name}: one table for all");
    }
}

#[test]
fn algorithms_choose_better_than_the_nearest_values() {
    let graph = network();
    for format in TABLE_FORMATS {
        let quality = |name: &str| {
            let quantized = quantized(&graph, &of_table(name, *format)).unwrap();
            agreement(&graph, &quantized.0)
        };
        let nearest = quality("nearest");
        // The weights are spread evenly: some tables want their whole range.
        for (name, least) in [
            ("search", -0.3),
            ("hqq", -0.3),
            ("gptq", 1.0),
            ("least-squares", 2.0),
        ] {
            let gain = quality(name) - nearest;
            assert!(gain > least, "{name}, {}: {gain:.2} dB", format.name());
        }
    }
}

#[test]
fn what_wants_even_steps_says_so() {
    let graph = network();
    let nf4 = table_format_by_name("nf4").unwrap();
    for algorithm in GROUP_ALGORITHMS {
        let result = quantized(&graph, &of_table(algorithm.name(), nf4));
        match result {
            Ok(_) => assert!(algorithm.takes_tables()),
            Err(GroupError::Uneven { name, format, others }) => {
                assert_eq!((name, format), ("signround", "nf4"));
                assert!(others.contains("nearest") && !others.contains("signround"));
            }
            Err(error) => panic!("{}: {error}", algorithm.name()),
        }
    }
}

fn learned(name: &str, bits: &str) -> GroupSettings {
    GroupSettings {
        format: TableGroups::learned(bits, 32).unwrap().into(),
        ..settings(name, 4, false)
    }
}

/// Weights in few places, which no table that is known beforehand has; some are zero.
fn clustered() -> Graph {
    const PLACES: [f32; 4] = [-0.8, 0.0, 0.3, 0.72];
    let mut graph = network();
    for name in ["first_w", "second_w", "third_w"] {
        let id = graph.value_by_name(name).unwrap();
        let tensor = graph.constant(id).unwrap();
        let values: Vec<f32> = (0..tensor.len())
            .map(|index| PLACES[(index * 7 + index / 13) % 4])
            .collect();
        graph.values[id.index()].initializer = Some(Tensor::from_slice(tensor.shape(), &values).unwrap());
    }
    graph
}

#[test]
fn tables_are_learned_for_each_weight() {
    let graph = clustered();
    let (result, plan) = quantized(&graph, &learned("nearest", "codebook2")).unwrap();
    // Scales have 16 bits: nothing else is lost.
    let found = agreement(&graph, &result);
    assert!(found > 60.0, "{found:.1} dB");
    let nf4 = table_format_by_name("nf4").unwrap();
    let (other, _) = quantized(&graph, &of_table("nearest", nf4)).unwrap();
    assert!(agreement(&graph, &other) < 30.0);
    let tables = plan
        .decisions
        .iter()
        .filter_map(|decision| match &decision.action {
            Action::LookUpConstant { table, values, .. } => Some((table.as_str(), values)),
            _ => None,
        });
    for (table, values) in tables {
        assert!(
            table == "codebook2" && values.len() == 4 && values.contains(&0.0),
            "{values:?}"
        );
    }
    let again = rewrite(&graph, &plan).unwrap();
    assert!(agreement(&result, &again) > 200.0);
}

#[test]
fn algorithms_choose_among_learned_values_too() {
    let graph = network();
    let quality = |name: &str| agreement(&graph, &quantized(&graph, &learned(name, "codebook3")).unwrap().0);
    let nearest = quality("nearest");
    for (name, least) in [("gptq", 1.0), ("least-squares", 2.0)] {
        let gain = quality(name) - nearest;
        assert!(gain > least, "{name}: {gain:.2} dB");
    }
    assert!(TableGroups::learned("codebook9", 32).is_none());
}

#[test]
fn a_plan_with_a_wrong_table_is_refused() {
    let graph = network();
    let (_, plan) = quantized(&graph, &learned("nearest", "codebook2")).unwrap();
    for wrong in [vec![], vec![0.5, 0.5], vec![1.0, -1.0], vec![f32::NAN, 1.0]] {
        let mut plan = plan.clone();
        for decision in &mut plan.decisions {
            if let Action::LookUpConstant { values, .. } = &mut decision.action {
                values.clone_from(&wrong);
            }
        }
        let error = rewrite(&graph, &plan).unwrap_err().to_string();
        assert!(error.contains("does not rise"), "{error}");
    }
}
