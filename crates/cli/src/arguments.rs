//! The command line, as it is written.

mod analyze;
mod compress;
mod language;
mod lottery;
mod new;
mod prune;
mod saving;
mod train;

pub(crate) use analyze::Analyze;
pub(crate) use compress::Compress;
pub(crate) use language::{Export, Generate};
pub(crate) use lottery::Lottery;
pub(crate) use new::New;
pub(crate) use prune::Prune;
pub(crate) use saving::Saving;
pub(crate) use train::bytes as byte_count;
pub(crate) use train::{Penalties, Quantization, Sparsity, Train, Training, Zeros};

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Makes trained neural networks small and fast, and proves that they still work.
#[derive(Parser)]
#[command(name = "bantam", version, arg_required_else_help = true, max_term_width = 110)]
pub(crate) struct Arguments {
    /// Say on standard error what compilation did, and why it left nodes as they are
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The main job on a small real data set that ships inside
    Demo(Demo),
    /// Layers, shapes, parameters, MACs, bytes and number formats of a model
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(Inspect),
    /// A fresh network with seeded weights, or new weights for a model
    #[command(after_help = new::EXAMPLES)]
    New(New),
    /// Quantize a model
    #[command(after_help = QUANTIZE_EXAMPLES)]
    Quantize(Box<Quantize>),
    /// Remove the weights of a model that matter least
    #[command(after_help = prune::EXAMPLES)]
    Prune(Box<Prune>),
    /// Fine-tune a model, distil it, or train it to be quantized
    #[command(after_help = train::EXAMPLES)]
    Train(Box<Train>),
    /// Find a small part of a fresh network that learns as well as the whole (iterative magnitude pruning)
    #[command(after_help = lottery::EXAMPLES)]
    Lottery(Box<Lottery>),
    /// Why a model loses accuracy when it is quantized, layer by layer, and what would help
    #[command(after_help = analyze::EXAMPLES)]
    Analyze(Analyze),
    /// The main job: the smallest or fastest network that loses no more than you allow, and a report that shows it
    #[command(after_help = compress::EXAMPLES)]
    Compress(Box<Compress>),
    /// Score a model, with confidence intervals
    #[command(after_help = EVAL_EXAMPLES)]
    Eval(Eval),
    /// Write a model in another format: a GGUF file, a Hugging Face folder or an ONNX file
    #[command(after_help = language::EXPORT_EXAMPLES)]
    Export(Export),
    /// Continue a text with a language model
    #[command(after_help = language::GENERATE_EXAMPLES)]
    Generate(Generate),
    /// Score two models on the same samples, with a paired test
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(Compare),
    /// Time a model, in Bantam and in other runtimes
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(Bench),
    /// What there is: networks, methods, criteria, recipes, ranges, formats, targets, metrics, corruptions, runtimes, ops
    List(List),
    /// Completions for a shell
    #[command(after_help = "Example:\n  bantam completions bash > /etc/bash_completion.d/bantam")]
    Completions(Completions),
}

const INSPECT_EXAMPLES: &str = "Examples:
  bantam inspect model.onnx --batch 32
  bantam inspect model.onnx --program --profile --batch 32
  bantam --verbose inspect model.onnx --program";

const QUANTIZE_EXAMPLES: &str = "Examples:
  bantam quantize model.onnx --data data.toml -o model-int8.onnx
  bantam quantize model.onnx --data data.toml --range mse --target openvino -o model-int8.onnx
  bantam quantize model.onnx --data data.toml --exclude role:last --plan-out plan.json -o model-int8.onnx
  bantam quantize model.onnx --data data.toml --target cortex-m -o model-int8.onnx
  bantam quantize model.onnx --dynamic --no-eval -o model-dynamic.onnx
  bantam quantize model.onnx --data data.toml --float f16 -o model-f16.onnx";

