//! Models to GGUF files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use bantam_graph::Model;
use bantam_tensor::{BlockFormat, DType, Tensor};
use half::{bf16, f16};
use serde_json::Value as Json;

use super::coded::{Coded, coded};
use super::names::{ARCHITECTURES, GgufArchitecture, Order, Rows, reordered, rows_of, to_gguf};
use super::types::{GGML_TYPES, GgmlType};
use super::write::{TensorEntry, write_gguf};
use super::{GgufError, Value, tokenizer};
use crate::huggingface::{Config, config_text, weights_of};

/// The type of vectors, `f32`.
const VECTORS: &GgmlType = &GGML_TYPES[0];

/// Encodes all rows of a matrix, which are whole blocks.
pub type BlockEncoder<'a> = &'a dyn Fn(&'static dyn BlockFormat, &Tensor) -> Result<Vec<u8>, GgufError>;

/// Writes a model that was made of a Hugging Face folder, whole or not at all. `choose` gives the type of the matrix
/// with a name (in the file), and `encode` makes the bytes of blocks; vectors are always `f32`, as llama.cpp wants them.
/// `tokenizer` is a `tokenizer.json`.
///
/// # Errors
/// When the model carries no configuration or has no form in GGUF, the tokenizer is of a kind that GGUF does not have, a
/// matrix does not fit the blocks chosen for it, or the file cannot be written. Weights that are codes in groups go into blocks as they
/// are, where the type's blocks can say them.
pub fn export(
    model: &Model,
    path: &Path,
    tokenizer: Option<&Path>,
    choose: &dyn Fn(&str) -> &'static GgmlType,
    encode: BlockEncoder<'_>,
) -> Result<(), GgufError> {
    let text = config_text(model)?;
    let config = Config::parse(text)?;
    let architecture = architecture_of(&config.model_type)?;
    let tensors = named(all_weights(model))?;
    let entry = |(name, weight): &(String, Weight)| TensorEntry {
        name: name.clone(),
        shape: weight.shape().to_vec(),
        kind: match weight.shape().len() {
            2.. => choose(name),
            _ => VECTORS,
        },
    };
    let entries: Vec<TensorEntry> = tensors.iter().map(entry).collect();
    let json: Json = serde_json::from_str(text).unwrap_or_default();
    let mut metadata = general(architecture, &json, &entries);
    metadata.extend(sizes(architecture.name, &config)?);
    if let Some(path) = tokenizer {
        metadata.extend(tokenizer::metadata(path, &config, &json)?);
    }
    write_gguf(path, &metadata, &entries, |index| {
        let (name, weight) = &tensors[index];
        let heads = heads(architecture, &config, name);
        match weight {
            Weight::Float(tensor) => {
                let ordered = in_order(heads, name, tensor)?;
                encoded(&ordered, entries[index].kind, encode)
            }
            Weight::Coded(coded) => {
                let ordered = heads.map(|heads| coded.reordered(name, heads, Order::ToNeighbours));
                let ordered = ordered.transpose()?;
                encoded_again(ordered.as_ref().unwrap_or(coded), entries[index].kind, encode)
            }
        }
    })
}

/// A weight as the model has it.
enum Weight {
    Float(Tensor),
    Coded(Coded),
}

impl Weight {
    fn shape(&self) -> &[usize] {
        match self {
            Weight::Float(tensor) => tensor.shape(),
            Weight::Coded(coded) => coded.shape(),
        }
    }

    /// The type that comes nearest to the one it has.
    fn own(&self) -> &'static GgmlType {
        let own = match self {
            Weight::Float(tensor) => GgmlType::encodable().find(|kind| kind.dtype == Some(tensor.dtype())),
            Weight::Coded(coded) => coded.own(),
        };
        own.unwrap_or(VECTORS)
    }
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
    let mut elements: BTreeMap<u32, usize> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.shape.len() > 1) {
        if let Some(file_type) = entry.kind.file_type {
            *elements.entry(file_type).or_default() += entry.shape.iter().product::<usize>();
        }
    }
    if let Some((file_type, _)) = elements.into_iter().max_by_key(|(_, elements)| *elements) {
        metadata.push(("general.file_type".to_owned(), Value::U32(file_type)));
    }
    if entries.iter().any(|entry| entry.kind.block > 1) {
        metadata.push(("general.quantization_version".to_owned(), Value::U32(2)));
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

/// The tensor with its rows in the order of the file.
fn in_order<'a>(heads: Option<usize>, name: &str, tensor: &'a Tensor) -> Result<Cow<'a, Tensor>, GgufError> {
    match heads {
        Some(heads) => Ok(Cow::Owned(reordered(name, tensor, heads, Order::ToNeighbours)?)),
        None => Ok(Cow::Borrowed(tensor)),
    }
}

/// The bytes of codes: as they are where the type has such blocks, else encoded anew.
fn encoded_again(coded: &Coded, kind: &GgmlType, encode: BlockEncoder<'_>) -> Result<Vec<u8>, GgufError> {
    let blocks = kind.block_format().map(|format| coded.blocks(format));
    match blocks.transpose()?.flatten() {
        Some(blocks) => Ok(blocks),
        None => encoded(&coded.values()?, kind, encode),
    }
}

/// The bytes of a tensor: as they are where the type is the same, else encoded.
fn encoded(tensor: &Tensor, kind: &GgmlType, encode: BlockEncoder<'_>) -> Result<Vec<u8>, GgufError> {
    if kind.dtype == Some(tensor.dtype()) {
        return Ok(tensor.as_bytes().to_vec());
    }
    if let Some(format) = kind.block_format() {
        return encode(format, tensor);
    }
    let values = tensor.to_f32()?;
    let values = values.iter();
    match kind.dtype {
        Some(DType::F32) => Ok(values.flat_map(|value| value.to_le_bytes()).collect()),
        Some(DType::F16) => Ok(values
            .flat_map(|value| f16::from_f32(*value).to_le_bytes())
            .collect()),
        Some(DType::BF16) => Ok(values
            .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
            .collect()),
        _ => Err(GgufError::Unsayable {
            fact: format!("elements of type {}", kind.name),
            hint: "choose another type",
        }),
    }
}
