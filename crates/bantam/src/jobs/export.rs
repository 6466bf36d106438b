//! Writing a model in another format.

mod importance;
mod types;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bantam_formats::gguf::{self, Exporting, GgmlType, Gguf, GgufError};
use bantam_formats::onnx::SaveOptions;
use bantam_formats::{Writing, huggingface};
use bantam_graph::passes::{ELIMINATE_DEAD_NODES, JOIN_GROUPS, run_passes};
use bantam_graph::{InferOptions, Model, infer_shapes};
use bantam_tensor::{BlockFormat, Tensor};
use serde::Serialize;

use super::blocks;
use crate::files::fingerprint;
use crate::{Error, Progress, pipeline};
pub use importance::Importance;
use types::Types;
pub use types::{GgufTypes, Replaced};

/// What to write.
#[derive(Clone, Debug)]
pub struct ExportJob {
    /// The model.
    pub model: PathBuf,
    /// A `.gguf` or `.onnx` file, or else a folder.
    pub output: PathBuf,
    /// Types of matrices in a GGUF file.
    pub types: GgufTypes,
    /// The `tokenizer.json`, where it is not beside the model.
    pub tokenizer: Option<PathBuf>,
    /// Data that say how much the columns of matrices in a GGUF file count.
    pub importance: Option<Importance>,
    /// Go on with a GGUF file that is unfinished, if there is one.
    pub resume: bool,
    /// How an ONNX file is saved.
    pub save: SaveOptions,
    /// Products with weights in groups become ONNX Runtime's MatMulNBits.
    pub join_groups: bool,
    /// Codes become the numbers that they stand for, and nothing is rounded while the model runs.
    pub dequantize: bool,
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
    /// Matrices of a GGUF file whose rows are no whole blocks of the type that was asked for.
    pub replaced: Vec<Replaced>,
}

/// Reads a model and writes it in the format that the output's name says.
pub fn export(job: &ExportJob, progress: &dyn Progress) -> Result<ExportReport, Error> {
    let is = |path: &Path, wanted: &str| path.extension().is_some_and(|extension| extension == wanted);
    let (to_gguf, to_onnx) = (is(&job.output, "gguf"), is(&job.output, "onnx"));
    check_options(job, to_gguf, to_onnx)?;
    let mut replaced = Vec::new();
    let format = if to_gguf {
        replaced = match is(&job.model, "gguf") && !job.dequantize {
            true => from_file(job, progress)?,
            false => from_model(job, &loaded(job)?, progress)?,
        };
        "gguf"
    } else if to_onnx {
        let model = loaded(job)?;
        let model = if job.join_groups { joined(model)? } else { model };
        pipeline::export(&model, &job.output, &job.save)?;
        "onnx"
    } else {
        huggingface::save(&loaded(job)?, &job.output, beside(job).as_deref())?;
        "huggingface"
    };
    Ok(ExportReport {
        model: job.model.clone(),
        output: job.output.clone(),
        format,
        bytes_before: super::model_bytes(&job.model),
        bytes_after: super::model_bytes(&job.output),
        replaced,
    })
}

fn check_options(job: &ExportJob, to_gguf: bool, to_onnx: bool) -> Result<(), Error> {
    let refused = |message: &str, hint: &str| {
        Err(Error::Usage {
            message: message.to_owned(),
            hint: hint.to_owned(),
        })
    };
    if job.join_groups && !to_onnx {
        return refused(
            "--matmulnbits is for ONNX files",
            "leave it out, or give an output that ends in .onnx",
        );
    }
    if job.types != GgufTypes::default() && !to_gguf {
        return refused(
            "--type and --tensor-type are for GGUF files",
            "leave them out; weights keep their type",
        );
    }
    if (job.resume || job.importance.is_some()) && !to_gguf {
        return refused(
            "--importance and --resume are for GGUF files",
            "leave them out, or give an output that ends in .gguf",
        );
    }
    Ok(())
}