const EVAL_EXAMPLES: &str = "Examples:
  bantam eval model.onnx --data data.toml --metric top1 --metric top5
  bantam eval model.onnx --data data.toml --runtime onnxruntime --json
  bantam eval model.onnx --data data.toml --corruptions noise,jpeg --strengths 1,3,5";

const COMPARE_EXAMPLES: &str = "Examples:
  bantam compare model.onnx model-int8.onnx --data data.toml
  bantam compare model.onnx model-int8.onnx --data unlabelled.npy
  bantam compare model.onnx model-int8.onnx --data data.toml --corruptions --strengths 3";

const BENCH_EXAMPLES: &str = "Examples:
  bantam bench model.onnx --batch 32
  bantam bench model-int8.onnx --runtime bantam,onnxruntime,openvino --threads 2 --json
  bantam bench model.onnx --profile
  bantam bench a.onnx b-int8.onnx c.onnx --runtime onnxruntime --batch 1,4,16 --fit ort.json
  bantam bench model.onnx --protocol mlperf-tiny --benchmark image-classification --data data.toml";

#[derive(Args)]
pub(crate) struct Demo {
    /// Folder for the demo's files and results
    #[arg(short, long, default_value = "bantam-demo")]
    pub(crate) output: PathBuf,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Inspect {
    /// Model: an ONNX file, a Hugging Face folder or a GGUF file
    pub(crate) model: PathBuf,
    /// Samples that costs are counted for (of 128 tokens, where the model leaves their number open)
    #[arg(long, default_value_t = 1)]
    pub(crate) batch: usize,
    /// The graph as text, one line for each node
    #[arg(long)]
    pub(crate) text: bool,
    /// The steps that our executor runs, with the kernel and the bytes of each
    #[arg(long, conflicts_with = "text")]
    pub(crate) program: bool,
    /// Which channels, neurons and heads go together, and what `bantam prune` cannot remove
    #[arg(long, conflicts_with_all = ["text", "program"])]
    pub(crate) coupling: bool,
    /// With --program: the time of each step too, on random inputs
    #[arg(long, requires = "program")]
    pub(crate) profile: bool,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Quantize {
    /// Model: an ONNX file, a Hugging Face folder or a GGUF file
    pub(crate) model: PathBuf,
    /// Data set: a TOML manifest, or an array file or image folder
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Number of calibration samples
    #[arg(long, default_value_t = 512)]
    pub(crate) samples: usize,
    /// Chooses the calibration samples
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Number format of weights [default: the target's]
    #[arg(long)]
    pub(crate) weights: Option<String>,
    /// Number format of activations, or float [default: the target's]
    #[arg(long)]
    pub(crate) activations: Option<String>,
    /// How codes of weights are chosen: stochastic, gptq, obq, adaround, signround, least-squares, brecq or distill, in this order; repeatable. For
    /// groups one of nearest, search, hqq, awq, signround, gptq and least-squares
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["dynamic", "plan"])]
    pub(crate) algorithm: Vec<String>,
    /// Steps of algorithms that train
    #[arg(long, requires = "algorithm")]
    pub(crate) steps: Option<usize>,
    /// The largest learning rate of algorithms that train
    #[arg(long, requires = "algorithm")]
    pub(crate) learning_rate: Option<f32>,
    /// Give the weights before and behind each channel equal ranges first (cross-layer equalization). `unbound` also turns ReLU6 into ReLU,
    /// whose channels could not be rescaled otherwise
    #[arg(long, num_args = 0..=1, default_missing_value = "exact", value_name = "exact|unbound", conflicts_with = "plan")]
    pub(crate) equalize: Option<String>,
    /// Add a product of this rank, of 16 bits, to each product with weights in groups, which takes back what rounding loses
    #[arg(long, default_value_t = 0, value_name = "RANK", conflicts_with = "plan")]
    pub(crate) low_rank: usize,
    /// Share of the weights in groups that keep 16 bits beside the codes of the others, as 1%: those without which their groups lose
    /// much less (SpQR)
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["plan", "low_rank"])]
    pub(crate) outliers: Option<String>,
    /// Embeddings get codes in groups too, in this format [default: that of the weights]; one that is the head as well shares them with it
    #[arg(long, num_args = 0..=1, default_missing_value = "", value_name = "FORMAT", conflicts_with = "plan")]
    pub(crate) embeddings: Option<String>,
    /// Turn the residual streams of a transformer with RMSNorm first, so that none of their channels is larger than others (QuaRot)
    #[arg(long, conflicts_with = "plan")]
    pub(crate) rotate: bool,
    /// Move the largest inputs of products into their weights first: SmoothQuant's alpha, 0 to 1; or awq, for weights in groups
    #[arg(long, value_name = "ALPHA|awq", conflicts_with = "plan")]
    pub(crate) smooth: Option<String>,
    /// Number format of the first and last layer, or none for that of the others [default: int8 where codes are chosen]
    #[arg(long, conflicts_with_all = ["dynamic", "plan"])]
    pub(crate) edges: Option<String>,
    /// Number format of the weights of some nodes, SELECTOR=FORMAT, as name:*/conv2=int4; repeatable, the later counts
    #[arg(long, conflicts_with_all = ["dynamic", "plan"])]
    pub(crate) width: Vec<String>,
    /// Scales of weights: channel, tensor, or group:LENGTH for so many inputs of each output (weights only)
    #[arg(long, default_value = "channel")]
    pub(crate) granularity: String,
    /// Range method of activations [default: minmax, or mse where codes are chosen]
    #[arg(long)]
    pub(crate) range: Option<String>,
    /// Range method of weights [default: minmax, or mse where codes are chosen]
    #[arg(long)]
    pub(crate) weight_range: Option<String>,
    /// Zero points of activations fixed to the middle, or not [default: the target's]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) symmetric_activations: Option<bool>,
    /// Zero points of weights fixed to the middle, or not [default: the target's]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    pub(crate) symmetric_weights: Option<bool>,
    /// Do not correct biases for the mean error of quantized weights
    #[arg(long)]
    pub(crate) no_bias_correction: bool,
    /// Runtime that the result is for
    #[arg(long, default_value = "onnxruntime")]
    pub(crate) target: String,
    /// Quantize only these nodes: op:CONV, name:GLOB or role:first|last|depthwise; repeatable
    #[arg(long)]
    pub(crate) include: Vec<String>,
    /// Keep these nodes in float; repeatable
    #[arg(long)]
    pub(crate) exclude: Vec<String>,
    /// Scales of activations found at run time (needs no data)
    #[arg(long)]
    pub(crate) dynamic: bool,
    /// Floats of 16 bits instead of codes: f16, bf16, or f16-weights and bf16-weights to go on computing in float32. Of these f16 alone needs data, to
    /// see what overflows
    #[arg(long, value_name = "FORMAT", conflicts_with_all = [
        "dynamic", "plan", "algorithm", "weights", "activations", "edges", "width", "equalize", "smooth", "range", "weight_range",
    ])]
    pub(crate) float: Option<String>,
    /// Apply this plan instead of making one
    #[arg(long, conflicts_with = "dynamic")]
    pub(crate) plan: Option<PathBuf>,
    /// Write the plan, with the error of each layer
    #[arg(long)]
    pub(crate) plan_out: Option<PathBuf>,
    /// Go on with an unfinished result, if there is one, for weights in groups that are rounded to nearest; the bytes are the same
    #[arg(long)]
    pub(crate) resume: bool,
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
    #[arg(short, long)]
    pub(crate) output: PathBuf,
}

