//! Shape inference against what the ONNX standard's test models declare.
//!
//! `BANTAM_ONNX_TESTS` is a folder with ONNX files below it, as the `onnx` Python package generates them.
//! Where test data lies beside a model, its inputs are made constants, so that shapes that depend on them must come
//! out exactly as those of the test's outputs.

#![expect(clippy::print_stderr, reason = "says what was checked, or why nothing was")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bantam_formats::onnx;
use bantam_graph::infer::types_are_compatible;
use bantam_graph::{Dim, Graph, InferOptions, ValueType, infer_shapes, verify_model};
use bantam_tensor::Tensor;

/// Models of the folder, in order.
fn models(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "onnx") {
                found.push(entry);
            }
        }
    }
    found.sort();
    found
}

/// Forgets what the file says of values that nodes produce.
fn forget(graph: &mut Graph) -> Vec<ValueType> {
    let declared = graph
        .outputs
        .iter()
        .map(|id| graph.value(*id).ty.clone())
        .collect();
    for node in &graph.nodes {
        for output in node.outputs.iter().flatten() {
            graph.values[output.index()].ty = ValueType::Unknown;
        }
    }
    declared
}

/// The test's tensors of a kind, in order; empty where there are none or they are no tensors.
fn tensors(folder: &Path, kind: &str, count: usize) -> Vec<Option<Tensor>> {
    let read = |index: usize| {
        let path = folder.join("test_data_set_0").join(format!("{kind}_{index}.pb"));
        let bytes = std::fs::read(path).ok()?;
        onnx::read_tensor(&bytes.into()).ok().map(|(_, tensor)| tensor)
    };
    (0..count).map(read).collect()
}

/// Makes the inputs that the test gives constants.
fn fix_inputs(graph: &mut Graph, given: Vec<Option<Tensor>>) {
    let inputs = std::mem::take(&mut graph.inputs);
    for (id, tensor) in inputs.into_iter().zip(given) {
        match tensor {
            Some(tensor) => graph.value_mut(id).initializer = Some(tensor),
            None => graph.inputs.push(id),
        }
    }
}

#[derive(Default)]
struct Tally {
    complete: usize,
    rank: usize,
    unknown: usize,
    unreadable: usize,
    wrong: Vec<String>,
    vague_ops: BTreeMap<String, usize>,
}

fn check(path: &Path, with_data: bool, tally: &mut Tally) -> Result<(), String> {
    let Ok(mut model) = onnx::load(path) else {
        tally.unreadable += 1;
        return Ok(());
    };
    verify_model(&model).map_err(|error| error.to_string())?;
    let mut expected = forget(&mut model.graph);
    if with_data {
        let folder = path.parent().unwrap();
        let given = tensors(folder, "input", model.graph.inputs.len());
        fix_inputs(&mut model.graph, given);
        let outputs = tensors(folder, "output", expected.len());
        for (ty, tensor) in expected.iter_mut().zip(outputs) {
            if let Some(tensor) = tensor {
                let shape = tensor.shape().iter().copied().map(Dim::Known).collect();
                *ty = ValueType::tensor(tensor.dtype(), shape);
            }
        }
    }
    infer_shapes(&mut model.graph, &InferOptions::default()).map_err(|error| error.to_string())?;
    let ops: Vec<&str> = model.graph.nodes.iter().map(|node| node.op.name()).collect();
    for (id, expected) in model.graph.outputs.iter().zip(&expected) {
        let inferred = &model.graph.value(*id).ty;
        if !types_are_compatible(inferred, expected) {
            return Err(format!(
                "inferred {inferred}, expected {expected} ({})",
                ops.join(" ")
            ));
        }
        let counter = match (inferred.dtype(), inferred.static_shape(), inferred.shape()) {
            (Some(_), Some(_), _) => &mut tally.complete,
            (Some(_), None, Some(_)) => &mut tally.rank,
            _ => &mut tally.unknown,
        };
        *counter += 1;
        if inferred.dtype().is_none() || inferred.static_shape().is_none() {
            *tally.vague_ops.entry(ops.join(" ")).or_default() += 1;
        }
    }
    Ok(())
}

/// Checks every model, with the test's data as constants or with what the file declares alone.
fn check_all(with_data: bool) {
    let Some(root) = std::env::var_os("BANTAM_ONNX_TESTS") else {
        eprintln!("skipped: BANTAM_ONNX_TESTS is not set");
        return;
    };
    let models = models(Path::new(&root));
    assert!(
        !models.is_empty(),
        "no ONNX file under {}",
        Path::new(&root).display()
    );
    let mut tally = Tally::default();
    for path in &models {
        if let Err(problem) = check(path, with_data, &mut tally) {
            tally.wrong.push(format!("{}: {problem}", path.display()));
        }
    }
    let Tally {
        complete,
        rank,
        unknown,
        unreadable,
        ..
    } = tally;
    eprintln!(
        "{} models: {unreadable} not read; outputs: {complete} known, {rank} by rank, {unknown} unknown",
        models.len()
    );
    eprintln!("not fully known: {:?}", tally.vague_ops);
    assert!(
        tally.wrong.is_empty(),
        "{} wrong:\n{}",
        tally.wrong.len(),
        tally.wrong.join("\n")
    );
}

#[test]
fn inferred_types_agree_with_what_the_standards_tests_declare() {
    check_all(false);
}

#[test]
fn inferred_types_agree_with_what_the_standards_tests_return() {
    check_all(true);
}
