use bantam_graph::Value;
use bantam_graph::ops::{AutoPad, Cast, Clip, Conv, DynamicQuantizeLinear, Gelu, MatMulInteger};

use super::*;
use crate::{CompileOptions, Taps, compile};

fn conv() -> Conv {
    Conv {
        auto_pad: AutoPad::NotSet,
        dilations: Vec::new(),
        group: 1,
        kernel_shape: Vec::new(),
        pads: Vec::new(),
        strides: Vec::new(),
    }
}

/// x -> Conv -> Add(Conv(x)) -> Relu -> Clip, with the names of its values.
fn residual_block() -> (Graph, HashMap<&'static str, ValueId>) {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, vec![1.into(), 1.into(), 4.into()]);
    let weights = |value: f32| Tensor::from_slice(&[1, 1, 1], &[value]).unwrap();
    let (double, negate) = (
        graph.add_constant("w", weights(2.0)),
        graph.add_constant("v", weights(-1.0)),
    );
    let first = graph.add_node("first", conv(), &[x, double]);
    let second = graph.add_node("second", conv(), &[x, negate]);
    let sum = graph.add_node("sum", Binary::Add, &[first, second]);
    let relu = graph.add_node("relu", Unary::Relu, &[sum]);
    let bounds = [1.5f32, 2.5].map(|bound| graph.add_constant("bound", Tensor::scalar(bound)));
    let third = graph.add_node("third", conv(), &[relu, double]);
    let clip = graph.add_node("clip", Clip {}, &[third, bounds[0], bounds[1]]);
    graph.outputs.push(clip);
    let names = [
        ("first", first),
        ("second", second),
        ("sum", sum),
        ("relu", relu),
        ("clip", clip),
    ];
    (graph, names.into_iter().collect())
}

fn run(graph: &Graph, observed: &[ValueId]) -> (usize, Vec<f32>, Vec<Vec<f32>>) {
    let options = CompileOptions {
        observed: observed.iter().copied().collect(),
        ..CompileOptions::default()
    };
    let program = compile(graph, &options).unwrap();
    let x = Tensor::from_slice(&[1, 1, 4], &[-1f32, 0.5, 1.0, 3.0]).unwrap();
    let mut seen = vec![Vec::new(); observed.len()];
    let mut taps = Taps::none();
    for (value, seen) in observed.iter().zip(&mut seen) {
        taps.add(*value, |tensor| *seen = tensor.to_f32().unwrap());
    }
    let y = program.run(&[("x", x)], &mut taps).unwrap();
    drop(taps);
    // Those at the edges of regions with another layout do not count.
    let steps = program.steps();
    let steps = steps.iter().filter(|step| !step.node.contains("(Transpose)"));
    (steps.count(), y[0].to_f32().unwrap(), seen)
}

#[test]
fn chains_run_in_one_step() {
    let (graph, names) = residual_block();
    let expected = vec![1.5, 1.5, 2.0, 2.5];
    // first; second + sum + relu; third + clip
    assert_eq!(run(&graph, &[]), (3, expected.clone(), vec![]));
    for (name, steps, values) in [
        ("first", 3, [-2.0, 1.0, 2.0, 6.0]),
        ("second", 3, [1.0, -0.5, -1.0, -3.0]),
        ("sum", 4, [-1.0, 0.5, 1.0, 3.0]),
        ("relu", 3, [0.0, 0.5, 1.0, 3.0]),
    ] {
        let (got_steps, y, seen) = run(&graph, &[names[name]]);
        assert_eq!((y, seen), (expected.clone(), vec![values.to_vec()]), "{name}");
        assert_eq!(got_steps, steps, "{name}");
    }
}

#[test]
fn values_with_other_readers_are_kept() {
    let (mut graph, names) = residual_block();
    graph.outputs.push(names["sum"]);
    assert_eq!(run(&graph, &[]).0, 4, "the sum is an output");
    let (mut graph, names) = residual_block();
    let other = graph.add_node("other", Unary::Neg, &[names["second"]]);
    graph.outputs.push(other);
    let steps = run(&graph, &[]).0;
    assert_eq!(steps, 4, "first + sum + relu; second; third + clip; other");
}

#[test]
fn addends_that_are_broadcast_are_added_apart() {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, vec![1.into(), 1.into(), 4.into()]);
    let other = graph.add_input("other", DType::F32, vec![]);
    graph.value_mut(other).ty = Default::default();
    let weights = graph.add_constant("w", Tensor::from_slice(&[1, 1, 1], &[2f32]).unwrap());
    let y = graph.add_node("y", conv(), &[x, weights]);
    let sum = graph.add_node("sum", Binary::Add, &[other, y]);
    let relu = graph.add_node("relu", Unary::Relu, &[sum]);
    graph.outputs.push(relu);
    let program = compile(&graph, &CompileOptions::default()).unwrap();
    let x = Tensor::from_slice(&[1, 1, 4], &[-1f32, 0.5, 1.0, 3.0]).unwrap();
    let other = Tensor::from_slice(&[2, 1, 1, 1], &[-4f32, 1.0]).unwrap();
    let y = program
        .run(&[("x", x), ("other", other)], &mut Taps::none())
        .unwrap();
    assert_eq!(y[0].shape(), [2, 1, 1, 4]);
    assert_eq!(y[0].to_f32().unwrap(), [0.0, 0.0, 0.0, 2.0, 0.0, 2.0, 3.0, 7.0]);
}

