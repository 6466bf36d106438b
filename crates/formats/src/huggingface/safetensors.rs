//! Safetensors files: a header of JSON, then the tensors' bytes.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bantam_tensor::{DType, Tensor, map_file};
use bytes::Bytes;
use safetensors::{Dtype, SafeTensors, View};

use super::HuggingFaceError;

/// The types that both sides have.
const TYPES: &[(Dtype, DType)] = &[
    (Dtype::F64, DType::F64),
    (Dtype::F32, DType::F32),
    (Dtype::F16, DType::F16),
    (Dtype::BF16, DType::BF16),
    (Dtype::I64, DType::I64),
    (Dtype::I32, DType::I32),
    (Dtype::I16, DType::I16),
    (Dtype::I8, DType::I8),
    (Dtype::U64, DType::U64),
    (Dtype::U32, DType::U32),
    (Dtype::U16, DType::U16),
    (Dtype::U8, DType::U8),
    (Dtype::BOOL, DType::Bool),
    (Dtype::F8_E4M3, DType::F8E4M3FN),
    (Dtype::F8_E5M2, DType::F8E5M2),
];

/// Reads a safetensors file; the tensors are slices of the mapped file.
///
/// # Errors
/// When the file cannot be opened, is damaged, or holds elements of an unknown type.
pub fn read_safetensors(path: &Path) -> Result<BTreeMap<String, Tensor>, HuggingFaceError> {
    let bytes = map_file(path).map_err(|source| HuggingFaceError::read(path, source))?;
    parse_safetensors(&bytes).map_err(|fact| HuggingFaceError::damaged(path, fact))
}

/// As [`read_safetensors`], from the bytes of a file; the error is the fact alone.
///
/// # Errors
/// As [`read_safetensors`].
pub fn parse_safetensors(bytes: &Bytes) -> Result<BTreeMap<String, Tensor>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let known = TYPES.iter().find(|(theirs, _)| *theirs == view.dtype());
        let Some((_, dtype)) = known else {
            return Err(format!(
                "tensor `{name}` has elements of type {:?}, which is not known",
                view.dtype()
            ));
        };
        let tensor = Tensor::from_bytes(*dtype, view.shape(), bytes.slice_ref(view.data()));
        Ok((name, tensor.map_err(|error| error.to_string())?))
    };
    file.tensors().into_iter().map(tensor).collect()
}

/// Writes a safetensors file, whole or not at all.
///
/// # Errors
/// When the file cannot be written, or a tensor has elements that the format does not know.
pub fn write_safetensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), HuggingFaceError> {
    let stored = |(name, tensor): (&String, &Tensor)| {
        let known = TYPES.iter().find(|(_, ours)| *ours == tensor.dtype());
        let (dtype, _) = known.ok_or_else(|| HuggingFaceError::Type {
            name: name.clone(),
            dtype: tensor.dtype(),
        })?;
        let tensor = tensor.clone();
        Ok::<_, HuggingFaceError>((
            name.clone(),
            Stored {
                dtype: *dtype,
                tensor,
            },
        ))
    };
    let tensors: Vec<(String, Stored)> = tensors.iter().map(stored).collect::<Result<_, _>>()?;
    let failed = |source| HuggingFaceError::write(path, source);
    let folder = path.parent().unwrap_or(Path::new(""));
    let temporary = tempfile::Builder::new()
        .prefix(".bantam-")
        .tempfile_in(folder)
        .map_err(failed)?;
    // Readers of the format ask for this entry: it names the framework whose layout the tensors have.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(tensors, Some(metadata), temporary.path())
        .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
    temporary.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

struct Stored {
    dtype: Dtype,
    tensor: Tensor,
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.tensor.as_bytes().into()
    }

    fn data_len(&self) -> usize {
        self.tensor.as_bytes().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Bytes {
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes(), data].concat().into()
    }

    #[test]
    fn written_tensors_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let tensors = BTreeMap::from([
            (
                "a".to_owned(),
                Tensor::from_slice(&[2, 2], &[1f32, -2.0, 3.5, 0.0]).unwrap(),
            ),
            (
                "b".to_owned(),
                Tensor::from_slice(&[3], &[half::bf16::ONE; 3]).unwrap(),
            ),
            (
                "c".to_owned(),
                Tensor::from_slice(&[1], &[half::f16::NEG_ONE]).unwrap(),
            ),
            ("d".to_owned(), Tensor::zeros(DType::F8E4M3FN, &[0, 3]).unwrap()),
        ]);
        write_safetensors(&path, &tensors).unwrap();
        assert_eq!(read_safetensors(&path).unwrap(), tensors);
        let text = BTreeMap::from([("s".to_owned(), Tensor::from_strings(&[0], Vec::new()).unwrap())]);
        assert!(write_safetensors(&path, &text).is_err());
    }

    #[test]
    fn hostile_files_are_refused() {
        let one = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        let cases: Vec<Bytes> = vec![
            Bytes::new(),
            Bytes::from_static(&[0xff; 8]),
            Bytes::from_static(&[0xff; 64]),
            file("{", &[]),
            file("[]", &[0; 4]),
            file(&"[".repeat(100_000), &[]),
            file(&one("F32", "[1]", "[0,8]"), &[0; 8]),
            file(&one("F32", "[2]", "[0,8]"), &[0; 4]),
            file(&one("F32", "[2]", "[0,8]"), &[0; 12]),
            file(&one("F32", "[1]", "[4,0]"), &[0; 4]),
            file(&one("F32", "[-1]", "[0,4]"), &[0; 4]),
            file(&one("F32", "[4611686018427387904,4]", "[0,0]"), &[]),
            file(
                &one("F32", "[18446744073709551615]", "[0,18446744073709551615]"),
                &[],
            ),
            file(&one("C64", "[1]", "[0,8]"), &[0; 8]),
            file(&one("F99", "[1]", "[0,8]"), &[0; 8]),
        ];
        for (index, case) in cases.iter().enumerate() {
            assert!(parse_safetensors(case).is_err(), "case {index}");
        }
        let whole = file(&one("F32", "[1]", "[0,4]"), &[0; 4]);
        for length in 0..whole.len() {
            assert!(
                parse_safetensors(&whole.slice(..length)).is_err(),
                "{length} bytes"
            );
        }
        assert_eq!(parse_safetensors(&whole).unwrap().len(), 1);
    }
}
