//! Models to GGUF files.

use std::collections::BTreeMap;
use std::path::Path;

use bantam_graph::Model;
use serde_json::Value as Json;

use super::coded::coded;
use super::names::{ARCHITECTURES, GgufArchitecture, Rows, needed, rows_of, to_gguf};
use super::types::{GGML_TYPES, GgmlType};
use super::weights::{BlockEncoder, Weight, Weights};
use super::write::{TensorEntry, write_gguf};
use super::{GgufError, Value, tokenizer};
use crate::huggingface::{Config, config_text, weights_of};
use crate::pieces::Writing;

/// Key of the type that most elements have.
pub(super) const FILE_TYPE: &str = "general.file_type";
/// Key of the version of the types with blocks.
pub(super) const QUANTIZATION_VERSION: &str = "general.quantization_version";

/// The type of vectors, `f32`.
pub(super) const VECTORS: &GgmlType = &GGML_TYPES[0];

/// How a file is made of a model or of another file.
pub struct Exporting<'a> {
    /// The type of the matrix with a name (in the file); vectors are always `f32`, as llama.cpp wants them.
    pub choose: &'a (dyn Fn(&str) -> &'static GgmlType + Sync),
    /// Makes the bytes of blocks.
    pub encode: BlockEncoder<'a>,
    /// How much each column of matrices counts, by their names in the file; all alike where there is nothing.
    pub importance: &'a BTreeMap<String, Vec<f32>>,
    /// How the file is written.
    pub writing: Writing<'a>,
}

/// Writes a model that was made of a Hugging Face folder, whole or not at all. `tokenizer` is a `tokenizer.json`.
///
/// # Errors
/// When the model carries no configuration or has no form in GGUF, the tokenizer is of a kind that GGUF does not have, a
/// matrix does not fit the blocks chosen for it, or the file cannot be written. Weights that are codes in groups go into blocks as they
/// are, where the type's blocks can say them.
pub fn export(
    model: &Model,
    path: &Path,
    tokenizer: Option<&Path>,
    exporting: &Exporting<'_>,
) -> Result<(), GgufError> {
    let text = config_text(model)?;
    let config = Config::parse(text)?;
    let architecture = architecture_of(&config.model_type)?;
    let weights = all_weights(model);
    if let Some(name) = needed(config.num_hidden_layers).find(|name| !weights.contains_key(name)) {
        return Err(GgufError::Missing { name });
    }
    let weights = named(weights)?;
    let heads: Vec<Option<usize>> = weights
        .iter()
        .map(|(name, _)| heads(architecture, &config, name))
        .collect();
    let entry = |((name, weight), heads): (&(String, Weight), &Option<usize>)| {
        let rows = weight.shape().first().copied().unwrap_or(1);
        TensorEntry {
            name: name.clone(),
            shape: weight.shape().to_vec(),
            kind: match weight.shape().len() {
                2.. => (exporting.choose)(name),
                _ => VECTORS,
            },
            together: heads.map_or(1, |heads| rows / heads.max(1)),
        }
    };
    let entries: Vec<TensorEntry> = weights.iter().zip(&heads).map(entry).collect();
    let json: Json = serde_json::from_str(text).unwrap_or_default();
    let mut metadata = general(architecture, &json, &entries);
    metadata.extend(sizes(architecture.name, &config)?);
    if let Some(path) = tokenizer {
        metadata.extend(tokenizer::metadata(path, &config, &json)?);
    }
    let weights = Weights {
        entries: &entries,
        weights: weights.iter().map(|(_, weight)| weight).collect(),
        heads: &heads,
        exporting,
    };
    write_gguf(path, &metadata, &entries, &weights, &exporting.writing)
}

/// The model's weights by name, in floats or in codes.
fn all_weights(model: &Model) -> BTreeMap<String, Weight> {
    let floats = weights_of(model).into_iter();
    let mut weights: BTreeMap<String, Weight> = floats
        .map(|(name, tensor)| (name, Weight::Float(tensor)))
        .collect();
    let coded = coded(&model.graph).into_iter();
    weights.extend(coded.map(|(name, coded)| (name, Weight::Coded(coded))));
    weights
}

/// A matrix of a model, for which a type is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Its name in a file.
    pub name: String,
    /// Elements of a row.
    pub row: usize,
    /// The type that comes nearest to the one it has in the model.
    pub own: &'static GgmlType,
}

