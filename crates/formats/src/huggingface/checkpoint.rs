//! The weights of a folder, by name.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bantam_tensor::Tensor;
use serde::Deserialize;

use super::HuggingFaceError;
use super::safetensors::read_safetensors;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Longest JSON file that is read; vocabularies take some tens of megabytes.
const LONGEST_JSON: u64 = 1 << 28;

/// Tensors by name, and which of them have been asked for.
pub(crate) struct Checkpoint {
    tensors: BTreeMap<String, Tensor>,
    used: RefCell<BTreeSet<String>>,
}

/// `model.safetensors.index.json`: which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// The tensors of one model, in memory or mapped.
    pub(crate) fn new(tensors: BTreeMap<String, Tensor>) -> Checkpoint {
        Checkpoint {
            tensors,
            used: RefCell::default(),
        }
    }

    /// The tensors of a folder's safetensors files.
    pub(crate) fn open(folder: &Path) -> Result<Checkpoint, HuggingFaceError> {
        let mut tensors = BTreeMap::new();
        for path in weight_files(folder)? {
            for (name, tensor) in read_safetensors(&path)? {
                if tensors.insert(name.clone(), tensor).is_some() {
                    return Err(HuggingFaceError::Twice {
                        path: folder.to_owned(),
                        name,
                    });
                }
            }
        }
        Ok(Checkpoint::new(tensors))
    }

    /// True when there is such a tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor of this shape, of floats.
    pub(crate) fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor, HuggingFaceError> {
        let tensor = self
            .tensors
            .get(name)
            .ok_or_else(|| HuggingFaceError::MissingTensor {
                name: name.to_owned(),
            })?;
        if tensor.shape() != shape {
            return Err(HuggingFaceError::Shape {
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: tensor.shape().to_vec(),
            });
        }
        if !super::is_weight_type(tensor.dtype()) {
            return Err(HuggingFaceError::Type {
                name: name.to_owned(),
                dtype: tensor.dtype(),
            });
        }
        self.used.borrow_mut().insert(name.to_owned());
        Ok(tensor.clone())
    }

    /// Tensors that nobody asked for.
    pub(crate) fn unused(&self) -> impl Iterator<Item = &str> {
        let used = self.used.borrow();
        let unused: Vec<&str> = self
            .tensors
            .keys()
            .map(String::as_str)
            .filter(|name| !used.contains(*name))
            .collect();
        unused.into_iter()
    }
}

/// The safetensors files of a folder.
pub(crate) fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, HuggingFaceError> {
    let index = folder.join(INDEX);
    if !index.is_file() {
        let single = folder.join(SINGLE);
        if single.is_file() {
            return Ok(vec![single]);
        }
        return Err(HuggingFaceError::NoWeights {
            path: folder.to_owned(),
        });
    }
    let text = read_json(&index)?;
    let parsed: Index =
        serde_json::from_str(&text).map_err(|error| HuggingFaceError::damaged(&index, error))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    let file = |name: String| {
        let plain = !name.contains(['/', '\\', ':', '\0']) && !name.starts_with('.') && !name.is_empty();
        plain
            .then(|| folder.join(&name))
            .ok_or_else(|| HuggingFaceError::OutsideFolder {
                path: index.clone(),
                name,
            })
    };
    names.into_iter().map(file).collect()
}

/// The text of a JSON file of reasonable size.
pub(crate) fn read_json(path: &Path) -> Result<String, HuggingFaceError> {
    let read = |source| HuggingFaceError::read(path, source);
    let length = std::fs::metadata(path).map_err(read)?.len();
    if length > LONGEST_JSON {
        return Err(HuggingFaceError::damaged(
            path,
            format!("{length} bytes are too many for a JSON file"),
        ));
    }
    std::fs::read_to_string(path).map_err(read)
}
