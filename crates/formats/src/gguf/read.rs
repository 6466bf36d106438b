//! From bytes to a [`Gguf`].

use std::collections::HashSet;

use bytes::Bytes;

use super::types::GgmlType;
use super::value::{Array, Value};
use super::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, Gguf, GgufTensor, MAGIC, VERSION};

/// Arrays inside arrays that are followed; files have none.
const MAX_DEPTH: usize = 4;
/// Dimensions of a tensor at most.
const MAX_RANK: usize = 4;
/// Fewest bytes of a key with its value, and of a tensor's entry.
const SMALLEST_ENTRY: usize = 8 + 4 + 1;
const SMALLEST_TENSOR: usize = 8 + 4 + 4 + 8;

/// Reads a file; the error is the fact alone. Tensors are slices of `bytes`.
pub(super) fn parse(bytes: &Bytes) -> Result<Gguf, String> {
    let mut cursor = Cursor { bytes, at: 0 };
    if cursor.take(4)? != MAGIC {
        return Err("not a GGUF file: it does not start with `GGUF`".to_owned());
    }
    let version = cursor.u32()?;
    if version != VERSION && version != 2 {
        return Err(format!(
            "version {version} of GGUF is not known; versions 2 and 3 are"
        ));
    }
    let tensors = cursor.count(SMALLEST_TENSOR, "tensors")?;
    let entries = cursor.count(SMALLEST_ENTRY, "metadata entries")?;
    let mut metadata = Vec::with_capacity(entries);
    let mut keys = HashSet::with_capacity(entries);
    for _ in 0..entries {
        let key = cursor.string()?;
        let code = cursor.u32()?;
        let value = cursor.value(code)?;
        if !keys.insert(key.clone()) {
            return Err(format!("two metadata entries are named `{key}`"));
        }
        metadata.push((key, value));
    }
    let infos: Vec<Info> = (0..tensors).map(|_| cursor.info()).collect::<Result<_, _>>()?;
    let alignment = alignment(&metadata)?;
    let start = cursor
        .at
        .checked_next_multiple_of(alignment)
        .ok_or("the header is too long")?;
    let mut names = HashSet::with_capacity(tensors);
    let mut read = Vec::with_capacity(tensors);
    for info in infos {
        if !names.insert(info.name.clone()) {
            return Err(format!("two tensors are named `{}`", info.name));
        }
        read.push(info.tensor(bytes, start, alignment)?);
    }
    Ok(Gguf {
        metadata,
        tensors: read,
    })
}

fn alignment(metadata: &[(String, Value)]) -> Result<usize, String> {
    let Some((_, value)) = metadata.iter().find(|(key, _)| key == ALIGNMENT_KEY) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let alignment = value.as_u64().and_then(|value| usize::try_from(value).ok());
    alignment
        .filter(|alignment| alignment.is_power_of_two() && (8..=1 << 20).contains(alignment))
        .ok_or_else(|| format!("`{ALIGNMENT_KEY}` is no power of two from 8 to 1048576"))
}

/// What the file says of one tensor.
struct Info {
    name: String,
    /// Outermost first.
    shape: Vec<usize>,
    kind: &'static GgmlType,
    offset: usize,
}

impl Info {
    fn tensor(self, bytes: &Bytes, start: usize, alignment: usize) -> Result<GgufTensor, String> {
        let Info {
            name,
            shape,
            kind,
            offset,
        } = self;
        let length = kind.bytes_for(&shape).ok_or_else(|| {
            format!(
                "tensor `{name}`: shape {shape:?} does not fit blocks of {}",
                kind.name
            )
        })?;
        if !offset.is_multiple_of(alignment) {
            return Err(format!(
                "tensor `{name}`: offset {offset} is not a multiple of {alignment}"
            ));
        }
        let first = start.checked_add(offset);
        let range = first.and_then(|first| Some(first..first.checked_add(length)?));
        let range = range
            .filter(|range| range.end <= bytes.len())
            .ok_or_else(|| format!("tensor `{name}`: {length} bytes from {offset} end after the file"))?;
        Ok(GgufTensor {
            name,
            shape,
            kind,
            data: bytes.slice(range),
        })
    }
}

/// Where reading stands; nothing is allocated for what the file claims before it is known to be there.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// One reader for each type of number, alone and in arrays.
macro_rules! numbers {
    ($($one:ident $many:ident $number:ty),*) => { $(
        fn $one(&mut self) -> Result<$number, String> {
            let bytes = self.take(size_of::<$number>())?;
            Ok(<$number>::from_le_bytes(bytes.try_into().expect("as many as asked for")))
        }

        fn $many(&mut self) -> Result<Vec<$number>, String> {
            let count = self.count(size_of::<$number>(), "values of an array")?;
            (0..count).map(|_| self.$one()).collect()
        }
    )* };
}

