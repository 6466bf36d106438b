//! Every listed network is built, verified, run, and differentiated.

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::ops::SoftmaxCrossEntropyLoss;
use bantam_graph::{Graph, ValueId, cost, differentiate, infer_shapes, training_mode, verify};
use bantam_tensor::{DType, Tensor};

use super::random::Random;
use super::*;

const BATCH: usize = 4;

fn images(network: &Network) -> Tensor {
    let shape = [&[BATCH], network.input].concat();
    let mut random = Random::new(7);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| random.normal() as f32)
        .collect();
    Tensor::from_slice(&shape, &values).unwrap()
}

fn fresh(network: &Network) -> Model {
    super::network(network, &NetworkSettings::default()).unwrap()
}

/// Float constants that are trained: all but running statistics, scalars of attention and bounds.
fn parameters(graph: &Graph) -> Vec<ValueId> {
    let trained = |value: &bantam_graph::Value| {
        let float = |tensor: &Tensor| tensor.dtype() == DType::F32 && tensor.rank() > 0;
        value.initializer.as_ref().is_some_and(float) && !value.name.contains("running")
    };
    let values = graph.values.iter().enumerate();
    values
        .filter(|(_, value)| trained(value))
        .map(|(index, _)| ValueId::new(index))
        .collect()
}

#[test]
fn numbers_of_parameters_and_products() {
    // Weights and biases as the papers count them; multiply-accumulates of one sample in thousands.
    let expected = [
        ("mlp", 235_146, 234),
        ("lenet-300-100", 266_610, 266),
        ("lenet5", 431_080, 2_293),
        ("conv2", 4_301_642, 43_780),
        ("resnet20", 269_722, 40_551),
        ("resnet56", 853_018, 125_485),
        ("mobilenet-small", 278_474, 12_128),
        ("encoder-tiny", 545_930, 38_143),
    ];
    let counted = NETWORKS.iter().map(|network| {
        let mut graph = fresh(network).graph;
        let shape = [&[1], network.input].concat();
        let options = bantam_graph::InferOptions::default().with_input_shapes(&[("input", shape)]);
        infer_shapes(&mut graph, &options).unwrap();
        let elements = |id: ValueId| graph.value(id).initializer.as_ref().map_or(0, Tensor::len);
        let elements: usize = parameters(&graph).into_iter().map(elements).sum();
        (network.name, elements, cost(&graph).macs / 1000)
    });
    assert_eq!(counted.collect::<Vec<_>>(), expected);
}

#[test]
fn every_network_runs_with_sensible_scores() {
    for network in NETWORKS {
        let graph = fresh(network).graph;
        verify(&graph).unwrap();
        // Depth multiplies the scores where running statistics are not those of the data yet.
        let graph = training_mode(&graph).graph;
        let program = compile(&graph, &CompileOptions::default()).unwrap();
        let scores = program
            .run(&[("input", images(network))], &mut Taps::none())
            .unwrap();
        assert_eq!(scores[0].shape(), [BATCH, 10], "{}", network.name);
        let scores = scores[0].to_f32().unwrap();
        let square = scores.iter().map(|score| score * score).sum::<f32>() / scores.len() as f32;
        // Neither dead nor exploded.
        assert!((1e-3..1e3).contains(&square), "{}: {square}", network.name);
    }
}

