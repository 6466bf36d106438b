//! Models to Hugging Face folders.

use std::collections::BTreeMap;
use std::path::Path;

use bantam_graph::Model;
use bantam_tensor::Tensor;

use super::{CONFIG_KEY, Checkpoint, Form, HuggingFaceError, build, is_weight_type, write_safetensors};

/// Ends of the names of weights; constants that Bantam adds end otherwise.
const ENDS: &[&str] = &[".weight", ".bias", ".gamma", ".beta"];

/// Files that belong to the tokenizer and to generation, copied as they are.
const COMPANIONS: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
];

/// Writes a model that was made of a Hugging Face folder (or of a GGUF file) as such a folder: `config.json`,
/// `model.safetensors`, and the tokenizer's files of the folder `companions`.
///
/// # Errors
/// When the model carries no configuration, its weights are not those of the architecture (quantized ones, say), or a
/// file cannot be written.
pub fn save(model: &Model, folder: &Path, companions: Option<&Path>) -> Result<(), HuggingFaceError> {
    let text = config_text(model)?;
    let weights = weights_of(model);
    // What could not be read again is not written.
    build(text, &Checkpoint::new(weights.clone()), Form::Whole)?;
    std::fs::create_dir_all(folder).map_err(|source| HuggingFaceError::write(folder, source))?;
    write_safetensors(&folder.join("model.safetensors"), &weights)?;
    for name in COMPANIONS {
        let Some(from) = companions
            .map(|from| from.join(name))
            .filter(|from| from.is_file())
        else {
            continue;
        };
        let bytes = std::fs::read(&from).map_err(|source| HuggingFaceError::read(&from, source))?;
        write_whole(&folder.join(name), &bytes)?;
    }
    write_whole(&folder.join("config.json"), text.as_bytes())
}

/// The text of `config.json` that a model carries.
pub(crate) fn config_text(model: &Model) -> Result<&str, HuggingFaceError> {
    let entry = model.metadata.iter().find(|(key, _)| key == CONFIG_KEY);
    entry
        .map(|(_, text)| text.as_str())
        .ok_or(HuggingFaceError::NoConfig)
}

/// The model's weights, by the names that they have in the folder.
pub(crate) fn weights_of(model: &Model) -> BTreeMap<String, Tensor> {
    let values = model.graph.values.iter();
    let weights = values.filter_map(|value| Some((value.name.clone(), value.initializer.clone()?)));
    weights
        .filter(|(name, tensor)| is_weight_type(tensor.dtype()) && ENDS.iter().any(|end| name.ends_with(end)))
        .collect()
}

fn write_whole(path: &Path, contents: &[u8]) -> Result<(), HuggingFaceError> {
    use std::io::Write;
    let failed = |source| HuggingFaceError::write(path, source);
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut file = tempfile::Builder::new()
        .prefix(".bantam-")
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(contents).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
