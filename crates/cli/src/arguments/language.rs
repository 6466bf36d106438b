//! Arguments of `bantam export` and `bantam generate`.

use std::path::PathBuf;

use clap::Args;

use super::Saving;

pub(super) const EXPORT_EXAMPLES: &str = "Examples:
  bantam export llama-folder -o llama.gguf
  bantam export llama-folder --type q4_k --tensor-type output=q6_k --tensor-type token_embd=q6_k -o llama-q4_k.gguf
  bantam export llama.gguf -o llama-folder
  bantam export llama.gguf --type q4_0 --importance tokens.toml -o llama-q4_0.gguf
  bantam export llama-folder -o llama.onnx";

pub(super) const GENERATE_EXAMPLES: &str = "Example:
  bantam generate llama-folder --prompt \"Once upon a time\" --tokens 100";

#[derive(Args)]
pub(crate) struct Export {
    /// Model: an ONNX file, a Hugging Face folder or a GGUF file
    pub(crate) model: PathBuf,
    /// Type of matrices in a GGUF file: f32, f16, bf16, q8_0, q4_0 to q5_1, q2_k to q6_k, iq4_nl, mxfp4, tq1_0 or tq2_0
    /// [default: each keeps its own]
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) matrix_type: Option<String>,
    /// Type of the matrices with such names in the file, as blk.*.ffn_down=q6_k; the first that matches counts; repeatable
    #[arg(long, value_name = "GLOB=TYPE")]
    pub(crate) tensor_type: Vec<String>,
    /// Data set whose split `train` says how much the columns of matrices count when they go into blocks of a GGUF file: the mean
    /// squares of what they are multiplied with (llama.cpp's importance matrix)
    #[arg(long, value_name = "DATA")]
    pub(crate) importance: Option<PathBuf>,
    /// Number of samples that are looked at for the importance
    #[arg(long, default_value_t = 512, requires = "importance")]
    pub(crate) samples: usize,
    /// Chooses these samples
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Go on with a GGUF file that is unfinished, if there is one beside the output; the bytes are the same
    #[arg(long)]
    pub(crate) resume: bool,
    /// Write products with weights in groups as MatMulNBits, and lookups in such tables as GatherBlockQuantized, into an ONNX file that is for
    /// ONNX Runtime alone
    #[arg(long)]
    pub(crate) matmulnbits: bool,
    /// Write the numbers that codes stand for, in float, so that the model can be pruned, trained or quantized in another way
    #[arg(long, conflicts_with = "matmulnbits")]
    pub(crate) dequantize: bool,
    /// The tokenizer.json [default: the one beside the model]
    #[arg(long)]
    pub(crate) tokenizer: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) saving: Saving,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// Where the result goes: FILE.gguf, FILE.onnx or a folder
    #[arg(short, long)]
    pub(crate) output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Generate {
    /// Model: a Hugging Face folder or a GGUF file
    pub(crate) model: PathBuf,
    /// The text to continue; what the tokenizer puts before every text is put before it
    #[arg(long, default_value = "")]
    pub(crate) prompt: String,
    /// Tokens to add at most
    #[arg(long, default_value_t = 100)]
    pub(crate) tokens: usize,
    /// The tokenizer.json [default: the one beside the model]
    #[arg(long)]
    pub(crate) tokenizer: Option<PathBuf>,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
