//! Continuing a text with a language model.

use std::path::PathBuf;
use std::time::Instant;

use bantam_exec::{CompileOptions, Program, Taps, compile};
use bantam_formats::{Tokenizer, format_of, huggingface};
use bantam_graph::{Dim, Graph};
use bantam_tensor::{DType, Tensor};
use serde::Serialize;

use crate::{Error, Progress};

/// What to continue.
#[derive(Clone, Debug)]
pub struct GenerateJob {
    /// A Hugging Face folder or a GGUF file.
    pub model: PathBuf,
    /// The `tokenizer.json`, where it is not beside the model.
    pub tokenizer: Option<PathBuf>,
    /// The text so far.
    pub prompt: String,
    /// Most tokens to add.
    pub tokens: usize,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct GenerateReport {
    /// The model.
    pub model: PathBuf,
    /// The prompt and what was added.
    pub text: String,
    /// The tokens of the prompt.
    pub prompt_tokens: Vec<u32>,
    /// The tokens that were added.
    pub tokens: Vec<u32>,
    /// Time for the prompt.
    pub prompt_seconds: f64,
    /// Time for the other tokens.
    pub seconds: f64,
}

/// Adds the likeliest token again and again, until a text ends or there are enough.
pub fn generate(job: &GenerateJob, progress: &dyn Progress) -> Result<GenerateReport, Error> {
    let beside = huggingface::folder_of(&job.model)
        .or_else(|| job.model.parent().map(PathBuf::from))
        .unwrap_or_default()
        .join("tokenizer.json");
    let tokenizer = Tokenizer::open(job.tokenizer.as_ref().unwrap_or(&beside))?;
    let model = format_of(&job.model).load_cached(&job.model)?;
    let ends = huggingface::end_tokens(&model)?;
    let prompt = tokenizer.encode(&job.prompt)?;
    if prompt.is_empty() {
        return Err(Error::Usage {
            message: "the prompt has no token".to_owned(),
            hint: "give some text to continue".to_owned(),
        });
    }
    let mut decoder = Decoder::new(&model.graph)?;
    let start = Instant::now();
    let mut next = decoder.step(&prompt)?;
    let prompt_seconds = start.elapsed().as_secs_f64();
    let (start, mut tokens) = (Instant::now(), Vec::new());
    progress.start("generate", job.tokens);
    while tokens.len() < job.tokens && !ends.contains(&next) {
        tokens.push(next);
        progress.at(tokens.len());
        if tokens.len() < job.tokens {
            next = decoder.step(&[next])?;
        }
    }
    progress.finish();
    Ok(GenerateReport {
        model: job.model.clone(),
        text: tokenizer.decode(&[prompt.as_slice(), &tokens].concat())?,
        prompt_tokens: prompt,
        tokens,
        prompt_seconds,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// A program with the keys and values of all tokens so far.
struct Decoder {
    program: Program,
    names: Vec<String>,
    past: Vec<Tensor>,
}

impl Decoder {
    /// A decoder that has seen no token.
    fn new(graph: &Graph) -> Result<Decoder, Error> {
        let (mut names, mut past) = (Vec::new(), Vec::new());
        for id in &graph.inputs[1..] {
            let value = graph.value(*id);
            let dims = value.ty.shape().unwrap_or_default();
            let shape: Vec<usize> = match dims {
                [_, heads, _, size] => vec![1, heads.known().unwrap_or(0), 0, size.known().unwrap_or(0)],
                other => other.iter().filter_map(Dim::known).collect(),
            };
            names.push(value.name.clone());
            past.push(Tensor::zeros(DType::F32, &shape)?);
        }
        Ok(Decoder {
            program: compile(graph, &CompileOptions::default())?,
            names,
            past,
        })
    }

    /// Sees some more tokens, and gives the likeliest to follow.
    fn step(&mut self, tokens: &[u32]) -> Result<u32, Error> {
        let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
        let ids = Tensor::from_vec1(&ids).reshape(&[1, ids.len()]);
        let ids = ids?;
        let mut inputs = vec![("input_ids", ids)];
        inputs.extend(
            self.names
                .iter()
                .map(String::as_str)
                .zip(std::mem::take(&mut self.past)),
        );
        let mut outputs = self.program.run(&inputs, &mut Taps::none())?;
        self.past = outputs.split_off(1);
        let scores = outputs[0].to_f32()?;
        let last = &scores[scores.len() - scores.len() / tokens.len()..];
        let largest = (0..last.len()).fold(
            0,
            |best, index| if last[index] > last[best] { index } else { best },
        );
        Ok(largest as u32)
    }
}
