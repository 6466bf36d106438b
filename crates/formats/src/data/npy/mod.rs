//! NumPy's `.npy` files, versions 1 to 3 (NEP 1), memory-mapped.
//!
//! Booleans, integers and floats of every width, in either byte order, in C order. Nothing is allocated for what a
//! header claims: the claim is compared with the length of the file first.

mod header;
mod write;

use std::path::Path;

use bantam_tensor::{DType, Tensor, map_file};
use bytes::Bytes;

pub(crate) use header::{MAGIC, MAX_PREFIX, parse_header};
pub use write::write_npy;

use super::DataError;
use super::array::to_native;

/// What can be wrong with an npy file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum NpyError {
    #[error("not an npy file: it does not start with \\x93NUMPY")]
    NotNpy,
    #[error("npy version {major}.{minor} is not known\nhint: save the array again with numpy.save")]
    Version { major: u8, minor: u8 },
    #[error("the file ends inside the npy header\nhint: the file is cut short; copy or save it again")]
    HeaderCut,
    #[error("the npy header claims {length} bytes, more than any plain array needs")]
    HeaderTooLong { length: usize },
    #[error("damaged npy header: expected {expected} at byte {at} of the header")]
    Header { expected: &'static str, at: usize },
    #[error("damaged npy header: a dimension at byte {at} of the header is too large")]
    Dimension { at: usize },
    #[error("the npy header has no {key:?}")]
    MissingKey { key: &'static str },
    #[error("the npy array has more than {limit} dimensions")]
    TooManyDimensions { limit: usize },
    #[error(
        "elements of NumPy type {descr:?} are not supported\nhint: save the array as float32, as an integer type or \
         as bool; Python objects are never read"
    )]
    Type { descr: String },
    #[error("the npy array has fields\nhint: save each field as an array of its own")]
    Structured,
    #[error(
        "the npy array is in Fortran order\nhint: save it in C order: numpy.save(file, numpy.ascontiguousarray(array))"
    )]
    FortranOrder,
    #[error("an npy array of shape {shape:?} is too large to address")]
    TooLarge { shape: Vec<usize> },
    #[error(
        "an npy array {dtype}{shape:?} needs {expected} bytes, the file holds {got}\nhint: the file is cut short or \
         holds more than one array; save it again"
    )]
    Length {
        dtype: DType,
        shape: Vec<usize>,
        expected: usize,
        got: usize,
    },
    #[error("npy files cannot hold elements of type {dtype}\nhint: convert to f32 first")]
    Unwritable { dtype: DType },
}

/// An array in an npy file; its bytes are the file's.
#[derive(Clone, Debug)]
pub struct NpyArray {
    /// Type of the elements.
    pub dtype: DType,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// True when the bytes of each element are stored most significant first.
    pub big_endian: bool,
    /// The elements, row-major.
    pub data: Bytes,
}

/// Reads an npy file; `bytes` is all of it. Nothing is copied.
pub fn parse_npy(bytes: &Bytes) -> Result<NpyArray, NpyError> {
    let header = parse_header(bytes)?;
    let got = bytes.len() - header.data_start;
    if got != header.data_bytes {
        return Err(NpyError::Length {
            dtype: header.dtype,
            shape: header.shape,
            expected: header.data_bytes,
            got,
        });
    }
    Ok(NpyArray {
        dtype: header.dtype,
        shape: header.shape,
        big_endian: header.big_endian,
        data: bytes.slice(header.data_start..),
    })
}

impl NpyArray {
    /// The array as a tensor: over the file's bytes, or over a copy where they have to be changed (big
    /// endian; booleans other than 0 and 1).
    pub fn into_tensor(self) -> Tensor {
        let odd_booleans = self.dtype == DType::Bool && self.data.iter().any(|&byte| byte > 1);
        let data = if self.big_endian || odd_booleans {
            let mut copy = self.data.to_vec();
            to_native(&mut copy, self.dtype, self.big_endian);
            copy.into()
        } else {
            self.data
        };
        Tensor::from_bytes(self.dtype, &self.shape, data).expect("the length was checked against the header")
    }
}

