//! The main job on a small real data set that ships inside: the UCI optical digits and a small residual network.

use std::path::{Path, PathBuf};

use bantam_compress::target::target_by_name;
use bantam_compress::train::TrainSettings;
use bantam_formats::onnx::SaveOptions;
use serde::Serialize;

use crate::jobs::{
    Budget, CompressJob, CompressReport, ReinitializeJob, RuntimeChoice, TrainJob, TrainReport, compress,
    reinitialize, train,
};
use crate::networks::Initialization;
use crate::{Error, Progress, write_whole};

/// The files of the demo, as `demo/train.py` made them.
static FILES: &[(&str, &[u8])] = &[
    ("digits.onnx", include_bytes!("../demo/digits.onnx")),
    ("digits.toml", include_bytes!("../demo/digits.toml")),
    (
        "digits-validation.toml",
        include_bytes!("../demo/digits-validation.toml"),
    ),
    ("train_x.npy", include_bytes!("../demo/train_x.npy")),
    ("train_y.npy", include_bytes!("../demo/train_y.npy")),
    ("test_x.npy", include_bytes!("../demo/test_x.npy")),
    ("test_y.npy", include_bytes!("../demo/test_y.npy")),
    ("NOTICE", include_bytes!("../demo/NOTICE")),
];

/// Writes the demo's files into a folder, made if it is absent.
pub fn write_files(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::File {
        path: folder.to_owned(),
        action: "the folder cannot be made",
        source,
        hint: "choose another folder with --output",
    })?;
    FILES
        .iter()
        .try_for_each(|(name, contents)| write_whole(&folder.join(name), contents))
}

/// Writes the demo's network with weights that have learned nothing yet, as `digits-fresh.onnx`; gives its path.
///
/// # Errors
/// When [`write_files`] has not been there, or the file cannot be written.
pub fn write_fresh_network(folder: &Path, seed: u64) -> Result<PathBuf, Error> {
    let output = folder.join("digits-fresh.onnx");
    reinitialize(&ReinitializeJob {
        model: folder.join("digits.onnx"),
        initialization: Initialization::Standard,
        seed,
        output: output.clone(),
    })?;
    Ok(output)
}

/// What the demo did.
#[derive(Clone, Debug, Serialize)]
pub struct DemoReport {
    /// The network's training, from scratch.
    pub training: TrainReport,
    /// What became of the trained network.
    #[serde(flatten)]
    pub compression: CompressReport,
}

/// Trains a fresh network, finds the smallest one that loses at most a point, and scores both on the test images.
///
/// # Errors
/// When the folder cannot be written to.
pub fn demo(folder: &Path, progress: &dyn Progress) -> Result<DemoReport, Error> {
    write_files(folder)?;
    let fresh = write_fresh_network(folder, 0)?;
    let trained = folder.join("digits-trained.onnx");
    let training = train(&train_job(folder, fresh, trained.clone()), progress)?;
    let compression = compress(&compress_job(folder, trained), progress)?;
    Ok(DemoReport {
        training,
        compression,
    })
}

/// A few seconds of training from scratch.
fn train_job(folder: &Path, model: PathBuf, output: PathBuf) -> TrainJob {
    TrainJob {
        model,
        data: folder.join("digits-validation.toml"),
        settings: TrainSettings {
            epochs: 20,
            batch: 32,
            learning_rate: 0.05,
            warmup: 1.0,
            weight_decay: 5e-4,
            ..TrainSettings::default()
        },
        quantize: None,
        algorithms: crate::pipeline::Algorithms::default(),
        progressive: Vec::new(),
        calibration_samples: 0,
        teacher: None,
        checkpoint: folder.join("digits-trained.checkpoint"),
        keep_checkpoint: false,
        checkpoint_steps: None,
        resume: false,
        metrics_out: Some(folder.join("digits-trained.jsonl")),
        score_split: None,
        score_epochs: false,
        metrics: vec!["top1".to_owned()],
        limit: usize::MAX,
        output,
        save: SaveOptions::default(),
    }
}

/// The smallest network that loses at most a point.
fn compress_job(folder: &Path, model: PathBuf) -> CompressJob {
    CompressJob {
        model,
        data: folder.join("digits-validation.toml"),
        target: target_by_name("onnxruntime").expect("listed"),
        runtime: Some(RuntimeChoice::Bantam),
        cost_model: None,
        metric: None,
        budget: Budget {
            max_drop: 1.0,
            ..Budget::default()
        },
        keep: vec![0.8, 0.6, 0.4, 0.2],
        widths: vec![8, 4],
        epochs: 0,
        learning_rate: 0.003,
        exclude: Vec::new(),
        samples: 256,
        validation_samples: 250,
        batch: 1,
        threads: 1,
        limit: usize::MAX,
        corruptions: None,
        seed: 0,
        command: "bantam demo".to_owned(),
        keep_search: false,
        output: folder.join("digits-small.onnx"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoProgress;
    use crate::jobs::{EvalJob, eval};

    #[test]
    fn the_fresh_network_guesses() {
        let folder = tempfile::tempdir().unwrap();
        write_files(folder.path()).unwrap();
        let score = |model: PathBuf| {
            let job = EvalJob {
                model,
                data: folder.path().join("digits.toml"),
                split: "test".to_owned(),
                metrics: vec!["top1".to_owned()],
                runtime: RuntimeChoice::Bantam,
                limit: usize::MAX,
                batch: None,
                threads: 1,
            };
            eval(&job, &NoProgress).unwrap().scores.metrics["top1"].value
        };
        assert!(score(folder.path().join("digits.onnx")) > 0.98);
        // One in ten by chance; weights that have not learned may still tell a few digits from the others.
        assert!(score(write_fresh_network(folder.path(), 0).unwrap()) < 0.4);
    }
}
