//! A model with local functions goes through the whole pipeline: it runs, is quantized and comes back from its file.

use std::path::Path;

use bantam::compress::quantize::{QuantizeSettings, method_by_name};
use bantam::compress::target::target_by_name;
use bantam::exec::Taps;
use bantam::formats::data::write_npy;
use bantam::formats::onnx::SaveOptions;
use bantam::graph::ops::{Binary, Custom, If, LeakyRelu, MatMul, Reduce, ReduceKind, Unary};
use bantam::graph::{
    Attribute, Attributes, Dim, Function, Graph, Model, Op, OperatorSet, Value, ValueId, ValueType,
};
use bantam::jobs::{QuantizeJob, inspect, quantize};
use bantam::tensor::{DType, Tensor};
use bantam::{NoProgress, pipeline};

const SAMPLES: usize = 64;
const WIDTH: usize = 16;

/// Reproducible numbers in -1..1.
fn numbers(shape: &[usize], seed: u32) -> Tensor {
    let mut state = seed;
    let values = (0..shape.iter().product::<usize>()).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    });
    Tensor::from_slice(shape, &values.collect::<Vec<f32>>()).unwrap()
}

/// A node of any domain with one attribute or none.
fn call(domain: &str, name: &str, attribute: Option<(&str, Attribute)>) -> Op {
    let mut attributes = Attributes::new();
    attribute
        .into_iter()
        .for_each(|(name, attribute)| attributes.set(name, attribute));
    Op::Custom(Custom::new(domain, name, attributes))
}

/// A function of the domain `local` whose body `build` fills from its inputs.
fn function(name: &str, inputs: &[&str], build: impl FnOnce(&mut Graph, &[ValueId]) -> ValueId) -> Function {
    let mut body = Graph::default();
    let add = |name: &&str| Value {
        name: (*name).to_owned(),
        ..Value::default()
    };
    body.inputs = inputs.iter().map(|name| body.add_value(add(name))).collect();
    let inputs = body.inputs.clone();
    let output = build(&mut body, &inputs);
    body.outputs.push(output);
    let set = |domain: &str, version| OperatorSet {
        domain: domain.to_owned(),
        version,
    };
    Function {
        domain: "local".to_owned(),
        name: name.to_owned(),
        overload: String::new(),
        attributes: Vec::new(),
        default_attributes: vec![("slope".to_owned(), Attribute::Float(0.5))],
        body,
        opsets: vec![set("", 16), set("local", 1)],
        doc: String::new(),
        metadata: Vec::new(),
    }
}

/// `Leaky(x) = LeakyRelu(x, slope)` and `Linear(x, w) = Leaky(MatMul(x, w), slope)`.
fn functions() -> Vec<Function> {
    let slope = || Attribute::Reference("slope".to_owned(), 1);
    let leaky = function("Leaky", &["x"], |body, inputs| {
        body.add_node("y", call("", "LeakyRelu", Some(("alpha", slope()))), inputs)
    });
    let linear = function("Linear", &["x", "w"], |body, inputs| {
        let product = body.add_node("m", call("", "MatMul", None), inputs);
        body.add_node("y", call("local", "Leaky", Some(("slope", slope()))), &[product])
    });
    vec![leaky, linear]
}

/// `Linear` as a call of the function, or as the nodes that it stands for; no slope means the default.
fn linear(graph: &mut Graph, calls: bool, name: &str, inputs: &[ValueId], slope: Option<f32>) -> ValueId {
    if calls {
        let attribute = slope.map(|slope| ("slope", Attribute::Float(slope)));
        return graph.add_node(name, call("local", "Linear", attribute), inputs);
    }
    let product = graph.add_node(&format!("{name}_product"), MatMul {}, inputs);
    let alpha = slope.unwrap_or(0.5);
    graph.add_node(name, LeakyRelu { alpha }, &[product])
}

/// A value of the enclosing graph, seen from a branch.
fn captured(graph: &mut Graph, name: &str) -> ValueId {
    graph.add_value(Value {
        name: name.to_owned(),
        ..Value::default()
    })
}

