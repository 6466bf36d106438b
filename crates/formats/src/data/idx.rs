//! IDX files (MNIST and its relatives), plain or gzipped.
//!
//! Two zero bytes, a type, the number of dimensions, the dimensions as big-endian u32, then the elements, big endian
//! (<http://yann.lecun.com/exdb/mnist/>).

use std::io::{Cursor, Read};

use bantam_tensor::DType;
use bytes::Bytes;
use flate2::read::GzDecoder;

use super::npy::NpyArray;
use super::unpack;

/// The first bytes of every gzip file.
pub(crate) const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// What can be wrong with an IDX file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum IdxError {
    #[error("not an IDX file: it starts with {start:02x?}")]
    NotIdx { start: Vec<u8> },
    #[error("the file ends inside the IDX header\nhint: the file is cut short; copy it again")]
    HeaderCut,
    #[error("an IDX array of shape {shape:?} is too large to address")]
    TooLarge { shape: Vec<usize> },
    #[error(
        "an IDX array {dtype}{shape:?} needs {expected} bytes, the file holds {got}\nhint: the file is cut short or \
         damaged; copy it again"
    )]
    Length {
        dtype: DType,
        shape: Vec<usize>,
        expected: usize,
        got: usize,
    },
    #[error("the IDX header claims {bytes} bytes, more than a gzip file of this size can hold")]
    Impossible { bytes: usize },
    #[error("cannot unpack the gzip file: {0}\nhint: only IDX files may be gzipped")]
    Gzip(std::io::Error),
}

/// True for the first bytes of an IDX file.
pub(crate) fn is_idx(start: &[u8]) -> bool {
    matches!(start, [0, 0, code, rank, ..] if *rank > 0 && element_type(*code).is_some())
}

fn element_type(code: u8) -> Option<DType> {
    Some(match code {
        0x08 => DType::U8,
        0x09 => DType::I8,
        0x0b => DType::I16,
        0x0c => DType::I32,
        0x0d => DType::F32,
        0x0e => DType::F64,
        _ => return None,
    })
}

struct Header {
    dtype: DType,
    shape: Vec<usize>,
    data_start: usize,
    data_bytes: usize,
}

fn parse_header(bytes: &[u8]) -> Result<Header, IdxError> {
    let not_idx = || IdxError::NotIdx {
        start: bytes.iter().take(4).copied().collect(),
    };
    let &[0, 0, code, rank, ref rest @ ..] = bytes else {
        return Err(not_idx());
    };
    let dtype = element_type(code).ok_or_else(not_idx)?;
    let dimensions = rest.get(..usize::from(rank) * 4).ok_or(IdxError::HeaderCut)?;
    let shape: Vec<usize> = dimensions
        .chunks_exact(4)
        .map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]) as usize)
        .collect();
    let data_bytes = shape
        .iter()
        .try_fold(1usize, |product, &dimension| product.checked_mul(dimension))
        .and_then(|elements| dtype.bytes_for(elements))
        .ok_or_else(|| IdxError::TooLarge { shape: shape.clone() })?;
    Ok(Header {
        dtype,
        shape,
        data_start: 4 + dimensions.len(),
        data_bytes,
    })
}

/// Reads an IDX file; `bytes` is all of it, and the array's bytes are a part of it.
pub(crate) fn parse(bytes: &Bytes) -> Result<NpyArray, IdxError> {
    let header = parse_header(bytes)?;
    let got = bytes.len() - header.data_start;
    if got != header.data_bytes {
        return Err(IdxError::Length {
            dtype: header.dtype,
            shape: header.shape,
            expected: header.data_bytes,
            got,
        });
    }
    Ok(NpyArray {
        big_endian: header.dtype.bits() > 8,
        dtype: header.dtype,
        shape: header.shape,
        data: bytes.slice(header.data_start..),
    })
}

/// Reads a gzipped IDX file; its header tells how much to unpack.
pub(crate) fn parse_gzip(bytes: &Bytes) -> Result<NpyArray, IdxError> {
    let mut decoder = GzDecoder::new(bytes.as_ref());
    let mut prefix = Vec::new();
    let longest_header = 4 + 4 * u64::from(u8::MAX);
    decoder
        .by_ref()
        .take(longest_header)
        .read_to_end(&mut prefix)
        .map_err(IdxError::Gzip)?;
    let header = parse_header(&prefix)?;
    let total = header.data_start.saturating_add(header.data_bytes);
    if unpack::is_impossible(bytes.len() as u64, total as u64) {
        return Err(IdxError::Impossible { bytes: total });
    }
    let whole = unpack::unpack(Cursor::new(prefix).chain(decoder), total as u64).map_err(IdxError::Gzip)?;
    parse(&whole)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn bytes_and_big_endian_numbers() {
        let images = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];
        let numbers = [0, 0, 0x0b, 1, 0, 0, 0, 2, 0, 1, 0xff, 0xfe];
        let cases: &[(&[u8], &[usize], &[i64])] = &[
            (&images, &[2, 3], &[1, 2, 3, 4, 5, 6]),
            (&numbers, &[2], &[1, -2]),
        ];
        for (file, shape, values) in cases {
            assert!(is_idx(file));
            for array in [parse(&Bytes::copy_from_slice(file)), parse_gzip(&gzip(file))] {
                let tensor = array.unwrap().into_tensor();
                assert_eq!(
                    (tensor.shape(), tensor.to_i64().unwrap().as_slice()),
                    (*shape, *values)
                );
            }
        }
    }

    #[test]
    fn hostile_files() {
        let huge = [
            0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        ];
        let large = [0, 0, 8, 2, 255, 255, 255, 255, 0, 255, 255, 255, 1, 2];
        let cases: &[(&[u8], &str, &str)] = &[
            (&[], "not an IDX file", "not an IDX file"),
            (
                &[0, 0, 7, 1, 0, 0, 0, 0],
                "starts with [00, 00, 07, 01]",
                "starts with",
            ),
            (
                &[0, 0, 8, 200, 0, 0],
                "ends inside the IDX header",
                "ends inside the IDX header",
            ),
            (&huge, "too large to address", "too large to address"),
            (&large, "the file holds 2", "more than a gzip file of this size"),
            (
                &[0, 0, 8, 1, 0, 0, 0, 3, 1, 2],
                "needs 3 bytes, the file holds 2",
                "fewer than the 11 bytes",
            ),
            (
                &[0, 0, 8, 1, 0, 0, 0, 1, 1, 2],
                "needs 1 bytes, the file holds 2",
                "more than the 9 bytes",
            ),
        ];
        for (file, plain, gzipped) in cases {
            let error = parse(&Bytes::copy_from_slice(file)).unwrap_err().to_string();
            assert!(error.contains(plain), "{file:?}: {error}");
            let error = parse_gzip(&gzip(file)).unwrap_err().to_string();
            assert!(error.contains(gzipped), "{file:?}: {error}");
        }
        let damaged = gzip(&[0, 0, 8, 1, 0, 0, 0, 1, 1]).slice(..12);
        assert!(
            parse_gzip(&damaged)
                .unwrap_err()
                .to_string()
                .contains("cannot unpack")
        );
    }
}
