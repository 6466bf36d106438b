//! Compressed files, unpacked once into a temporary file that is then mapped like any other.
//!
//! So any row of a compressed file can be read, and memory stays independent of its size.

use std::io::{self, Read, Write};

use bantam_tensor::map_file;
use bytes::Bytes;
use tempfile::TempPath;

/// Most that deflate can shrink: 1,032 to 1 (RFC 1951, 258 bytes in two bits).
const MOST_SHRINK: u64 = 1032;

/// True when `packed` bytes of deflate cannot hold `unpacked` bytes.
pub(crate) fn is_impossible(packed: u64, unpacked: u64) -> bool {
    unpacked > packed.saturating_mul(MOST_SHRINK).saturating_add(1024)
}

/// Reads exactly `length` bytes from `reader` and gives them as a mapped temporary file, which goes when they do.
///
/// # Errors
/// `InvalidData` when the reader ends earlier or does not end there.
pub(crate) fn unpack(reader: impl Read, length: u64) -> io::Result<Bytes> {
    let mut file = tempfile::Builder::new().prefix("bantam-").tempfile()?;
    let copied = io::copy(&mut reader.take(length.saturating_add(1)), &mut file)?;
    if copied != length {
        let problem = if copied < length { "fewer" } else { "more" };
        let message = format!("it unpacks to {problem} than the {length} bytes that its header says");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    file.flush()?;
    let path = file.into_temp_path();
    let bytes = map_file(&path)?;
    Ok(Bytes::from_owner(Unpacked { bytes, _path: path }))
}

/// The fields go in this order: the mapping first, then the file.
struct Unpacked {
    bytes: Bytes,
    _path: TempPath,
}

impl AsRef<[u8]> for Unpacked {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_exact() {
        let data = [1u8, 2, 3];
        assert_eq!(unpack(&data[..], 3).unwrap(), &data[..]);
        assert!(
            unpack(&data[..], 4)
                .unwrap_err()
                .to_string()
                .contains("fewer than the 4 bytes")
        );
        assert!(
            unpack(&data[..], 2)
                .unwrap_err()
                .to_string()
                .contains("more than the 2 bytes")
        );
        assert!(is_impossible(10, 1 << 20) && !is_impossible(1 << 20, 1 << 30));
    }
}
