use super::*;
use crate::Dim;
use crate::ops::{AutoPad, Conv, ConvTranspose, Gemm, Unary};
use crate::passes::{FOLD_BATCH_NORMALIZATION, PassReport, run_passes};

const IN: usize = 4;
const OUT: usize = 6;

/// Values that look random and are the same in each run.
fn noise(seed: usize, count: usize) -> Vec<f32> {
    let value = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0;
    (0..count).map(value).collect()
}

fn conv(group: i64) -> Conv {
    Conv {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group,
        kernel_shape: vec![],
        pads: vec![],
        strides: vec![],
    }
}

fn conv_transpose(group: i64) -> ConvTranspose {
    ConvTranspose {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group,
        kernel_shape: vec![],
        pads: vec![],
        strides: vec![],
        output_padding: vec![],
        output_shape: vec![],
    }
}

fn gemm(beta: f32, trans_b: bool) -> Gemm {
    Gemm {
        alpha: 0.5,
        beta,
        transA: false,
        transB: trans_b,
    }
}

fn normalization() -> BatchNormalization {
    BatchNormalization {
        epsilon: 1e-3,
        momentum: 0.9,
        training_mode: false,
    }
}

/// `op(x, w, bias?)` and a normalization of the result, which is the output.
fn graph_of(op: Op, weight_shape: &[usize], bias: Option<&[usize]>) -> Graph {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, vec![Dim::Known(1), Dim::Known(IN)]);
    let constant = |graph: &mut Graph, name: &str, shape: &[usize], values: Vec<f32>| {
        graph.add_constant(name, Tensor::from_slice(shape, &values).unwrap())
    };
    let count = weight_shape.iter().product();
    let mut inputs = vec![x, constant(&mut graph, "w.weight", weight_shape, noise(1, count))];
    if let Some(shape) = bias {
        inputs.push(constant(&mut graph, "b", shape, noise(2, shape.iter().product())));
    }
    let product = graph.add_node("product", op, &inputs);
    let variance = noise(6, OUT).iter().map(|v| v.abs() + 0.1).collect();
    let parameters = [
        ("scale", noise(3, OUT)),
        ("shift", noise(4, OUT)),
        ("mean", noise(5, OUT)),
        ("variance", variance),
    ];
    let parameters = parameters.map(|(name, values)| constant(&mut graph, name, &[OUT], values));
    let y = graph.add_node("y", normalization(), &[&[product][..], &parameters].concat());
    graph.outputs.push(y);
    graph
}

fn fold(graph: &mut Graph) -> PassReport {
    run_passes(graph, &[FOLD_BATCH_NORMALIZATION]).unwrap().remove(0)
}

fn reason(graph: &mut Graph) -> Reason {
    let before = graph.clone();
    let mut report = fold(graph);
    assert_eq!(report.applied, 0);
    assert_eq!(*graph, before);
    report.not_applied.remove(0).reason
}

/// What the graph computes for one sample; kernels are of size 1, so every product is a matrix product.
fn evaluate(graph: &Graph, x: &[f64]) -> Vec<f64> {
    let mut value = x.to_vec();
    for node in &graph.nodes {
        let constant = |position: usize| graph.constant_input(node, position).map(|t| t.to_f64().unwrap());
        value = match &node.op {
            Op::BatchNormalization(op) => {
                let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|i| constant(i).unwrap());
                let one = |m: usize| {
                    (value[m] - mean[m]) / (variance[m] + f64::from(op.epsilon)).sqrt() * scale[m] + shift[m]
                };
                (0..OUT).map(one).collect()
            }
            product => {
                let (weight, bias) = (constant(1).unwrap(), constant(2));
                let bias = |m: usize| bias.as_ref().map_or(0.0, |bias| bias[m % bias.len()]);
                (0..OUT)
                    .map(|m| multiply(product, &weight, &value, m) + beta(product) * bias(m))
                    .collect()
            }
        };
    }
    value
}

