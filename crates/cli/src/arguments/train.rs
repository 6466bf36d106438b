//! The arguments of `bantam train`.

use std::path::PathBuf;

use bantam::compress::train::sparse::Amount;
use clap::Args;

use super::Saving;

pub(super) const EXAMPLES: &str = "Examples:
  bantam train model.onnx --data data.toml --epochs 10 --learning-rate 0.05 -o tuned.onnx
  bantam train model.onnx --data data.toml --optimizer adamw --weight-decay 0.05 --warmup 1 --ema 0.999 -o tuned.onnx
  bantam train small.onnx --data data.toml --teacher large.onnx --temperature 4 -o distilled.onnx
  bantam train model.onnx --data data.toml --quantize --weights int4 --activations uint4 -o model-w4a4.onnx
  bantam train pruned.onnx --data data.toml --sparsity keep -o tuned.onnx
  bantam train model.onnx --data data.toml --teacher model.onnx --sparsity 90% -o sparse.onnx
  bantam train fresh.onnx --data data.toml --sparsity 90% --sparse-method rigl -o sparse.onnx
  bantam train fresh.onnx --data data.toml --epochs 20 --regularization group-lasso -o prunable.onnx
  bantam train model.onnx --data data.toml --epochs 50 --resume -o tuned.onnx";

#[derive(Args)]
pub(crate) struct Train {
    /// ONNX file
    pub(crate) model: PathBuf,
    /// Data set: a TOML manifest; its split `train` is learned from, with what its [augment] sections say
    #[arg(long)]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) training: Training,
    #[command(flatten)]
    pub(crate) teacher: Teacher,
    #[command(flatten)]
    pub(crate) sparsity: Sparsity,
    #[command(flatten)]
    pub(crate) regularization: Penalties,
    #[command(flatten)]
    pub(crate) quantization: Quantization,
    #[command(flatten)]
    pub(crate) files: Files,
}

/// How to train, for every command that does.
#[derive(Args)]
pub(crate) struct Training {
    /// Times that all samples are seen
    #[arg(long, default_value_t = 5)]
    pub(crate) epochs: usize,
    /// Samples of a step
    #[arg(long, default_value_t = 128)]
    pub(crate) batch: usize,
    /// Stop after so many steps
    #[arg(long)]
    pub(crate) max_steps: Option<u64>,
    /// What is minimized: cross-entropy, binary-cross-entropy, mse or next-token
    #[arg(long, default_value = "cross-entropy")]
    pub(crate) loss: String,
    /// Share of the target that is spread over all classes
    #[arg(long, default_value_t = 0.0)]
    pub(crate) label_smoothing: f32,
    /// sgd, adam, adamw or lamb
    #[arg(long, default_value = "sgd")]
    pub(crate) optimizer: String,
    /// Momentum of sgd
    #[arg(long, default_value_t = 0.9)]
    pub(crate) momentum: f32,
    /// Nesterov's momentum
    #[arg(long)]
    pub(crate) nesterov: bool,
    /// The largest learning rate
    #[arg(long, default_value_t = 0.01)]
    pub(crate) learning_rate: f32,
    /// How the rate changes: constant, step or cosine
    #[arg(long, default_value = "cosine")]
    pub(crate) schedule: String,
    /// Epochs in which the rate grows from 0
    #[arg(long, default_value_t = 0.0)]
    pub(crate) warmup: f32,
    /// Decay of weights; norms and biases have none
    #[arg(long, default_value_t = 1e-4)]
    pub(crate) weight_decay: f32,
    /// Longest gradient of all parameters together
    #[arg(long)]
    pub(crate) clip_norm: Option<f32>,
    /// Share that stays of a moving average of the weights, which is then the result
    #[arg(long)]
    pub(crate) ema: Option<f32>,
    /// Parameters, or nodes that read them, that stay as they are; a glob, repeatable
    #[arg(long)]
    pub(crate) freeze: Vec<String>,
    /// Epoch from which BatchNormalization takes its running statistics
    #[arg(long)]
    pub(crate) freeze_statistics: Option<usize>,
    /// Share of the training samples that is kept apart to choose the best epoch by
    #[arg(long, default_value_t = 0.0)]
    pub(crate) validation: f32,
    /// Stop after so many epochs without a better validation score
    #[arg(long)]
    pub(crate) patience: Option<usize>,
    /// What values and products of a step are rounded to: float32 or bf16 (with weights and sums in float32)
    #[arg(long, default_value = "float32")]
    pub(crate) precision: String,
    /// Most memory of a step, as 512MB or 2GB; parts of the forward pass run twice where that is needed
    #[arg(long, value_parser = bytes)]
    pub(crate) memory_limit: Option<u64>,
    /// Chooses the order of samples and how they are changed
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Args)]
#[command(next_help_heading = "Learning from a teacher")]
pub(crate) struct Teacher {
    /// ONNX file of the network to learn from
    #[arg(long)]
    pub(crate) teacher: Option<PathBuf>,
    /// Divides the scores of both
    #[arg(long, default_value_t = 4.0, requires = "teacher")]
    pub(crate) temperature: f32,
    /// Share of the teacher in the loss; 1 needs no labels
    #[arg(long, default_value_t = 0.9, requires = "teacher")]
    pub(crate) teacher_weight: f32,
    /// Values whose difference is added to the loss, STUDENT=TEACHER, or that of their attention maps where they have other numbers of
    /// channels; repeatable
    #[arg(long, requires = "teacher")]
    pub(crate) feature: Vec<String>,
    /// Factor of that difference
    #[arg(long, default_value_t = 1.0, requires = "teacher")]
    pub(crate) feature_weight: f32,
}

