//! GGUF files to models.

use std::collections::BTreeMap;
use std::path::Path;

use bantam_graph::Model;
use bantam_tensor::Tensor;
use serde_json::json;

use super::names::{ARCHITECTURES, GgufArchitecture, Order, Rows, from_gguf, reordered, rows_of};
use super::{Gguf, GgufError, Value, read_gguf};
use crate::huggingface::{self, Checkpoint, Form};

/// Reads a file as a model, the same as from its Hugging Face folder. Blocks are decoded to `f32`.
///
/// # Errors
/// When the file cannot be read or is damaged, or its architecture or the blocks of a tensor are not known.
pub fn load(path: &Path, form: Form) -> Result<Model, GgufError> {
    let file = read_gguf(path)?;
    let name = text(&file, "general.architecture")?;
    let known = || GgufError::Architecture {
        name: name.to_owned(),
        known: ARCHITECTURES
            .iter()
            .map(|known| known.name)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(", "),
    };
    let architecture = ARCHITECTURES
        .iter()
        .find(|known| known.name == name)
        .ok_or_else(known)?;
    let config = config(&file, architecture)?;
    let heads = [
        number(&file, architecture, "attention.head_count")?,
        key_value_heads(&file, architecture)?,
    ];
    let mut tensors = BTreeMap::new();
    for tensor in &file.tensors {
        let name = from_gguf(&tensor.name).ok_or_else(|| GgufError::Name {
            name: tensor.name.clone(),
        })?;
        tensors.insert(
            name,
            in_order(architecture, heads, &tensor.name, tensor.values()?)?,
        );
    }
    Ok(huggingface::build(&config, &Checkpoint::new(tensors), form)?)
}

/// The `config.json` that says the same as the metadata.
fn config(file: &Gguf, architecture: &GgufArchitecture) -> Result<String, GgufError> {
    let number = |key: &str| number(file, architecture, key);
    let float = |key: &str| {
        let value = file.value(&format!("{}.{key}", architecture.name));
        value.and_then(Value::as_f64)
    };
    let prefixed = |key: &str| format!("{}.{key}", architecture.name);
    if let Some(scaling) = file.value(&prefixed("rope.scaling.type")).and_then(Value::as_str)
        && scaling != "none"
    {
        return Err(GgufError::Unsayable {
            fact: format!("rotary embedding is stretched ({scaling})"),
            hint: "only models with plain rotary embedding are read",
        });
    }
    let embedding = file
        .tensors
        .iter()
        .find(|tensor| tensor.name == "token_embd.weight");
    let vocabulary = embedding.and_then(|tensor| tensor.shape.first().copied());
    let epsilon = float("attention.layer_norm_rms_epsilon");
    let heads = number("attention.head_count")?;
    let width = number("embedding_length")?;
    let head_size = file
        .value(&prefixed("attention.key_length"))
        .and_then(Value::as_u64);
    let tied = !file.tensors.iter().any(|tensor| tensor.name == "output.weight");
    let token = |key: &str| {
        file.value(&format!("tokenizer.ggml.{key}"))
            .and_then(Value::as_u64)
    };
    let config = json!({
        "model_type": architecture.model_type,
        "hidden_size": width,
        "intermediate_size": number("feed_forward_length")?,
        "num_hidden_layers": number("block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads(file, architecture)?,
        "head_dim": head_size.unwrap_or(width as u64 / (heads as u64).max(1)),
        "vocab_size": vocabulary.ok_or(GgufError::Metadata { key: "token_embd.weight".to_owned() })?,
        "max_position_embeddings": number("context_length")?,
        "rms_norm_eps": epsilon.ok_or_else(|| GgufError::Metadata {
            key: prefixed("attention.layer_norm_rms_epsilon"),
        })?,
        "rope_theta": float("rope.freq_base").unwrap_or(10_000.0),
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        "bos_token_id": token("bos_token_id"),
        "eos_token_id": token("eos_token_id"),
    });
    Ok(config.to_string())
}

fn key_value_heads(file: &Gguf, architecture: &GgufArchitecture) -> Result<usize, GgufError> {
    let key = "attention.head_count_kv";
    match file.value(&format!("{}.{key}", architecture.name)) {
        Some(_) => number(file, architecture, key),
        None => number(file, architecture, "attention.head_count"),
    }
}

/// The tensor with its rows in the order of a folder.
fn in_order(
    architecture: &GgufArchitecture,
    [queries, keys]: [usize; 2],
    name: &str,
    tensor: Tensor,
) -> Result<Tensor, GgufError> {
    let heads = match rows_of(name) {
        Rows::Queries if architecture.interleaved => queries,
        Rows::Keys if architecture.interleaved => keys,
        _ => return Ok(tensor),
    };
    reordered(name, &tensor, heads, Order::ToHalves)
}

fn number(file: &Gguf, architecture: &GgufArchitecture, key: &str) -> Result<usize, GgufError> {
    let key = format!("{}.{key}", architecture.name);
    let value = file.value(&key).and_then(Value::as_u64);
    let value = value.and_then(|value| usize::try_from(value).ok());
    value.ok_or(GgufError::Metadata { key })
}

fn text<'a>(file: &'a Gguf, key: &str) -> Result<&'a str, GgufError> {
    let value = file.value(key).and_then(Value::as_str);
    value.ok_or_else(|| GgufError::Metadata { key: key.to_owned() })
}
