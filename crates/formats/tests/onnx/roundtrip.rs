//! Everything that a model says survives writing and reading.

use bantam_formats::onnx::{encode, inline_functions, read};
use bantam_graph::ops::{Binary, Custom, Unary};
use bantam_graph::{
    Attribute, Attributes, Dim, Function, Graph, Model, Node, Notes, Op, OperatorSet, Value, ValueType,
};
use bantam_tensor::{DType, Tensor};
use bytes::Bytes;

use crate::wire::{bytes, initializer, input, int, model as raw_model, node, node_with, output, packed};

fn pairs() -> Vec<(String, String)> {
    vec![
        ("key".to_owned(), "value".to_owned()),
        ("empty".to_owned(), String::new()),
    ]
}

/// A branch that adds a captured value to a constant of its own.
fn branch(constant: f32) -> Graph {
    let mut graph = Graph {
        name: "branch".to_owned(),
        doc: "doc".to_owned(),
        ..Graph::default()
    };
    let captured = graph.add_value(Value {
        name: "x".to_owned(),
        ..Value::default()
    });
    let own = graph.add_constant("own", Tensor::scalar(constant));
    let sum = graph.add_node("sum", Binary::Add, &[captured, own]);
    graph.outputs.push(sum);
    graph
}

/// All kinds of attributes.
fn attributes() -> Attributes {
    let mut attributes = Attributes::new();
    let mut set = |name: &str, attribute| attributes.set(name, attribute);
    set("int", Attribute::Int(-3));
    set("zero", Attribute::Int(0));
    set("float", Attribute::Float(0.0));
    set("string", Attribute::String(vec![0xff, 0]));
    set("tensor", Attribute::Tensor(Tensor::from_vec1(&[1i16, 2])));
    set("ints", Attribute::Ints(vec![i64::MIN, 0, i64::MAX]));
    set("floats", Attribute::Floats(vec![0.5, -1.0]));
    set("no_floats", Attribute::Floats(vec![]));
    set("strings", Attribute::Strings(vec![b"a".to_vec(), vec![]]));
    set(
        "tensors",
        Attribute::Tensors(vec![Tensor::scalar(1u8), Tensor::scalar(true as u8)]),
    );
    set("graph", Attribute::Graph(Box::new(branch(1.0))));
    set("graphs", Attribute::Graphs(vec![branch(1.0), branch(2.0)]));
    attributes
}

fn function() -> Function {
    let mut body = Graph::default();
    let x = body.add_value(Value {
        name: "in".to_owned(),
        ..Value::default()
    });
    body.inputs.push(x);
    let mut own = Attributes::new();
    own.set("alpha", Attribute::Reference("slope".to_owned(), 1));
    let y = body.add_node("out", Op::Custom(Custom::new("", "LeakyRelu", own)), &[x]);
    body.nodes[0].name.clear();
    body.outputs.push(y);
    Function {
        domain: "local".to_owned(),
        name: "Leaky".to_owned(),
        overload: "o".to_owned(),
        attributes: vec!["required".to_owned()],
        default_attributes: vec![("slope".to_owned(), Attribute::Float(0.5))],
        body,
        opsets: vec![OperatorSet {
            domain: String::new(),
            version: 16,
        }],
        doc: "function".to_owned(),
        metadata: pairs(),
    }
}

