//! Where the data of tensors goes: into the model, or into a file beside it.

use std::collections::HashMap;
use std::io::{self, Write};

use bantam_graph::dtype_code;
use bantam_tensor::{DType, Tensor};

use super::{Writer, pairs};
use crate::onnx::encoded::Encoded;
use crate::onnx::proto::{EXTERNAL, StringStringEntryProto, TensorProto, field};

/// Tensors of fewer bytes stay in the model.
const SMALLEST_EXTERNAL: usize = 1024;
/// Alignment of tensors of at least [`LARGE`] bytes, so that runtimes can map them.
const PAGE: u64 = 4096;
const LARGE: usize = 64 << 10;
/// Alignment of the others.
const LINE: u64 = 64;

/// The layout of a data file.
pub(in crate::onnx) struct DataPlan {
    location: String,
    end: u64,
    tensors: Vec<(u64, Tensor)>,
    /// Offsets by address and length: tensors that share memory share a range.
    placed: HashMap<(usize, usize), u64>,
}

impl DataPlan {
    /// An empty data file of this name.
    pub(in crate::onnx) fn new(location: String) -> DataPlan {
        DataPlan {
            location,
            end: 0,
            tensors: Vec::new(),
            placed: HashMap::new(),
        }
    }

    /// True when no tensor is in it.
    pub(in crate::onnx) fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    fn place(&mut self, tensor: &Tensor) -> Option<u64> {
        let bytes = tensor.as_bytes();
        if bytes.len() < SMALLEST_EXTERNAL {
            return None;
        }
        let key = (bytes.as_ptr().addr(), bytes.len());
        if let Some(&offset) = self.placed.get(&key) {
            return Some(offset);
        }
        let offset = self
            .end
            .next_multiple_of(if bytes.len() >= LARGE { PAGE } else { LINE });
        self.end = offset + bytes.len() as u64;
        self.placed.insert(key, offset);
        self.tensors.push((offset, tensor.clone()));
        Some(offset)
    }

    /// The tensors, and where they begin.
    pub(in crate::onnx) fn tensors(&self) -> &[(u64, Tensor)] {
        &self.tensors
    }

    /// Number of bytes of the data file.
    pub(in crate::onnx) fn len(&self) -> u64 {
        self.end
    }

    /// Writes the data file.
    pub(in crate::onnx) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut position = 0;
        for (offset, tensor) in &self.tensors {
            let gap = usize::try_from(offset - position).unwrap_or(0);
            out.write_all(&[0; PAGE as usize][..gap])?;
            out.write_all(tensor.as_bytes())?;
            position = offset + tensor.as_bytes().len() as u64;
        }
        Ok(())
    }
}

impl Writer {
    /// Encodes a weight; its data goes to the data file if there is one and it is large.
    pub(super) fn initializer(
        &mut self,
        name: &str,
        tensor: &Tensor,
        doc: &str,
        metadata: &[(String, String)],
    ) -> Encoded {
        let mut proto = TensorProto {
            doc_string: doc.to_owned(),
            metadata_props: pairs(metadata),
            ..header(name, tensor)
        };
        let offset = self
            .data
            .as_mut()
            .and_then(|plan| Some((plan.place(tensor)?, plan.location.clone())));
        if let Some((offset, location)) = offset {
            proto.data_location = EXTERNAL;
            let length = tensor.as_bytes().len().to_string();
            let entries = [
                ("location", location),
                ("offset", offset.to_string()),
                ("length", length),
            ];
            let entry = |(key, value): (&str, String)| StringStringEntryProto {
                key: key.to_owned(),
                value,
            };
            proto.external_data = entries.into_iter().map(entry).collect();
        }
        encode(&proto, tensor)
    }
}

/// Encodes a tensor with its data.
pub(in crate::onnx) fn tensor(name: &str, tensor: &Tensor) -> Encoded {
    encode(&header(name, tensor), tensor)
}

fn header(name: &str, tensor: &Tensor) -> TensorProto {
    let strings = tensor.strings().unwrap_or_default();
    TensorProto {
        name: name.to_owned(),
        data_type: dtype_code(tensor.dtype()),
        string_data: strings.iter().map(|string| string.clone().into()).collect(),
        ..TensorProto::default()
    }
}

fn encode(proto: &TensorProto, tensor: &Tensor) -> Encoded {
    let mut encoded = Encoded::of(proto);
    let dims: Vec<i64> = tensor.shape().iter().map(|&dim| dim as i64).collect();
    encoded.append_integers(field::TENSOR_DIMS, &dims);
    if proto.data_location != EXTERNAL && tensor.dtype() != DType::String {
        encoded.append_tensor(field::TENSOR_RAW_DATA, tensor);
    }
    encoded
}
