//! ONNX models in other runtimes: ONNX Runtime and OpenVINO, to check and to time what was exported.
//!
//! Their libraries are opened at run time where they are present: nothing is linked, and nothing else needs them.
//! A library is looked for in this order:
//!
//! 1. the file or folder that the environment variable `BANTAM_ONNXRUNTIME` or `BANTAM_OPENVINO` names (then nowhere else),
//! 2. the Python packages of the active virtual environment, of `.venv` in the current folder, and of the first
//!    `python3` on the path,
//! 3. the system's library loader.
//!
//! A process opens each library once; the first one found stays for the life of the process.

mod error;
mod inputs;
mod library;
mod onnx_runtime;
mod openvino;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use bantam_compress::evaluate::Runner;

pub use error::RuntimeError;

/// Most threads that a runner takes.
pub const MAX_THREADS: usize = 1024;

/// A runtime for ONNX models other than Bantam's own executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuntimeKind {
    /// ONNX Runtime 1.17 or newer, CPU execution provider.
    OnnxRuntime,
    /// OpenVINO 2025.1 or newer, CPU device.
    OpenVino,
}

impl RuntimeKind {
    /// Every runtime.
    pub const ALL: &[RuntimeKind] = &[RuntimeKind::OnnxRuntime, RuntimeKind::OpenVino];

    /// The name that its makers use.
    pub fn name(self) -> &'static str {
        match self {
            RuntimeKind::OnnxRuntime => "ONNX Runtime",
            RuntimeKind::OpenVino => "OpenVINO",
        }
    }
}

impl std::fmt::Display for RuntimeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Which build of a runtime was opened, for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// The runtime.
    pub kind: RuntimeKind,
    /// Its version, as `1.32.0`; the commit it was built from where the library does not tell.
    pub version: String,
    /// The library's file, or its bare name if the system's loader found it.
    pub library: PathBuf,
}

/// Opens the ONNX model at `model_path` in a runtime, to run on `threads` CPU threads (0: as many as the machine offers).
///
/// Graph optimizations are on as the runtime's makers set them (in ONNX Runtime the basic ones, where others would change what 8-bit floats give); float parts are computed in f32 and never in bf16.
/// Inputs may change their shape from run to run as far as the model allows. Outputs come in the model's order.
///
/// # Errors
/// When the runtime's library is absent or too old, `threads` exceeds [`MAX_THREADS`], there is no such file, or the
/// runtime refuses the model.
pub fn open(kind: RuntimeKind, model_path: &Path, threads: usize) -> Result<Box<dyn Runner>, RuntimeError> {
    let threads = thread_count(threads)?;
    if !model_path.is_file() {
        return Err(RuntimeError::NoModel {
            path: model_path.to_path_buf(),
        });
    }
    Ok(match kind {
        RuntimeKind::OnnxRuntime => Box::new(onnx_runtime::OnnxRuntime::open(model_path, threads)?),
        RuntimeKind::OpenVino => Box::new(openvino::OpenVino::open(model_path, threads)?),
    })
}

/// The runtimes whose library could be opened.
pub fn available() -> Vec<RuntimeKind> {
    versions().into_iter().map(|version| version.kind).collect()
}

/// The version of each runtime whose library could be opened.
pub fn versions() -> Vec<RuntimeVersion> {
    let opened = RuntimeKind::ALL.iter().map(|&kind| version(kind));
    opened.filter_map(Result::ok).collect()
}

/// The version of a runtime.
///
/// # Errors
/// When its library is absent or too old.
pub fn version(kind: RuntimeKind) -> Result<RuntimeVersion, RuntimeError> {
    match kind {
        RuntimeKind::OnnxRuntime => onnx_runtime::version(),
        RuntimeKind::OpenVino => openvino::version(),
    }
}

fn thread_count(threads: usize) -> Result<usize, RuntimeError> {
    match threads {
        0 => Ok(std::thread::available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS))),
        1..=MAX_THREADS => Ok(threads),
        _ => Err(RuntimeError::Threads { threads }),
    }
}
