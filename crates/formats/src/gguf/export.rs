//! Models to GGUF files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use bantam_graph::Model;
use bantam_tensor::{DType, Tensor};
use half::{bf16, f16};
use serde_json::Value as Json;

use super::names::{ARCHITECTURES, GgufArchitecture, Order, Rows, reordered, rows_of, to_gguf};
use super::types::GgmlType;
use super::write::{TensorEntry, write_gguf};
use super::{GgufError, Value, tokenizer};
use crate::huggingface::{Config, config_text, weights_of};

/// How the elements of a tensor are stored.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    /// Their type.
    pub kind: &'static str,
    /// Encodes rows of whole blocks.
    pub encode: fn(&[f32]) -> Vec<u8>,
}

/// The encodings of scalars.
pub static ENCODINGS: &[Encoding] = &[
    Encoding {
        kind: "f32",
        encode: |values| values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    },
    Encoding {
        kind: "f16",
        encode: |values| {
            values
                .iter()
                .flat_map(|value| f16::from_f32(*value).to_le_bytes())
                .collect()
        },
    },
    Encoding {
        kind: "bf16",
        encode: |values| {
            values
                .iter()
                .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
                .collect()
        },
    },
];

/// The encoding with this name.
pub fn encoding_by_name(name: &str) -> Option<Encoding> {
    ENCODINGS.iter().copied().find(|encoding| encoding.kind == name)
}

/// Writes a model that was made of a Hugging Face folder, whole or not at all. `choose` says how a matrix of this name (in
/// the file) and shape is stored; vectors are always `f32`, as llama.cpp wants them. `tokenizer` is a
/// `tokenizer.json`.
///
/// # Errors
/// When the model carries no configuration or has no form in GGUF, the tokenizer is of a kind that GGUF does not have, a
/// matrix does not fit the blocks chosen for it, or the file cannot be written.
pub fn export(
    model: &Model,
    path: &Path,
    tokenizer: Option<&Path>,
    choose: &dyn Fn(&str, &[usize]) -> Encoding,
) -> Result<(), GgufError> {
    let text = config_text(model)?;
    let config = Config::parse(text)?;
    let architecture = architecture_of(&config.model_type)?;
    let tensors = named(weights_of(model))?;
    let mut encodings = Vec::with_capacity(tensors.len());
    let mut entries = Vec::with_capacity(tensors.len());
    for (name, tensor) in &tensors {
        let encoding = match tensor.rank() {
            2.. => choose(name, tensor.shape()),
            _ => ENCODINGS[0],
        };
        let kind = GgmlType::by_name(encoding.kind).ok_or_else(|| GgufError::Unsayable {
            fact: format!("elements of type `{}`", encoding.kind),
            hint: "choose a type that GGUF has",
        })?;
        entries.push(TensorEntry {
            name: name.clone(),
            shape: tensor.shape().to_vec(),
            kind,
        });
        encodings.push(encoding);
    }
    let json: Json = serde_json::from_str(text).unwrap_or_default();
    let mut metadata = general(architecture, &json, &entries);
    metadata.extend(sizes(architecture.name, &config)?);
    if let Some(path) = tokenizer {
        metadata.extend(tokenizer::metadata(path, &config, &json)?);
    }
    write_gguf(path, &metadata, &entries, |index| {
        let (name, tensor) = &tensors[index];
        let ordered = in_order(architecture, &config, name, tensor)?;
        encoded(&ordered, encodings[index], entries[index].kind)
    })
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
fn named(weights: BTreeMap<String, Tensor>) -> Result<Vec<(String, Tensor)>, GgufError> {
    let renamed = |(name, tensor): (String, Tensor)| match to_gguf(&name) {
        Some(ours) => Ok((ours, tensor)),
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

/// The tensor with its rows in the order of the file.
fn in_order<'a>(
    architecture: &GgufArchitecture,
    config: &Config,
    name: &str,
    tensor: &'a Tensor,
) -> Result<Cow<'a, Tensor>, GgufError> {
    let heads = match rows_of(name) {
        Rows::Queries if architecture.interleaved => config.num_attention_heads,
        Rows::Keys if architecture.interleaved => config.key_value_heads(),
        _ => return Ok(Cow::Borrowed(tensor)),
    };
    Ok(Cow::Owned(reordered(name, tensor, heads, Order::ToNeighbours)?))
}

/// The bytes of a tensor: as they are where the type is the same, else encoded.
fn encoded(tensor: &Tensor, encoding: Encoding, kind: &GgmlType) -> Result<Vec<u8>, GgufError> {
    if kind.dtype == Some(tensor.dtype()) {
        return Ok(tensor.as_bytes().to_vec());
    }
    Ok((encoding.encode)(&tensor.to_f32()?))
}

impl Encoding {
    /// The scalar encoding of weights of this type.
    pub fn keeping(dtype: DType) -> Encoding {
        let kind = GgmlType::of(dtype).map_or("f32", |kind| kind.name);
        encoding_by_name(kind).unwrap_or(ENCODINGS[0])
    }
}
