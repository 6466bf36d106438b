//! Files as shared bytes.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;

/// Maps a file into memory and gives its bytes; nothing is read until it is looked at.
///
/// A file that another process truncates while it is mapped ends this process with a bus error; that is the
/// price of not copying, and of every program that maps files.
#[expect(unsafe_code, reason = "memory mapping has no safe form")]
pub fn map_file(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "is a folder, not a file",
        ));
    }
    if metadata.len() == 0 {
        // Pipes and the like report no length and cannot be mapped.
        return std::fs::read(path).map(Bytes::from);
    }
    // SAFETY: the mapping is read-only and private to us; the bytes are only handed out as `&[u8]`. Truncation by
    // another process is documented above.
    let map = unsafe { memmap2::Mmap::map(&file)? };
    Ok(Bytes::from_owner(map))
}
