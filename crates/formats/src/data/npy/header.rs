//! The header of an npy file: a Python dictionary literal, read without Python.

use bantam_tensor::DType;

use super::NpyError;

/// The first bytes of every npy file.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header that is read. NumPy itself refuses more than 10,000 bytes; a plain array needs fewer than 2,000.
const MAX_HEADER: usize = 1 << 16;
/// Bytes of a file that always suffice to read its header.
pub(crate) const MAX_PREFIX: usize = MAX_HEADER + 12;
/// Most dimensions that NumPy allows.
const MAX_RANK: usize = 64;

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) dtype: DType,
    pub(crate) big_endian: bool,
    pub(crate) shape: Vec<usize>,
    /// Where the elements start in the file.
    pub(crate) data_start: usize,
    /// How many bytes the elements take.
    pub(crate) data_bytes: usize,
}

/// Reads the header from the first bytes of a file.
pub(crate) fn parse_header(prefix: &[u8]) -> Result<Header, NpyError> {
    let version = prefix.strip_prefix(MAGIC).ok_or(NpyError::NotNpy)?;
    let (length, text_start) = match *version {
        [1, 0, low, high, ..] => (usize::from(u16::from_le_bytes([low, high])), 10),
        [2 | 3, 0, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, 12),
        [major, minor, ..] if minor != 0 || !(1..=3).contains(&major) => {
            return Err(NpyError::Version { major, minor });
        }
        _ => return Err(NpyError::HeaderCut),
    };
    if length > MAX_HEADER {
        return Err(NpyError::HeaderTooLong { length });
    }
    let data_start = text_start + length;
    let text = prefix.get(text_start..data_start).ok_or(NpyError::HeaderCut)?;
    let (descr, shape) = Reader { text, at: 0 }.dictionary()?;
    let (dtype, big_endian) = element_type(&descr)?;
    let data_bytes = shape
        .iter()
        .try_fold(1usize, |product, &dimension| product.checked_mul(dimension))
        .and_then(|elements| dtype.bytes_for(elements))
        .ok_or_else(|| NpyError::TooLarge { shape: shape.clone() })?;
    Ok(Header {
        dtype,
        big_endian,
        shape,
        data_start,
        data_bytes,
    })
}

/// The dtype that a NumPy type string such as `<f4` names, and whether it is big endian.
fn element_type(descr: &str) -> Result<(DType, bool), NpyError> {
    let unsupported = || NpyError::Type {
        descr: descr.chars().take(40).collect(),
    };
    let mut characters = descr.chars();
    let order = characters.next().ok_or_else(unsupported)?;
    let dtype = match characters.as_str() {
        "b1" => DType::Bool,
        "i1" => DType::I8,
        "i2" => DType::I16,
        "i4" => DType::I32,
        "i8" => DType::I64,
        "u1" => DType::U8,
        "u2" => DType::U16,
        "u4" => DType::U32,
        "u8" => DType::U64,
        "f2" => DType::F16,
        "f4" => DType::F32,
        "f8" => DType::F64,
        _ => return Err(unsupported()),
    };
    match order {
        '<' | '=' => Ok((dtype, false)),
        '>' => Ok((dtype, true)),
        '|' if dtype.bits() == 8 => Ok((dtype, false)),
        _ => Err(unsupported()),
    }
}

/// Walks over `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn dictionary(mut self) -> Result<(String, Vec<usize>), NpyError> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect(b'{', "an opening brace")?;
        while !self.take(b'}') {
            let key = self.string()?;
            self.expect(b':', "a colon")?;
            let repeated = match key.as_str() {
                "descr" if self.peek() == Some(b'[') => return Err(NpyError::Structured),
                "descr" => descr.replace(self.string()?).is_some(),
                "fortran_order" => fortran_order.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.tuple()?).is_some(),
                _ => return Err(self.damaged("one of the keys descr, fortran_order, shape")),
            };
            if repeated {
                return Err(self.damaged("each key once"));
            }
            if !self.take(b',') && self.peek() != Some(b'}') {
                return Err(self.damaged("a comma or a closing brace"));
            }
        }
        if self.peek().is_some() {
            return Err(self.damaged("the end of the header"));
        }
        let missing = |key| NpyError::MissingKey { key };
        let shape = shape.ok_or(missing("shape"))?;
        // A vector and a scalar have the same bytes in either order.
        if fortran_order.ok_or(missing("fortran_order"))? && shape.len() > 1 {
            return Err(NpyError::FortranOrder);
        }
        Ok((descr.ok_or(missing("descr"))?, shape))
    }

    fn damaged(&self, expected: &'static str) -> NpyError {
        NpyError::Header {
            expected,
            at: self.at,
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), NpyError> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.damaged(what))
        }
    }

    fn string(&mut self) -> Result<String, NpyError> {
        let quote = self.peek().filter(|byte| matches!(byte, b'\'' | b'"'));
        let quote = quote.ok_or_else(|| self.damaged("a quoted string"))?;
        let rest = &self.text[self.at + 1..];
        let length = rest.iter().position(|&byte| byte == quote || byte == b'\\');
        let length = length.filter(|&length| rest[length] == quote);
        let length = length.ok_or_else(|| self.damaged("a string that ends"))?;
        self.at += length + 2;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn boolean(&mut self) -> Result<bool, NpyError> {
        self.peek();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.damaged("True or False"))
    }

    fn tuple(&mut self) -> Result<Vec<usize>, NpyError> {
        let mut dimensions = Vec::new();
        self.expect(b'(', "an opening parenthesis")?;
        while !self.take(b')') {
            if dimensions.len() == MAX_RANK {
                return Err(NpyError::TooManyDimensions { limit: MAX_RANK });
            }
            dimensions.push(self.dimension()?);
            if !self.take(b',') && self.peek() != Some(b')') {
                return Err(self.damaged("a comma or a closing parenthesis"));
            }
        }
        Ok(dimensions)
    }

    fn dimension(&mut self) -> Result<usize, NpyError> {
        self.peek();
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return Err(self.damaged("a dimension"));
        }
        let digits = std::str::from_utf8(&rest[..length]).expect("digits are ASCII");
        let dimension = digits.parse().map_err(|_| NpyError::Dimension { at: self.at })?;
        // Python 2 wrote long integers as 12L.
        self.at += length + usize::from(rest.get(length) == Some(&b'L'));
        Ok(dimension)
    }
}
