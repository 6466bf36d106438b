//! Files that are damaged or made to harm: an error that names the broken rule, never a panic.

use bantam_formats::onnx::{encode, read};
use bantam_graph::{Model, ValueType};
use bantam_tensor::DType;
use bytes::Bytes;

use crate::wire::{bytes, initializer, input, int, model, node, node_with, output, packed};

fn message(file: Vec<u8>) -> String {
    match read(&Bytes::from(file), None) {
        Ok(model) => format!("read: {}", model.graph),
        Err(error) => error.to_string(),
    }
}

/// `If` inside `If`, this many deep.
fn nested(depth: usize) -> Vec<Vec<u8>> {
    let leaf = vec![node("Relu", &["x"], &["y"]), output("y")];
    (0..depth).fold(leaf, |inner, _| {
        let branch = |name: &str| [bytes(1, name), int(20, 5), bytes(6, inner.concat())].concat();
        // One branch alone carries the depth; the other would double the size at each level.
        let flat = [
            bytes(1, "else_branch"),
            int(20, 5),
            bytes(6, [node("Relu", &["x"], &["y"]), output("y")].concat()),
        ];
        vec![
            node_with("If", &["x"], &["y"], &[branch("then_branch"), flat.concat()]),
            output("y"),
        ]
    })
}

#[test]
fn broken_rules_are_named() {
    let x = || input("x");
    let relu = || node("Relu", &["x"], &["y"]);
    let word = |dims: &[i64], data: &[u8]| initializer("w", dims, 1, &[bytes(9, data)]);
    let attribute = |fields: &[Vec<u8>]| node_with("Relu", &["x"], &["y"], &[fields.concat()]);
    let sparse = |indices: &[i64], dims: &[i64]| {
        let values = [packed(1, &[1]), int(2, 1), bytes(8, "w"), bytes(9, [0; 4])].concat();
        let indices = [packed(1, &[indices.len() as i64]), int(2, 7), packed(7, indices)].concat();
        bytes(
            15,
            [bytes(1, values), bytes(2, indices), packed(3, dims)].concat(),
        )
    };
    let cycle = [node("Relu", &["b"], &["a"]), node("Relu", &["a"], &["b"])];
    let mut deep = vec![x()];
    deep.extend(nested(40));
    #[rustfmt::skip]
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty file", vec![], "no graph"),
        ("no protobuf", b"PK\x03\x04 not a model".to_vec(), "malformed"),
        ("no opset", [int(1, 8), bytes(7, [x(), relu(), output("y")].concat())].concat(), "`ai.onnx`"),
        ("future opset", [int(1, 8), bytes(7, [x(), relu(), output("y")].concat()), bytes(8, int(2, 99))].concat(), "opset 99"),
        ("cycle", model(&cycle), "cycle"),
        ("self loop", model(&[node("Relu", &["a"], &["a"])]), "cycle"),
        ("two producers", model(&[x(), relu(), relu()]), "two values are named `y`"),
        ("input twice", model(&[x(), x()]), "two inputs are named `x`"),
        ("initializer twice", model(&[word(&[1], &[0; 4]), word(&[1], &[0; 4])]), "two initializers are named `w`"),
        ("output of node is input", model(&[x(), node("Relu", &["x"], &["x"])]), "named `x`"),
        ("dangling input", model(&[node("Relu", &["nowhere"], &["y"])]), "`nowhere`, which nothing defines"),
        ("dangling output", model(&[output("nowhere")]), "`nowhere` is defined by nothing"),
        ("unnamed input", model(&[input("")]), "has no name"),
        ("unnamed op", model(&[node("", &[], &["y"])]), "has no name"),
        ("too many inputs", model(&[x(), node("Relu", &["x", "x", "x"], &["y"])]), "Relu"),
        ("missing attribute", model(&[x(), node("Concat", &["x"], &["y"])]), "`axis` is missing"),
        ("attribute of wrong type", model(&[x(), node_with("Concat", &["x"], &["y"], &[[bytes(1, "axis"), int(20, 3), bytes(4, "one")].concat()])]), "not an integer"),
        ("attribute without name", model(&[x(), attribute(&[int(20, 2)])]), "has no name"),
        ("attribute without type", model(&[x(), attribute(&[bytes(1, "a")])]), "no known type"),
        ("attribute of unknown type", model(&[x(), attribute(&[bytes(1, "a"), int(20, 77)])]), "no known type (77)"),
        ("attribute twice", model(&[x(), node_with("Relu", &["x"], &["y"], &[[bytes(1, "a"), int(20, 2)].concat(), [bytes(1, "a"), int(20, 2)].concat()])]), "two attributes"),
        ("negative dimension", model(&[word(&[-4], &[0; 4])]), "negative"),
        ("dimensions overflow", model(&[word(&[1 << 40, 1 << 40], &[0; 4])]), "too large"),
        ("bytes overflow", model(&[word(&[i64::MAX / 2], &[0; 4])]), "too large"),
        ("too little data", model(&[word(&[1000, 1000], &[0; 4])]), "needs 4000000 bytes, got 4"),
        ("too much data", model(&[word(&[1], &[0; 8])]), "needs 4 bytes, got 8"),
        ("external data without folder", model(&[initializer("w", &[1], 1, &[int(14, 1), bytes(13, [bytes(1, "location"), bytes(2, "/etc/passwd")].concat())])]), "external data"),
        ("sparse index out of range", model(&[sparse(&[9], &[3])]), "indices"),
        ("sparse index negative", model(&[sparse(&[-1], &[3])]), "indices"),
        ("sparse tensor of exploding size", model(&[sparse(&[0], &[1 << 40])]), "far more parts"),
        ("nested graphs", model(&deep), "nested more than 32 deep"),
        ("name that is no UTF-8", model(&[bytes(1, [bytes(2, [0xff, 0xfe]), bytes(4, "Relu")].concat())]), "malformed"),
        ("many empty nodes", model(&[[0x0a, 0x00].repeat(1 << 16)]), "far more parts"),
        ("many small nodes", model(&[bytes(1, bytes(4, "A")).repeat(1 << 14)]), "far more parts"),
        ("many empty inputs", model(&[bytes(1, [[0x0a, 0x00].repeat(1 << 16), bytes(4, "Sum")].concat())]), "far more parts"),
        ("many empty strings", model(&[bytes(5, [packed(1, &[1 << 16]), int(2, 8), bytes(8, "w"), [0x32, 0x00].repeat(1 << 16)].concat())]), "far more parts"),
        ("many empty dimensions", model(&[bytes(11, [bytes(1, "x"), bytes(2, bytes(1, bytes(2, [0x0a, 0x00].repeat(1 << 16))))].concat())]), "far more parts"),
    ];
    for (case, file, expected) in cases {
        let message = message(file);
        assert!(
            message.contains(expected) && message.contains("hint:"),
            "{case}: {message}"
        );
    }
    // The same rule, kept: shallow nesting reads.
    let mut shallow = vec![x()];
    shallow.extend(nested(10));
    assert!(message(model(&shallow)).starts_with("read:"));
}

