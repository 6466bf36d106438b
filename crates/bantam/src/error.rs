//! Everything that can go wrong, for programs; the messages are for people.

use std::path::PathBuf;

use bantam_compress::RewriteError;
use bantam_compress::analyze::AnalyzeError;
use bantam_compress::evaluate::EvaluateError;
use bantam_compress::prune::PruneError;
use bantam_compress::quantize::QuantizeError;
use bantam_compress::quantize::aware::AwareError;
use bantam_compress::quantize::groups::GroupError;
use bantam_compress::quantize::layerwise::LayerwiseError;
use bantam_compress::search::SensitivityError;
use bantam_compress::select::SelectorError;
use bantam_compress::stats::ObserveError;
use bantam_compress::train::TrainError;
use bantam_exec::{CompileError, RunError};
use bantam_formats::data::DataError;
use bantam_formats::gguf::GgufError;
use bantam_formats::huggingface::HuggingFaceError;
use bantam_formats::onnx::OnnxError;
use bantam_formats::{FormatError, TokenizerError};
use bantam_graph::passes::PassError;
use bantam_tensor::TensorError;

use crate::runtime::RuntimeError;

/// Why a job stopped.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum Error {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    #[error(transparent)]
    HuggingFace(#[from] HuggingFaceError),
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Passes(#[from] PassError),
    #[error(transparent)]
    Infer(#[from] bantam_graph::InferError),
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    #[error(transparent)]
    Prune(#[from] Box<PruneError>),
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    #[error(transparent)]
    Aware(#[from] AwareError),
    #[error(transparent)]
    Analyze(#[from] Box<AnalyzeError>),
    #[error(transparent)]
    Layerwise(#[from] LayerwiseError),
    #[error(transparent)]
    Groups(#[from] GroupError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Sensitivity(#[from] Box<SensitivityError>),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error("there is no {kind} `{name}`\nhint: {hint}")]
    UnknownName {
        kind: &'static str,
        name: String,
        hint: String,
    },
    #[error("{message}\nhint: {hint}")]
    Usage { message: String, hint: String },
    #[error("{}: {action}: {source}\nhint: {hint}", path.display())]
    File {
        path: PathBuf,
        action: &'static str,
        source: std::io::Error,
        hint: &'static str,
    },
    #[error("{}: not a plan that this program reads: {reason}\nhint: plans are written by `bantam quantize` and `bantam prune` with --plan-out", path.display())]
    PlanFile { path: PathBuf, reason: String },
    #[error(
        "{}: the plan was made for another model, whose weights have other names or shapes\nhint: apply it to the model that it was made for, \
         or make one for this model with --plan-out",
        path.display()
    )]
    OtherModel { path: PathBuf },
    #[error(
        "the model's input `{name}` has no element type\nhint: the file must declare the types of its inputs"
    )]
    UntypedInput { name: String },
}

impl Error {
    /// The message with a hint: its own, or the one that helps with most errors of its kind.
    pub fn explained(&self) -> String {
        let message = self.to_string();
        if message.contains("\nhint: ") {
            return message;
        }
        format!("{message}\nhint: {}", self.usual_hint())
    }

    fn usual_hint(&self) -> &'static str {
        match self {
            Error::Data(_) => "the file is damaged, or not what the manifest takes it for; write it again",
            Error::Format(FormatError::Onnx(_))
            | Error::Onnx(_)
            | Error::Passes(_)
            | Error::Infer(_)
            | Error::Compile(_) => {
                "the model is damaged or its exporter faulty; `onnx.checker.check_model(model, full_check=True)` says more"
            }
            Error::Observe(_) | Error::Run(_) | Error::Evaluate(_) => {
                "the data set must have the inputs and labels that the model was made for"
            }
            Error::Runtime(_) => "check that this runtime opens and runs the model outside of Bantam",
            _ => "`--help` says what is expected",
        }
    }

    /// An unknown name: lists what exists and the nearest spelling.
    pub fn unknown_name<'a>(kind: &'static str, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
        let known: Vec<&str> = known.collect();
        let distance = |candidate: &&&str| strsim::damerau_levenshtein(candidate, name);
        let nearest = known
            .iter()
            .min_by_key(distance)
            .filter(|near| distance(near) <= 1 + name.len() / 3);
        let guess = nearest.map_or(String::new(), |near| format!("did you mean `{near}`? "));
        Error::UnknownName {
            kind,
            name: name.to_owned(),
            hint: format!("{guess}known are {}", known.join(", ")),
        }
    }
}

impl From<AnalyzeError> for Error {
    fn from(error: AnalyzeError) -> Error {
        Error::Analyze(Box::new(error))
    }
}

impl From<PruneError> for Error {
    fn from(error: PruneError) -> Error {
        Error::Prune(Box::new(error))
    }
}

impl From<SensitivityError> for Error {
    fn from(error: SensitivityError) -> Error {
        Error::Sensitivity(Box::new(error))
    }
}
