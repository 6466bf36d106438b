//! Files in pieces: interrupted, continued, refused.

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