impl<'a> Cursor<'a> {
    numbers! {
        u8 u8s u8, i8 i8s i8, u16 u16s u16, i16 i16s i16, u32 u32s u32, i32 i32s i32, u64 u64s u64, i64 i64s i64,
        f32 f32s f32, f64 f64s f64
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let taken = rest
            .get(..count)
            .ok_or_else(|| format!("it ends within its header, at byte {}", self.bytes.len()))?;
        self.at += count;
        Ok(taken)
    }

    /// A number of things, each of which takes at least so many bytes of what follows.
    fn count(&mut self, smallest: usize, what: &str) -> Result<usize, String> {
        let claimed = self.u64()?;
        let most = (self.bytes.len() - self.at) / smallest;
        usize::try_from(claimed)
            .ok()
            .filter(|count| *count <= most)
            .ok_or_else(|| format!("it claims {claimed} {what}, more than it has bytes for"))
    }

    fn string(&mut self) -> Result<String, String> {
        let length = self.count(1, "bytes of a text")?;
        let bytes = self.take(length)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
    }

    fn bool(&mut self) -> Result<bool, String> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("a truth value is {other}, neither 0 nor 1")),
        }
    }

    fn value(&mut self, code: u32) -> Result<Value, String> {
        Ok(match code {
            0 => Value::U8(self.u8()?),
            1 => Value::I8(self.i8()?),
            2 => Value::U16(self.u16()?),
            3 => Value::I16(self.i16()?),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(self.i32()?),
            6 => Value::F32(self.f32()?),
            7 => Value::Bool(self.bool()?),
            8 => Value::String(self.string()?),
            9 => Value::Array(self.array(0)?),
            10 => Value::U64(self.u64()?),
            11 => Value::I64(self.i64()?),
            12 => Value::F64(self.f64()?),
            other => return Err(format!("a metadata entry has the unknown type {other}")),
        })
    }

    fn array(&mut self, depth: usize) -> Result<Array, String> {
        if depth == MAX_DEPTH {
            return Err(format!("arrays are nested more than {MAX_DEPTH} deep"));
        }
        Ok(match self.u32()? {
            0 => Array::U8(self.u8s()?),
            1 => Array::I8(self.i8s()?),
            2 => Array::U16(self.u16s()?),
            3 => Array::I16(self.i16s()?),
            4 => Array::U32(self.u32s()?),
            5 => Array::I32(self.i32s()?),
            6 => Array::F32(self.f32s()?),
            7 => {
                let count = self.count(1, "values of an array")?;
                Array::Bool((0..count).map(|_| self.bool()).collect::<Result<_, _>>()?)
            }
            8 => {
                let count = self.count(8, "texts of an array")?;
                Array::String((0..count).map(|_| self.string()).collect::<Result<_, _>>()?)
            }
            9 => {
                let count = self.count(12, "arrays of an array")?;
                Array::Array(
                    (0..count)
                        .map(|_| self.array(depth + 1))
                        .collect::<Result<_, _>>()?,
                )
            }
            10 => Array::U64(self.u64s()?),
            11 => Array::I64(self.i64s()?),
            12 => Array::F64(self.f64s()?),
            other => return Err(format!("an array has the unknown type {other}")),
        })
    }

    fn info(&mut self) -> Result<Info, String> {
        let name = self.string()?;
        let rank = self.u32()? as usize;
        if rank > MAX_RANK {
            return Err(format!(
                "tensor `{name}` has {rank} dimensions; at most {MAX_RANK} are known"
            ));
        }
        let mut shape = Vec::with_capacity(rank);
        for _ in 0..rank {
            let size = self.u64()?;
            let size = usize::try_from(size).ok().filter(|size| *size > 0);
            shape.push(
                size.ok_or_else(|| format!("tensor `{name}` has a dimension that is zero or too large"))?,
            );
        }
        shape.reverse();
        let code = self.u32()?;
        let kind = GgmlType::by_id(code)
            .ok_or_else(|| format!("tensor `{name}` has elements of the unknown type {code}"))?;
        let offset =
            usize::try_from(self.u64()?).map_err(|_| format!("tensor `{name}`: its offset is too large"))?;
        Ok(Info {
            name,
            shape,
            kind,
            offset,
        })
    }
}