/// A model's matrices.
///
/// # Errors
/// When a weight has no name in GGUF.
pub fn matrices(model: &Model) -> Result<Vec<Matrix>, GgufError> {
    let weights = named(all_weights(model))?.into_iter();
    let matrix = |(name, weight): (String, Weight)| Matrix {
        name,
        row: weight.shape().last().copied().unwrap_or(1),
        own: weight.own(),
    };
    let matrices = weights.filter(|(_, weight)| weight.shape().len() >= 2);
    Ok(matrices.map(matrix).collect())
}

fn architecture_of(model_type: &str) -> Result<&'static GgufArchitecture, GgufError> {
    let known = || {
        let names: Vec<&str> = ARCHITECTURES.iter().map(|known| known.model_type).collect();
        GgufError::Architecture {
            name: model_type.to_owned(),
            known: names.join(", "),
        }
    };
    let mut all = ARCHITECTURES.iter();
    all.find(|known| known.model_type == model_type).ok_or_else(known)
}

/// The weights under their names in the file, in an order that does not depend on anything else.
fn named(weights: BTreeMap<String, Weight>) -> Result<Vec<(String, Weight)>, GgufError> {
    let renamed = |(name, weight): (String, Weight)| match to_gguf(&name) {
        Some(ours) => Ok((ours, weight)),
        None => Err(GgufError::Name { name }),
    };
    weights.into_iter().map(renamed).collect()
}

/// What every file says.
fn general(architecture: &GgufArchitecture, config: &Json, entries: &[TensorEntry]) -> Vec<(String, Value)> {
    let name = config["_name_or_path"].as_str().filter(|name| !name.is_empty());
    let text = |text: &str| Value::String(text.to_owned());
    let mut metadata = vec![
        ("general.architecture".to_owned(), text(architecture.name)),
        ("general.type".to_owned(), text("model")),
        (
            "general.name".to_owned(),
            text(name.unwrap_or(architecture.model_type)),
        ),
    ];
    metadata.extend(types(entries));
    metadata
}

/// What every file says of the types of its tensors.
pub(super) fn types(entries: &[TensorEntry]) -> Vec<(String, Value)> {
    let mut metadata = Vec::new();
    let mut elements: BTreeMap<u32, usize> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.shape.len() > 1) {
        if let Some(file_type) = entry.kind.file_type {
            *elements.entry(file_type).or_default() += entry.shape.iter().product::<usize>();
        }
    }
    if let Some((file_type, _)) = elements.into_iter().max_by_key(|(_, elements)| *elements) {
        metadata.push((FILE_TYPE.to_owned(), Value::U32(file_type)));
    }
    if entries.iter().any(|entry| entry.kind.block > 1) {
        metadata.push((QUANTIZATION_VERSION.to_owned(), Value::U32(2)));
    }
    metadata
}

/// The sizes of the model.
fn sizes(prefix: &str, config: &Config) -> Result<Vec<(String, Value)>, GgufError> {
    let rope = config.rope(false);
    if rope.is_stretched() {
        return Err(GgufError::Unsayable {
            fact: "rotary embedding is stretched".to_owned(),
            hint: "only models with plain rotary embedding are written",
        });
    }
    let number = |key: &str, value: usize| {
        let value = u32::try_from(value).map_err(|_| GgufError::Metadata { key: key.to_owned() })?;
        Ok::<_, GgufError>((format!("{prefix}.{key}"), Value::U32(value)))
    };
    let float = |key: &str, value: f32| (format!("{prefix}.{key}"), Value::F32(value));
    Ok(vec![
        number("block_count", config.num_hidden_layers)?,
        number("context_length", config.positions())?,
        number("embedding_length", config.hidden_size)?,
        number("feed_forward_length", config.feed_forward_size())?,
        number("attention.head_count", config.num_attention_heads)?,
        number("attention.head_count_kv", config.key_value_heads())?,
        number("attention.key_length", config.head_size())?,
        number("attention.value_length", config.head_size())?,
        float("attention.layer_norm_rms_epsilon", config.epsilon()),
        number("rope.dimension_count", rope.turning(config.head_size()))?,
        float("rope.freq_base", rope.theta() as f32),
        number("vocab_size", config.vocab_size)?,
    ])
}

/// The heads whose rows the file has in another order.
fn heads(architecture: &GgufArchitecture, config: &Config, name: &str) -> Option<usize> {
    match rows_of(name) {
        Rows::Queries if architecture.interleaved => Some(config.num_attention_heads),
        Rows::Keys if architecture.interleaved => Some(config.key_value_heads()),
        _ => None,
    }
}
