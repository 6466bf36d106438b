//! Files as shared bytes.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use memmap2::Mmap;

/// The mappings of this process, so that it is known which bytes are those of files.
static MAPPINGS: Mutex<Vec<Weak<Mmap>>> = Mutex::new(Vec::new());

/// What keeps a mapping alive as long as its bytes are in use.
struct Owner(Arc<Mmap>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

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
    let map = Arc::new(unsafe { Mmap::map(&file)? });
    let mut mappings = MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner);
    mappings.retain(|known| known.strong_count() > 0);
    mappings.push(Arc::downgrade(&map));
    Ok(Bytes::from_owner(Owner(map)))
}

/// Lets go of the memory behind bytes of a mapped file, so that what was read through does not count as this process's. The
/// bytes stay as they are: the system fetches them again when they are looked at. Other bytes are left alone.
#[expect(unsafe_code, reason = "advice may in general destroy what is in memory")]
pub fn release(bytes: &[u8]) {
    #[cfg(unix)]
    if let Some((map, offset)) = mapping(bytes) {
        // SAFETY: the mapping is that of a file and read-only: no page of it holds anything that the file does not.
        let advised =
            unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, offset, bytes.len()) };
        // Advice that is not taken costs memory alone.
        drop(advised);
    }
}

/// Asks the system to fetch bytes of a mapped file that will be looked at soon. Other bytes are left alone.
pub fn prefetch(bytes: &[u8]) {
    #[cfg(unix)]
    if let Some((map, offset)) = mapping(bytes) {
        drop(map.advise_range(memmap2::Advice::WillNeed, offset, bytes.len()));
    }
}

/// The mapping that holds these bytes, and where in it they begin.
#[cfg(unix)]
fn mapping(bytes: &[u8]) -> Option<(Arc<Mmap>, usize)> {
    let mappings = MAPPINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut live = mappings.iter().filter_map(Weak::upgrade);
    let start = bytes.as_ptr().addr();
    let holds = |map: &Arc<Mmap>| {
        let first = map.as_ptr().addr();
        !bytes.is_empty() && first <= start && start + bytes.len() <= first + map.len()
    };
    let map = live.find(holds)?;
    let offset = start - map.as_ptr().addr();
    Some((map, offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_bytes_are_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..100_000u32).map(|index| (index % 251) as u8).collect();
        std::fs::write(file.path(), &content).unwrap();
        let bytes = map_file(file.path()).unwrap();
        for range in [0..100_000, 5000..5001, 4096..8192, 7..7] {
            prefetch(&bytes[range.clone()]);
            release(&bytes[range]);
            assert_eq!(bytes, content);
        }
        let own = content.clone();
        release(&own);
        assert_eq!(own, content);
    }
}