fn beta(op: &Op) -> f64 {
    if let Op::Gemm(gemm) = op {
        f64::from(gemm.beta)
    } else {
        1.0
    }
}

/// Channel `m` of the product, without bias, written from the definitions.
fn multiply(op: &Op, weight: &[f64], x: &[f64], m: usize) -> f64 {
    let sum = |term: &dyn Fn(usize) -> f64| (0..IN).map(term).sum::<f64>();
    match op {
        Op::Gemm(gemm) if gemm.transB => f64::from(gemm.alpha) * sum(&|c| x[c] * weight[m * IN + c]),
        Op::Gemm(gemm) => f64::from(gemm.alpha) * sum(&|c| x[c] * weight[c * OUT + m]),
        Op::Conv(conv) => {
            let (inputs, outputs) = (IN / conv.group as usize, OUT / conv.group as usize);
            (0..inputs)
                .map(|c| x[m / outputs * inputs + c] * weight[m * inputs + c])
                .sum()
        }
        Op::ConvTranspose(conv) => {
            let (inputs, outputs) = (IN / conv.group as usize, OUT / conv.group as usize);
            let own = |c: usize| c / inputs == m / outputs;
            sum(&|c| {
                if own(c) {
                    x[c] * weight[c * outputs + m % outputs]
                } else {
                    0.0
                }
            })
        }
        _ => unreachable!("only products are tested"),
    }
}

