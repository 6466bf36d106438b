//! Weights that keep 16 bits beside the codes of the others.

use bantam_compress::plan::{Action, Plan};
use bantam_compress::quantize::groups::{Addition, GROUP_ALGORITHMS, GroupSettings};
use bantam_compress::{dequantize, rewrite};
use bantam_graph::{Graph, Op};
use bantam_tensor::{DType, Tensor};

use crate::groups::{network, quantized, settings};
use crate::support::agreement;

/// The network with some weights much larger than the others of their groups.
fn uneven() -> Graph {
    let mut graph = network();
    for name in ["first_w", "second_w", "third_w"] {
        let weight = graph.value_by_name(name).unwrap();
        let tensor = graph.constant(weight).unwrap().clone();
        let mut values = tensor.to_f32().unwrap();
        values.iter_mut().step_by(97).for_each(|x| *x *= 8.0);
        graph.values[weight.index()].initializer = Some(Tensor::from_slice(tensor.shape(), &values).unwrap());
    }
    graph
}

fn with_outliers(name: &str, share: f64) -> GroupSettings {
    GroupSettings {
        addition: Addition::Outliers(share),
        ..settings(name, 3, true)
    }
}

fn kept(plan: &Plan) -> Vec<(&[u64], &[f32])> {
    let kept = plan
        .decisions
        .iter()
        .filter_map(|decision| match &decision.action {
            Action::KeepOutliers { places, values } => Some((places.as_slice(), values.0.as_slice())),
            _ => None,
        });
    kept.collect()
}

#[test]
fn few_weights_of_16_bits_take_back_most_of_what_they_cost_their_groups() {
    let graph = uneven();
    for algorithm in GROUP_ALGORITHMS {
        let name = algorithm.name();
        let without = quantized(&graph, &settings(name, 3, true)).unwrap().0;
        let (with, plan) = quantized(&graph, &with_outliers(name, 0.02)).unwrap();
        let [without, with] = [without, with].map(|result| agreement(&graph, &result));
        assert!(
            with > without + 2.0,
            "{name}: {with:.2} dB, {without:.2} dB without"
        );
        // Two in a hundred of 640, 1600 and 480.
        let counts: Vec<usize> = kept(&plan).iter().map(|(places, _)| places.len()).collect();
        assert_eq!(counts, [13, 32, 10]);
    }
}

/// The weights that were made large are those that are kept.
#[test]
fn the_weights_that_stretch_their_groups_are_kept() {
    let graph = uneven();
    let (_, plan) = quantized(&graph, &with_outliers("nearest", 0.02)).unwrap();
    for (places, values) in kept(&plan) {
        let large = places.iter().filter(|place| place.is_multiple_of(97)).count();
        assert!(3 * large > places.len(), "{places:?}");
        assert!(values.iter().any(|value| value.abs() > 1.0), "{values:?}");
    }
}

#[test]
fn outliers_are_put_in_by_plain_ops_and_come_back() {
    let graph = uneven();
    let (result, plan) = quantized(&graph, &with_outliers("gptq", 0.02)).unwrap();
    let count = |wanted: fn(&Op) -> bool| result.nodes.iter().filter(|node| wanted(&node.op)).count();
    assert_eq!(count(|op| matches!(op, Op::ScatterElements(_))), 3);
    let constants = || {
        result
            .values
            .iter()
            .filter_map(|value| value.initializer.as_ref())
    };
    let bytes = |dtype| {
        constants()
            .filter(|it| it.dtype() == dtype)
            .map(|it| it.as_bytes().len())
            .sum::<usize>()
    };
    assert_eq!([bytes(DType::U16), bytes(DType::F16)], [2 * 55, 2 * 55]);
    // In float, the numbers are where the plan says.
    let float = dequantize(&result).unwrap();
    assert!(agreement(&result, &float) > 100.0);
    let held: Vec<Vec<f32>> = float
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::MatMul(_) | Op::Gemm(_)))
        .map(|node| float.constant_input(node, 1).unwrap().to_f32().unwrap())
        .collect();
    for ((places, values), weight) in kept(&plan).into_iter().zip(&held) {
        let there: Vec<f32> = places.iter().map(|place| weight[*place as usize]).collect();
        assert_eq!(there, values);
    }
}

#[test]
fn plans_of_other_weights_are_refused() {
    let graph = uneven();
    let (_, plan) = quantized(&graph, &with_outliers("nearest", 0.02)).unwrap();
    assert!(rewrite(&graph, &plan).is_ok());
    let changes: [fn(&mut Vec<u64>); 3] = [
        |places| *places.last_mut().unwrap() = 1 << 40,
        |places| places.reverse(),
        |places| places.truncate(2),
    ];
    for change in changes {
        let mut other = plan.clone();
        for decision in &mut other.decisions {
            if let Action::KeepOutliers { places, .. } = &mut decision.action {
                change(places);
            }
        }
        assert!(rewrite(&graph, &other).is_err());
    }
    // Beside a weight that is not in codes there are no outliers.
    let mut alone = plan;
    alone
        .decisions
        .retain(|decision| matches!(decision.action, Action::KeepOutliers { .. }));
    assert!(rewrite(&graph, &alone).is_err());
}
