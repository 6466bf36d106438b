//! [`Encoded`]: a message to be written, in which tensors are not copied.

use std::io::{self, Write};

use bantam_tensor::Tensor;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// A run of bytes of a message.
pub(super) enum Part {
    /// Encoded fields.
    Owned(Vec<u8>),
    /// The data of a tensor.
    Data(Tensor),
}

impl Part {
    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Part::Owned(bytes) => bytes,
            Part::Data(tensor) => tensor.as_bytes(),
        }
    }
}

/// An encoded message: bytes, and the data of tensors in between.
#[derive(Default)]
pub(super) struct Encoded {
    parts: Vec<Part>,
    len: usize,
}

impl Encoded {
    /// A declared message.
    pub(super) fn of(message: &impl Message) -> Encoded {
        let mut encoded = Encoded::default();
        encoded.append_bytes(&message.encode_to_vec());
        encoded
    }

    /// Bytes that are an encoded message.
    pub(super) fn from_bytes(bytes: &[u8]) -> Encoded {
        let mut encoded = Encoded::default();
        encoded.append_bytes(bytes);
        encoded
    }

    /// Number of bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The runs of bytes that it consists of.
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Everything as one piece.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        self.parts
            .iter()
            .for_each(|part| bytes.extend_from_slice(part.bytes()));
        bytes
    }

    /// Adds encoded fields.
    pub(super) fn append_bytes(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        match self.parts.last_mut() {
            Some(Part::Owned(last)) => last.extend_from_slice(bytes),
            _ => self.parts.push(Part::Owned(bytes.to_vec())),
        }
    }

    /// Adds a message as field `number`.
    pub(super) fn append_message(&mut self, number: u32, message: Encoded) {
        self.append_header(number, message.len);
        for part in message.parts {
            match part {
                Part::Owned(bytes) => self.append_bytes(&bytes),
                Part::Data(tensor) => self.append_data(tensor),
            }
        }
    }

    /// Adds the bytes of a tensor as field `number`.
    pub(super) fn append_tensor(&mut self, number: u32, tensor: &Tensor) {
        self.append_header(number, tensor.as_bytes().len());
        self.append_data(tensor.clone());
    }

    /// Adds integers as packed field `number`; none leave the field out.
    pub(super) fn append_integers(&mut self, number: u32, values: &[i64]) {
        let mut packed = Vec::new();
        values
            .iter()
            .for_each(|&value| encode_varint(value as u64, &mut packed));
        if !packed.is_empty() {
            self.append_header(number, packed.len());
            self.append_bytes(&packed);
        }
    }

    /// Adds floats as packed field `number`; none leave the field out.
    pub(super) fn append_floats(&mut self, number: u32, values: &[f32]) {
        if !values.is_empty() {
            self.append_header(number, values.len() * 4);
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.append_bytes(&bytes);
        }
    }

    /// Writes everything.
    pub(super) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        self.parts.iter().try_for_each(|part| out.write_all(part.bytes()))
    }

    fn append_header(&mut self, number: u32, length: usize) {
        let mut header = Vec::with_capacity(5 + encoded_len_varint(length as u64));
        encode_key(number, WireType::LengthDelimited, &mut header);
        encode_varint(length as u64, &mut header);
        self.append_bytes(&header);
    }

    fn append_data(&mut self, tensor: Tensor) {
        // A part of its own costs more than a copy of a few bytes.
        if tensor.as_bytes().len() < 256 {
            return self.append_bytes(tensor.as_bytes());
        }
        self.len += tensor.as_bytes().len();
        self.parts.push(Part::Data(tensor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_messages_carry_their_lengths() {
        let data = Tensor::from_vec1(&[7u8; 300]);
        let mut inner = Encoded::default();
        inner.append_tensor(9, &data);
        let mut outer = Encoded::default();
        outer.append_message(1, inner);
        outer.append_integers(8, &[-1, 0]);
        outer.append_floats(7, &[]);
        let mut bytes = Vec::new();
        outer.write_to(&mut bytes).unwrap();
        assert_eq!(bytes.len(), outer.len());
        assert_eq!(bytes[..6], [0x0a, 0xaf, 0x02, 0x4a, 0xac, 0x02]);
        assert_eq!(bytes[6..306], [7; 300]);
        assert_eq!(bytes[306..308], [0x42, 11]);
    }
}
