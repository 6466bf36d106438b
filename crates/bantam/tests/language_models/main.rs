//! Language models give the scores of the reference, with and without a cache of keys and values.

#![expect(clippy::print_stderr, reason = "says why nothing was checked")]

mod converted;
mod files;
mod goldens;
mod quantized;
mod stories;

use std::path::{Path, PathBuf};

use bantam::exec::{CompileOptions, Program, Taps, compile};
use bantam::formats::huggingface::{self, Form};
use bantam::tensor::{DType, Tensor};

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

/// Scores of ids `[batch, length]` by a program with a cache, which gets so many tokens at a time.
fn in_parts(folder: &Path, ids: &Tensor, parts: &[usize]) -> Tensor {
    let model = huggingface::load(folder, Form::Cached).unwrap_or_else(|error| panic!("{error}"));
    let program = compile(&model.graph, &CompileOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let (batch, length) = (ids.shape()[0], ids.shape()[1]);
    let past = model.graph.inputs[1..].iter().map(|id| model.graph.value(*id));
    let (names, mut past): (Vec<String>, Vec<Tensor>) = past
        .map(|value| {
            let dims = value.ty.shape().unwrap();
            let shape = [batch, dims[1].known().unwrap(), 0, dims[3].known().unwrap()];
            (value.name.clone(), Tensor::zeros(DType::F32, &shape).unwrap())
        })
        .unzip();
    let ids = ids.to_i64().unwrap();
    let (mut at, mut rows) = (0, vec![Vec::<f32>::new(); batch]);
    for &count in parts {
        let part = ids.chunks(length).flat_map(|row| row[at..at + count].to_vec());
        let part = Tensor::from_slice(&[batch, count], &part.collect::<Vec<i64>>()).unwrap();
        let mut inputs = vec![("input_ids", part)];
        inputs.extend(names.iter().map(String::as_str).zip(past));
        let mut outputs = run(&program, &inputs);
        past = outputs.split_off(1);
        let scores = outputs[0].to_f32().unwrap();
        let chunks = scores.chunks(scores.len() / batch);
        rows.iter_mut()
            .zip(chunks)
            .for_each(|(row, chunk)| row.extend(chunk));
        at += count;
    }
    let rows = rows.concat();
    Tensor::from_slice(&[batch, at, rows.len() / batch / at], &rows).unwrap()
}