/// Reads the array of a whole npy file, memory-mapped.
pub fn read_npy(path: &Path) -> Result<Tensor, DataError> {
    let bytes = map_file(path).map_err(|problem| DataError::io(path, problem))?;
    let array = parse_npy(&bytes).map_err(|problem| DataError::Npy {
        path: path.to_owned(),
        problem,
    })?;
    Ok(array.into_tensor())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(version: u8, header: &str, data: &[u8]) -> Bytes {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend((header.len() as u16).to_le_bytes()),
            _ => bytes.extend((header.len() as u32).to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes.into()
    }

    #[test]
    fn arrays_of_every_version_and_spelling() {
        let data = [1u8, 0, 2, 0, 3, 0];
        let cases = [
            (
                1,
                "{'descr': '<i2', 'fortran_order': False, 'shape': (3,), }   \n",
            ),
            (2, "{\"shape\":(3L,),\"descr\":\"<i2\",\"fortran_order\":True}"),
            (
                3,
                " { 'fortran_order' : False , 'shape' : ( 1 , 3 ) , 'descr' : '<i2' } ",
            ),
        ];
        for (version, header) in cases {
            let array = parse_npy(&npy(version, header, &data)).unwrap_or_else(|e| panic!("{header}: {e}"));
            assert_eq!(array.into_tensor().to_i64().unwrap(), [1, 2, 3], "{header}");
        }
        let header = "{'descr': '>f4', 'fortran_order': False, 'shape': (), }";
        let array = parse_npy(&npy(1, header, &1.5f32.to_be_bytes())).unwrap();
        assert_eq!(array.into_tensor(), Tensor::scalar(1.5f32));
    }

    #[test]
    fn hostile_headers() {
        let plain = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
        let typed = |descr: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,)}}");
        let cases: Vec<(String, &str)> = vec![
            (plain("(18446744073709551615,)"), "too large to address"),
            (plain("(99999999999999999999,)"), "a dimension at byte"),
            (plain("(4294967296, 4294967296)"), "too large to address"),
            (
                plain("(1000000000000,)"),
                "needs 4000000000000 bytes, the file holds 4",
            ),
            (plain("(-1,)"), "expected a dimension"),
            (
                plain(&format!("({})", "1,".repeat(65))),
                "more than 64 dimensions",
            ),
            (plain("(1"), "expected a comma or a closing parenthesis"),
            (
                plain("(1,)").replace("False", "True").replace("(1,)", "(1,1)"),
                "Fortran order",
            ),
            (plain("(1,)").replace("False", "Maybe"), "expected True or False"),
            (
                plain("(1,)").replace("shape", "shapes"),
                "expected one of the keys",
            ),
            (plain("(1,)") + "}", "expected the end of the header"),
            (plain("(1,), 'shape': (1,)"), "expected each key once"),
            ("{'descr': '<f4'}".into(), "no \"shape\""),
            (String::new(), "expected an opening brace"),
            ("{'descr".into(), "expected a string that ends"),
            (typed("'|O'"), "Python objects are never read"),
            (typed("'<U8'"), "type \"<U8\" are not supported"),
            (typed("'|f4'"), "type \"|f4\" are not supported"),
            (typed("''"), "type \"\" are not supported"),
            (typed("[('a', '<f4')]"), "the npy array has fields"),
        ];
        for (header, expected) in cases {
            for version in [1, 2] {
                let error = parse_npy(&npy(version, &header, &[0; 4])).expect_err(&header);
                assert!(error.to_string().contains(expected), "{header}: {error}");
            }
        }
    }

    #[test]
    fn cut_files() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
        let whole = npy(1, header, &[0; 8]);
        parse_npy(&whole).unwrap();
        for length in 0..whole.len() {
            assert!(parse_npy(&whole.slice(..length)).is_err(), "{length} bytes");
        }
        let mut longer = whole.to_vec();
        longer.push(0);
        assert!(matches!(
            parse_npy(&longer.into()),
            Err(NpyError::Length { got: 9, .. })
        ));
        let huge: Bytes = [MAGIC, &[2, 0, 0xff, 0xff, 0xff, 0xff], &[b' '; 64]]
            .concat()
            .into();
        assert!(matches!(parse_npy(&huge), Err(NpyError::HeaderTooLong { .. })));
        let future: Bytes = [MAGIC, &[9, 1, 0, 0, 0, 0]].concat().into();
        assert_eq!(
            parse_npy(&future).unwrap_err(),
            NpyError::Version { major: 9, minor: 1 }
        );
    }

    #[test]
    fn written_arrays_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("array.npy");
        let tensors = [
            Tensor::from_slice(&[2, 3], &[1.0f32, -2.5, 3.0, f32::NAN, 0.0, 1e-9]).unwrap(),
            Tensor::from_slice(&[2], &[half::f16::ONE, half::f16::NEG_ONE]).unwrap(),
            Tensor::from_slice(&[0, 4], &[0i64; 0]).unwrap(),
            Tensor::from_bools(&[3], &[true, false, true]).unwrap(),
            Tensor::scalar(7u16),
        ];
        for tensor in tensors {
            write_npy(&path, &tensor).unwrap();
            assert_eq!(read_npy(&path).unwrap(), tensor);
            assert_eq!(
                std::fs::read(&path).unwrap().len() % 64,
                tensor.as_bytes().len() % 64
            );
        }
        let brain_float = Tensor::zeros(DType::BF16, &[1]).unwrap();
        let error = write_npy(&path, &brain_float).unwrap_err();
        assert!(
            error.to_string().contains("cannot hold elements of type bf16"),
            "{error}"
        );
    }
}
