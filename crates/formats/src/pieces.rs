//! Files that are written in pieces by all threads: memory does not depend on their size, and what was interrupted goes on.
//!
//! A file grows under the name `NAME.partial` and gets its own in the end. Beside it, `NAME.partial.json` says how many
//! of the first pieces are on disk, and what they were made of.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a file is written.
#[derive(Clone, Copy)]
pub struct Writing<'a> {
    /// What the file is made of, in few words or as a digest: an unfinished file is continued only when it was made of the same.
    pub key: &'a str,
    /// Go on where an unfinished file ends, if there is one.
    pub resume: bool,
    /// Elements of a piece, about.
    pub piece: usize,
    /// How often it is written down how far the work is.
    pub every: Duration,
    /// Hears how many pieces are done, of how many; from any thread.
    pub progress: &'a (dyn Fn(usize, usize) + Sync),
}

impl Writing<'_> {
    /// For files that are quickly written: nothing is continued, nobody hears of it.
    pub const PLAIN: Writing<'static> = Writing {
        key: "",
        resume: false,
        piece: 1 << 21,
        every: Duration::from_secs(2),
        progress: &|_, _| (),
    };
}

/// Why a file could not be written in pieces.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum PiecesError {
    #[error("{}: cannot be written: {source}\nhint: choose a path in a folder that exists, can be written and has room; --resume goes on with what is there", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}: {fact}\nhint: leave out --resume to start anew", path.display())]
    Journal { path: PathBuf, fact: String },
}

/// A file of `length` bytes that consists of pieces.
pub(crate) struct Pieces<'a> {
    pub(crate) path: &'a Path,
    pub(crate) length: u64,
    pub(crate) count: usize,
}

/// Where a piece puts its bytes.
pub(crate) type Put<'a> = dyn Fn(u64, &[u8]) -> io::Result<()> + 'a;

/// What is written down of unfinished work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Journal {
    version: u32,
    key: String,
    length: u64,
    pieces: usize,
    /// So many of the first pieces are on disk.
    done: usize,
    /// CRC-32 of the fields above.
    check: u32,
}

impl Journal {
    const VERSION: u32 = 1;

    fn new(pieces: &Pieces<'_>, key: &str, done: usize) -> Journal {
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
}

/// Pieces that are done: all first ones, and some behind these.
struct Done {
    first: usize,
    behind: BTreeSet<usize>,
}

impl Done {
    fn add(&mut self, index: usize) {
        self.behind.insert(index);
        while self.behind.remove(&self.first) {
            self.first += 1;
        }
    }

