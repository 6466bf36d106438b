//! `bantam analyze`.

use std::path::PathBuf;

use clap::Args;

pub(super) const EXAMPLES: &str = "Examples:
  bantam analyze model.onnx --data data.toml
  bantam analyze model.onnx --data data.toml --weights int4 --try 5 --plots ranges
  bantam analyze model.onnx --data data.toml --range minmax --granularity tensor --json";

#[derive(Args)]
pub(crate) struct Analyze {
    /// Model: an ONNX file
    pub(crate) model: PathBuf,
    /// Data set: a TOML manifest, or an array file or image folder; labels are not needed (with classes, the loss of the task is said too)
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Number format of weights [default: the target's]
    #[arg(long)]
    pub(crate) weights: Option<String>,
    /// Number format of activations, or float [default: the target's]
    #[arg(long)]
    pub(crate) activations: Option<String>,
    /// Number format of the first and last layer, or none for that of the others
    #[arg(long, default_value = "none")]
    pub(crate) edges: String,
    /// Scales of weights: channel or tensor
    #[arg(long, default_value = "channel")]
    pub(crate) granularity: String,
    /// Range method of activations
    #[arg(long, default_value = "minmax")]
    pub(crate) range: String,
    /// Range method of weights
    #[arg(long, default_value = "mse")]
    pub(crate) weight_range: String,
    /// Zero points of activations fixed to the middle, or not [default: the target's]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) symmetric_activations: Option<bool>,
    /// Runtime that the result would be for
    #[arg(long, default_value = "onnxruntime")]
    pub(crate) target: String,
    /// Try what would help, for so many of the worst layers
    #[arg(long = "try", default_value_t = 0, value_name = "LAYERS")]
    pub(crate) tries: usize,
    /// Folder for a picture of each layer: the ranges of its channels, outliers marked (SVG)
    #[arg(long, value_name = "FOLDER")]
    pub(crate) plots: Option<PathBuf>,
    /// Number of calibration samples
    #[arg(long, default_value_t = 512)]
    pub(crate) samples: usize,
    /// Number of those that outputs are compared on
    #[arg(long, default_value_t = 128)]
    pub(crate) compared: usize,
    /// Chooses the samples
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
