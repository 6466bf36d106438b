//! Writing a model in another format.

mod importance;
mod types;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bantam_formats::gguf::{self, Exporting, GgmlType, Gguf, GgufError};
use bantam_formats::onnx::SaveOptions;
use bantam_formats::{Writing, huggingface};
use bantam_graph::ops::Binary;
use bantam_graph::passes::{ELIMINATE_DEAD_NODES, JOIN_GROUPS, run_passes};
use bantam_graph::{Graph, InferOptions, Model, Node, Op, infer_shapes};
use bantam_tensor::{BlockFormat, Tensor};
use serde::Serialize;

use super::blocks;
use super::inspect::table_of;
use crate::files::fingerprint;
use crate::progress::staged;
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
        replaced = match is(&job.model, "gguf") {
            true => from_file(job, progress)?,
            false => from_model(job, &without_additions(job)?, progress)?,
        };
        "gguf"
    } else if to_onnx {
        let model = loaded(job)?;
        let model = if job.join_groups { joined(model)? } else { model };
        pipeline::export(&model, &job.output, &job.save)?;
        "onnx"
    } else {
        huggingface::save(&without_additions(job)?, &job.output, beside(job).as_deref())?;
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
    for (given, flag) in [
        (job.join_groups, "--matmulnbits"),
        (job.dequantize, "--dequantize"),
    ] {
        if given && !to_onnx {
            return refused(
                &format!("{flag} is for ONNX files"),
                "leave it out, or give an output that ends in .onnx",
            );
        }
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
        // Numbers beside codes are put into weights only where shapes are known.
        infer_shapes(&mut model.graph, &InferOptions::default())?;
        model.graph = bantam_compress::dequantize(&model.graph)?;
    }
    Ok(model)
}

/// The model, for formats that have no form for values of tables, nor for what lies beside codes.
fn without_additions(job: &ExportJob) -> Result<Model, Error> {
    let model = loaded(job)?;
    let inputs = model.graph.nodes.iter().flat_map(|node| &node.inputs).flatten();
    if let Some(table) = inputs.filter_map(|id| table_of(&model.graph, *id)).next() {
        return Err(Error::Usage {
            message: format!("weights in {table} have a form in ONNX files alone"),
            hint: "give an output that ends in .onnx, or quantize with --weights int4 or uint4".to_owned(),
        });
    }
    match beside_codes(&model.graph) {
        None => Ok(model),
        Some(flag) => Err(Error::Usage {
            message: format!("what {flag} puts beside codes has a form in ONNX files alone"),
            hint: "give an output that ends in .onnx, or quantize without it".to_owned(),
        }),
    }
}

/// The folder that the model lies in.
fn beside(job: &ExportJob) -> Option<PathBuf> {
    huggingface::folder_of(&job.model).or_else(|| job.model.parent().map(Path::to_owned))
}

/// The flag of `bantam quantize` that put something beside the codes of a product, if one did.
fn beside_codes(graph: &Graph) -> Option<&'static str> {
    let producers = graph.producers();
    let made_by = |node: &Node, position: usize| Some(graph.node(producers[node.input(position)?.index()]?));
    let is_dequantized = |node: &Node| matches!(node.op, Op::DequantizeLinear(_));
    graph.nodes.iter().find_map(|node| match &node.op {
        Op::ScatterElements(_) => {
            let dequantized = made_by(node, 0).and_then(|flat| made_by(flat, 0));
            dequantized.is_some_and(is_dequantized).then_some("--outliers")
        }
        Op::Binary(Binary::Add) => {
            let [codes, wide] = [0, 1].map(|position| made_by(node, position));
            let coded = codes
                .and_then(|product| made_by(product, 1))
                .is_some_and(is_dequantized);
            let factor = wide.and_then(|product| made_by(product, 1));
            let stored = factor.is_some_and(|cast| matches!(cast.op, Op::Cast(_)));
            (coded && stored).then_some("--low-rank")
        }
        _ => None,
    })
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
    let settings = format!("{} {:?}", env!("CARGO_PKG_VERSION"), job.types);
    let key = fingerprint(&[&settings, &format!("{importance:?}")], &files)?;
    let choose = |name: &str| -> &'static GgmlType { types.of(name) };
    let written = staged(progress, "export", |report| {
        write(&Exporting {
            choose: &choose,
            encode: &encode_blocks,
            importance,
            writing: Writing {
                key: &key,
                resume: job.resume,
                progress: report,
                ..Writing::PLAIN
            },
        })
    });
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
