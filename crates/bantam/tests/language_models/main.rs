//! Language models give the scores of the reference, with and without a cache of keys and values.

#![expect(clippy::print_stderr, reason = "says why nothing was checked")]

mod stories;

use std::path::{Path, PathBuf};

use bantam::exec::{CompileOptions, Program, Taps, compile};
use bantam::formats::huggingface::{self, Form};
use bantam::tensor::Tensor;

/// The folder of the story model; `None` where there is no data folder.
fn stories() -> Option<PathBuf> {
    let beside_the_workspace = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let folder = std::env::var_os("BANTAM_DATA").map_or_else(beside_the_workspace, PathBuf::from);
    let folder = folder.join("stories260k");
    if !folder.exists() {
        eprintln!("skipped: no {}; set BANTAM_DATA", folder.display());
        return None;
    }
    Some(folder)
}

/// A program of a folder's model.
fn program(folder: &Path, form: Form) -> Program {
    let model = huggingface::load(folder, form).unwrap_or_else(|error| panic!("{error}"));
    compile(&model.graph, &CompileOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn run(program: &Program, inputs: &[(&str, Tensor)]) -> Vec<Tensor> {
    program
        .run(inputs, &mut Taps::none())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Largest difference of two lists of the same length.
fn difference(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_f64().unwrap(), b.to_f64().unwrap());
    assert_eq!(a.len(), b.len());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}
