//! Pruning: criteria, plans, patterns, reconstruction and refusals.

mod channels;
mod criteria;
mod support;

use bantam_compress::plan::{Action, Plan};
use bantam_compress::prune::criterion::Needs;
use bantam_compress::prune::reconstruct::RECONSTRUCTIONS;
use bantam_compress::prune::{PruneSettings, prunable, prune, satisfies};
use bantam_compress::rewrite;
use bantam_compress::select::Selector;
use bantam_graph::{Graph, verify};

use support::{chain, convolutions, linear, of_elements, plan, run, settings, values, with};

fn zeros(graph: &Graph, name: &str) -> usize {
    values(graph, name).iter().filter(|value| **value == 0.0).count()
}

fn error(before: &[f32], after: &[f32]) -> f64 {
    before
        .iter()
        .zip(after)
        .map(|(a, b)| f64::from(a - b).powi(2))
        .sum()
}

#[test]
fn a_saved_plan_gives_the_same_graph() {
    let (graph, samples) = convolutions();
    for criterion in of_elements() {
        for settings in [
            settings(criterion.name(), "unstructured", 0.7),
            with(settings(criterion.name(), "unstructured", 0.7), "least-squares"),
        ] {
            let plan = plan(&graph, &samples, &settings).unwrap();
            let pruned = rewrite(&graph, &plan).unwrap();
            verify(&pruned).unwrap();
            let gone: usize = ["first", "second", "last"]
                .iter()
                .map(|name| zeros(&pruned, name))
                .sum();
            assert!(
                gone.abs_diff((0.7 * 1104.0) as usize) <= 1,
                "{}: {gone}",
                criterion.name()
            );
            let saved = serde_json::to_string(&plan).unwrap();
            let again: Plan = serde_json::from_str(&saved).unwrap();
            assert_eq!(again, plan);
            assert!(plan.decisions.iter().all(|decision| !decision.why.is_empty()));
            for name in [
                "first", "second", "last", "mean", "variance", "second_b", "last_b",
            ] {
                assert_eq!(
                    values(&rewrite(&graph, &again).unwrap(), name),
                    values(&pruned, name),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn criteria_without_data_need_none() {
    let (graph, _) = convolutions();
    for criterion in of_elements() {
        let result = prune(&graph, &settings(criterion.name(), "unstructured", 0.5), None);
        match criterion.needs() {
            Needs::Nothing => assert!(result.is_ok(), "{}", criterion.name()),
            _ => assert!(
                result.unwrap_err().to_string().contains("looks at samples"),
                "{}",
                criterion.name()
            ),
        }
    }
    for reconstruction in RECONSTRUCTIONS {
        let settings = with(settings("magnitude", "unstructured", 0.5), reconstruction.name());
        let message = prune(&graph, &settings, None).unwrap_err().to_string();
        assert!(message.contains("looks at samples"), "{message}");
    }
}

#[test]
fn reconstruction_brings_outputs_nearer() {
    let (graph, samples) = convolutions();
    let before = &run(&graph, &samples, "scores")[0];
    let error_of = |settings: &PruneSettings| {
        let pruned = rewrite(&graph, &plan(&graph, &samples, settings).unwrap()).unwrap();
        error(before, &run(&pruned, &samples, "scores")[0])
    };
    let plain = error_of(&settings("magnitude", "unstructured", 0.6));
    let random = error_of(&settings("random", "unstructured", 0.6));
    assert!(plain < random, "magnitude {plain}, random {random}");
    for reconstruction in RECONSTRUCTIONS {
        let solved = error_of(&with(
            settings("magnitude", "unstructured", 0.6),
            reconstruction.name(),
        ));
        assert!(
            solved < 0.5 * plain,
            "{}: {solved}, masks alone {plain}",
            reconstruction.name()
        );
    }
}

/// In steps, weights are scored with others gone, and the last step's share is what was asked for.
#[test]
fn steps_come_to_the_same_sparsity() {
    let (graph, samples) = convolutions();
    let mut settings = with(settings("obs", "unstructured", 0.8), "least-squares");
    let once = rewrite(&graph, &plan(&graph, &samples, &settings).unwrap()).unwrap();
    settings.steps = 4;
    let pruned = rewrite(&graph, &plan(&graph, &samples, &settings).unwrap()).unwrap();
    let gone: usize = ["first", "second", "last"]
        .iter()
        .map(|name| zeros(&pruned, name))
        .sum();
    assert!(gone.abs_diff(883) <= 1, "{gone}");
    let before = &run(&graph, &samples, "scores")[0];
    let [once, stepped] = [&once, &pruned].map(|graph| error(before, &run(graph, &samples, "scores")[0]));
    assert!(stepped < once, "{stepped} in steps, {once} at once");
    for (steps, structure) in [(0, "unstructured"), (2, "2:4")] {
        settings.structure = bantam_compress::prune::Structure::parse(structure).unwrap();
        settings.sparsity = settings.sparsity.filter(|_| steps == 0);
        settings.steps = steps;
        assert!(
            plan(&graph, &samples, &settings)
                .unwrap_err()
                .to_string()
                .contains("step")
        );
    }
}

#[test]
fn patterns_hold_for_every_reconstruction() {
    let (graph, samples) = convolutions();
    for pattern in ["2:4", "1:4", "2:3"] {
        let plain = [settings("magnitude", pattern, 0.0)];
        let solved = RECONSTRUCTIONS
            .iter()
            .map(|it| with(settings("wanda", pattern, 0.0), it.name()));
        for settings in plain.into_iter().chain(solved) {
            let pruned = rewrite(&graph, &plan(&graph, &samples, &settings).unwrap()).unwrap();
            let (weights, _) = prunable(&pruned, &vec![None; pruned.nodes.len()]);
            let (kept, of) = pattern
                .split_once(':')
                .map(|(n, m)| (n.parse().unwrap(), m.parse().unwrap()))
                .unwrap();
            for weight in &weights {
                let values = values(&pruned, &weight.name);
                assert!(satisfies(weight, &values, kept, of), "{pattern}: {}", weight.name);
            }
        }
    }
    let (weights, _) = prunable(&graph, &vec![None; graph.nodes.len()]);
    assert!(!satisfies(&weights[0], &values(&graph, "first"), 2, 4));
}

/// With statistics that are those of the samples, those of the pruned network are exact too, with and without reconstruction.
#[test]
fn statistics_follow() {
    let (mut graph, samples) = convolutions();
    let channels = |graph: &Graph| {
        let values = &run(graph, &samples, "conv1")[1];
        let of = |channel: usize| {
            let planes = values
                .chunks_exact(25)
                .enumerate()
                .filter(|(index, _)| index % 8 == channel);
            let all: Vec<f64> = planes
                .flat_map(|(_, plane)| plane)
                .map(|value| f64::from(*value))
                .collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            (
                mean as f32,
                (all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64) as f32,
            )
        };
        (0..8).map(of).unzip::<f32, f32, Vec<f32>, Vec<f32>>()
    };
    let (means, variances) = channels(&graph);
    for (name, values) in [("mean", &means), ("variance", &variances)] {
        let id = graph.value_by_name(name).unwrap();
        graph.values[id.index()].initializer = Some(bantam_tensor::Tensor::from_vec1(values));
    }
    for reconstruction in ["none", "least-squares", "sparsegpt", "obs"] {
        let settings = with(settings("magnitude", "unstructured", 0.8), reconstruction);
        let pruned = rewrite(&graph, &plan(&graph, &samples, &settings).unwrap()).unwrap();
        let (means, variances) = channels(&pruned);
        let near = |a: &[f32], b: &[f32]| {
            a.iter()
                .zip(b)
                .all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + b.abs()))
        };
        assert!(near(&values(&pruned, "mean"), &means), "{reconstruction}");
        assert!(near(&values(&pruned, "variance"), &variances), "{reconstruction}");
    }
}

/// Behind a linear layer whose bias follows, the mean of the outputs is what it was.
#[test]
fn biases_follow() {
    let (graph, samples) = linear();
    let means = |graph: &Graph| {
        let outputs = &run(graph, &samples, "scores")[0];
        let mean = |output: usize| outputs.iter().skip(output).step_by(3).sum::<f32>() / 40.0;
        (0..3).map(mean).collect::<Vec<f32>>()
    };
    for reconstruction in ["none", "least-squares", "sparsegpt", "obs"] {
        let settings = with(settings("magnitude", "unstructured", 0.6), reconstruction);
        let pruned = rewrite(&graph, &plan(&graph, &samples, &settings).unwrap()).unwrap();
        for (before, after) in means(&graph).iter().zip(means(&pruned)) {
            assert!(
                (before - after).abs() < 1e-4,
                "{reconstruction}: {before} became {after}"
            );
        }
        assert_eq!(zeros(&pruned, "w"), 9);
    }
}

#[test]
fn excluded_layers_and_norms_and_zeros_stay() {
    let (graph, samples) = convolutions();
    let mut settings = settings("magnitude", "unstructured", 0.5);
    settings.exclude = vec![Selector::parse("role:last").unwrap()];
    let once = plan(&graph, &samples, &settings).unwrap();
    let keeps = |plan: &Plan| {
        plan.decisions
            .iter()
            .any(|it| it.action == Action::Keep && it.why.contains("user"))
    };
    assert!(keeps(&once));
    let pruned = rewrite(&graph, &once).unwrap();
    for name in ["last", "scale", "shift", "mean", "variance", "second_b"] {
        assert_eq!(values(&pruned, name), values(&graph, name), "{name}");
    }
    // A second time, by numbers that say nothing, what is gone stays gone.
    let again = PruneSettings {
        sparsity: Some(0.8),
        criterion: bantam_compress::prune::criterion::criterion_by_name("random").unwrap(),
        ..settings
    };
    let twice = rewrite(&pruned, &plan(&pruned, &samples, &again).unwrap()).unwrap();
    for name in ["first", "second"] {
        let pairs = values(&pruned, name).into_iter().zip(values(&twice, name));
        assert!(
            pairs.into_iter().all(|(once, twice)| once != 0.0 || twice == 0.0),
            "{name}"
        );
    }
    assert!((zeros(&twice, "first") + zeros(&twice, "second")).abs_diff(403) <= 1);
}

#[test]
fn settings_without_sense_are_refused() {
    let (graph, samples) = convolutions();
    let refused = |settings: &PruneSettings, part: &str| {
        let message = plan(&graph, &samples, settings).unwrap_err().to_string();
        assert!(
            message.contains(part) && message.contains("\nhint: "),
            "{message}"
        );
    };
    for sparsity in [0.0, 1.0, -0.5, 7.0, f64::NAN] {
        refused(
            &settings("magnitude", "unstructured", sparsity),
            "leaves no network",
        );
    }
    let mut other = settings("magnitude", "2:4", 0.0);
    other.sparsity = Some(0.8);
    refused(&other, "not that of the pattern");
    other.sparsity = Some(0.5);
    assert!(plan(&graph, &samples, &other).is_ok());
    refused(
        &with(settings("magnitude", "block:2x2", 0.5), "sparsegpt"),
        "not block:2x2",
    );
    let mut nothing = settings("magnitude", "unstructured", 0.5);
    nothing.exclude = vec![Selector::parse("*").unwrap()];
    refused(&nothing, "nothing to prune");
    nothing.exclude = vec![Selector::parse("op:Convv").unwrap()];
    refused(&nothing, "matches no node");
}

#[test]
fn a_plan_that_does_not_fit_is_refused() {
    let ((graph, samples), (other, _)) = (convolutions(), linear());
    let plan = plan(&graph, &samples, &settings("magnitude", "unstructured", 0.5)).unwrap();
    let message = rewrite(&other, &plan).unwrap_err().to_string();
    assert!(message.contains("does not have"), "{message}");
    let mut wrong = plan.clone();
    let name = bantam_compress::plan::Site::Value("last_b".to_owned());
    wrong.decisions[0].site = name;
    let message = rewrite(&graph, &wrong).unwrap_err().to_string();
    assert!(message.contains("it has 3"), "{message}");
}

/// Channels in another order compute the same, and patterns then keep more.
#[test]
fn permuted_channels_keep_more_of_the_same_network() {
    let (graph, samples) = chain();
    let plain = settings("magnitude", "2:4", 0.0);
    let permuting = PruneSettings {
        permute: true,
        ..plain.clone()
    };
    let chosen = plan(&graph, &samples, &permuting).unwrap();
    assert_eq!(chosen, plan(&graph, &samples, &permuting).unwrap());
    let permutes = |action: &Action| matches!(action, Action::PermuteChannels { .. });
    let mut order = chosen.clone();
    order.decisions.retain(|decision| permutes(&decision.action));
    assert_eq!(order.decisions.len(), 1, "the channels between the convolutions");
    let saved: Plan = serde_json::from_str(&serde_json::to_string(&chosen).unwrap()).unwrap();
    assert_eq!(saved, chosen);

    let permuted = rewrite(&graph, &order).unwrap();
    assert_ne!(values(&permuted, "second"), values(&graph, "second"));
    assert_ne!(values(&permuted, "first_b"), values(&graph, "first_b"));
    let (before, after) = (
        run(&graph, &samples, "scores"),
        run(&permuted, &samples, "scores"),
    );
    assert!(error(&before[0], &after[0]) < 1e-8 * error(&before[0], &vec![0.0; before[0].len()]));

    let kept = |plan: &Plan| {
        let pruned = rewrite(&graph, plan).unwrap();
        values(&pruned, "second")
            .iter()
            .map(|value| f64::from(value.abs()))
            .sum::<f64>()
    };
    let (with, without) = (kept(&chosen), kept(&plan(&graph, &samples, &plain).unwrap()));
    assert!(with > 1.005 * without, "{with} and {without}");

    // A plan that does not fit is refused.
    let Action::PermuteChannels { order: positions, .. } = &mut order.decisions[0].action else {
        panic!("only these are left");
    };
    positions.reverse();
    positions[0] = positions[1];
    let message = rewrite(&graph, &order).unwrap_err().to_string();
    assert!(
        message.contains("in another order") && message.contains("hint: "),
        "{message}"
    );
    let unstructured = PruneSettings {
        permute: true,
        ..settings("magnitude", "unstructured", 0.5)
    };
    let message = plan(&graph, &samples, &unstructured).unwrap_err().to_string();
    assert!(message.contains("for the sake of patterns"), "{message}");
}