#[derive(Args)]
#[command(next_help_heading = "Zeros in weights")]
pub(crate) struct Sparsity {
    /// Zeros in weights of products: keep those that are there, have a share of zeros as 90%, or leave 2 of 4 as 2:4
    #[arg(long, value_parser = zeros)]
    pub(crate) sparsity: Option<Zeros>,
    /// How zeros come about: gradual, feedback, static, set or rigl [default: gradual]
    #[arg(long, requires = "sparsity")]
    pub(crate) sparse_method: Option<String>,
    /// What the share is counted over: global, layer or erk [default: global; erk with static, set and rigl]
    #[arg(long, requires = "sparsity")]
    pub(crate) sparsity_scope: Option<String>,
    /// What stays where zeros become more: the weights of largest magnitude, movement or taylor
    #[arg(long, default_value = "magnitude", requires = "sparsity")]
    pub(crate) sparsity_criterion: String,
    /// How zeros become more: one-shot, linear or cubic [default: cubic; one-shot for patterns]
    #[arg(long, requires = "sparsity")]
    pub(crate) sparsity_schedule: Option<String>,
    /// Share of the steps after which masks begin to change
    #[arg(long, default_value_t = 0.0, requires = "sparsity")]
    pub(crate) sparsity_from: f32,
    /// Share of the steps after which masks stay [default: 0.5; 0.75 with set and rigl]
    #[arg(long, requires = "sparsity")]
    pub(crate) sparsity_until: Option<f32>,
    /// Steps between two changes [default: 1 with feedback, else a fortieth of those in which masks change, a tenth with set and rigl, at most 100]
    #[arg(long, requires = "sparsity")]
    pub(crate) sparsity_every: Option<u64>,
    /// Share of a layer's connections that set and rigl exchange at first
    #[arg(long, default_value_t = 0.3, requires = "sparsity")]
    pub(crate) sparsity_exchange: f32,
    /// Decay of the weights behind the mask, with feedback
    #[arg(long, default_value_t = 0.0, requires = "sparsity")]
    pub(crate) sparsity_mask_decay: f32,
    /// Nodes whose weights stay dense: op:CONV, name:GLOB or role:first|last|depthwise; repeatable
    #[arg(long, requires = "sparsity")]
    pub(crate) sparsity_exclude: Vec<String>,
}

/// What is asked of zeros.
#[derive(Clone, Copy)]
pub(crate) enum Zeros {
    Keep,
    Amount(Amount),
}

#[derive(Args)]
#[command(next_help_heading = "Channels that vanish")]
pub(crate) struct Penalties {
    /// Penalty on channels that can be removed afterwards: group-lasso or batch-normalization
    #[arg(long, conflicts_with = "quantize")]
    pub(crate) regularization: Option<String>,
    /// Its factor in the loss
    #[arg(long, default_value_t = 1e-4, requires = "regularization")]
    pub(crate) regularization_strength: f32,
    /// Share of the steps in which the factor grows from 0
    #[arg(long, default_value_t = 0.5, requires = "regularization")]
    pub(crate) regularization_growth: f32,
}