#[test]
fn folding_keeps_what_is_computed() {
    type Case = (&'static str, Op, Vec<usize>, Option<Vec<usize>>);
    let cases: Vec<Case> = vec![
        ("conv", conv(1).into(), vec![OUT, IN, 1], None),
        (
            "conv with bias",
            conv(1).into(),
            vec![OUT, IN, 1, 1],
            Some(vec![OUT]),
        ),
        (
            "grouped conv",
            conv(2).into(),
            vec![OUT, IN / 2, 1, 1],
            Some(vec![OUT]),
        ),
        (
            "transposed conv",
            conv_transpose(1).into(),
            vec![IN, OUT, 1],
            None,
        ),
        (
            "grouped transposed conv",
            conv_transpose(2).into(),
            vec![IN, OUT / 2, 1, 1],
            Some(vec![OUT]),
        ),
        ("gemm", gemm(0.25, false).into(), vec![IN, OUT], Some(vec![OUT])),
        ("gemm without c", gemm(0.25, false).into(), vec![IN, OUT], None),
        (
            "gemm, transposed",
            gemm(2.0, true).into(),
            vec![OUT, IN],
            Some(vec![1, OUT]),
        ),
        (
            "gemm, scalar c",
            gemm(1.0, true).into(),
            vec![OUT, IN],
            Some(vec![]),
        ),
    ];
    let x: Vec<f64> = noise(9, IN).into_iter().map(f64::from).collect();
    for (case, op, weight, bias) in cases {
        let mut graph = graph_of(op, &weight, bias.as_deref());
        let expected = evaluate(&graph, &x);
        let report = fold(&mut graph);
        assert_eq!((report.applied, graph.nodes.len()), (1, 1), "{case}: {report:?}");
        assert_eq!(graph.value(graph.outputs[0]).name, "y", "{case}");
        for (got, expected) in evaluate(&graph, &x).iter().zip(expected) {
            // Weights and bias are rounded once to f32.
            assert!((got - expected).abs() < 1e-6, "{case}: {got} against {expected}");
        }
        crate::verify(&graph).unwrap();
    }
}

#[test]
fn the_bias_is_named_after_the_weight() {
    let mut graph = graph_of(conv(1).into(), &[OUT, IN, 1], None);
    fold(&mut graph);
    let names: Vec<&str> = graph.nodes[0]
        .inputs
        .iter()
        .map(|id| graph.value(id.unwrap()).name.as_str())
        .collect();
    assert_eq!(names, ["x", "w.weight", "w.bias"]);
}

#[test]
fn shared_weights_are_copied() {
    let mut graph = graph_of(conv(1).into(), &[OUT, IN, 1], Some(&[OUT]));
    let (x, weight) = (graph.inputs[0], graph.value_by_name("w.weight").unwrap());
    let before = graph.value(weight).initializer.clone();
    let other = graph.add_node("other", conv(1), &[x, weight]);
    graph.outputs.push(other);
    assert_eq!(fold(&mut graph).applied, 1);
    let other = graph.nodes.iter().find(|node| node.name == "other").unwrap();
    assert_eq!(graph.constant_input(other, 1), before.as_ref());
    let folded = graph.nodes.iter().find(|node| node.name == "product").unwrap();
    assert_ne!(graph.constant_input(folded, 1), before.as_ref());
}

#[test]
fn two_normalizations_in_a_row() {
    let mut graph = graph_of(conv(1).into(), &[OUT, IN, 1], None);
    let y = graph.outputs[0];
    let parameters: Vec<ValueId> = ["scale", "shift", "mean", "variance"]
        .iter()
        .map(|n| graph.value_by_name(n).unwrap())
        .collect();
    graph.outputs[0] = graph.add_node("z", normalization(), &[&[y][..], &parameters].concat());
    let x = [0.5, -0.25, 1.0, 2.0];
    let expected = evaluate(&graph, &x);
    let report = fold(&mut graph);
    assert_eq!((report.applied, report.rounds), (2, 3));
    for (got, expected) in evaluate(&graph, &x).iter().zip(expected) {
        assert!((got - expected).abs() < 1e-5);
    }
}

#[test]
fn reasons_not_to_fold() {
    let graph = || graph_of(conv(1).into(), &[OUT, IN, 1], None);
    let id = |graph: &Graph, name: &str| graph.value_by_name(name).unwrap();
    let named = |value: &str| value.to_owned();

    let mut output = graph();
    let product = id(&output, "product");
    output.outputs.push(product);
    assert_eq!(
        reason(&mut output),
        Reason::GraphOutput {
            value: named("product")
        }
    );

    let mut shared = graph();
    let relu = shared.add_node("relu", Unary::Relu, &[product]);
    shared.outputs.push(relu);
    assert_eq!(
        reason(&mut shared),
        Reason::SharedValue {
            value: named("product")
        }
    );

    let mut variable = graph();
    let weight = id(&variable, "w.weight");
    variable.inputs.push(weight);
    assert_eq!(
        reason(&mut variable),
        Reason::NotConstant {
            value: named("w.weight")
        }
    );

    let mut training = graph();
    if let Op::BatchNormalization(op) = &mut training.nodes[1].op {
        op.training_mode = true;
    }
    assert_eq!(reason(&mut training), Reason::TrainingMode);

    let mut alone = graph();
    alone.nodes[0].op = Unary::Relu.into();
    alone.nodes[0].inputs.truncate(1);
    assert_eq!(
        reason(&mut alone),
        Reason::NoFoldableProducer {
            value: named("product")
        }
    );
}

#[test]
fn parameters_that_cannot_be_folded() {
    let cases = [
        (
            "mean",
            vec![f32::NAN; OUT],
            Reason::NotFinite {
                value: "mean".to_owned(),
            },
        ),
        ("variance", vec![-1.0; OUT], Reason::Variance { channel: 0 }),
        (
            "scale",
            vec![f32::MAX; OUT],
            Reason::NotFinite {
                value: "w.weight".to_owned(),
            },
        ),
        (
            "scale",
            vec![1.0; 3],
            Reason::Shape {
                value: "scale".to_owned(),
                got: vec![3],
                channels: OUT,
            },
        ),
    ];
    for (name, values, expected) in cases {
        let mut graph = graph_of(conv(1).into(), &[OUT, IN, 1], None);
        let id = graph.value_by_name(name).unwrap();
        graph.value_mut(id).initializer = Some(Tensor::from_vec1(&values));
        assert_eq!(reason(&mut graph), expected, "{name}");
    }
}