    fn count(&self) -> usize {
        self.first + self.behind.len()
    }
}

/// Writes a file: `piece` makes the piece with an index and puts its bytes where they belong, on any thread and beside others;
/// pieces begin in order. The file appears whole or not at all.
///
/// # Errors
/// The first error of `piece`, which then leaves nothing behind; or when the file cannot be written, where the pieces that are done stay
/// for the next time.
pub(crate) fn write_pieces<E: Send + From<PiecesError>>(
    pieces: &Pieces<'_>,
    writing: &Writing<'_>,
    piece: &(dyn Fn(usize, &Put<'_>) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let partial = Partial::open(pieces, writing)?;
    match partial.work(pieces, writing, piece) {
        Ok(()) => Ok(partial.finish(pieces.path)?),
        Err(error) => {
            if partial.failure().is_none() {
                partial.remove();
            }
            Err(error)
        }
    }
}

/// The file on its way.
struct Partial {
    path: PathBuf,
    journal: PathBuf,
    file: File,
    done: Mutex<Done>,
    /// Why writing failed.
    failure: Mutex<Option<io::Error>>,
}

impl Partial {
    fn open(pieces: &Pieces<'_>, writing: &Writing<'_>) -> Result<Partial, PiecesError> {
        let path = with_end(pieces.path, ".partial");
        let journal = with_end(pieces.path, ".partial.json");
        let write = |source| PiecesError::Write {
            path: pieces.path.to_owned(),
            source,
        };
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = file.map_err(write)?;
        if file.try_lock().is_err() {
            return Err(write(io::Error::other("another process is writing it")));
        }
        let done = match writing.resume && journal.exists() {
            true => resumed(&journal, &file, &Journal::new(pieces, writing.key, 0))?,
            false => 0,
        };
        if done == 0 {
            remove_if_there(&journal).map_err(write)?;
            file.set_len(0).map_err(write)?;
            file.set_len(pieces.length).map_err(write)?;
        }
        Ok(Partial {
            path,
            journal,
            file,
            done: Mutex::new(Done {
                first: done,
                behind: BTreeSet::new(),
            }),
            failure: Mutex::new(None),
        })
    }

    fn work<E: Send + From<PiecesError>>(
        &self,
        pieces: &Pieces<'_>,
        writing: &Writing<'_>,
        piece: &(dyn Fn(usize, &Put<'_>) -> Result<(), E> + Sync),
    ) -> Result<(), E> {
        let (next, failed) = (AtomicUsize::new(lock(&self.done).first), Mutex::new(None));
        let stop = AtomicBool::new(false);
        let put = |offset: u64, bytes: &[u8]| {
            write_at(&self.file, bytes, offset).inspect_err(|error| self.fail(error))
        };
        let run = |_: rayon::BroadcastContext<'_>| {
            while !stop.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= pieces.count {
                    return;
                }
                if let Err(error) = piece(index, &put) {
                    stop.store(true, Ordering::Relaxed);
                    lock(&failed).get_or_insert(error);
                    return;
                }
                let mut done = lock(&self.done);
                done.add(index);
                let count = done.count();
                drop(done);
                (writing.progress)(count, pieces.count);
            }
        };
        self.journalled(pieces, writing, || rayon::broadcast(run));
        if let Some(source) = self.failure() {
            let path = pieces.path.to_owned();
            return Err(PiecesError::Write { path, source }.into());
        }
        match lock(&failed).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Does some work, and writes down now and then how far it is.
    fn journalled<T>(&self, pieces: &Pieces<'_>, writing: &Writing<'_>, work: impl FnOnce() -> T) -> T {
        let over = Over::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.waited(writing.every) {
                    self.note(pieces, writing.key);
                }
                if self.failure().is_some() {
                    self.note(pieces, writing.key);
                }
            });
            // Also where the work ends with a panic.
            let _over = Ends(&over);
            work()
        })
    }

    /// Writes down how far the work is, once that is on disk.
    fn note(&self, pieces: &Pieces<'_>, key: &str) {
        let done = lock(&self.done).first;
        let journal = Journal::new(pieces, key, done);
        let text = serde_json::to_vec(&journal).expect("a journal holds nothing that JSON cannot say");
        let written = self.file.sync_data().and_then(|()| replace(&self.journal, &text));
        if let Err(error) = written {
            // The work itself may still succeed; it could only not be continued.
            log::warn!("{}: {error}", self.journal.display());
        }
    }

