//! `tokenizer.json` to the metadata of GGUF.
//!
//! Byte-pair encoding with a fallback to bytes becomes the kind `llama`, which merges the pair with the largest score: a
//! token's score is less the later its merge comes. Byte-level encoding becomes the kind `gpt2`, with the merges themselves.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value as Json;

use super::{Array, GgufError, Value};
use crate::huggingface::{Config, read_json};

/// `tokenizer.ggml.token_type`.
const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

/// The tokens of one model, by id.
struct Tokens {
    texts: Vec<String>,
    kinds: Vec<i32>,
}

/// What a file says of its tokenizer.
pub(super) fn metadata(
    path: &Path,
    config: &Config,
    model_config: &Json,
) -> Result<Vec<(String, Value)>, GgufError> {
    let wrong = |fact: &str| GgufError::Tokenizer {
        path: path.to_owned(),
        fact: fact.to_owned(),
    };
    let json: Json = serde_json::from_str(&read_json(path)?).map_err(|error| wrong(&error.to_string()))?;
    let model = &json["model"];
    if model["type"].as_str().is_some_and(|kind| kind != "BPE") || !model["merges"].is_array() {
        return Err(wrong("it is not of byte-pair encoding"));
    }
    let byte_fallback = model["byte_fallback"].as_bool() == Some(true);
    let tokens = Tokens::new(&json, config.vocab_size, byte_fallback)
        .ok_or_else(|| wrong("its tokens do not fit the model's vocabulary"))?;
    let merges = merges(model).ok_or_else(|| wrong("its merges are damaged"))?;
    let mut out = Out::default();
    out.put(
        "model",
        Value::String(if byte_fallback { "llama" } else { "gpt2" }.to_owned()),
    );
    out.put(
        "pre",
        Value::String(pre_tokenizer(config, byte_fallback).to_owned()),
    );
    if byte_fallback {
        out.put("scores", Value::Array(Array::F32(scores(&tokens, &merges))));
        out.put("add_space_prefix", Value::Bool(prepends(&json["normalizer"])));
    } else {
        let lines = merges.iter().map(|(first, second)| format!("{first} {second}"));
        out.put("merges", Value::Array(Array::String(lines.collect())));
    }
    let unknown = model["unk_token"].as_str().and_then(|text| tokens.id(text));
    out.put("token_type", Value::Array(Array::I32(tokens.kinds)));
    out.put("tokens", Value::Array(Array::String(tokens.texts)));
    let id = |key: &str| {
        let id = &model_config[key];
        let first = id.as_array().and_then(|ids| ids.first()).unwrap_or(id);
        first.as_u64().and_then(|id| u32::try_from(id).ok())
    };
    let special = [
        ("bos_token_id", id("bos_token_id")),
        ("eos_token_id", id("eos_token_id")),
        ("padding_token_id", id("pad_token_id")),
        ("unknown_token_id", unknown),
    ];
    for (key, id) in special {
        if let Some(id) = id {
            out.put(key, Value::U32(id));
        }
    }
    out.put(
        "add_bos_token",
        Value::Bool(starts_with_special(&json["post_processor"])),
    );
    Ok(out.0)
}

#[derive(Default)]
struct Out(Vec<(String, Value)>);

impl Out {
    fn put(&mut self, key: &str, value: Value) {
        self.0.push((format!("tokenizer.ggml.{key}"), value));
    }
}

impl Tokens {
    /// As many as the model's vocabulary has; `None` when there are more, or an id is out of range.
    fn new(json: &Json, count: usize, byte_fallback: bool) -> Option<Tokens> {
        let mut tokens = Tokens {
            texts: (0..count).map(|id| format!("[unused{id}]")).collect(),
            kinds: vec![UNUSED; count],
        };
        let unknown = json["model"]["unk_token"].as_str();
        for (text, id) in json["model"]["vocab"].as_object()? {
            let is_byte = byte_fallback && text.len() == 6 && text.starts_with("<0x") && text.ends_with('>');
            let kind = match is_byte {
                true => BYTE,
                false if Some(text.as_str()) == unknown => UNKNOWN,
                false => NORMAL,
            };
            tokens.set(id, text, kind)?;
        }
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            let text = added["content"].as_str()?;
            let kind = match added["special"].as_bool() {
                _ if byte_fallback && Some(text) == unknown => UNKNOWN,
                Some(true) => CONTROL,
                _ => USER_DEFINED,
            };
            tokens.set(&added["id"], text, kind)?;
        }
        Some(tokens)
    }

    fn set(&mut self, id: &Json, text: &str, kind: i32) -> Option<()> {
        let id = usize::try_from(id.as_u64()?).ok()?;
        text.clone_into(self.texts.get_mut(id)?);
        self.kinds[id] = kind;
        Some(())
    }

    fn id(&self, text: &str) -> Option<u32> {
        let position = self.texts.iter().position(|known| known == text)?;
        u32::try_from(position).ok()
    }
}

/// Pairs in order; files have them as lists of two or as texts with a space between.
fn merges(model: &Json) -> Option<Vec<(String, String)>> {
    let pair = |merge: &Json| match merge {
        Json::String(text) => {
            let (first, second) = text.split_once(' ')?;
            Some((first.to_owned(), second.to_owned()))
        }
        Json::Array(parts) if parts.len() == 2 => {
            Some((parts[0].as_str()?.to_owned(), parts[1].as_str()?.to_owned()))
        }
        _ => None,
    };
    model["merges"].as_array()?.iter().map(pair).collect()
}

/// Minus the rank of the first merge that makes a token; 0 for tokens that no merge makes.
fn scores(tokens: &Tokens, merges: &[(String, String)]) -> Vec<f32> {
    let mut ranks: HashMap<String, usize> = HashMap::new();
    for (rank, (first, second)) in merges.iter().enumerate() {
        ranks.entry(format!("{first}{second}")).or_insert(rank);
    }
    let score = |text: &String| ranks.get(text).map_or(0.0, |rank| -(*rank as f32) - 1.0);
    tokens.texts.iter().map(score).collect()
}

/// The name by which llama.cpp knows how text is cut before merging.
fn pre_tokenizer(config: &Config, byte_fallback: bool) -> &'static str {
    match config.model_type.as_str() {
        _ if byte_fallback => "default",
        "qwen2" | "qwen3" => "qwen2",
        // The vocabulary of Llama 3.
        "llama" if config.vocab_size == 128_256 => "llama-bpe",
        _ => "default",
    }
}

/// Whether a normalizer puts a space in front of the text.
fn prepends(normalizer: &Json) -> bool {
    let is_prepend = |part: &Json| part["type"].as_str() == Some("Prepend");
    let parts = normalizer["normalizers"].as_array().into_iter().flatten();
    is_prepend(normalizer) || parts.into_iter().any(is_prepend)
}

/// Whether a post-processor puts a special token in front of the text.
fn starts_with_special(processor: &Json) -> bool {
    let parts = processor["processors"].as_array().into_iter().flatten();
    let starts = |part: &Json| part["single"][0]["SpecialToken"].is_object();
    starts(processor) || parts.into_iter().any(starts)
}
