//! Channels and heads that are removed from fresh networks: plans, targets, and what is refused.

use bantam::compress::plan::{Action, Plan};
use bantam::compress::prune::channels::{ChannelScope, ChannelSettings, Target, UnitKind, prune_channels};
use bantam::compress::prune::criterion::criterion_by_name;
use bantam::graph::{Graph, InferOptions, Model, cost, infer_shapes};
use bantam::networks::{NETWORKS, NetworkSettings, network, network_by_name};
use bantam::pipeline;
use bantam_exec::{CompileOptions, Taps, compile};
use bantam_tensor::{SplitMix64, Tensor};

fn fresh(name: &str) -> Model {
    let settings = NetworkSettings {
        width: if name.starts_with("resnet") { 0.5 } else { 1.0 },
        hidden: name.starts_with("mlp").then(|| vec![40, 30]),
        ..NetworkSettings::default()
    };
    network(network_by_name(name).unwrap(), &settings).unwrap()
}

/// One sample.
fn sizes(graph: &Graph) -> InferOptions {
    let shapes: Vec<(&str, Vec<usize>)> = (graph.inputs.iter())
        .map(|input| {
            let value = graph.value(*input);
            let dims = value.ty.shape().unwrap();
            let known = |dim: &bantam::graph::Dim| dim.known().unwrap_or(1);
            (value.name.as_str(), dims.iter().map(known).collect())
        })
        .collect();
    InferOptions::default().with_input_shapes(&shapes)
}

fn settings(graph: &Graph) -> ChannelSettings {
    ChannelSettings {
        kind: UnitKind::Channel,
        criterion: criterion_by_name("magnitude").unwrap(),
        target: Target::Macs,
        left: 0.7,
        scope: ChannelScope::Global,
        savings_power: 1.0,
        least: 0.1,
        multiple: 1,
        streams: false,
        steps: 1,
        reconstruction: None,
        recalibrate: false,
        include: Vec::new(),
        exclude: Vec::new(),
        sizes: sizes(graph),
        seed: 0,
    }
}

fn share(before: &Graph, after: &Graph) -> f64 {
    let macs = |graph: &Graph| {
        let mut sized = graph.clone();
        infer_shapes(&mut sized, &sizes(graph)).unwrap();
        cost(&sized).macs as f64
    };
    macs(after) / macs(before)
}

fn outputs(graph: &Graph) -> Vec<f32> {
    let program = compile(graph, &CompileOptions::default()).unwrap();
    let mut random = SplitMix64::new(3);
    let inputs: Vec<(&str, Tensor)> = (graph.inputs.iter())
        .map(|input| {
            let value = graph.value(*input);
            let mut shape: Vec<usize> = value
                .ty
                .shape()
                .unwrap()
                .iter()
                .map(|dim| dim.known().unwrap_or(2))
                .collect();
            shape[0] = 2;
            let count = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|_| random.unit()).collect();
            (value.name.as_str(), Tensor::from_slice(&shape, &values).unwrap())
        })
        .collect();
    let outputs = program.run(&inputs, &mut Taps::none()).unwrap();
    assert_eq!(outputs[0].shape(), [2, 10]);
    outputs[0].to_f32().unwrap()
}

#[test]
fn every_network_loses_what_is_asked_and_runs() {
    for known in NETWORKS {
        let model = fresh(known.name);
        for streams in [false, true] {
            let settings = ChannelSettings {
                streams,
                ..settings(&model.graph)
            };
            let plan = prune_channels(&model.graph, &settings, None).unwrap();
            let smaller = pipeline::rewrite(&model, &plan).unwrap();
            let left = share(&model.graph, &smaller.graph);
            assert!((0.55..=0.7).contains(&left), "{}: {left}", known.name);
            assert!(
                outputs(&smaller.graph).iter().all(|value| value.is_finite()),
                "{}",
                known.name
            );
        }
    }
}

#[test]
fn plans_that_were_saved_are_those_that_are_applied() {
    let model = fresh("mobilenet-small");
    let plan = prune_channels(&model.graph, &settings(&model.graph), None).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    let read: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(read, plan);
    let smaller = pipeline::rewrite(&model, &read).unwrap();
    let removed = plan
        .decisions
        .iter()
        .filter(|it| matches!(it.action, Action::RemoveChannels { .. }));
    assert!(removed.count() > 1);
    // A plan fits the model that it was made for, and no other.
    let again = pipeline::rewrite(&smaller, &read)
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(again.contains("hint: a plan fits the model"), "{again}");
}

#[test]
fn heads_are_no_channels() {
    let model = fresh("encoder-tiny");
    let of_heads = ChannelSettings {
        kind: UnitKind::Head,
        target: Target::Units,
        left: 0.5,
        ..settings(&model.graph)
    };
    let plan = prune_channels(&model.graph, &of_heads, None).unwrap();
    let smaller = pipeline::rewrite(&model, &plan).unwrap();
    let (heads, all) = (share(&model.graph, &smaller.graph), outputs(&smaller.graph));
    assert!(heads < 1.0 && all.iter().all(|value| value.is_finite()));
    let none = ChannelSettings {
        kind: UnitKind::Head,
        ..settings(&fresh("lenet5").graph)
    };
    let error = prune_channels(&fresh("lenet5").graph, &none, None)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no heads that can go"), "{error}");
}

#[test]
fn a_multiple_of_channels_stays() {
    let model = fresh("lenet5");
    let settings = ChannelSettings {
        multiple: 4,
        ..settings(&model.graph)
    };
    let plan = prune_channels(&model.graph, &settings, None).unwrap();
    let smaller = pipeline::rewrite(&model, &plan).unwrap();
    assert!(share(&model.graph, &smaller.graph) <= 0.7);
    for (before, after) in model.graph.values.iter().filter_map(|value| {
        let after = smaller.graph.value_by_name(&value.name)?;
        let after = smaller.graph.value(after).initializer.as_ref()?;
        Some((value.initializer.as_ref()?, after))
    }) {
        if before.rank() == 4 && before.shape()[0] != after.shape()[0] {
            assert_eq!(
                after.shape()[0] % 4,
                0,
                "{:?} -> {:?}",
                before.shape(),
                after.shape()
            );
        }
    }
}

#[test]
fn targets_that_cannot_be_reached_are_refused() {
    let model = fresh("lenet5");
    let refused = |change: &dyn Fn(&mut ChannelSettings)| {
        let mut settings = settings(&model.graph);
        change(&mut settings);
        prune_channels(&model.graph, &settings, None)
            .unwrap_err()
            .to_string()
    };
    let far = refused(&|settings| settings.left = 0.001);
    assert!(
        far.contains("cannot be reached") && far.contains("hint:"),
        "{far}"
    );
    let all = refused(&|settings| settings.left = 1.0);
    assert!(all.contains("it is no network, or all of it"), "{all}");
    let least = refused(&|settings| settings.least = 2.0);
    assert!(least.contains("200% of a group cannot stay"), "{least}");
    let power = refused(&|settings| settings.savings_power = f64::NAN);
    assert!(power.contains("raised to the power"), "{power}");
    let none = refused(&|settings| settings.multiple = 0);
    assert!(
        none.contains("at least 1") && none == refused(&|settings| settings.steps = 0),
        "{none}"
    );
    let data = refused(&|settings| settings.criterion = criterion_by_name("taylor").unwrap());
    assert!(data.contains("looks at samples"), "{data}");
}
