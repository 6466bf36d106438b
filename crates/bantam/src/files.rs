//! Writing files whole or not at all.

use std::io::Write;
use std::path::Path;

use crate::Error;

/// Writes a file under a temporary name and renames it when it is complete.
pub fn write_whole(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".bantam-").tempfile_in(folder)?;
        file.write_all(contents)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|source| Error::File {
        path: path.to_owned(),
        action: "cannot be written",
        source,
        hint: "choose a path in a folder that exists, can be written and has room",
    })
}