#[test]
fn every_parameter_of_every_network_has_a_gradient() {
    for network in NETWORKS {
        let mut graph = training_mode(&fresh(network).graph).graph;
        let labels = graph.add_input(
            "labels",
            DType::I64,
            vec![bantam_graph::Dim::Symbol("batch".into())],
        );
        let loss = SoftmaxCrossEntropyLoss {
            ignore_index: None,
            reduction: "mean".to_owned(),
        };
        let logits = graph.outputs[0];
        let loss = graph.add_node("loss", loss, &[logits, labels]);
        let wrt = parameters(&graph);
        let step = differentiate(&graph, loss, &wrt).unwrap();
        let mut graph = step.graph;
        let missing = wrt
            .iter()
            .zip(&step.gradients)
            .find(|(_, gradient)| gradient.is_none());
        assert!(missing.is_none(), "{}: {missing:?}", network.name);
        graph.outputs = step.gradients.into_iter().flatten().collect();
        let program = compile(&graph, &CompileOptions::default()).unwrap();
        let labels = Tensor::from_vec1(&[1i64, 2, 3, 4]);
        let gradients = program.run(
            &[("input", images(network)), ("labels", labels)],
            &mut Taps::none(),
        );
        for (id, gradient) in wrt.iter().zip(gradients.unwrap()) {
            let name = &graph.value(*id).name;
            let values = gradient.to_f32().unwrap();
            assert!(
                values.iter().all(|value| value.is_finite()),
                "{}: {name}",
                network.name
            );
            assert!(
                values.iter().any(|value| *value != 0.0),
                "{}: {name}",
                network.name
            );
        }
    }
}

#[test]
fn seeds_choose_the_weights() {
    for network in NETWORKS {
        let with_seed = |seed| {
            let settings = NetworkSettings {
                seed,
                ..NetworkSettings::default()
            };
            super::network(network, &settings).unwrap().graph
        };
        assert_eq!(with_seed(1), with_seed(1), "{}", network.name);
        assert_ne!(with_seed(1), with_seed(2), "{}", network.name);
    }
}

#[test]
fn settings_change_the_sizes() {
    let parameters_of = |name: &str, settings: NetworkSettings| {
        let graph = super::network(network_by_name(name).unwrap(), &settings)
            .unwrap()
            .graph;
        let elements = |id: ValueId| graph.value(id).initializer.as_ref().map_or(0, Tensor::len);
        parameters(&graph).into_iter().map(elements).sum::<usize>()
    };
    let settings = NetworkSettings::default;
    let half = NetworkSettings {
        width: 0.5,
        ..settings()
    };
    assert_eq!(parameters_of("resnet20", half), 68_050);
    let hidden = NetworkSettings {
        hidden: Some(vec![7]),
        input: Some(vec![5]),
        classes: 3,
        ..settings()
    };
    assert_eq!(parameters_of("mlp", hidden), 5 * 7 + 7 + 7 * 3 + 3);
    let gray = NetworkSettings {
        input: Some(vec![1, 28, 28]),
        ..settings()
    };
    assert_eq!(parameters_of("resnet20", gray), 269_722 - 2 * 9 * 16);
}

#[test]
fn settings_out_of_range_are_refused() {
    let refusal = |name: &str, settings: NetworkSettings| {
        let network = network_by_name(name).unwrap();
        super::network(network, &settings).unwrap_err().explained()
    };
    let input = |input: &[usize]| NetworkSettings {
        input: Some(input.to_vec()),
        ..NetworkSettings::default()
    };
    let cases = [
        ("resnet20", input(&[3, 2, 2]), "3x2x2"),
        ("lenet5", input(&[784]), "784"),
        ("encoder-tiny", input(&[3, 30, 32]), "30x32"),
        ("mlp", input(&[0]), "out of range"),
        ("mlp", input(&[1 << 24, 1 << 24, 1 << 24]), "more than"),
        ("conv2", input(&[3, 1 << 20, 1 << 20]), "more than"),
    ];
    for (name, settings, message) in cases {
        let said = refusal(name, settings);
        assert!(said.contains(message) && said.contains("hint:"), "{name}: {said}");
    }
    let width = |width| NetworkSettings {
        width,
        ..NetworkSettings::default()
    };
    for factor in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(refusal("resnet20", width(factor)).contains("width"));
    }
    let hidden = NetworkSettings {
        hidden: Some(vec![8]),
        ..NetworkSettings::default()
    };
    assert!(refusal("resnet20", hidden).contains("--hidden is for mlp"));
    let unknown = network_by_name("resnet-20").unwrap_err().explained();
    assert!(unknown.contains("did you mean `resnet20`"), "{unknown}");
}
