//! The story model of the data folder.

use std::path::Path;

use bantam::NoProgress;
use bantam::formats::data::{DataSet, read_npy};
use bantam::formats::huggingface::Form;
use bantam::jobs::{EvalJob, GenerateJob, RuntimeChoice, eval, generate};
use bantam::tensor::{Samples, Tensor};

use super::{difference, in_parts, program, run, stories};

/// The first `count` tokens of row 0.
fn tokens(folder: &Path, count: usize) -> Vec<i64> {
    let rows = read_npy(&folder.join("valid_tokens.npy")).unwrap();
    rows.to_i64().unwrap()[..count].to_vec()
}

#[test]
fn logits_are_those_of_the_reference() {
    let Some(folder) = stories() else { return };
    let program = program(&folder, Form::Whole);
    let ids = Tensor::from_slice(&[1, 64], &tokens(&folder, 64)).unwrap();
    let logits = run(&program, &[("input_ids", ids)]);
    let expected = read_npy(&folder.join("expected_logits_row0_0_64.npy")).unwrap();
    assert_eq!(logits[0].shape(), [1, 64, 512]);
    let error = difference(&logits[0], &expected);
    assert!(error < 1e-4, "{error}");
}

#[test]
fn a_cache_changes_nothing() {
    let Some(folder) = stories() else { return };
    let ids = Tensor::from_slice(&[1, 24], &tokens(&folder, 24)).unwrap();
    let whole = run(&program(&folder, Form::Whole), &[("input_ids", ids.clone())]);
    let error = difference(&whole[0], &in_parts(&folder, &ids, &[20, 1, 3]));
    assert!(error < 1e-4, "{error}");
}

/// A manifest for the story model; it lies in a folder of its own, with links to the files that it names.
#[cfg(unix)]
pub(super) fn manifest(folder: &Path) -> tempfile::TempDir {
    let own = tempfile::tempdir().unwrap();
    for name in ["valid_tokens.npy", "tinystories_valid.txt", "tokenizer.json"] {
        std::os::unix::fs::symlink(folder.canonicalize().unwrap().join(name), own.path().join(name)).unwrap();
    }
    let text = r#"
        [splits.train]
        tokens = "valid_tokens.npy"
        rows = [0, 100]
        [splits.test]
        tokens = "valid_tokens.npy"
        rows = [100, 753]
        [splits.all]
        tokens = "valid_tokens.npy"
        [splits.text]
        text = "tinystories_valid.txt"
        separator = "<|endoftext|>"
    "#;
    std::fs::write(own.path().join("stories.toml"), text).unwrap();
    own
}

#[cfg(unix)]
#[test]
fn text_becomes_the_published_tokens() {
    let Some(folder) = stories() else { return };
    let own = manifest(&folder);
    let data = DataSet::open(&own.path().join("stories.toml")).unwrap();
    let (text, rows) = (data.split("text").unwrap(), data.split("all").unwrap());
    assert_eq!((text.len(), rows.len()), (753, 753));
    for index in [0, 1, 100, 752] {
        let [text, rows] = [&text, &rows].map(|split| split.batch(&[index]).unwrap());
        let values = |tensor: &Tensor| tensor.to_i64().unwrap();
        assert_eq!(
            values(&text.inputs[0].1),
            values(&rows.inputs[0].1),
            "row {index}"
        );
        assert_eq!(
            values(&text.labels.unwrap()),
            values(&rows.labels.unwrap()),
            "row {index}"
        );
    }
}

/// The published loss of the calibration rows, 1.2459 nats.
#[cfg(unix)]
#[test]
fn the_loss_of_the_first_rows_is_the_published_one() {
    let Some(folder) = stories() else { return };
    let own = manifest(&folder);
    let job = EvalJob {
        model: folder,
        data: own.path().join("stories.toml"),
        split: "train".to_owned(),
        metrics: ["perplexity", "nll", "next-token"].map(str::to_owned).to_vec(),
        runtime: RuntimeChoice::Bantam,
        limit: usize::MAX,
        batch: None,
        threads: 0,
    };
    let report = eval(&job, &NoProgress).unwrap().scores;
    let loss = report.metrics["nll"];
    assert_eq!(report.samples, 100);
    assert!((loss.value - 1.2459).abs() < 1e-4, "{loss:?}");
    assert!((report.metrics["perplexity"].value - loss.value.exp()).abs() < 1e-9);
    assert!(loss.low < loss.value && loss.value < loss.high, "{loss:?}");
}

#[test]
fn the_greedy_story_is_the_published_one() {
    let Some(folder) = stories() else { return };
    let job = GenerateJob {
        model: folder,
        tokenizer: None,
        prompt: String::new(),
        tokens: 60,
    };
    let report = generate(&job, &NoProgress).unwrap();
    let expected = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, \
                    she saw a big, red ball.";
    assert!(report.text.starts_with(expected), "{}", report.text);
}
