//! Writing a model in another format.

use std::path::{Path, PathBuf};

use bantam_formats::gguf::{self, ENCODINGS, Encoding, encoding_by_name};
use bantam_formats::huggingface;
use bantam_formats::onnx::SaveOptions;
use bantam_graph::Model;
use bantam_tensor::DType;
use serde::Serialize;

use crate::{Error, pipeline};

/// What to write.
#[derive(Clone, Debug)]
pub struct ExportJob {
    /// The model.
    pub model: PathBuf,
    /// A `.gguf` or `.onnx` file, or else a folder.
    pub output: PathBuf,
    /// Type of matrices in a GGUF file; `None`: as they are.
    pub dtype: Option<String>,
    /// The `tokenizer.json`, where it is not beside the model.
    pub tokenizer: Option<PathBuf>,
    /// How an ONNX file is saved.
    pub save: SaveOptions,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct ExportReport {
    /// The model.
    pub model: PathBuf,
    /// The result.
    pub output: PathBuf,
    /// Its format.
    pub format: &'static str,
    /// Size of the model in bytes.
    pub bytes_before: u64,
    /// Size of the result in bytes.
    pub bytes_after: u64,
}

/// Reads a model and writes it in the format that the output's name says.
pub fn export(job: &ExportJob) -> Result<ExportReport, Error> {
    let model = pipeline::load(&job.model)?;
    let folder = huggingface::folder_of(&job.model);
    let beside = folder.clone().or_else(|| job.model.parent().map(Path::to_owned));
    let is = |wanted: &str| {
        job.output
            .extension()
            .is_some_and(|extension| extension == wanted)
    };
    let format = if is("gguf") {
        let tokenizer = job
            .tokenizer
            .clone()
            .or_else(|| Some(beside?.join("tokenizer.json")));
        to_gguf(job, &model, tokenizer.filter(|path| path.is_file()).as_deref())?;
        "gguf"
    } else if job.dtype.is_some() {
        return Err(Error::Usage {
            message: "--dtype is for GGUF files".to_owned(),
            hint: "leave it out; weights keep their type".to_owned(),
        });
    } else if is("onnx") {
        pipeline::export(&model, &job.output, &job.save)?;
        "onnx"
    } else {
        huggingface::save(&model, &job.output, beside.as_deref())?;
        "huggingface"
    };
    Ok(ExportReport {
        model: job.model.clone(),
        output: job.output.clone(),
        format,
        bytes_before: super::model_bytes(&job.model),
        bytes_after: super::model_bytes(&job.output),
    })
}

fn to_gguf(job: &ExportJob, model: &Model, tokenizer: Option<&Path>) -> Result<(), Error> {
    super::check_writable(&job.output)?;
    let encoding = match &job.dtype {
        Some(name) => encoding_by_name(name).ok_or_else(|| {
            Error::unknown_name("GGUF type", name, ENCODINGS.iter().map(|encoding| encoding.kind))
        })?,
        None => Encoding::keeping(most_common_type(model)),
    };
    Ok(gguf::export(model, &job.output, tokenizer, &|_, _| encoding)?)
}

/// The type of most elements of matrices.
fn most_common_type(model: &Model) -> DType {
    let mut elements = std::collections::BTreeMap::<DType, usize>::new();
    let constants = model
        .graph
        .values
        .iter()
        .filter_map(|value| value.initializer.as_ref());
    for matrix in constants.filter(|tensor| tensor.rank() >= 2 && tensor.dtype().is_float()) {
        *elements.entry(matrix.dtype()).or_default() += matrix.len();
    }
    let most = elements.into_iter().max_by_key(|(_, elements)| *elements);
    most.map_or(DType::F32, |(dtype, _)| dtype)
}