/// How scores are made.
#[derive(Args)]
pub(crate) struct Scoring {
    /// Data set: a TOML manifest, or an array file or image folder
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Split of the data set
    #[arg(long, default_value = "test")]
    pub(crate) split: String,
    /// Metric; repeatable [default: top1, or perplexity of language models]
    #[arg(long)]
    pub(crate) metric: Vec<String>,
    /// What runs the model: bantam, onnxruntime or openvino
    #[arg(long, default_value = "bantam")]
    pub(crate) runtime: String,
    /// Score on so many samples only
    #[arg(long)]
    pub(crate) limit: Option<usize>,
    /// Samples that run at once
    #[arg(long)]
    pub(crate) batch: Option<usize>,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Eval {
    /// Model: an ONNX file, a Hugging Face folder or a GGUF file
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) scoring: Scoring,
    #[command(flatten)]
    pub(crate) corruption: Corrupting,
}

/// Worse images.
#[derive(Args)]
pub(crate) struct Corrupting {
    /// Score on corrupted images too: all, or names and families, separated by commas (`bantam list corruptions`)
    #[arg(long, num_args = 0..=1, default_missing_value = "all", value_delimiter = ',')]
    pub(crate) corruptions: Option<Vec<String>>,
    /// Strengths of the corruptions, separated by commas
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,2,3,4,5",
        requires = "corruptions"
    )]
    pub(crate) strengths: Vec<usize>,
    /// Of the corruptions' noise
    #[arg(long, default_value_t = 0, requires = "corruptions")]
    pub(crate) seed: u64,
}