    fn finish(self, path: &Path) -> Result<(), PiecesError> {
        let renamed = self.file.sync_data().and_then(|()| fs::rename(&self.path, path));
        let gone = renamed.and_then(|()| remove_if_there(&self.journal));
        gone.map_err(|source| PiecesError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// Removes what there is; an error would only hide the one that led here.
    fn remove(self) {
        drop(fs::remove_file(&self.path));
        drop(remove_if_there(&self.journal));
    }

    fn fail(&self, error: &io::Error) {
        let again = io::Error::new(error.kind(), error.to_string());
        lock(&self.failure).get_or_insert(again);
    }

    fn failure(&self) -> Option<io::Error> {
        let failure = lock(&self.failure);
        failure
            .as_ref()
            .map(|error| io::Error::new(error.kind(), error.to_string()))
    }
}

/// Tells a thread that the work is over.
#[derive(Default)]
struct Over {
    over: Mutex<bool>,
    told: Condvar,
}

impl Over {
    /// Waits for so long; true when the work is over.
    fn waited(&self, time: Duration) -> bool {
        let over = lock(&self.over);
        let waited = self.told.wait_timeout_while(over, time, |over| !*over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

struct Ends<'a>(&'a Over);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        *lock(&self.0.over) = true;
        self.0.told.notify_all();
    }
}

/// How many of the first pieces of an unfinished file are there.
fn resumed(path: &Path, file: &File, expected: &Journal) -> Result<usize, PiecesError> {
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

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes a small file, whole or not at all.
fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let next = with_end(path, ".next");
    fs::write(&next, contents)?;
    fs::rename(next, path)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    static PLACE: Mutex<()> = Mutex::new(());
    let _alone = lock(&PLACE);
    let mut file = file;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 50;
    const SIZE: usize = 100;

    fn write(
        path: &Path,
        writing: &Writing<'_>,
        fails: &(dyn Fn(usize) -> bool + Sync),
    ) -> Result<Vec<usize>, PiecesError> {
        let pieces = Pieces {
            path,
            length: (COUNT * SIZE) as u64,
            count: COUNT,
        };
        let made = Mutex::new(Vec::new());
        write_pieces(&pieces, writing, &|index, put: &Put<'_>| {
            assert!(!fails(index), "killed");
            lock(&made).push(index);
            put((index * SIZE) as u64, &[index as u8; SIZE]).map_err(|source| PiecesError::Write {
                path: path.to_owned(),
                source,
            })
        })?;
        Ok(made.into_inner().unwrap())
    }

    fn expected() -> Vec<u8> {
        (0..COUNT).flat_map(|index| [index as u8; SIZE]).collect()
    }

    /// Work that is written down all the time, and ends badly.
    fn interrupted(path: &Path, key: &str) -> Journal {
        let writing = Writing {
            key,
            every: Duration::ZERO,
            ..Writing::PLAIN
        };
        let noted = || {
            let text = fs::read(with_end(path, ".partial.json")).unwrap_or_default();
            serde_json::from_slice(&text).is_ok_and(|journal: Journal| journal.done > 0)
        };
        let fails = |index: usize| {
            while index == COUNT - 10 && !noted() {
                std::thread::sleep(Duration::from_millis(1));
            }
            index == COUNT - 10
        };
        let killed = || drop(write(path, &writing, &fails));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(killed)).is_err());
        assert!(!path.exists());
        serde_json::from_slice(&fs::read(with_end(path, ".partial.json")).unwrap()).unwrap()
    }

    #[test]
    fn interrupted_work_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        let journal = interrupted(&path, "a");
        assert!((1..=COUNT - 10).contains(&journal.done), "{journal:?}");
        let writing = Writing {
            key: "a",
            resume: true,
            ..Writing::PLAIN
        };
        let made = write(&path, &writing, &|_| false).unwrap();
        assert_eq!(made.len(), COUNT - journal.done);
        assert_eq!(fs::read(&path).unwrap(), expected());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        interrupted(&path, "a");
        let (partial, file) = (with_end(&path, ".partial"), with_end(&path, ".partial.json"));
        let journal = fs::read_to_string(&file).unwrap();
        let resume = |key: &str| {
            let writing = Writing {
                key,
                resume: true,
                ..Writing::PLAIN
            };
            write(&path, &writing, &|_| false).unwrap_err().to_string()
        };
        assert!(resume("b").contains("other inputs"));
        let further = journal.replace("\"done\":", "\"done\":1");
        for damaged in ["", "{", &journal[..journal.len() / 2], &further] {
            fs::write(&file, damaged).unwrap();
            let error = resume("a");
            assert!(
                error.contains("damaged") && error.contains("hint:"),
                "{damaged}: {error}"
            );
        }
        fs::write(&file, &journal).unwrap();
        OpenOptions::new()
            .write(true)
            .open(&partial)
            .unwrap()
            .set_len(7)
            .unwrap();
        assert!(resume("a").contains("7 bytes"));
        // Without --resume it starts anew.
        assert_eq!(write(&path, &Writing::PLAIN, &|_| false).unwrap().len(), COUNT);
        assert_eq!(fs::read(&path).unwrap(), expected());
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.bin");
        let pieces = Pieces {
            path: &path,
            length: 10,
            count: 10,
        };
        let refused = |index: usize, _: &Put<'_>| match index {
            5 => Err(PiecesError::Journal {
                path: PathBuf::new(),
                fact: "no".to_owned(),
            }),
            _ => Ok(()),
        };
        assert!(write_pieces(&pieces, &Writing::PLAIN, &refused).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let nowhere = folder.path().join("absent/x.bin");
        let error = write(&nowhere, &Writing::PLAIN, &|_| false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("x.bin") && error.contains("hint:"), "{error}");
    }
}
