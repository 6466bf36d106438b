//! Tiny random models of every architecture, against `transformers` (`goldens/generate.py`).

use std::path::PathBuf;

use bantam::formats::data::read_npy;
use bantam::formats::huggingface::{self, ARCHITECTURES, Form};
use bantam::pipeline;
use bantam::tensor::Tensor;

use super::{difference, program, run};

/// Largest difference of scores of about 10, of which both sides compute each in `f32` in another order.
const TOLERANCE: f64 = 2e-5;

/// The golden folders, with the architecture of each.
const FOLDERS: &[(&str, &str)] = &[
    ("llama", "llama"),
    ("llama3", "llama"),
    ("mistral", "mistral"),
    ("qwen2", "qwen2"),
    ("qwen3", "qwen3"),
    ("gemma", "gemma"),
    ("gemma2", "gemma2"),
    ("gemma3", "gemma3_text"),
    ("phi", "phi"),
    ("phi3", "phi3"),
    ("gpt2", "gpt2"),
    ("bert_masked", "bert"),
    ("bert_classes", "bert"),
];

pub(super) fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/language_models/goldens")
        .join(name)
}

/// The ids, and for encoders a mask of the second sample's last tokens and two segments.
fn inputs(name: &str) -> Vec<(&'static str, Tensor)> {
    let mut inputs = vec![("input_ids", read_npy(&folder(name).join("ids.npy")).unwrap())];
    if name.starts_with("bert") {
        let mask: Vec<i64> = (0..18).map(|index| i64::from(index < 15)).collect();
        let segments: Vec<i64> = (0..18).map(|index| i64::from(index % 9 >= 4)).collect();
        inputs.push(("attention_mask", Tensor::from_slice(&[2, 9], &mask).unwrap()));
        inputs.push(("token_type_ids", Tensor::from_slice(&[2, 9], &segments).unwrap()));
    }
    inputs
}

/// Scores of tokens that are not masked.
fn seen(name: &str, scores: &Tensor) -> Tensor {
    let rows = if name == "bert_masked" {
        15
    } else {
        scores.shape()[0] * scores.shape()[1..scores.rank() - 1].iter().product::<usize>()
    };
    let classes = scores.shape()[scores.rank() - 1];
    let values = scores.to_f32().unwrap();
    Tensor::from_slice(&[rows, classes], &values[..rows * classes]).unwrap()
}

#[test]
fn every_architecture_gives_the_scores_of_the_reference() {
    for (name, _) in FOLDERS {
        let scores = run(&program(&folder(name), Form::Whole), &inputs(name));
        let expected = read_npy(&folder(name).join("expected.npy")).unwrap();
        assert_eq!(scores[0].shape(), expected.shape(), "{name}");
        let error = difference(&seen(name, &scores[0]), &seen(name, &expected));
        assert!(error < TOLERANCE, "{name}: {error}");
    }
}

#[test]
fn every_architecture_has_a_golden_folder() {
    for architecture in ARCHITECTURES {
        assert!(
            FOLDERS.iter().any(|(_, name)| *name == architecture.name),
            "{}",
            architecture.name
        );
    }
}

#[test]
fn prepared_graphs_and_caches_change_nothing() {
    for (name, _) in FOLDERS.iter().filter(|(_, name)| *name != "bert") {
        let inputs = inputs(name);
        let whole = run(&program(&folder(name), Form::Whole), &inputs);
        let model = huggingface::load(&folder(name), Form::Whole).unwrap();
        let prepared = run(&pipeline::compile(&model).unwrap(), &inputs);
        assert!(difference(&whole[0], &prepared[0]) < TOLERANCE, "{name}");
        let cached = super::in_parts(&folder(name), &inputs[0].1, &[4, 1, 1, 3]);
        let error = difference(&whole[0], &cached);
        assert!(error < TOLERANCE, "{name}: {error}");
    }
}

#[test]
fn written_folders_are_read_back() {
    let temporary = tempfile::tempdir().unwrap();
    for (name, _) in FOLDERS {
        let model = huggingface::load(&folder(name), Form::Whole).unwrap();
        let copy = temporary.path().join(name);
        huggingface::save(&model, &copy, Some(&folder(name))).unwrap();
        let again = huggingface::load(&copy, Form::Whole).unwrap();
        assert_eq!(again.graph, model.graph, "{name}");
    }
}
