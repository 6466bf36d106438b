//! What long training resumes from: a safetensors file (8 bytes of length, a JSON header, `f32` data) whose metadata tell how
//! far training is.

use std::collections::BTreeMap;

use bantam_tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::TrainError;

/// How far training is, and all that it goes on with.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Says which training this belongs to: settings, parameters and data.
    pub identity: String,
    /// How far it is, as JSON.
    pub progress: String,
    /// Numbers by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Longest header that is read.
const LONGEST_HEADER: usize = 64 << 20;
const METADATA: &str = "__metadata__";

#[derive(Serialize, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    format: String,
    identity: String,
    progress: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Item {
    Entry(Entry),
    Metadata(Metadata),
}

/// The mark of our checkpoints.
const FORMAT: &str = "bantam-checkpoint-1";

impl Checkpoint {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut header = BTreeMap::new();
        let metadata = Metadata {
            format: FORMAT.to_owned(),
            identity: self.identity.clone(),
            progress: self.progress.clone(),
        };
        header.insert(METADATA.to_owned(), Item::Metadata(metadata));
        let mut end = 0;
        for (name, tensor) in &self.tensors {
            let start = end;
            end += tensor.as_bytes().len();
            let entry = Entry {
                dtype: "F32".to_owned(),
                shape: tensor.shape().to_vec(),
                data_offsets: [start, end],
            };
            header.insert(name.clone(), Item::Entry(entry));
        }
        let header = serde_json::to_vec(&header).expect("names and numbers");
        let mut bytes = Vec::with_capacity(8 + header.len() + end);
        bytes.extend((header.len() as u64).to_le_bytes());
        bytes.extend(header);
        self.tensors
            .values()
            .for_each(|tensor| bytes.extend(tensor.as_bytes()));
        bytes
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is not a checkpoint, or is cut off.
    pub fn from_bytes(bytes: &[u8]) -> Result<Checkpoint, TrainError> {
        let broken = |problem: &str| TrainError::Checkpoint {
            problem: format!("cannot be read: {problem}"),
        };
        let (length, rest) = bytes
            .split_first_chunk::<8>()
            .ok_or_else(|| broken("it is too short"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > LONGEST_HEADER || length > rest.len() {
            return Err(broken("its header is longer than it"));
        }
        let (header, data) = rest.split_at(length);
        let header: BTreeMap<String, Item> =
            serde_json::from_slice(header).map_err(|error| broken(&error.to_string()))?;
        let mut checkpoint = None;
        let mut tensors = BTreeMap::new();
        for (name, item) in header {
            match item {
                Item::Metadata(metadata) if name == METADATA && metadata.format == FORMAT => {
                    checkpoint = Some((metadata.identity, metadata.progress));
                }
                Item::Metadata(_) => return Err(broken("its metadata are not of training")),
                Item::Entry(entry) => {
                    let [start, end] = entry.data_offsets;
                    let bytes = data.get(start..end).ok_or_else(|| broken("it is cut off"))?;
                    let tensor = Tensor::from_raw(DType::F32, &entry.shape, bytes);
                    tensors.insert(name, tensor.map_err(|error| broken(&error.to_string()))?);
                }
            }
        }
        let (identity, progress) = checkpoint.ok_or_else(|| broken("it has no metadata"))?;
        Ok(Checkpoint {
            identity,
            progress,
            tensors,
        })
    }

    /// The tensor with this name and shape.
    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor, TrainError> {
        let tensor = self.tensors.get(name).filter(|tensor| tensor.shape() == shape);
        tensor.cloned().ok_or_else(|| TrainError::Checkpoint {
            problem: format!("has no `{name}` of shape {shape:?}"),
        })
    }
}

/// A short mark of some text (FNV-1a, 64 bits).
pub(super) fn mark(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let tensor = |values: &[f32]| Tensor::from_vec1(values);
        Checkpoint {
            identity: "one".to_owned(),
            progress: "{\"step\":3}".to_owned(),
            tensors: BTreeMap::from([
                ("weights/a".to_owned(), tensor(&[1.0, f32::NAN])),
                ("weights/b".to_owned(), tensor(&[])),
            ]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = checkpoint().to_bytes();
        let read = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(
            (read.identity.as_str(), read.progress.as_str()),
            ("one", "{\"step\":3}")
        );
        assert_eq!(read.to_bytes(), bytes);
        assert!(read.tensor("weights/a", &[2]).is_ok());
        let error = read.tensor("weights/a", &[3]).unwrap_err().to_string();
        assert!(error.contains("hint:"), "{error}");
    }

    #[test]
    fn broken_files_are_refused() {
        let bytes = checkpoint().to_bytes();
        for end in 0..bytes.len() {
            assert!(Checkpoint::from_bytes(&bytes[..end]).is_err(), "{end} bytes");
        }
        let mut long = bytes.clone();
        long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Checkpoint::from_bytes(&long).is_err());
    }
}
