//! Real files: the models of the `onnx` package, and trained networks.
//!
//! `BANTAM_ONNX_TESTS` is a folder with ONNX files below it, as `onnx/backend/test/data` of the package has them;
//! `BANTAM_DATA` one with `models/*.onnx`.

#![expect(clippy::print_stderr, reason = "says what was checked, or why nothing was")]

use std::path::{Path, PathBuf};

use bantam_formats::onnx::{encode, load, read};
use bytes::Bytes;

/// ONNX files below a folder.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "onnx") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Reads a file, writes it at its own opset, and reads that again: the text of the graph must be the same.
fn round_trip(path: &Path) -> Result<(), String> {
    let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let model = load(path).map_err(|error| fail(&error))?;
    let encoded = Bytes::from(encode(&model, None).map_err(|error| fail(&error))?);
    let again = read(&encoded, None).map_err(|error| fail(&error))?;
    if again.graph.to_string() != model.graph.to_string() {
        return Err(fail(&format!("changed from\n{}to\n{}", model.graph, again.graph)));
    }
    if encode(&again, None).map_err(|error| fail(&error))? != encoded {
        return Err(fail(&"writing is not stable"));
    }
    Ok(())
}

fn check_all(paths: &[PathBuf]) {
    let failed: Vec<String> = paths.iter().filter_map(|path| round_trip(path).err()).collect();
    eprintln!("{} files read and written, {} failed", paths.len(), failed.len());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn models_of_the_onnx_package_round_trip() {
    match std::env::var_os("BANTAM_ONNX_TESTS") {
        Some(folder) => check_all(&files(Path::new(&folder))),
        None => eprintln!("skipped: set BANTAM_ONNX_TESTS to a folder of ONNX files"),
    }
}

#[test]
fn trained_models_round_trip() {
    let beside_the_workspace = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("BANTAM_DATA")
        .map_or_else(beside_the_workspace, PathBuf::from)
        .join("models");
    match files(&folder) {
        none if none.is_empty() => eprintln!("skipped: no {}/*.onnx; set BANTAM_DATA", folder.display()),
        found => check_all(&found),
    }
}
