//! What a search has found so far, in a folder beside the result: an interrupted search goes on from there.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, write_whole};

/// The folder of a search.
pub(in crate::jobs) struct Workspace {
    folder: PathBuf,
    start: Instant,
}

/// Name of the file that says what the folder is of.
const KEY: &str = "search.key";

impl Workspace {
    /// Opens the folder of a search with this key; what another search has left there goes.
    pub(in crate::jobs) fn open(folder: PathBuf, key: &str) -> Result<Workspace, Error> {
        let fail = |action| {
            let path = folder.clone();
            move |source| Error::File {
                path,
                action,
                source,
                hint: "choose an output in a folder that exists and can be written",
            }
        };
        let known = std::fs::read_to_string(folder.join(KEY)).is_ok_and(|found| found == key);
        if folder.exists() && !known {
            if !is_ours(&folder) {
                return Err(Error::Usage {
                    message: format!("{} exists and is no folder of a search", folder.display()),
                    hint: "choose another output, or move the folder".to_owned(),
                });
            }
            std::fs::remove_dir_all(&folder).map_err(fail("cannot be emptied"))?;
        }
        std::fs::create_dir_all(&folder).map_err(fail("cannot be made"))?;
        write_whole(&folder.join(KEY), key.as_bytes())?;
        Ok(Workspace {
            folder,
            start: Instant::now(),
        })
    }

    /// A file of the folder.
    pub(in crate::jobs) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What was found under this name, or what `find` finds now, which is kept.
    pub(in crate::jobs) fn cached<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        find: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let path = self.file(&format!("{name}.json"));
        let kept = std::fs::read(&path).ok();
        if let Some(kept) = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(kept);
        }
        let found = find()?;
        let text = serde_json::to_vec(&found).expect("results hold nothing that JSON cannot say");
        write_whole(&path, &text)?;
        Ok(found)
    }

    /// Seconds since the search began, or went on.
    pub(in crate::jobs) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Removes the folder.
    pub(in crate::jobs) fn remove(self) -> Result<(), Error> {
        let path = self.folder.clone();
        std::fs::remove_dir_all(&self.folder).map_err(|source| Error::File {
            path,
            action: "cannot be removed",
            source,
            hint: "remove it by hand",
        })
    }
}

/// Whether the folder holds a key, or nothing.
fn is_ours(folder: &Path) -> bool {
    let empty = || std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    folder.join(KEY).is_file() || empty()
}
