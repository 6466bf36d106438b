//! Saving to files: external data, and nothing half-written.

use std::fs;
use std::path::Path;

use bantam_formats::onnx::{ExternalData, SaveOptions, load, save};
use bantam_graph::ops::{Binary, Unary};
use bantam_graph::{Graph, Model};
use bantam_tensor::{DType, Tensor};

fn external() -> SaveOptions {
    SaveOptions {
        external_data: ExternalData::Always,
        ..SaveOptions::default()
    }
}

/// Two large weights, one of them shared, and a small one.
fn model() -> Model {
    let mut graph = Graph {
        name: "named".to_owned(),
        ..Graph::default()
    };
    let x = graph.add_input("x", DType::F32, vec![1.into()]);
    let large = Tensor::from_vec1(&(0..50_000).map(|i| i as f32).collect::<Vec<_>>());
    let medium = Tensor::from_vec1(&(0..500).map(|i| i as f32).collect::<Vec<_>>());
    let mut last = x;
    for (name, tensor) in [("medium", &medium), ("large", &large), ("shared", &large)] {
        let weight = graph.add_constant(name, tensor.clone());
        last = graph.add_node("sum", Binary::Add, &[last, weight]);
    }
    let small = graph.add_constant("small", Tensor::scalar(1.0f32));
    last = graph.add_node("y", Binary::Add, &[last, small]);
    graph.outputs.push(last);
    Model::new(graph)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn external_data_is_aligned_shared_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let model = model();
    save(&model, &path, &external()).unwrap();
    assert_eq!(names(folder.path()), ["m.onnx", "m.onnx.data"]);
    assert_eq!(
        fs::metadata(folder.path().join("m.onnx.data")).unwrap().len(),
        4096 + 200_000
    );
    assert!(fs::metadata(&path).unwrap().len() < 2000);
    let again = load(&path).unwrap();
    assert_eq!(again.graph.to_string(), model.graph.to_string());
    for name in ["small", "medium", "large", "shared"] {
        let tensor = |model: &Model| {
            let id = model.graph.value_by_name(name).unwrap();
            model.graph.value(id).initializer.clone().unwrap()
        };
        assert_eq!(tensor(&again), tensor(&model), "{name}");
    }
    // Its own weights are mapped from the file that is replaced.
    save(&again, &path, &external()).unwrap();
    assert_eq!(load(&path).unwrap().graph.to_string(), model.graph.to_string());
    // Back into one file.
    save(&again, &folder.path().join("one.onnx"), &SaveOptions::default()).unwrap();
    assert!(fs::metadata(folder.path().join("one.onnx")).unwrap().len() > 400_000);
}

#[test]
fn damaged_data_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    save(&model(), &path, &external()).unwrap();
    let data = folder.path().join("m.onnx.data");
    fs::write(&data, [0; 100]).unwrap();
    let error = load(&path).unwrap_err().to_string();
    assert!(
        error.contains("m.onnx") && error.contains("`medium`") && error.contains("end after"),
        "{error}"
    );
    fs::remove_file(&data).unwrap();
    let error = load(&path).unwrap_err().to_string();
    assert!(
        error.contains("m.onnx.data") && error.contains("hint:"),
        "{error}"
    );
}

#[test]
fn failures_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = model();
    let missing = save(
        &model,
        &folder.path().join("no/such/m.onnx"),
        &SaveOptions::default(),
    )
    .unwrap_err();
    assert!(
        missing.to_string().contains("m.onnx") && missing.to_string().contains("hint:"),
        "{missing}"
    );
    let too_old = SaveOptions {
        opset: Some(7),
        ..SaveOptions::default()
    };
    let mut unsayable = model.clone();
    let output = unsayable.graph.outputs[0];
    unsayable.graph.add_node("z", Unary::Mish, &[output]);
    let error = save(&unsayable, &folder.path().join("m.onnx"), &too_old)
        .unwrap_err()
        .to_string();
    assert!(error.contains("Mish") && error.contains("18"), "{error}");
    fs::create_dir(folder.path().join("taken.onnx")).unwrap();
    assert!(save(&model, &folder.path().join("taken.onnx"), &SaveOptions::default()).is_err());
    assert_eq!(names(folder.path()), ["taken.onnx"]);
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("missing.onnx")] {
        let error = load(&path).unwrap_err().to_string();
        assert!(
            error.contains("hint:") && error.contains(&*path.to_string_lossy()),
            "{error}"
        );
    }
}

#[cfg(unix)]
#[test]
fn written_files_have_ordinary_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let ordinary = folder.path().join("ordinary");
    fs::write(&ordinary, "").unwrap();
    save(&model(), &folder.path().join("m.onnx"), &SaveOptions::default()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&folder.path().join("m.onnx")), mode(&ordinary));
}
