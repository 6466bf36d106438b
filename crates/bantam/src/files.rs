//! Writing files whole or not at all, and telling them apart.

use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{Error, pipeline};

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
    Ok(hex(hash))
}

/// The SHA-256 of texts and of what the system says of files, their sizes and when they were last written; for files that are too large to
/// be read for that.
pub(crate) fn fingerprint(texts: &[&str], files: &[PathBuf]) -> Result<String, Error> {
    let of_file = |path: &PathBuf| match std::fs::metadata(path) {
        Ok(metadata) => format!("{} {:?}", metadata.len(), metadata.modified().ok()),
        Err(_) => "absent".to_owned(),
    };
    let files: Vec<String> = files.iter().map(of_file).collect();
    let files = files.iter().map(String::as_str);
    digest(&texts.iter().copied().chain(files).collect::<Vec<&str>>(), &[])
}

/// The SHA-256 of a model: of its file, where it is one, and of all constants, wherever they lie.
pub(crate) fn model_digest(path: &Path) -> Result<String, Error> {
    let model = pipeline::load(path)?;
    let mut hash = Sha256::new();
    for value in &model.graph.values {
        if let Some(tensor) = &value.initializer {
            hash.update(format!(
                "{} {:?} {:?}\n",
                value.name,
                tensor.dtype(),
                tensor.shape()
            ));
            hash.update(tensor.as_bytes());
        }
    }
    let constants = hex(hash);
    let files: Vec<PathBuf> = path.is_file().then(|| path.to_owned()).into_iter().collect();
    digest(&[&constants], &files)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use bantam_formats::onnx::{ExternalData, SaveOptions, load, save};

    use super::*;

    #[test]
    fn weights_in_another_file_count() {
        let folder = tempfile::tempdir().unwrap();
        crate::demo::write_files(folder.path()).unwrap();
        let (inside, beside) = (
            folder.path().join("digits.onnx"),
            folder.path().join("beside.onnx"),
        );
        let options = SaveOptions {
            external_data: ExternalData::Always,
            ..SaveOptions::default()
        };
        save(&load(&inside).unwrap(), &beside, &options).unwrap();
        let before = model_digest(&beside).unwrap();
        assert_eq!(before, model_digest(&beside).unwrap());
        assert_ne!(before, model_digest(&inside).unwrap());
        let data = folder.path().join("beside.onnx.data");
        let mut bytes = std::fs::read(&data).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&data, bytes).unwrap();
        assert_ne!(before, model_digest(&beside).unwrap());
    }
}