fn loaded(job: &ExportJob) -> Result<Model, Error> {
    let mut model = pipeline::load(&job.model)?;
    if job.dequantize {
        model.graph = bantam_compress::dequantize(&model.graph)?;
    }
    Ok(model)
}

/// The folder that the model lies in.
fn beside(job: &ExportJob) -> Option<PathBuf> {
    huggingface::folder_of(&job.model).or_else(|| job.model.parent().map(Path::to_owned))
}

/// The model with MatMulNBits where weights are in groups.
fn joined(mut model: Model) -> Result<Model, Error> {
    infer_shapes(&mut model.graph, &InferOptions::default())?;
    let reports = run_passes(&mut model.graph, &[JOIN_GROUPS, ELIMINATE_DEAD_NODES])?;
    let joined = &reports[0];
    if joined.applied == 0 {
        let reason = joined.not_applied.first();
        return Err(Error::Usage {
            message: reason.map_or("no product has weights in groups".to_owned(), ToString::to_string),
            hint: "make them with `bantam quantize --granularity group:32`".to_owned(),
        });
    }
    Ok(model)
}

fn from_model(job: &ExportJob, model: &Model, progress: &dyn Progress) -> Result<Vec<Replaced>, Error> {
    super::check_writable(&job.output)?;
    let types = Types::choose(&job.types, &gguf::matrices(model)?)?;
    let tokenizer = job.tokenizer.clone();
    let tokenizer = tokenizer.or_else(|| Some(beside(job)?.join("tokenizer.json")));
    let tokenizer = tokenizer.filter(|path| path.is_file());
    let importance = importance::columns(job, Some(model), progress)?;
    write(job, &types, &importance, progress, |exporting| {
        gguf::export(model, &job.output, tokenizer.as_deref(), exporting)
    })?;
    Ok(types.replaced)
}

/// A GGUF file of another one, of any architecture; but for importance the model has to run.
fn from_file(job: &ExportJob, progress: &dyn Progress) -> Result<Vec<Replaced>, Error> {
    super::check_writable(&job.output)?;
    let file: Gguf = gguf::read_gguf(&job.model)?;
    let types = Types::choose(&job.types, &gguf::matrices_of(&file))?;
    let importance = importance::columns(job, None, progress)?;
    write(job, &types, &importance, progress, |exporting| {
        gguf::requantize(&file, &job.output, exporting)
    })?;
    Ok(types.replaced)
}

/// Has a GGUF file written in these types.
fn write(
    job: &ExportJob,
    types: &Types,
    importance: &BTreeMap<String, Vec<f32>>,
    progress: &dyn Progress,
    write: impl FnOnce(&Exporting<'_>) -> Result<(), GgufError>,
) -> Result<(), Error> {
    let files = bantam_formats::format_of(&job.model).files(&job.model);
    let settings = format!("{} {:?} {}", env!("CARGO_PKG_VERSION"), job.types, job.dequantize);
    let key = fingerprint(&[&settings, &format!("{importance:?}")], &files)?;
    let started = std::sync::Once::new();
    let report = |done: usize, all: usize| {
        started.call_once(|| progress.start("export", all));
        progress.at(done);
    };
    let choose = |name: &str| -> &'static GgmlType { types.of(name) };
    let written = write(&Exporting {
        choose: &choose,
        encode: &encode_blocks,
        importance,
        writing: Writing {
            key: &key,
            resume: job.resume,
            progress: &report,
            ..Writing::PLAIN
        },
    });
    if started.is_completed() {
        progress.finish();
    }
    Ok(written?)
}

/// Rows of a matrix as blocks.
fn encode_blocks(
    format: &'static dyn BlockFormat,
    tensor: &Tensor,
    importance: Option<&[f32]>,
) -> Result<Vec<u8>, GgufError> {
    blocks::encode(format, tensor, importance).map_err(|error| GgufError::Unsayable {
        fact: error.to_string(),
        hint: "choose another type",
    })
}
