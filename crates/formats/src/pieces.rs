//! Files that are written in pieces by all threads: memory does not depend on their size, and what was interrupted goes on.
//!
//! A file grows under the name `NAME.partial` and gets its own in the end. Beside it, `NAME.partial.json` says how many
//! of the first pieces are on disk, and what they were made of.

mod journal;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use journal::{Journal, resumed};

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
        let written = self.file.sync_data().and_then(|()| journal.write(&self.journal));
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
mod tests;
