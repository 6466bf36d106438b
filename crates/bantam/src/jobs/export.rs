//! Writing a model in another format.

mod types;

use std::path::{Path, PathBuf};

use bantam_formats::gguf::{self, GgufError};
use bantam_formats::huggingface;
use bantam_formats::onnx::SaveOptions;
use bantam_graph::ops::Binary;
use bantam_graph::passes::{ELIMINATE_DEAD_NODES, JOIN_GROUPS, run_passes};
use bantam_graph::{Graph, InferOptions, Model, Node, Op, infer_shapes};
use bantam_kernels::blocks::{BlockSizeError, Source, encode_rows};
use bantam_tensor::{BlockFormat, DType, Tensor};
use half::{bf16, f16};
use serde::Serialize;

use crate::{Error, pipeline};
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
pub fn export(job: &ExportJob) -> Result<ExportReport, Error> {
    let is = |wanted: &str| {
        job.output
            .extension()
            .is_some_and(|extension| extension == wanted)
    };
    for (given, flag) in [
        (job.join_groups, "--matmulnbits"),
        (job.dequantize, "--dequantize"),
    ] {
        if given && !is("onnx") {
            return Err(Error::Usage {
                message: format!("{flag} is for ONNX files"),
                hint: "leave it out, or give an output that ends in .onnx".to_owned(),
            });
        }
    }
    let mut model = pipeline::load(&job.model)?;
    if job.dequantize {
        // Numbers beside codes are put into weights only where shapes are known.
        infer_shapes(&mut model.graph, &InferOptions::default())?;
        model.graph = bantam_compress::dequantize(&model.graph)?;
    }
    let folder = huggingface::folder_of(&job.model);
    let beside = folder.clone().or_else(|| job.model.parent().map(Path::to_owned));
    if let Some(flag) = beside_codes(&model.graph).filter(|_| !is("onnx")) {
        return Err(Error::Usage {
            message: format!("what {flag} puts beside codes has a form in ONNX files alone"),
            hint: "give an output that ends in .onnx, or quantize without it".to_owned(),
        });
    }
    let mut replaced = Vec::new();
    let format = if is("gguf") {
        let tokenizer = job
            .tokenizer
            .clone()
            .or_else(|| Some(beside?.join("tokenizer.json")));
        replaced = to_gguf(job, &model, tokenizer.filter(|path| path.is_file()).as_deref())?;
        "gguf"
    } else if job.types != GgufTypes::default() {
        return Err(Error::Usage {
            message: "--type and --tensor-type are for GGUF files".to_owned(),
            hint: "leave them out; weights keep their type".to_owned(),
        });
    } else if is("onnx") {
        let model = if job.join_groups { joined(model)? } else { model };
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
        replaced,
    })
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

fn to_gguf(job: &ExportJob, model: &Model, tokenizer: Option<&Path>) -> Result<Vec<Replaced>, Error> {
    super::check_writable(&job.output)?;
    let types = Types::choose(&job.types, &gguf::matrices(model)?)?;
    gguf::export(
        model,
        &job.output,
        tokenizer,
        &|name| types.of(name),
        &encode_blocks,
    )?;
    Ok(types.replaced)
}

/// All rows of a matrix as blocks.
fn encode_blocks(format: &'static dyn BlockFormat, tensor: &Tensor) -> Result<Vec<u8>, GgufError> {
    let row = tensor.shape().last().copied().unwrap_or(1);
    let rows = tensor.len().checked_div(row).unwrap_or(0);
    let bytes = format.row_bytes(row).and_then(|bytes| bytes.checked_mul(rows));
    let mut bytes = vec![0; bytes.unwrap_or(0)];
    let mut encode = |values: Source<'_>| encode_rows(format, values, row, None, &mut bytes);
    let unfit = |error: BlockSizeError| GgufError::Unsayable {
        fact: error.to_string(),
        hint: "choose another type",
    };
    match tensor.dtype() {
        DType::F16 => encode(Source::F16(&tensor.values::<f16>()?)),
        DType::BF16 => encode(Source::BF16(&tensor.values::<bf16>()?)),
        DType::F32 => encode(Source::F32(&tensor.values::<f32>()?)),
        _ => encode(Source::F32(&tensor.to_f32()?)),
    }
    .map_err(unfit)?;
    Ok(bytes)
}