/// A model with something in every field.
fn model() -> Model {
    let mut graph = Graph {
        name: "g".to_owned(),
        doc: "graph".to_owned(),
        metadata: pairs(),
        ..Graph::default()
    };
    let dims = vec![Dim::Symbol("N".to_owned()), Dim::Unknown, Dim::Known(3)];
    let x = graph.add_input("x", DType::F32, dims.clone());
    let default = graph.add_input("default", DType::F32, vec![3.into()]);
    graph.value_mut(default).initializer = Some(Tensor::from_vec1(&[1.0f32, 2.0, 3.0]));
    let condition = graph.add_input("condition", DType::Bool, vec![]);
    let sequence = graph.add_value(Value {
        name: "sequence".to_owned(),
        ty: ValueType::Opaque(vec![0x22, 4, 0x0a, 2, 0x0a, 0]),
        doc: "input".to_owned(),
        metadata: pairs(),
        ..Value::default()
    });
    graph.inputs.push(sequence);
    let weight = graph.add_constant("weight", Tensor::from_vec1(&[0.5f32, f32::NAN, -0.0]));
    (graph.value_mut(weight).doc, graph.value_mut(weight).metadata) = ("weight".to_owned(), pairs());
    let words = graph.add_constant(
        "words",
        Tensor::from_strings(&[2], vec![b"a".to_vec(), vec![0xff]]).unwrap(),
    );
    let product = graph.add_node("product", Binary::Mul, &[x, weight]);
    let value = graph.value_mut(product);
    (value.ty, value.doc, value.metadata) =
        (ValueType::tensor(DType::F32, dims), "value".to_owned(), pairs());
    let node = graph.nodes.last_mut().unwrap();
    node.notes = Some(Box::new(Notes {
        doc: "node".to_owned(),
        metadata: pairs(),
        overload: String::new(),
    }));
    node.extra.set("vendor", Attribute::Int(1));
    let choice = Op::If(bantam_graph::ops::If {
        then_branch: Box::new(branch(1.0)),
        else_branch: Box::new(branch(2.0)),
    });
    let chosen = graph.add_node("chosen", choice, &[condition]);
    let custom = Op::Custom(Custom::new("my.domain", "Op", attributes()));
    let mut unknown = Node::new("unknown", custom, &[words], &[]);
    unknown.inputs = vec![None, Some(words), Some(default), Some(sequence)];
    let last = graph.add_value(Value {
        name: "last".to_owned(),
        ..Value::default()
    });
    unknown.outputs = vec![None, Some(last)];
    graph.nodes.push(unknown);
    let leaky = graph.add_node(
        "leaky",
        Op::Custom(Custom::new("local", "Leaky", Attributes::new())),
        &[product],
    );
    graph.nodes.last_mut().unwrap().notes = Some(Box::new(Notes {
        overload: "o".to_owned(),
        ..Notes::default()
    }));
    graph.outputs.extend([chosen, last, leaky]);
    graph.quantization_annotations.push(bytes(1, "x"));
    let set = |domain: &str, version| OperatorSet {
        domain: domain.to_owned(),
        version,
    };
    Model {
        ir_version: 11,
        opsets: vec![set("", 20), set("my.domain", 4), set("local", 1)],
        functions: vec![function()],
        producer_name: "producer".to_owned(),
        producer_version: "1".to_owned(),
        domain: "domain".to_owned(),
        model_version: 5,
        doc: "model".to_owned(),
        metadata: pairs(),
        raw_fields: bytes(20, bytes(1, bytes(2, "initialization"))),
        ..Model::new(graph)
    }
}

/// Values are renumbered on the way, so models are compared by their text and the rest of their fields.
fn assert_same(read: &Model, expected: &Model) {
    assert_eq!(read.graph.to_string(), expected.graph.to_string());
    let rest = |model: &Model| Model {
        graph: Graph::default(),
        functions: Vec::new(),
        ..model.clone()
    };
    assert_eq!(rest(read), rest(expected));
    assert_eq!(read.functions, expected.functions);
    for value in &expected.graph.values {
        let again = read
            .graph
            .value(read.graph.value_by_name(&value.name).expect("all values stay"));
        assert_eq!(again, value);
    }
    for (again, node) in read.graph.nodes.iter().zip(&expected.graph.nodes) {
        assert_eq!(
            (&again.name, &again.notes, &again.extra),
            (&node.name, &node.notes, &node.extra)
        );
        assert_eq!(again.op.emit().len(), node.op.emit().len());
    }
    assert_eq!(
        read.graph.quantization_annotations,
        expected.graph.quantization_annotations
    );
}

#[test]
fn a_model_with_everything() {
    let model = model();
    let encoded = encode(&model, None).unwrap();
    let again = read(&Bytes::from(encoded.clone()), None).unwrap();
    assert_same(&again, &model);
    assert_eq!(encode(&again, None).unwrap().len(), encoded.len());
}

