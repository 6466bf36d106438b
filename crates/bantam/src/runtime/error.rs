//! What can go wrong with other runtimes.

use std::path::PathBuf;

use bantam_tensor::{DType, TensorError};

use super::library::Library;
use super::{MAX_THREADS, RuntimeKind};

/// Why a runtime, or a model in it, could not be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum RuntimeError {
    #[error("{runtime} was not found\nhint: {}", install(*.runtime))]
    NotFound { runtime: RuntimeKind },
    #[error(
        "{variable} is {path:?}, where no {} was found\nhint: set {variable} to that file or to the folder that holds it",
        Library::of(*.runtime).file_name()
    )]
    Configured {
        runtime: RuntimeKind,
        variable: &'static str,
        path: PathBuf,
    },
    #[error("{runtime} could not be loaded from {path:?}: {reason}\nhint: {}", install(*.runtime))]
    Load {
        runtime: RuntimeKind,
        path: PathBuf,
        reason: String,
    },
    #[error(
        "cannot run on {threads} threads\nhint: give at most {MAX_THREADS}, or 0 for as many as there are"
    )]
    Threads { threads: usize },
    #[error("there is no file {path:?}")]
    NoModel { path: PathBuf },
    #[error("{runtime} could not open the model {path:?}: {reason}")]
    Model {
        runtime: RuntimeKind,
        path: PathBuf,
        reason: String,
    },
    #[error("the model has no input {name:?}\nhint: its inputs are {inputs:?}")]
    UnknownInput { name: String, inputs: Vec<String> },
    #[error("input {name:?} is given more than once")]
    RepeatedInput { name: String },
    #[error("no value is given for input {name:?} of the model")]
    MissingInput { name: String },
    #[error("{runtime} cannot take input {name:?} of type {dtype}\nhint: {SUPPORTED}")]
    InputType {
        runtime: RuntimeKind,
        name: String,
        dtype: DType,
    },
    #[error("output {index} of the model is of type {dtype} in {runtime}\nhint: {SUPPORTED}")]
    OutputType {
        runtime: RuntimeKind,
        index: usize,
        dtype: String,
    },
    #[error("{runtime} failed to run the model: {reason}")]
    Run { runtime: RuntimeKind, reason: String },
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

const SUPPORTED: &str = "supported are f64, f32, f16, bf16, bool and integers of 8 to 64 bits";

/// How to get a runtime.
fn install(runtime: RuntimeKind) -> String {
    let library = Library::of(runtime);
    format!(
        "pip install {}, or set {} to the folder or file of {}",
        library.package,
        library.variable,
        library.file_name()
    )
}
