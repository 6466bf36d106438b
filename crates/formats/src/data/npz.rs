//! NumPy's `.npz` files: zip archives of npy files.
//!
//! A member that is stored (`numpy.savez`) is read from the mapped archive; one that is deflated
//! (`numpy.savez_compressed`) is unpacked into a temporary file when it is opened. The size that the archive claims
//! for a member has to be the one that the member's npy header asks for, so a zip bomb is refused before it is unpacked.

use std::io::{Cursor, Read};

use bytes::Bytes;
use zip::{CompressionMethod, ZipArchive};

use super::npy::{self, NpyArray, NpyError, parse_npy};
use super::{suggest, unpack};

/// The first bytes of every zip file that is not empty.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// What can be wrong with an npz file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum NpzError {
    #[error("not a readable zip archive: {0}\nhint: the file is cut short or damaged; save it again")]
    Archive(String),
    #[error("the archive has no array {name:?}\nhint: {hint}")]
    NoMember { name: String, hint: String },
    #[error("array {name:?}: {problem}")]
    Npy { name: String, problem: NpyError },
    #[error(
        "array {name:?}: the archive claims {claimed} bytes, the npy header {expected}\nhint: the file is damaged; \
         save it again"
    )]
    Size {
        name: String,
        claimed: u64,
        expected: u64,
    },
    #[error("array {name:?}: {packed} packed bytes cannot hold {claimed} bytes")]
    Impossible { name: String, packed: u64, claimed: u64 },
    #[error("array {name:?}: cannot unpack it: {problem}")]
    Unpack { name: String, problem: std::io::Error },
}

/// An opened archive.
pub(crate) struct Npz {
    bytes: Bytes,
    archive: ZipArchive<Cursor<Bytes>>,
}

impl Npz {
    /// Reads the directory of an archive; `bytes` is all of it.
    pub(crate) fn open(bytes: Bytes) -> Result<Npz, NpzError> {
        let archive =
            ZipArchive::new(Cursor::new(bytes.clone())).map_err(|e| NpzError::Archive(e.to_string()))?;
        Ok(Npz { bytes, archive })
    }

    /// Names of the arrays, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.archive.file_names().filter_map(Result::ok);
        let mut names: Vec<String> = names
            .filter_map(|name| name.strip_suffix(".npy").map(str::to_owned))
            .collect();
        names.sort_unstable();
        names
    }

    /// One array.
    pub(crate) fn member(&mut self, name: &str) -> Result<NpyArray, NpzError> {
        let file = format!("{name}.npy");
        let Some(index) = self.archive.index_for_name(&file) else {
            let names = self.names();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            return Err(NpzError::NoMember {
                name: name.to_owned(),
                hint: suggest::hint(name, &names),
            });
        };
        let bytes = self.bytes.clone();
        let entry = self.archive.by_index(index);
        let mut entry = entry.map_err(|e| NpzError::Archive(e.to_string()))?;
        let (claimed, packed) = (entry.size(), entry.compressed_size());
        let whole = if entry.compression() == CompressionMethod::Stored {
            let start = entry.data_start().and_then(|start| usize::try_from(start).ok());
            stored(&bytes, start, claimed)
                .ok_or_else(|| NpzError::Archive(format!("array {name:?} lies outside the file")))?
        } else {
            deflated(&mut entry, name, claimed, packed)?
        };
        parse_npy(&whole).map_err(|problem| NpzError::Npy {
            name: name.to_owned(),
            problem,
        })
    }
}

fn stored(bytes: &Bytes, start: Option<usize>, length: u64) -> Option<Bytes> {
    let start = start?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    (end <= bytes.len()).then(|| bytes.slice(start..end))
}

fn deflated(entry: &mut impl Read, name: &str, claimed: u64, packed: u64) -> Result<Bytes, NpzError> {
    let name = name.to_owned();
    if unpack::is_impossible(packed, claimed) {
        return Err(NpzError::Impossible {
            name,
            packed,
            claimed,
        });
    }
    let mut prefix = Vec::new();
    let read = entry
        .by_ref()
        .take(npy::MAX_PREFIX as u64)
        .read_to_end(&mut prefix);
    if let Err(problem) = read {
        return Err(NpzError::Unpack { name, problem });
    }
    let header = match npy::parse_header(&prefix) {
        Ok(header) => header,
        Err(problem) => return Err(NpzError::Npy { name, problem }),
    };
    let expected = (header.data_start as u64).saturating_add(header.data_bytes as u64);
    if expected != claimed {
        return Err(NpzError::Size {
            name,
            claimed,
            expected,
        });
    }
    unpack::unpack(Cursor::new(prefix).chain(entry), claimed)
        .map_err(|problem| NpzError::Unpack { name, problem })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// An archive of these files.
    pub(crate) fn archive(members: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in members {
            let options = SimpleFileOptions::default().compression_method(method);
            writer.start_file(*name, options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn npy(shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        [npy::MAGIC, &[1, 0], &length, header.as_bytes(), data].concat()
    }

    #[test]
    fn stored_and_deflated_members() {
        let data: Vec<u8> = (0..200).collect();
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let bytes = archive(
                &[("b.npy", &npy("(200,)", &data)), ("a.npy", &npy("()", &[7]))],
                method,
            );
            let mut npz = Npz::open(bytes.into()).unwrap();
            assert_eq!(npz.names(), ["a", "b"]);
            assert_eq!(npz.member("b").unwrap().data, data);
            assert_eq!(npz.member("a").unwrap().shape, [0usize; 0]);
            let error = npz.member("c").unwrap_err().to_string();
            assert!(error.contains("use one of: a, b"), "{error}");
        }
    }

    #[test]
    fn hostile_archives() {
        let big = npy("(1000000000000,)", &[0; 100]);
        let cases = [
            (
                archive(&[("x.npy", &big)], CompressionMethod::Stored),
                "the file holds 100",
            ),
            (
                archive(&[("x.npy", &big)], CompressionMethod::Deflated),
                "the npy header 10000000000",
            ),
            (
                archive(&[("x.npy", b"hello")], CompressionMethod::Deflated),
                "not an npy file",
            ),
            (
                archive(&[("x.npy", b"")], CompressionMethod::Stored),
                "not an npy file",
            ),
            (archive(&[], CompressionMethod::Stored), "no array \"x\""),
        ];
        for (bytes, expected) in cases {
            let error = Npz::open(bytes.into())
                .and_then(|mut npz| npz.member("x"))
                .unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn damaged_archives_do_not_panic() {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let whole = archive(&[("x.npy", &npy("(64,)", &[3; 64]))], method);
            for length in 0..whole.len() {
                assert!(
                    Npz::open(whole[..length].to_vec().into()).is_err(),
                    "{length} bytes"
                );
            }
            for position in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[position] ^= 0x41;
                if let Ok(mut npz) = Npz::open(flipped.into()) {
                    for name in npz.names() {
                        // Many flips leave a valid file; that none panics is what counts.
                        let _ = npz.member(&name);
                    }
                }
            }
        }
    }
}
