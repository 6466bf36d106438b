//! The arguments of `bantam prune`.

use std::path::PathBuf;

use clap::Args;

use super::Saving;

pub(super) const EXAMPLES: &str = "Examples:
  bantam prune model.onnx --data data.toml --sparsity 80% -o model-sparse.onnx
  bantam prune model.onnx --data data.toml --criterion fisher --sparsity 90% --exclude role:last -o model-sparse.onnx
  bantam prune llama-folder --data tokens.toml --structure 2:4 --criterion wanda -o llama-2of4.onnx
  bantam prune model.onnx --data data.toml --structure channel --target-macs 50% -o model-small.onnx
  bantam prune model.onnx --data data.toml --structure channel --target-macs 50% --steps 2 --epochs 6 -o model-small.onnx
  bantam prune encoder.onnx --data data.toml --structure layer --sparsity 20% -o encoder-short.onnx
  bantam prune model.onnx --sparsity 50% --scope erk --dry-run";

#[derive(Args)]
pub(crate) struct Prune {
    /// Model: an ONNX file, a Hugging Face folder or a GGUF file
    pub(crate) model: PathBuf,
    /// Data set: a TOML manifest, or an array file or image folder
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// What is removed at once: unstructured, N:M for N that stay of M neighbouring inputs as 2:4, block:ROWSxCOLUMNS; channel, head
    /// or layer, which leave a smaller network
    #[arg(long, default_value = "unstructured")]
    pub(crate) structure: String,
    /// What says how much weights matter: `bantam list criteria`, of layers `bantam list layer-criteria` [default: magnitude; of
    /// channels lamp, of layers influence]
    #[arg(long)]
    pub(crate) criterion: Option<String>,
    /// Share of zeros among the weights afterwards, as 80% or 0.8; N:M says it itself
    #[arg(long)]
    pub(crate) sparsity: Option<String>,
    /// In so many steps; after each, the weights that are left are scored anew
    #[arg(long, default_value_t = 1)]
    pub(crate) steps: usize,
    /// With N:M, let channels change places first so that more is kept, the inputs of a layer with the outputs that make them
    #[arg(long)]
    pub(crate) permute: bool,
    /// Among which weights the least go: global, layer, row or erk [default: the criterion's]
    #[arg(long)]
    pub(crate) scope: Option<String>,
    /// How the weights that stay make up for the others: none, least-squares, sparsegpt or obs [default: least-squares where there
    /// are data, else none]
    #[arg(long)]
    pub(crate) reconstruct: Option<String>,
    /// Runtime that the result is for: `bantam list targets`
    #[arg(long)]
    pub(crate) target: Option<String>,
    #[command(flatten)]
    pub(crate) removal: Removal,
    #[command(flatten)]
    pub(crate) recovery: Recovery,
    /// Leave statistics of BatchNormalization and biases as they are
    #[arg(long)]
    pub(crate) no_recalibrate: bool,
    /// What gradients are of: cross-entropy, binary-cross-entropy, mse or next-token [default: cross-entropy, or next-token of
    /// language models]
    #[arg(long)]
    pub(crate) loss: Option<String>,
    /// Number of samples to look at
    #[arg(long, default_value_t = 512)]
    pub(crate) samples: usize,
    /// Chooses the samples
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Prune only these nodes: op:CONV, name:GLOB or role:first|last|depthwise; repeatable
    #[arg(long)]
    pub(crate) include: Vec<String>,
    /// Leave these nodes as they are; repeatable
    #[arg(long)]
    pub(crate) exclude: Vec<String>,
    /// Apply this plan instead of making one
    #[arg(long)]
    pub(crate) plan: Option<PathBuf>,
    /// Write the plan
    #[arg(long)]
    pub(crate) plan_out: Option<PathBuf>,
    /// Say what would go, and write no model
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not score the two models
    #[arg(long)]
    pub(crate) no_eval: bool,
    /// Metric of the scores; repeatable [default: top1, or perplexity of language models]
    #[arg(long)]
    pub(crate) metric: Vec<String>,
    /// Score on so many samples only
    #[arg(long)]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) saving: Saving,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// File for the result
    #[arg(short, long, required_unless_present = "dry_run", conflicts_with = "dry_run")]
    pub(crate) output: Option<PathBuf>,
}

/// Training that is done with the pruning.
#[derive(Args)]
#[command(next_help_heading = "Training between steps and after")]
pub(crate) struct Recovery {
    /// Train for so many epochs in all: an equal number after each of the steps, and what is left after the last. The command goes
    /// on where it was interrupted when it is given again
    #[arg(long, requires = "data", conflicts_with_all = ["plan", "plan_out", "dry_run"])]
    pub(crate) epochs: Option<usize>,
    /// How what is gone grows from step to step: geometric, where each keeps the same share of what is left, or cubic
    #[arg(long, default_value = "geometric", requires = "epochs")]
    pub(crate) schedule: String,
    /// Network to learn from: an ONNX file, or none for labels alone [default: the model as it was]
    #[arg(long, requires = "epochs")]
    pub(crate) teacher: Option<String>,
    /// The largest learning rate of each training
    #[arg(long, default_value_t = 0.002, requires = "epochs")]
    pub(crate) learning_rate: f32,
    /// Samples of a step of training
    #[arg(long, default_value_t = 64, requires = "epochs")]
    pub(crate) batch: usize,
    /// Decay of weights
    #[arg(long, default_value_t = 5e-4, requires = "epochs")]
    pub(crate) weight_decay: f32,
}

#[derive(Args)]
pub(crate) struct Removal {
    /// Share of the multiply-accumulates that stays, as 50%
    #[arg(long, help_heading = "Channels, heads and layers")]
    pub(crate) target_macs: Option<String>,
    /// Share of the parameters that stays
    #[arg(long, help_heading = "Channels, heads and layers")]
    pub(crate) target_parameters: Option<String>,
    /// Bytes of constants that stay: a share, or as 300KB
    #[arg(long, help_heading = "Channels, heads and layers")]
    pub(crate) target_bytes: Option<String>,
    /// Share of the time of a run that stays, measured beside the whole network in --runtime
    #[arg(long, conflicts_with = "plan", help_heading = "Channels, heads and layers")]
    pub(crate) target_latency: Option<String>,
    /// What runs both networks: bantam, onnxruntime or openvino
    #[arg(
        long,
        default_value = "bantam",
        requires = "target_latency",
        help_heading = "Channels, heads and layers"
    )]
    pub(crate) runtime: String,
    /// Samples of a run that is timed
    #[arg(
        long,
        default_value_t = 1,
        requires = "target_latency",
        help_heading = "Channels, heads and layers"
    )]
    pub(crate) runtime_batch: usize,
    /// Share of the units of a group that stays whatever they matter
    #[arg(long, default_value = "10%", help_heading = "Channels, heads and layers")]
    pub(crate) least: String,
    /// Leave a multiple of so many units in each group [default: 1; with --target and --target-macs the channels that its kernels
    /// work on at once]
    #[arg(long, help_heading = "Channels, heads and layers")]
    pub(crate) multiple: Option<usize>,
    /// Remove channels of residual streams too
    #[arg(long, help_heading = "Channels, heads and layers")]
    pub(crate) streams: bool,
    /// Divide what a unit matters by what it saves to this power
    #[arg(long, default_value_t = 1.0, help_heading = "Channels, heads and layers")]
    pub(crate) savings_power: f64,
}
