//! Hugging Face folders: `config.json`, safetensors files and `tokenizer.json`, as `transformers` saves them.
//!
//! [`load`] gives a [`Model`] with the graph of a whole forward pass, `input_ids` `[batch, length]` to `logits`
//! `[batch, length, vocabulary]`. Weights keep their names and types and stay slices of the mapped files; what is narrower than
//! `f32` is cast where it is used. The architectures are the rows of [`ARCHITECTURES`]. [`save`] writes such a folder again.
//!
//! Files are not trusted: sizes are compared with what is there before anything is allocated, and no name leads out of the folder.

mod architecture;
mod checkpoint;
mod config;
mod error;
mod network;
mod rotary;
mod safetensors;
mod save;

use std::path::{Path, PathBuf};

use bantam_graph::{CANONICAL_OPSET, Model, OperatorSet};

pub use architecture::{ARCHITECTURES, Architecture};
pub use error::HuggingFaceError;
pub use safetensors::{parse_safetensors, read_safetensors, write_safetensors};
pub use save::save;

pub(crate) use checkpoint::{Checkpoint, read_json};
pub(crate) use config::{Config, is_weight_type};
pub(crate) use save::{config_text, weights_of};

/// Key of the configuration among a model's key-value pairs.
pub(crate) const CONFIG_KEY: &str = "huggingface.config";

/// What the graph of a decoder takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Token ids to scores, for all tokens at once.
    Whole,
    /// The same with the keys and values of earlier tokens as inputs (`past.LAYER.key`, `past.LAYER.value`, `[batch, heads,
    /// tokens, size]`, at first of no token) and those of all tokens as further outputs, layer by layer.
    Cached,
}

/// True for a folder with a `config.json`, and for that file.
pub fn is_folder(path: &Path) -> bool {
    folder_of(path).is_some()
}

/// The folder that a path means: the folder itself, or that of its `config.json`.
pub fn folder_of(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return path.join("config.json").is_file().then(|| path.to_owned());
    }
    let is_config = path.file_name().is_some_and(|name| name == "config.json");
    is_config.then(|| path.parent().unwrap_or(Path::new("")).to_owned())
}

/// Reads a folder, or the folder of a `config.json`.
///
/// # Errors
/// When a file is missing or damaged, the architecture is not known, or the weights are not those of the configuration.
pub fn load(path: &Path, form: Form) -> Result<Model, HuggingFaceError> {
    let folder = folder_of(path).unwrap_or_else(|| path.to_owned());
    let text = read_json(&folder.join("config.json"))?;
    build(&text, &Checkpoint::open(&folder)?, form)
}

/// The model of a configuration and weights.
pub(crate) fn build(config_text: &str, weights: &Checkpoint, form: Form) -> Result<Model, HuggingFaceError> {
    let config = Config::parse(config_text)?;
    let architecture = architecture::architecture_by_name(&config.model_type).ok_or_else(|| {
        let known: Vec<&str> = ARCHITECTURES.iter().map(|known| known.name).collect();
        HuggingFaceError::UnknownArchitecture {
            name: config.model_type.clone(),
            hint: crate::data::suggested(&config.model_type, &known),
        }
    })?;
    let mut model = Model::new(network::build(architecture, &config, weights, form)?);
    model.opsets.push(OperatorSet {
        domain: String::new(),
        version: CANONICAL_OPSET,
    });
    model
        .metadata
        .push((CONFIG_KEY.to_owned(), config_text.to_owned()));
    Ok(model)
}

/// Tokens that end a text, as the configuration of a model says.
///
/// # Errors
/// When the model carries no configuration.
pub fn end_tokens(model: &Model) -> Result<Vec<u32>, HuggingFaceError> {
    Ok(Config::parse(config_text(model)?)?.end_tokens().to_vec())
}

/// The files of a folder's weights; none where it has none.
pub fn weight_files(folder: &Path) -> Vec<PathBuf> {
    checkpoint::weight_files(folder).unwrap_or_default()
}
