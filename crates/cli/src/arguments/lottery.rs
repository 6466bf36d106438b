//! The arguments of `bantam lottery`.

use std::path::PathBuf;

use clap::Args;

use super::train::{Training, Zeros, zeros};

pub(super) const EXAMPLES: &str = "Examples:
  bantam new lenet-300-100 -o fresh.onnx
  bantam lottery fresh.onnx --data data.toml --sparsity 90% --rounds 5 --epochs 3 --control -o trained.onnx
  bantam lottery fresh.onnx --data data.toml --sparsity 90% --rewind-step 100 --resume --ticket ticket.onnx -o trained.onnx";

#[derive(Args)]
pub(crate) struct Lottery {
    /// ONNX file of a fresh network
    pub(crate) model: PathBuf,
    /// Data set: a TOML manifest; its split `train` is learned from
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Share of zeros after the last round, as 90%
    #[arg(long, value_parser = zeros, default_value = "90%")]
    pub(crate) sparsity: Zeros,
    /// Trainings after the dense one, each with fewer weights
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Steps of the dense training whose weights each round starts from
    #[arg(long, default_value_t = 0)]
    pub(crate) rewind_step: u64,
    /// What the share is counted over: global, layer or erk
    #[arg(long, default_value = "global")]
    pub(crate) sparsity_scope: String,
    /// Nodes whose weights stay dense: op:CONV, name:GLOB or role:first|last|depthwise; repeatable
    #[arg(long)]
    pub(crate) sparsity_exclude: Vec<String>,
    /// Train the last round's mask from weights drawn anew, too
    #[arg(long)]
    pub(crate) control: bool,
    /// How these weights are drawn: standard or xavier
    #[arg(long, default_value = "standard", requires = "control")]
    pub(crate) init: String,
    #[command(flatten)]
    pub(crate) training: Training,
    /// File for the ticket: the weights that the last round starts from [default: the output with
    /// .ticket.onnx behind it]
    #[arg(long)]
    pub(crate) ticket: Option<PathBuf>,
    /// Folder for the files of each round [default: the output with .rounds behind it]
    #[arg(long)]
    pub(crate) work: Option<PathBuf>,
    /// Go on behind the rounds that are in the folder
    #[arg(long)]
    pub(crate) resume: bool,
    /// Metric of the scores
    #[arg(long, default_value = "top1")]
    pub(crate) metric: String,
    /// Score on so many samples only
    #[arg(long)]
    pub(crate) limit: Option<usize>,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// File for the trained ticket
    #[arg(short, long)]
    pub(crate) output: PathBuf,
}
