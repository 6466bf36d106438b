//! The same models and inputs in every runtime that is present.

#![expect(clippy::print_stderr, reason = "a skipped test says so")]

use std::fs;
use std::path::{Path, PathBuf};

use bantam_tensor::{DType, Tensor};

use super::*;

/// Runs `check` in each runtime, and says so where one is absent.
fn in_each_runtime(check: impl Fn(RuntimeKind)) {
    for &kind in RuntimeKind::ALL {
        match version(kind) {
            Ok(_) => check(kind),
            Err(error @ RuntimeError::NotFound { .. }) => eprintln!("skipped: {error}"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Images 0 to 63 of the CIFAR-10 test set, normalized as the models expect, or `None` when there is no data.
fn images(data: &Path) -> Option<Tensor> {
    let pixels = fs::read(data.join("cifar10/test_x.npy")).ok()?;
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let normalized: Vec<f32> = elements(&pixels)[..64 * 3072]
        .iter()
        .enumerate()
        .map(|(index, &pixel)| (f32::from(pixel) / 255.0 - mean[index / 1024 % 3]) / std[index / 1024 % 3])
        .collect();
    Some(Tensor::from_slice(&[64, 3, 32, 32], &normalized).unwrap())
}

fn data_folder() -> PathBuf {
    let beside_the_workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    std::env::var_os("BANTAM_DATA").map_or(beside_the_workspace, PathBuf::from)
}

/// The elements of an npy file of version 1.
fn elements(npy: &[u8]) -> &[u8] {
    &npy[10 + usize::from(u16::from_le_bytes([npy[8], npy[9]]))..]
}

#[test]
fn resnet_gives_the_expected_logits() {
    let data = data_folder();
    let Some(images) = images(&data) else {
        eprintln!("skipped: no data in {}", data.display());
        return;
    };
    let expected = fs::read(data.join("models/expected/resnet20_logits_test_0_64.npy")).unwrap();
    let expected: Vec<f32> = bytemuck::pod_collect_to_vec(elements(&expected));
    in_each_runtime(|kind| {
        let mut runner = open(kind, &data.join("models/resnet20.onnx"), 2).unwrap();
        let outputs = runner.run(&[("input", images.clone())]).unwrap();
        assert_eq!((outputs.len(), outputs[0].shape()), (1, &[64, 10][..]), "{kind}");
        let logits = outputs[0].to_f32().unwrap();
        let differences = logits
            .iter()
            .zip(&expected)
            .map(|(got, expected)| (got - expected).abs());
        let largest = differences.fold(0.0, f32::max);
        // The sums of a convolution are rounded in another order in each runtime.
        assert!(largest < 1e-4, "{kind}: {largest}");
    });
}

#[test]
fn every_shared_type_passes_through() {
    // The numbers are those of ONNX's `TensorProto.DataType`.
    let types = [
        (DType::F32, 1),
        (DType::U8, 2),
        (DType::I8, 3),
        (DType::U16, 4),
        (DType::I16, 5),
        (DType::I32, 6),
        (DType::I64, 7),
        (DType::Bool, 9),
        (DType::F16, 10),
        (DType::F64, 11),
        (DType::U32, 12),
        (DType::U64, 13),
        (DType::BF16, 16),
    ];
    in_each_runtime(|kind| {
        for (dtype, number) in types {
            let file = model(number, &[("Identity", &["x"], "y")], &["x"], &["y"]);
            let mut runner = open(kind, file.path(), 1).unwrap();
            for rows in [3, 1, 0, 2] {
                let input = counting(dtype, rows);
                let outputs = runner.run(&[("x", input.clone())]).unwrap();
                assert_eq!(outputs, [input], "{kind}, {dtype}, {rows} rows");
            }
        }
    });
}

/// The numbers from 1 up, or alternating booleans, in rows of 2.
fn counting(dtype: DType, rows: usize) -> Tensor {
    let values: Vec<f64> = (1..=2 * rows).map(|value| value as f64).collect();
    if dtype == DType::Bool {
        let values: Vec<bool> = values.iter().map(|value| value % 2.0 == 0.0).collect();
        Tensor::from_bools(&[rows, 2], &values).unwrap()
    } else if dtype.is_float() {
        Tensor::from_f64(dtype, &[rows, 2], &values).unwrap()
    } else {
        let values: Vec<i64> = values.iter().map(|&value| value as i64).collect();
        Tensor::from_i64(dtype, &[rows, 2], &values).unwrap()
    }
}

#[test]
fn inputs_go_by_name_and_outputs_by_position() {
    let nodes: &[(&str, &[&str], &str)] = &[
        ("Add", &["a", "b"], "sum"),
        ("Sub", &["a", "b"], "difference"),
        ("Identity", &["b"], "a_copy"),
    ];
    let file = model(1, nodes, &["a", "b"], &["a_copy", "difference", "sum"]);
    in_each_runtime(|kind| {
        let mut runner = open(kind, file.path(), 0).unwrap();
        let (a, b) = (tensor(5.0), tensor(3.0));
        let outputs = runner.run(&[("b", b), ("a", a.clone())]).unwrap();
        let firsts: Vec<f32> = outputs.iter().map(|output| output.to_f32().unwrap()[0]).collect();
        assert_eq!(firsts, [3.0, 2.0, 8.0], "{kind}");
        let error = runner.run(&[("a", a)]).unwrap_err().to_string();
        assert_eq!(error, "no value is given for input \"b\" of the model");
    });
}

#[test]
fn what_does_not_fit_is_an_error() {
    let file = model(1, &[("Identity", &["x"], "y")], &["x"], &["y"]);
    in_each_runtime(|kind| {
        let mut runner = open(kind, file.path(), 1).unwrap();
        let unfit = [
            ("rank", Tensor::scalar(1f32)),
            ("columns", Tensor::zeros(DType::F32, &[1, 3]).unwrap()),
            ("type", Tensor::zeros(DType::I32, &[1, 2]).unwrap()),
            ("text", Tensor::zeros(DType::String, &[1, 2]).unwrap()),
            ("four bits", Tensor::zeros(DType::I4, &[1, 2]).unwrap()),
        ];
        for (what, input) in unfit {
            assert!(runner.run(&[("x", input)]).is_err(), "{kind}, {what}");
        }
        // A failed run does not spoil the next one.
        assert_eq!(runner.run(&[("x", tensor(4.0))]).unwrap(), [tensor(4.0)]);
    });
}

#[test]
fn a_bad_model_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"not a model").unwrap();
    in_each_runtime(|kind| {
        let error = open(kind, file.path(), 1).err().unwrap().to_string();
        assert!(
            error.starts_with(&format!("{kind} could not open the model")),
            "{error}"
        );
        for absent in ["nowhere.onnx", "nul\0.onnx"] {
            let error = open(kind, Path::new(absent), 1).err().unwrap().to_string();
            assert!(error.starts_with("there is no file"), "{error}");
        }
    });
}

#[test]
fn thread_counts() {
    assert!(thread_count(0).is_ok_and(|threads| threads >= 1));
    assert_eq!(thread_count(3).unwrap(), 3);
    assert!(
        thread_count(MAX_THREADS + 1)
            .unwrap_err()
            .to_string()
            .contains("hint: give at most")
    );
}

#[test]
fn an_absent_runtime_comes_with_a_hint() {
    let error = RuntimeError::NotFound {
        runtime: RuntimeKind::OnnxRuntime,
    };
    let error = error.to_string();
    let start = "ONNX Runtime was not found\nhint: pip install onnxruntime==";
    assert!(error.starts_with(start), "{error}");
    assert!(
        error.contains("or set BANTAM_ONNXRUNTIME to the folder or file of "),
        "{error}"
    );
}

/// One row of two equal values.
fn tensor(value: f32) -> Tensor {
    Tensor::from_slice(&[1, 2], &[value, value]).unwrap()
}

/// An ONNX file with nodes (operator, inputs, output), all values of one type and of shape [rows, 2].
fn model(
    dtype: u8,
    nodes: &[(&str, &[&str], &str)],
    inputs: &[&str],
    outputs: &[&str],
) -> tempfile::NamedTempFile {
    let mut graph = Vec::new();
    for (operator, inputs, output) in nodes {
        let mut node: Vec<u8> = inputs.iter().flat_map(|name| field(1, name.as_bytes())).collect();
        node.extend(field(2, output.as_bytes()));
        node.extend(field(4, operator.as_bytes()));
        graph.extend(field(1, &node));
    }
    graph.extend(field(2, b"graph"));
    graph.extend(inputs.iter().flat_map(|name| field(11, &value_info(name, dtype))));
    graph.extend(
        outputs
            .iter()
            .flat_map(|name| field(12, &value_info(name, dtype))),
    );
    // IR version 8, opset 16.
    let model = [vec![1 << 3, 8], field(7, &graph), field(8, &[2 << 3, 16])].concat();
    let file = tempfile::Builder::new().suffix(".onnx").tempfile().unwrap();
    fs::write(file.path(), model).unwrap();
    file
}

/// `ValueInfoProto` of a value of shape [rows, 2].
fn value_info(name: &str, dtype: u8) -> Vec<u8> {
    let shape = [field(1, &field(2, b"rows")), field(1, &[1 << 3, 2])].concat();
    let tensor = [vec![1 << 3, dtype], field(2, &shape)].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

/// A length-delimited Protocol Buffers field; lengths from 128 take two bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 1 << 14);
    let length = if bytes.len() < 128 {
        vec![bytes.len() as u8]
    } else {
        vec![bytes.len() as u8 | 128, (bytes.len() >> 7) as u8]
    };
    [vec![number << 3 | 2], length, bytes.to_vec()].concat()
}