/// `y = Linear(x, first); If(max(y) > 0, Linear(y, second), -y)`, with calls of functions or without.
fn model(calls: bool) -> Model {
    let mut graph = Graph::default();
    let dims = vec![Dim::Symbol("N".to_owned()), WIDTH.into()];
    let x = graph.add_input("x", DType::F32, dims.clone());
    let first = graph.add_constant("first", numbers(&[WIDTH, WIDTH], 1));
    graph.add_constant("second", numbers(&[WIDTH, WIDTH], 2));
    let y = linear(&mut graph, calls, "y", &[x, first], Some(0.25));
    let zero = graph.add_constant("zero", Tensor::scalar(0.0f32));
    let reduce = Reduce {
        kind: ReduceKind::Max,
        keepdims: false,
        noop_with_empty_axes: false,
    };
    let largest = graph.add_node("largest", reduce, &[y]);
    let positive = graph.add_node("positive", Binary::Greater, &[largest, zero]);
    let mut then_branch = Graph::default();
    let inputs = ["y", "second"].map(|name| captured(&mut then_branch, name));
    let output = linear(&mut then_branch, calls, "then", &inputs, None);
    then_branch.outputs.push(output);
    let mut else_branch = Graph::default();
    let input = captured(&mut else_branch, "y");
    let output = else_branch.add_node("else", Unary::Neg, &[input]);
    else_branch.outputs.push(output);
    let branches = If {
        else_branch: Box::new(else_branch),
        then_branch: Box::new(then_branch),
    };
    let result = graph.add_node("result", branches, &[positive]);
    graph.value_mut(result).ty = ValueType::tensor(DType::F32, dims);
    graph.outputs.push(result);
    Model {
        functions: if calls { functions() } else { Vec::new() },
        ..Model::new(graph)
    }
}

fn run(model: &Model) -> Vec<f32> {
    let program = pipeline::compile(model).unwrap();
    let outputs = program.run(&[("x", numbers(&[SAMPLES, WIDTH], 3))], &mut Taps::none());
    outputs.unwrap()[0].to_f32().unwrap()
}

fn save(model: &Model, path: &Path) -> Model {
    pipeline::export(model, path, &SaveOptions::default()).unwrap();
    pipeline::load(path).unwrap()
}

fn job(folder: &Path, method: &str) -> QuantizeJob {
    QuantizeJob {
        model: folder.join("model.onnx"),
        data: Some(folder.join("data.toml")),
        method: method_by_name(method).unwrap(),
        settings: QuantizeSettings::for_target(target_by_name("onnxruntime").unwrap()),
        codes: None,
        groups: None,
        rescaling: bantam::jobs::Rescaling::default(),
        samples: SAMPLES,
        seed: 0,
        calibration_split: "train".to_owned(),
        plan: None,
        plan_out: None,
        score_split: None,
        metrics: Vec::new(),
        limit: usize::MAX,
        output: folder.join("quantized.onnx"),
        resume: false,
        save: SaveOptions::default(),
    }
}

#[test]
fn functions_survive_their_file_and_run_as_their_bodies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let loaded = save(&model(true), &path);
    assert_eq!(loaded.functions.len(), 2, "functions stay functions in a file");
    let expected = run(&model(false));
    assert_eq!(run(&loaded), expected);
    assert_eq!(run(&pipeline::prepare(&loaded).unwrap()), expected);
    let inlined = pipeline::inline(&loaded).unwrap().into_owned();
    assert!(inlined.functions.is_empty());
    assert_eq!(run(&save(&inlined, &path)), expected);
}

#[test]
fn nodes_of_functions_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    save(&model(true), &path);
    let (report, _) = inspect(&path, 1).unwrap();
    let ops: Vec<&str> = report.nodes.iter().map(|node| node.op.as_str()).collect();
    assert_eq!(ops, ["MatMul", "LeakyRelu", "ReduceMax", "Greater", "If"]);
    assert_eq!(report.nodes[0].macs, Some((WIDTH * WIDTH) as u64));
}

#[test]
fn calls_of_functions_are_quantized() {
    let folder = tempfile::tempdir().unwrap();
    save(&model(true), &folder.path().join("model.onnx"));
    write_npy(&folder.path().join("x.npy"), &numbers(&[SAMPLES, WIDTH], 4)).unwrap();
    std::fs::write(
        folder.path().join("data.toml"),
        "[splits.train]\ninputs.x = \"x.npy\"\n",
    )
    .unwrap();
    let expected = run(&model(false));
    for method in ["static", "dynamic"] {
        let job = job(folder.path(), method);
        let report = quantize(&job, &NoProgress).unwrap();
        assert!(report.quantized > 0, "{method}");
        let quantized = run(&pipeline::load(&job.output).unwrap());
        let difference = |(got, expected): (&f32, &f32)| (got - expected).powi(2);
        let noise: f32 = quantized.iter().zip(&expected).map(difference).sum();
        let signal: f32 = expected.iter().map(|value| value.powi(2)).sum();
        assert!(
            noise > 0.0 && noise < 1e-3 * signal,
            "{method}: {noise} beside {signal}"
        );
    }
}

#[test]
fn a_function_that_calls_itself_is_refused_with_a_hint() {
    let mut model = model(true);
    let Op::Custom(op) = &mut model.functions[0].body.nodes[0].op else {
        panic!("bodies are generic")
    };
    (op.domain, op.name) = ("local".to_owned(), "Leaky".to_owned());
    for refused in [pipeline::compile(&model).err(), pipeline::prepare(&model).err()] {
        let message = refused.expect("must be refused").to_string();
        assert!(
            message.contains("`local.Leaky` calls itself") && message.contains("\nhint: "),
            "{message}"
        );
    }
}