/// Dynamic quantization, a product, its scales, a bias and Gelu; with weights of this type and zero point.
fn dynamic_product(weights: Tensor, zero: Tensor) -> Graph {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, vec![2.into(), 3.into(), 5.into()]);
    let [codes, scale, zero_of_x] = ["codes", "scale", "zero"].map(|name| {
        graph.add_value(Value {
            name: name.to_owned(),
            ..Value::default()
        })
    });
    graph.nodes.push(Node::new(
        "quantize",
        DynamicQuantizeLinear {}.into(),
        &[x],
        &[codes, scale, zero_of_x],
    ));
    let weights = graph.add_constant("weights", weights);
    let zero = graph.add_constant("weights_zero", zero);
    let of_weights = graph.add_constant("weights_scale", Tensor::from_vec1(&[0.1f32, 0.2, 0.05, 0.3]));
    let sums = graph.add_node("sums", MatMulInteger {}, &[codes, weights, zero_of_x, zero]);
    let cast = Cast {
        to: DType::F32,
        round_mode: "up".to_owned(),
        saturate: true,
    };
    let reals = graph.add_node("reals", cast, &[sums]);
    let scales = graph.add_node("scales", Binary::Mul, &[scale, of_weights]);
    let product = graph.add_node("product", Binary::Mul, &[reals, scales]);
    let bias = graph.add_constant("bias", Tensor::from_vec1(&[1f32, -1.0, 0.5, 0.0]));
    let sum = graph.add_node("sum", Binary::Add, &[bias, product]);
    let gelu = Gelu {
        approximate: GeluApproximation::None,
    };
    let y = graph.add_node("y", gelu, &[sum]);
    graph.outputs.push(y);
    bantam_graph::infer_shapes(&mut graph, &Default::default()).unwrap();
    graph
}

#[test]
fn products_of_codes_become_reals_in_one_step() {
    let codes: Vec<i8> = (0..20).map(|i| (i * 37 % 200) as u8 as i8).collect();
    let unsigned: Vec<u8> = codes.iter().map(|&code| (code as u8) ^ 0x80).collect();
    let centred = [
        (Tensor::from_slice(&[5, 4], &codes).unwrap(), Tensor::scalar(0i8)),
        (
            Tensor::from_slice(&[5, 4], &unsigned).unwrap(),
            Tensor::scalar(128u8),
        ),
    ];
    let x: Vec<f32> = (0..30).map(|i| (i * 7 % 11) as f32 - 4.0).collect();
    let x = [("x", Tensor::from_slice(&[2, 3, 5], &x).unwrap())];
    let run = |graph: &Graph, observed: HashSet<ValueId>| {
        let options = CompileOptions {
            observed,
            ..CompileOptions::default()
        };
        let program = compile(graph, &options).unwrap();
        let y = program.run(&x, &mut Taps::none()).unwrap().remove(0);
        (program.steps().len(), y.to_f32().unwrap())
    };
    for (weights, zero) in centred {
        let graph = dynamic_product(weights, zero);
        let (fused, got) = run(&graph, HashSet::new());
        let (apart, expected) = run(&graph, HashSet::from([graph.value_by_name("sums").unwrap()]));
        assert_eq!((fused, apart), (2, 7), "the scales' own product goes too");
        let close = |(got, expected): (&f32, &f32)| (got - expected).abs() <= 1e-6 * (1.0 + expected.abs());
        assert!(got.iter().zip(&expected).all(close), "{got:?} for {expected:?}");
    }
    // Rows with zero points of their own stay apart.
    let mut rows = dynamic_product(Tensor::from_slice(&[5, 4], &codes).unwrap(), Tensor::scalar(0i8));
    let zeros = rows.add_constant("zeros", Tensor::from_vec1(&[120u8, 125, 130]));
    let product = rows.nodes.iter_mut().find(|node| node.name == "sums").unwrap();
    product.inputs[2] = Some(zeros);
    assert_eq!(run(&rows, HashSet::new()).0, 7);
    let off_centre = dynamic_product(Tensor::from_slice(&[5, 4], &codes).unwrap(), Tensor::scalar(3i8));
    assert_eq!(run(&off_centre, HashSet::new()).0, 7);
}
