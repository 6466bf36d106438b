//! Files to files of other types, tensor by tensor: no graph is needed, so that the architecture does not matter.

use std::path::Path;

use super::export::{Exporting, FILE_TYPE, QUANTIZATION_VERSION, types};
use super::weights::{Weight, Weights};
use super::write::{TensorEntry, write_gguf};
use super::{Gguf, GgufError, GgufTensor, Matrix, Value};

/// Parts of names of matrices that are small or not of products, as llama.cpp's `llama-quant.cpp` has them.
const KEPT: &[&str] = &[
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "position_embd",
    "token_types.weight",
    "ssm_conv1d",
    "shortconv.conv.weight",
    "time_mix_first.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_lerp_fused.weight",
    "attn_rel_b.weight",
    "sam.pos_embd",
    "sam.neck.",
    "sam.net_",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
    "a.rvq.codebook",
    "mm.a.code_embd",
];

/// The matrices of a file for which a type may be chosen; all else keeps its type.
pub fn matrices_of(file: &Gguf) -> Vec<Matrix> {
    let matrix = |tensor: &GgufTensor| Matrix {
        name: tensor.name.clone(),
        row: tensor.shape.last().copied().unwrap_or(1),
        own: tensor.kind,
    };
    let tensors = file.tensors.iter().filter(|tensor| is_matrix(tensor));
    tensors.map(matrix).collect()
}

fn is_matrix(tensor: &GgufTensor) -> bool {
    // Of one row there is nothing to gain.
    let dims = tensor.shape.iter().filter(|size| **size != 1).count();
    let kept = KEPT.iter().any(|part| tensor.name.contains(part));
    // Types that are not decoded can only be passed on.
    let readable =
        tensor.kind.dtype.is_some_and(|dtype| dtype.is_float()) || tensor.kind.block_format().is_some();
    tensor.name.ends_with("weight") && dims >= 2 && !kept && readable
}

/// Writes a file of other types, whole or not at all; metadata and tokenizer stay as they are.
///
/// # Errors
/// When the file is a part of a model, a matrix does not fit the blocks chosen for it, or the file cannot be written.
pub fn requantize(file: &Gguf, path: &Path, exporting: &Exporting<'_>) -> Result<(), GgufError> {
    if let Some(parts) = file
        .value("split.count")
        .and_then(Value::as_u64)
        .filter(|parts| *parts > 1)
    {
        return Err(GgufError::Unsayable {
            fact: format!("the file is one of {parts} parts of a model"),
            hint: "put them together first (llama-gguf-split --merge)",
        });
    }
    let entry = |tensor: &GgufTensor| TensorEntry {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        kind: match is_matrix(tensor) {
            true => (exporting.choose)(&tensor.name),
            false => tensor.kind,
        },
        together: 1,
    };
    let entries: Vec<TensorEntry> = file.tensors.iter().map(entry).collect();
    let weights: Vec<Weight> = file.tensors.iter().cloned().map(Weight::Stored).collect();
    let metadata = with_types(&file.metadata, types(&entries));
    let weights = Weights {
        weights: weights.iter().collect(),
        heads: &vec![None; entries.len()],
        entries: &entries,
        exporting,
    };
    write_gguf(path, &metadata, &entries, &weights, &exporting.writing)
}

/// Metadata with these values about types in place of the file's own.
fn with_types(metadata: &[(String, Value)], mut types: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (key, value) in metadata {
        let at = types.iter().position(|(known, _)| known == key);
        match at.map(|at| types.remove(at)) {
            Some(new) => all.push(new),
            None if key == FILE_TYPE || key == QUANTIZATION_VERSION => (),
            None => all.push((key.clone(), value.clone())),
        }
    }
    all.extend(types);
    all
}
