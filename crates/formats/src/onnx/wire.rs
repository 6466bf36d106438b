//! Fields of one encoded message, without decoding what they hold.

use bytes::{Buf, Bytes};
use prost::encoding::{WireType, decode_key, decode_varint};
use prost::{DecodeError, Message};

use super::OnnxError;

/// Bytes that one item of a repeated field may come to take while a message is decoded: a declared message or a
/// slice, times two for the growth of the list.
const ITEM: usize = 96;

/// How many times larger than its file anything made from it may be.
const GROWTH: usize = 10;

/// What may be allocated beside that.
const ALLOWANCE: usize = 64 << 10;

/// What a field holds.
pub(super) enum Payload {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Bytes),
}

/// A field and its number.
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) payload: Payload,
}

/// The fields of a message, in order.
pub(super) struct Fields(Bytes);

/// The fields of a message, in order.
pub(super) fn fields(message: &Bytes) -> Fields {
    Fields(message.clone())
}

impl Iterator for Fields {
    type Item = Result<Field, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0.clear();
        }
        Some(field)
    }
}

impl Fields {
    fn field(&mut self) -> Result<Field, DecodeError> {
        let buffer = &mut self.0;
        let (number, wire_type) = decode_key(buffer)?;
        let payload = match wire_type {
            WireType::Varint => Payload::Varint(decode_varint(buffer)?),
            WireType::SixtyFourBit => Payload::Fixed64(buffer.try_get_u64_le().map_err(|_| cut())?),
            WireType::ThirtyTwoBit => Payload::Fixed32(buffer.try_get_u32_le().map_err(|_| cut())?),
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(buffer)?).map_err(|_| cut())?;
                if length > buffer.len() {
                    return Err(cut());
                }
                Payload::Bytes(buffer.split_to(length))
            }
            WireType::StartGroup | WireType::EndGroup => return Err(cut()),
        };
        Ok(Field { number, payload })
    }
}

/// The codec's own error for a message that ends too early.
fn cut() -> DecodeError {
    match decode_varint(&mut [].as_slice()) {
        Err(error) => error,
        Ok(_) => unreachable!("nothing holds no number"),
    }
}

/// What a file of some size may cost.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    file: usize,
}

impl Budget {
    pub(super) fn of(file: &Bytes) -> Budget {
        Budget { file: file.len() }
    }

    /// Checks that `bytes` may be allocated at once.
    pub(super) fn check(self, what: &'static str, bytes: Option<usize>) -> Result<(), OnnxError> {
        let limit = self.file.saturating_mul(GROWTH).saturating_add(ALLOWANCE);
        match bytes {
            Some(bytes) if bytes <= limit => Ok(()),
            _ => Err(OnnxError::TooDense {
                what,
                file: self.file,
            }),
        }
    }

    /// Decodes a message after a look at how many fields it has.
    pub(super) fn decode<M: Message + Default>(
        self,
        what: &'static str,
        message: &Bytes,
    ) -> Result<M, OnnxError> {
        let malformed = |source| OnnxError::Malformed { what, source };
        // No field takes fewer than two bytes.
        if self.check(what, (message.len() / 2).checked_mul(ITEM)).is_err() {
            let mut count = 0usize;
            for field in fields(message) {
                field.map_err(malformed)?;
                count += 1;
            }
            self.check(what, count.checked_mul(ITEM))?;
        }
        M::decode(message.clone()).map_err(malformed)
    }
}

/// The numbers of a repeated field, packed or not: `packed` counts those in a slice and `read` takes the next one.
fn repeated<T>(
    message: &Bytes,
    number: u32,
    packed: impl Fn(&[u8]) -> usize,
    read: impl Fn(&mut Bytes) -> Result<T, DecodeError>,
    single: impl Fn(Payload) -> Option<T>,
) -> Result<Vec<T>, DecodeError> {
    let mut count = 0;
    for field in fields(message).filter(|field| field.as_ref().map_or(true, |f| f.number == number)) {
        count += match field?.payload {
            Payload::Bytes(bytes) => packed(&bytes),
            _ => 1,
        };
    }
    let mut values = Vec::with_capacity(count);
    for field in fields(message) {
        let field = field?;
        match field.payload {
            _ if field.number != number => {}
            Payload::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    values.push(read(&mut bytes)?);
                }
            }
            payload => values.push(single(payload).ok_or_else(cut)?),
        }
    }
    Ok(values)
}

/// The integers of a repeated varint field (`int32`, `int64` or `uint64`; cast to the type that is meant).
pub(super) fn varints(message: &Bytes, number: u32) -> Result<Vec<i64>, DecodeError> {
    // The last byte of each number has its high bit clear.
    let packed = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte < 0x80).count();
    repeated(
        message,
        number,
        packed,
        |bytes| decode_varint(bytes).map(|value| value as i64),
        |payload| match payload {
            Payload::Varint(value) => Some(value as i64),
            _ => None,
        },
    )
}

/// The values of a repeated `float` field.
pub(super) fn floats(message: &Bytes, number: u32) -> Result<Vec<f32>, DecodeError> {
    repeated(
        message,
        number,
        |bytes| bytes.len() / 4,
        |bytes| bytes.try_get_f32_le().map_err(|_| cut()),
        |payload| match payload {
            Payload::Fixed32(bits) => Some(f32::from_bits(bits)),
            _ => None,
        },
    )
}

/// The values of a repeated `double` field.
pub(super) fn doubles(message: &Bytes, number: u32) -> Result<Vec<f64>, DecodeError> {
    repeated(
        message,
        number,
        |bytes| bytes.len() / 8,
        |bytes| bytes.try_get_f64_le().map_err(|_| cut()),
        |payload| match payload {
            Payload::Fixed64(bits) => Some(f64::from_bits(bits)),
            _ => None,
        },
    )
}

/// The strings and messages that a field of this number holds.
pub(super) fn slices(message: &Bytes, number: u32) -> impl Iterator<Item = Result<Bytes, DecodeError>> {
    fields(message).filter_map(move |field| match field {
        Ok(Field {
            number: found,
            payload: Payload::Bytes(bytes),
        }) if found == number => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_and_single_numbers_are_the_same() {
        let packed = Bytes::from_static(&[0x3a, 4, 1, 0xac, 2, 3]);
        let single = Bytes::from_static(&[0x38, 1, 0x38, 0xac, 2, 0x38, 3]);
        assert_eq!(varints(&packed, 7).unwrap(), [1, 300, 3]);
        assert_eq!(varints(&single, 7).unwrap(), [1, 300, 3]);
        assert!(varints(&single, 8).unwrap().is_empty());
    }

    #[test]
    fn truncated_messages_are_errors() {
        let cases: &[&[u8]] = &[
            &[0x3a],
            &[0x3a, 5, 1],
            &[0x39, 1, 2],
            &[0x3d, 1],
            &[0x38, 0x80],
            &[0x3b],
            &[0],
        ];
        for case in cases {
            let bytes = Bytes::copy_from_slice(case);
            assert!(fields(&bytes).any(|field| field.is_err()), "{case:?}");
        }
    }

    #[test]
    fn messages_of_nothing_but_empty_items_are_refused() {
        use super::super::proto::GraphProto;
        let empty_nodes = Bytes::from([0x0a, 0x00].repeat(1 << 16));
        let error = Budget::of(&empty_nodes)
            .decode::<GraphProto>("graph", &empty_nodes)
            .unwrap_err();
        assert!(matches!(error, OnnxError::TooDense { .. }), "{error}");
    }
}