/// A small model with a bit of everything that the reader looks into.
fn sample() -> Vec<u8> {
    let mut graph = vec![
        input("x"),
        initializer("w", &[2, 2], 1, &[bytes(9, [0; 16])]),
        initializer("i", &[3], 7, &[packed(7, &[1, 2, 300])]),
        initializer("s", &[1], 8, &[bytes(6, "text")]),
        node("MatMul", &["x", "w"], &["m"]),
        node_with(
            "Transpose",
            &["m"],
            &["t"],
            &[[bytes(1, "perm"), int(20, 7), packed(8, &[1, 0])].concat()],
        ),
        bytes(
            13,
            [
                bytes(1, "m"),
                bytes(
                    2,
                    bytes(1, [int(1, 1), bytes(2, bytes(1, bytes(2, "N")))].concat()),
                ),
            ]
            .concat(),
        ),
    ];
    let inner = [node("Relu", &["t"], &["r"]), output("r")].concat();
    let branch = |name: &str| [bytes(1, name), int(20, 5), bytes(6, &inner)].concat();
    graph.push(node_with(
        "If",
        &["x"],
        &["y"],
        &[branch("then_branch"), branch("else_branch")],
    ));
    graph.push(output("y"));
    model(&graph)
}

/// What reading and writing again does; only that it comes back matters.
fn survives(file: Vec<u8>) {
    if let Ok(model) = read(&Bytes::from(file), None) {
        let _: Result<Vec<u8>, _> = encode(&model, None);
    }
}

#[test]
fn every_truncation_and_every_flipped_bit_comes_back() {
    let file = sample();
    assert!(read(&Bytes::from(file.clone()), None).is_ok());
    for length in 0..file.len() {
        survives(file[..length].to_vec());
    }
    for position in 0..file.len() {
        for bit in 0..8 {
            let mut flipped = file.clone();
            flipped[position] ^= 1 << bit;
            survives(flipped);
        }
        for byte in [0x00, 0x7f, 0xff] {
            let mut changed = file.clone();
            changed[position] = byte;
            survives(changed);
        }
    }
}

#[test]
fn a_long_chain_of_short_names_is_no_attack() {
    let name = |index: usize| format!("v{index}");
    let mut graph = vec![input("v0")];
    graph.extend((0..20_000).map(|index| node("Relu", &[&name(index)], &[&name(index + 1)])));
    graph.push(output("v20000"));
    let model: Model = read(&Bytes::from(model(&graph)), None).unwrap();
    assert_eq!(model.graph.nodes.len(), 20_000);
}

#[test]
fn a_constant_that_old_files_list_as_an_input_has_the_type_of_its_data() {
    let half = bytes(2, bytes(1, int(1, 10)));
    let declared = |number| bytes(number, [bytes(1, "w"), half.clone()].concat());
    let weight = initializer("w", &[1], 1, &[bytes(9, [0; 4])]);
    let graph = bytes(7, [declared(11), weight, declared(12)].concat());
    let file = [int(1, 3), graph, bytes(8, int(2, 8))].concat();
    let model = read(&Bytes::from(file), None).unwrap();
    assert!(model.graph.inputs.is_empty());
    let id = model.graph.value_by_name("w").unwrap();
    assert_eq!(
        model.graph.value(id).ty,
        ValueType::tensor(DType::F32, vec![1.into()])
    );
}
