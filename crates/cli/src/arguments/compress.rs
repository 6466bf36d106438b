//! `bantam compress`.

use std::path::PathBuf;

use clap::Args;

pub(super) const EXAMPLES: &str = "Examples:
  bantam compress model.onnx --data data.toml --max-drop 0.5 -o model-small.onnx
  bantam compress model.onnx --data data.toml --minimize latency --epochs 3 --time-limit 20m -o model-fast.onnx
  bantam compress model.onnx --data data.toml --minimize loss --max-bytes 140KB -o model-140k.onnx
  bantam compress model.onnx --data data.toml --min-score 0.91 --max-bytes 300KB -o model-small.onnx
  bantam compress model.onnx --data data.toml --recipe prune50-int8 -o model-small.onnx

A search or recipe that was interrupted goes on where it stopped when the same command is given again.
Beside the result of a search are FILE.report.html, to look at, and FILE.report.json; beside that of a recipe FILE.recipe.toml, which makes it again.";

#[derive(Args)]
pub(crate) struct Compress {
    /// Model: an ONNX file
    pub(crate) model: PathBuf,
    /// Data set: a TOML manifest. Samples of its split `train` calibrate; those of `validation`, if there is one, decide; `test`
    /// scores the result
    #[arg(long, required_unless_present = "recipe")]
    pub(crate) data: Option<PathBuf>,
    /// Take these steps instead of searching: a TOML file, or one of `bantam list recipes`
    #[arg(long, value_name = "FILE|NAME", conflicts_with_all = [
        "max_drop", "min_score", "max_bytes", "max_activation_bytes", "max_latency", "cost_model", "minimize", "confidence", "time_limit", "target", "runtime", "keep", "widths", "epochs",
        "learning_rate", "exclude", "samples", "validation_samples", "batch", "threads", "corruptions", "keep_search",
    ])]
    pub(crate) recipe: Option<String>,
    /// Most that may be lost: points of top1 and other shares, percent of other metrics [default: 0.5; with --minimize loss, no limit]
    #[arg(long)]
    pub(crate) max_drop: Option<f64>,
    /// Least score; a share is written as 0.91
    #[arg(long)]
    pub(crate) min_score: Option<f64>,
    /// Most bytes of the file, as 300KB [default: the target's memory, where it is small]
    #[arg(long, value_parser = super::train::bytes)]
    pub(crate) max_bytes: Option<u64>,
    /// Most bytes of values of one sample at once, as 256KB [default: the target's memory, where it is small; `bantam list targets`]
    #[arg(long, value_parser = super::train::bytes)]
    pub(crate) max_activation_bytes: Option<u64>,
    /// Most milliseconds of a run
    #[arg(long)]
    pub(crate) max_latency: Option<f64>,
    /// What is to be as small as possible: size, latency, bit-operations, energy (by a model), or loss (within --max-bytes)
    #[arg(long, default_value = "size")]
    pub(crate) minimize: String,
    /// Stop looking for better networks after this time, as 90s or 20m
    #[arg(long)]
    pub(crate) time_limit: Option<String>,
    /// How sure it must be that no more is lost on new samples; 50% takes the mean of those that decide as it is
    #[arg(long, default_value = "95%")]
    pub(crate) confidence: String,
    /// Runtime that the result is for
    #[arg(long, default_value = "onnxruntime")]
    pub(crate) target: String,
    /// What measures latency: bantam, onnxruntime or openvino [default: the target, if it is there]
    #[arg(long)]
    pub(crate) runtime: Option<String>,
    /// Model latency by this file, which `bantam bench --fit` writes, instead of measuring it; for targets without a runtime here the
    /// default is a model of published limits
    #[arg(long, value_name = "FILE", conflicts_with = "runtime")]
    pub(crate) cost_model: Option<PathBuf>,
    /// Metric that must not fall [default: top1, or perplexity of language models; without labels, agreement with the model]
    #[arg(long)]
    pub(crate) metric: Option<String>,
    /// Shares of parameters (of MACs where latency or operations count) that may be left, from many to few
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "95%,90%,80%,70%,60%,50%,40%,30%,20%"
    )]
    pub(crate) keep: Vec<String>,
    /// Bits of weights to choose from [default: 8,6,5,4,3,2; 8,4 for targets whose files have no others]
    #[arg(long, value_delimiter = ',')]
    pub(crate) widths: Vec<u32>,
    /// Train candidates that lose too much for so many epochs, with the model for a teacher
    #[arg(long, default_value_t = 0)]
    pub(crate) epochs: usize,
    /// The largest learning rate of that training
    #[arg(long, default_value_t = 0.003)]
    pub(crate) learning_rate: f32,
    /// Keep these nodes as they are: op:CONV, name:GLOB or role:first|last|depthwise; repeatable
    #[arg(long)]
    pub(crate) exclude: Vec<String>,
    /// Number of calibration samples
    #[arg(long, default_value_t = 512)]
    pub(crate) samples: usize,
    /// Most samples that networks are judged by
    #[arg(long, default_value_t = 2000)]
    pub(crate) validation_samples: usize,
    /// Samples of a run that is timed
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Threads of runs that are timed [default: one for each core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,
    /// Score the result on so many test samples only
    #[arg(long)]
    pub(crate) limit: Option<usize>,
    /// Score the result on corrupted images too: all, or names and families, separated by commas (`bantam list corruptions`)
    #[arg(long, num_args = 0..=1, default_missing_value = "all", value_delimiter = ',')]
    pub(crate) corruptions: Option<Vec<String>>,
    /// Strengths of the corruptions, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,3,5",
        requires = "corruptions"
    )]
    pub(crate) strengths: Vec<usize>,
    /// Chooses samples
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Keep the folder FILE.search with all networks that were built
    #[arg(long)]
    pub(crate) keep_search: bool,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// File for the result
    #[arg(short, long)]
    pub(crate) output: PathBuf,
}
