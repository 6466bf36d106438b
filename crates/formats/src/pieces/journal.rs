//! What is written down of unfinished work.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Pieces, PiecesError, with_end};

/// What is written down of unfinished work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    version: u32,
    key: String,
    length: u64,
    pieces: usize,
    /// So many of the first pieces are on disk.
    pub(super) done: usize,
    /// CRC-32 of the fields above.
    check: u32,
}

impl Journal {
    const VERSION: u32 = 1;

    pub(super) fn new(pieces: &Pieces<'_>, key: &str, done: usize) -> Journal {
        let mut journal = Journal {
            version: Journal::VERSION,
            key: key.to_owned(),
            length: pieces.length,
            pieces: pieces.count,
            done,
            check: 0,
        };
        journal.check = journal.sum();
        journal
    }

    fn sum(&self) -> u32 {
        let Journal {
            version,
            key,
            length,
            pieces,
            done,
            check: _,
        } = self;
        let mut sum = flate2::Crc::new();
        sum.update(format!("{version} {length} {pieces} {done} {key}").as_bytes());
        sum.sum()
    }

    /// How many pieces are done of a file of these, or why that cannot be believed.
    fn done_of(&self, expected: &Journal) -> Result<usize, &'static str> {
        if self.check != self.sum() {
            return Err("the journal is damaged");
        }
        let same = Journal {
            done: self.done,
            check: self.check,
            ..expected.clone()
        };
        match *self == same && self.done <= self.pieces {
            true => Ok(self.done),
            false => Err("the unfinished file is of other inputs, other settings or another version"),
        }
    }

    /// Writes it down, whole or not at all.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let next = with_end(path, ".next");
        let text = serde_json::to_vec(self).expect("a journal holds nothing that JSON cannot say");
        fs::write(&next, text)?;
        fs::rename(next, path)
    }
}

/// How many of the first pieces of an unfinished file are there.
pub(super) fn resumed(path: &Path, file: &File, expected: &Journal) -> Result<usize, PiecesError> {
    let wrong = |fact: String| PiecesError::Journal {
        path: path.to_owned(),
        fact,
    };
    let text = fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let journal: Journal =
        serde_json::from_slice(&text).map_err(|error| wrong(format!("the journal is damaged: {error}")))?;
    let done = journal.done_of(expected).map_err(|fact| wrong(fact.to_owned()))?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    match length == expected.length {
        true => Ok(done),
        false => Err(wrong(format!(
            "the unfinished file has {length} bytes instead of {}",
            expected.length
        ))),
    }
}