#[derive(Args)]
#[command(next_help_heading = "Quantization-aware training")]
pub(crate) struct Quantization {
    /// Round while training, and quantize the result
    #[arg(long)]
    pub(crate) quantize: bool,
    /// Number format of weights, as int8, int4 or int2
    #[arg(long, default_value = "int8", requires = "quantize")]
    pub(crate) weights: String,
    /// Number format of activations, as uint8 or uint4, or float
    #[arg(long, default_value = "uint8", requires = "quantize")]
    pub(crate) activations: String,
    /// How the codes that training starts from are chosen, as `bantam quantize --algorithm`; repeatable
    #[arg(long, requires = "quantize")]
    pub(crate) algorithm: Vec<String>,
    /// Widths to go through before, BITS:EPOCHS, as 8:1,4:2; out of --epochs, each with a whole schedule of the rate
    #[arg(long, requires = "quantize", value_delimiter = ',', value_parser = stage)]
    pub(crate) progressive: Vec<(u32, usize)>,
    /// Number format of the first and last layer, or none for that of the others
    #[arg(long, default_value = "int8", requires = "quantize")]
    pub(crate) edges: String,
    /// Number format of the weights of some nodes, SELECTOR=FORMAT, as name:*/conv2=int4; repeatable, the later counts
    #[arg(long, requires = "quantize")]
    pub(crate) width: Vec<String>,
    /// What becomes of scales: fixed, learned, lsq+ or power-of-two [default: learned, or power-of-two where the target wants it]
    #[arg(long, requires = "quantize")]
    pub(crate) scales: Option<String>,
    /// How weights become levels: uniform, dorefa, binary or ternary
    #[arg(long, default_value = "uniform", requires = "quantize")]
    pub(crate) weight_mapping: String,
    /// How activations become levels: uniform, pact or binary
    #[arg(long, default_value = "uniform", requires = "quantize")]
    pub(crate) activation_mapping: String,
    /// Where scales start: range or lsq
    #[arg(long, default_value = "range", requires = "quantize")]
    pub(crate) initial: String,
    /// What becomes of BatchNormalization while training: keep or fold [default: keep, but fold for scales that are powers of two by the
    /// target]
    #[arg(long, requires = "quantize")]
    pub(crate) batch_normalization: Option<String>,
    /// Scales of weights: channel or tensor
    #[arg(long, default_value = "channel", requires = "quantize")]
    pub(crate) granularity: String,
    /// Range method of activations
    #[arg(long, default_value = "mse", requires = "quantize")]
    pub(crate) range: String,
    /// Range method of weights
    #[arg(long, default_value = "mse", requires = "quantize")]
    pub(crate) weight_range: String,
    /// Runtime that the result is for
    #[arg(long, default_value = "onnxruntime", requires = "quantize")]
    pub(crate) target: String,
    /// Quantize only these nodes: op:CONV, name:GLOB or role:first|last|depthwise; repeatable
    #[arg(long, requires = "quantize")]
    pub(crate) include: Vec<String>,
    /// Keep these nodes in float; repeatable
    #[arg(long, requires = "quantize")]
    pub(crate) exclude: Vec<String>,
    /// Number of calibration samples
    #[arg(long, default_value_t = 512, requires = "quantize")]
    pub(crate) samples: usize,
}

#[derive(Args)]
#[command(next_help_heading = "Files and scores")]
pub(crate) struct Files {
    /// What training resumes from [default: the output with .checkpoint behind it, removed in the end]
    #[arg(long)]
    pub(crate) checkpoint: Option<PathBuf>,
    /// Make a checkpoint every so many steps, too
    #[arg(long)]
    pub(crate) checkpoint_steps: Option<u64>,
    /// Go on from the checkpoint, if there is one
    #[arg(long)]
    pub(crate) resume: bool,
    /// Write a line of JSON for each step and each epoch
    #[arg(long)]
    pub(crate) metrics_out: Option<PathBuf>,
    /// Score the model after each epoch, too
    #[arg(long)]
    pub(crate) score_epochs: bool,
    /// Do not score the two models
    #[arg(long)]
    pub(crate) no_eval: bool,
    /// Metric of the scores; repeatable
    #[arg(long, default_value = "top1")]
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
    #[arg(short, long)]
    pub(crate) output: PathBuf,
}

/// Reads `keep`, a share or a pattern.
pub(super) fn zeros(text: &str) -> Result<Zeros, String> {
    let number = |text: &str| {
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
    };
    let amount = match (text, text.split_once(':'), text.strip_suffix('%')) {
        ("keep", ..) => return Ok(Zeros::Keep),
        (_, Some((stay, of)), _) => {
            let sizes = stay.trim().parse().ok().zip(of.trim().parse().ok());
            sizes.map(|(stay, of)| Amount::Pattern { stay, of })
        }
        (.., Some(percent)) => number(percent).map(|percent| Amount::Share(percent / 100.0)),
        _ => number(text).map(Amount::Share),
    };
    amount.map(Zeros::Amount).ok_or_else(|| {
        "`keep`, a share or a pattern is expected\nhint: 90% for nine zeros in ten, 2:4 for two of four"
            .to_owned()
    })
}

/// Reads a width and a number of epochs.
fn stage(text: &str) -> Result<(u32, usize), String> {
    let parts = text.split_once(':');
    let parts =
        parts.and_then(|(bits, epochs)| Some((bits.trim().parse().ok()?, epochs.trim().parse().ok()?)));
    parts.ok_or_else(|| {
        "a width and a number of epochs are expected\nhint: 4:2 for 2 epochs of 4 bits".to_owned()
    })
}

/// Reads a number of bytes with an optional unit.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, u32)] = &[("KB", 10), ("MB", 20), ("GB", 30)];
    let unit = UNITS
        .iter()
        .find(|(name, _)| text.to_ascii_uppercase().ends_with(name));
    let (number, shift) = unit.map_or((text, 0), |(name, shift)| {
        (&text[..text.len() - name.len()], *shift)
    });
    let number: Option<u64> = number.trim().parse().ok();
    number
        .and_then(|number| number.checked_shl(shift).filter(|bytes| bytes >> shift == number))
        .ok_or_else(|| {
            "a number of bytes is expected, with KB, MB or GB behind it or without\nhint: 512MB".to_owned()
        })
}
