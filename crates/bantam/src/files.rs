//! Writing files whole or not at all, and telling them apart.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

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

/// The SHA-256 of texts and of the contents of files, in hexadecimal.
pub(crate) fn digest(texts: &[&str], files: &[PathBuf]) -> Result<String, Error> {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    for path in files {
        let mut read = || -> std::io::Result<()> {
            let mut file = std::fs::File::open(path)?;
            hash.update(file.metadata()?.len().to_le_bytes());
            std::io::copy(&mut file, &mut hash)?;
            Ok(())
        };
        read().map_err(|source| Error::File {
            path: path.clone(),
            action: "cannot be read",
            source,
            hint: "give files that exist",
        })?;
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