#[derive(Args)]
pub(crate) struct Compare {
    /// Model: an ONNX file, a Hugging Face folder or a GGUF file
    pub(crate) first: PathBuf,
    /// Model: an ONNX file, a Hugging Face folder or a GGUF file
    pub(crate) second: PathBuf,
    /// What runs the second model [default: what runs the first]
    #[arg(long)]
    pub(crate) second_runtime: Option<String>,
    #[command(flatten)]
    pub(crate) scoring: Scoring,
    #[command(flatten)]
    pub(crate) corruption: Corrupting,
}

#[derive(Args)]
pub(crate) struct Bench {
    /// Model: an ONNX file, a Hugging Face folder or a GGUF file; several for --fit and --cost-model
    #[arg(required = true)]
    pub(crate) models: Vec<PathBuf>,
    /// Real inputs; random ones without
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Split of the data set
    #[arg(long, default_value = "test")]
    pub(crate) split: String,
    /// Samples that run at once, where the model leaves it open; several for --fit and --cost-model
    #[arg(long, default_value = "1", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Vec<u32>,
    /// Threads of every runtime [default: one for each core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,
    /// What runs the model, in turns: bantam, onnxruntime, openvino
    #[arg(long, value_delimiter = ',', default_value = "bantam")]
    pub(crate) runtime: Vec<String>,
    /// Rounds that count
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Rounds before them, in each turn
    #[arg(long, default_value_t = 3)]
    pub(crate) warm_up: u32,
    /// Chooses the inputs
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The time of each step of our executor
    #[arg(long)]
    pub(crate) profile: bool,
    /// Fit a model of the time that networks take in this runtime to these models and batches, and write it to a file for
    /// `bantam compress --cost-model`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["profile", "cost_model"])]
    pub(crate) fit: Option<PathBuf>,
    /// Say by how much the model of time in this file misses
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    pub(crate) cost_model: Option<PathBuf>,
    /// Measure as a benchmark's rules say: mlperf-tiny, which takes a single stream of samples, five runs of ten seconds
    #[arg(long, requires = "data", conflicts_with_all = ["profile", "fit", "cost_model"], value_parser = ["mlperf-tiny"])]
    pub(crate) protocol: Option<String>,
    /// Score the model too, against the target of image-classification, keyword-spotting, visual-wake-words or anomaly-detection
    #[arg(long, requires = "protocol")]
    pub(crate) benchmark: Option<String>,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct List {
    /// networks, initializations, methods, algorithms, criteria, layer-criteria, reconstructions, losses, optimizers, schedules, sparse-methods, ranges, formats, targets, file-formats, architectures, metrics, runtimes, passes or ops
    pub(crate) what: String,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}