#[test]
fn functions_are_inlined_at_the_canonical_opset() {
    let inlined = inline_functions(model()).unwrap();
    let leaky = inlined.graph.nodes.last().unwrap();
    let Op::LeakyRelu(op) = &leaky.op else {
        panic!("{:?}", leaky.op)
    };
    assert_eq!(op.alpha, 0.5);
    bantam_graph::verify(&inlined.graph).unwrap();
}

#[test]
fn weights_are_slices_of_the_file() {
    let mut graph = Graph::default();
    let weight = graph.add_constant("weight", Tensor::from_vec1(&[1.0f32; 1000]));
    let y = graph.add_node("y", Unary::Relu, &[weight]);
    graph.outputs.push(y);
    let file = Bytes::from(encode(&Model::new(graph), None).unwrap());
    let model = read(&file, None).unwrap();
    let weight = model.graph.value(model.graph.value_by_name("weight").unwrap());
    let slice = weight
        .initializer
        .as_ref()
        .unwrap()
        .shared_bytes()
        .expect("shared with the file");
    let range = file.as_ptr_range();
    assert!(range.contains(&slice.as_ptr()), "copied");
}

#[test]
fn nodes_are_sorted_and_old_files_lose_their_constant_inputs() {
    let scalar = initializer("w", &[], 1, &[bytes(9, 1.0f32.to_le_bytes())]);
    let graph = [
        node("Add", &["a", "w"], &["y"]),
        node("Relu", &["x"], &["a"]),
        scalar,
        input("x"),
        input("w"),
        output("y"),
    ];
    let current = read(&Bytes::from(raw_model(&graph)), None).unwrap();
    assert_eq!(current.graph.nodes[0].op.name(), "Relu");
    assert_eq!(current.graph.inputs.len(), 2);
    let old = [int(1, 3), bytes(7, graph.concat()), bytes(8, int(2, 8))].concat();
    let old = read(&Bytes::from(old), None).unwrap();
    assert_eq!(old.graph.inputs.len(), 1);
    assert!(old.graph.constant_input(&old.graph.nodes[1], 1).is_some());
}

#[test]
fn sparse_initializers_become_dense() {
    let values = [
        packed(1, &[2]),
        int(2, 1),
        bytes(8, "w"),
        bytes(4, [2.0f32.to_le_bytes(), 3.0f32.to_le_bytes()].concat()),
    ];
    for (dims, indices) in [(vec![2], vec![1, 5]), (vec![2, 2], vec![0, 1, 1, 2])] {
        let indices = [packed(1, &dims), int(2, 7), packed(7, &indices)].concat();
        let sparse = bytes(
            15,
            [bytes(1, values.concat()), bytes(2, indices), packed(3, &[2, 3])].concat(),
        );
        let graph = [sparse, node("Relu", &["w"], &["y"]), output("y")];
        let model = read(&Bytes::from(raw_model(&graph)), None).unwrap();
        let weight = model.graph.constant_input(&model.graph.nodes[0], 0).unwrap();
        assert_eq!(weight.to_f32().unwrap(), [0.0, 2.0, 0.0, 0.0, 0.0, 3.0]);
    }
}

#[test]
fn types_of_attributes_may_be_left_out() {
    let attribute = |fields: Vec<u8>| [bytes(1, "a"), fields].concat();
    let cases = [
        (attribute(int(3, 7)), Attribute::Int(7)),
        (attribute(bytes(4, "s")), Attribute::String(b"s".to_vec())),
        (attribute(packed(8, &[1, 2])), Attribute::Ints(vec![1, 2])),
        (
            attribute([int(8, 1), int(8, 2)].concat()),
            Attribute::Ints(vec![1, 2]),
        ),
        (
            attribute(bytes(7, 0.5f32.to_le_bytes())),
            Attribute::Floats(vec![0.5]),
        ),
        (attribute(int(20, 2)), Attribute::Int(0)),
    ];
    for (encoded, expected) in cases {
        let graph = [node_with("Mystery", &[], &["y"], &[encoded]), output("y")];
        let model = read(&Bytes::from(raw_model(&graph)), None).unwrap();
        assert_eq!(model.graph.nodes[0].op.emit().get("a"), Some(&expected));
    }
}
