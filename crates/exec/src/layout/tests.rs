use bantam_graph::ops::{AutoPad, Binary, Concat, Conv, GlobalAveragePool, MaxPool, Pad, PadMode, Slice};

use bantam_tensor::{DType, Tensor};

use super::*;
use crate::{CompileOptions, Taps, compile};

fn pattern(shape: &[usize], step: usize) -> Tensor {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|i: usize| (i * step % 37) as f32 / 37.0 - 0.4)
        .collect();
    Tensor::from_slice(shape, &values).unwrap()
}

fn conv() -> Conv {
    Conv {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group: 1,
        kernel_shape: vec![],
        pads: vec![1; 4],
        strides: vec![],
    }
}

/// Two convolutions with every kind of node between them, weights being constants or inputs whose sizes are not known.
fn network(constant: bool) -> Graph {
    let mut graph = Graph::default();
    let dims = |sizes: &[usize]| sizes.iter().map(|&size| size.into()).collect::<Vec<_>>();
    let x = graph.add_input("x", DType::F32, dims(&[2, 3, 9, 7]));
    let weights = |graph: &mut Graph, name: &str, shape: [usize; 4]| match constant {
        true => graph.add_constant(name, pattern(&shape, 11)),
        false => {
            let sizes = ["a", "b", "c", "d"].map(|size| bantam_graph::Dim::Symbol(size.into()));
            graph.add_input(name, DType::F32, sizes.to_vec())
        }
    };
    let first = weights(&mut graph, "first", [6, 3, 3, 3]);
    let second = weights(&mut graph, "second", [5, 10, 3, 3]);
    let integers = |graph: &mut Graph, values: &[i64]| graph.add_constant("i", Tensor::from_vec1(values));
    let a = graph.add_node("a", conv(), &[x, first]);
    let a = graph.add_node("relu", Unary::Relu, &[a]);
    let bounds = [[1, 1], [5, 9], [1, -2]].map(|bounds: [i64; 2]| integers(&mut graph, &bounds));
    let part = graph.add_node("part", Slice {}, &[a, bounds[0], bounds[1], bounds[2]]);
    let pads = integers(&mut graph, &[0, 0, 1, 0, 0, 0, 0, 0]);
    let mode = PadMode::Constant;
    let padded = graph.add_node("padded", Pad { mode }, &[part, pads]);
    let joined = graph.add_node("joined", Concat { axis: 1 }, &[a, padded]);
    let half = graph.add_constant("half", Tensor::scalar(0.5f32));
    let halved = graph.add_node("halved", Binary::Mul, &[joined, half]);
    let pool = MaxPool {
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
        dilations: vec![],
        kernel_shape: vec![3, 2],
        pads: vec![1, 0, 1, 1],
        strides: vec![2, 1],
        storage_order: 0,
    };
    let pooled = graph.add_node("pooled", pool, &[halved]);
    let b = graph.add_node("b", conv(), &[pooled, second]);
    let mean = graph.add_node("mean", GlobalAveragePool {}, &[b]);
    graph.outputs = vec![mean, pooled];
    graph
}

#[test]
fn a_region_gives_what_the_graph_gives() {
    let x = pattern(&[2, 3, 9, 7], 5);
    let (first, second) = (pattern(&[6, 3, 3, 3], 11), pattern(&[5, 10, 3, 3], 11));
    let inputs = [("x", x), ("first", first), ("second", second)];
    let run = |graph: &Graph, inputs: &[(&str, Tensor)]| {
        let program = compile(graph, &CompileOptions::default()).unwrap();
        let outputs = program.run(inputs, &mut Taps::none()).unwrap();
        let steps = program.steps();
        let transposes = steps
            .iter()
            .filter(|step| step.node.contains("(Transpose)"))
            .count();
        (transposes, outputs)
    };
    let (transposes, got) = run(&network(true), &inputs[..1]);
    assert_eq!(transposes, 3, "at the input and before both outputs");
    let (none, expected) = run(&network(false), &inputs);
    assert_eq!(none, 0, "weights that are not known have no layout of their own");
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(got.shape(), expected.shape());
        let pairs = got.to_f32().unwrap().into_iter().zip(expected.to_f32().unwrap());
        assert!(
            pairs
                .into_iter()
                .all(|(got, expected)| (got - expected).abs() < 1e-5)
        );
    }
}

#[test]
fn observed_values_are_seen_in_their_order_or_in_any() {
    let graph = network(true);
    let value = graph.value_by_name("halved").unwrap();
    let seen = |in_any_order: HashSet<ValueId>| {
        let observed = HashSet::from([value]);
        let options = CompileOptions {
            observed,
            in_any_order,
            bf16: false,
        };
        let program = compile(&graph, &options).unwrap();
        let mut seen = Vec::new();
        let mut taps = Taps::none();
        taps.add(value, |tensor| seen.push(tensor.clone()));
        let x = pattern(&[2, 3, 9, 7], 5);
        program.run(&[("x", x)], &mut taps).unwrap();
        drop(taps);
        assert_eq!(seen.len(), 1, "a value is seen once");
        seen.remove(0)
    };
    let (ordered, other) = (seen(HashSet::new()), seen(HashSet::from([value])));
    assert_eq!(ordered.shape(), [2, 10, 9, 7]);
    assert_eq!(other.shape(), [2, 9, 7, 10]);
    let sorted = |tensor: &Tensor| {
        let mut values = tensor.to_f32().unwrap();
        values.sort_by(f32::total_cmp);
        values
    };
    assert_eq!(sorted(&ordered), sorted(&other));
}

#[test]
fn transpositions_that_say_channels_last_vanish() {
    let mut graph = Graph::default();
    let dims = [2usize, 9, 7, 3].map(bantam_graph::Dim::Known).to_vec();
    let x = graph.add_input("x", DType::F32, dims);
    let weights = graph.add_constant("weights", pattern(&[6, 3, 3, 3], 11));
    let transpose = |order: Vec<usize>| Transpose {
        perm: Some(order.iter().map(|&axis| axis as i64).collect()),
    };
    let first = graph.add_node("first", transpose(to_channels_first(4)), &[x]);
    let a = graph.add_node("a", conv(), &[first, weights]);
    let relu = graph.add_node("relu", Unary::Relu, &[a]);
    let last = graph.add_node("last", transpose(to_channels_last(4)), &[relu]);
    graph.outputs = vec![last];
    let program = compile(&graph, &CompileOptions::default()).unwrap();
    let moving = |step: &crate::StepInfo| step.node.contains("(Transpose)");
    assert_eq!(program.steps().iter().filter(|step| moving(step)).count(), 0);
    let x = pattern(&[2, 9, 7, 3], 5);
    let got = program
        .run(&[("x", x.clone())], &mut Taps::none())
        .unwrap()
        .remove(0);
    // Without constant weights there are no regions.
    let value = graph.value_mut(weights).initializer.take().unwrap();
    graph.inputs.push(weights);
    let plain = compile(&graph, &CompileOptions::default()).unwrap();
    let expected = plain
        .run(&[("x", x), ("weights", value)], &mut Taps::none())
        .unwrap()
        .remove(0);
    assert_eq!(got.shape(), [2, 9, 7, 6]);
    assert_eq!(got.shape(), expected.shape());
    let pairs = got.to_f32().unwrap().into_iter().zip(expected.to_f32().unwrap());
    assert!(
        pairs
            .into_iter()
            .all(|(got, expected)| (got - expected).abs() < 1e-5)
    );
}
