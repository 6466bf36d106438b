//! Data of tensors in files beside the model: read through memory maps, never from outside of the model's folder.

use std::cell::RefCell;
use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use bantam_tensor::{DType, map_file};
use bytes::Bytes;

use super::OnnxError;
use super::proto::StringStringEntryProto;

const DAMAGED: &str =
    "the model and its data file do not belong together, or one is damaged; copy or export both again";
const MISSING: &str = "keep the data file in the folder of the model";
const ESCAPES: &str =
    "data must lie in the model's folder or below; move it there and correct the `location`";
const NO_FOLDER: &str = "load the model from its file, so that its folder is known";

/// The data files of one model.
#[derive(Default)]
pub(super) struct External {
    /// Folders (without links) in which data may lie.
    folders: Vec<PathBuf>,
    files: RefCell<HashMap<PathBuf, DataFile>>,
}

struct DataFile {
    bytes: Bytes,
    /// Start of each range in use, its end and its tensor.
    ranges: BTreeMap<usize, (usize, String)>,
}

/// What a tensor says about its data.
#[derive(Debug, PartialEq)]
struct Entry<'a> {
    location: &'a str,
    offset: usize,
    length: Option<usize>,
}

impl External {
    /// The data files of a model of unknown place: all are refused.
    pub(super) fn none() -> External {
        External::default()
    }

    /// The data files beside a model. Where the model itself is a link, its target's folder counts too.
    pub(super) fn beside(folder: &Path, model: Option<&Path>) -> External {
        let target = model.and_then(|model| model.canonicalize().ok());
        let beside_target = target.and_then(|model| model.parent().map(Path::to_owned));
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        External {
            folders: folder.canonicalize().into_iter().chain(beside_target).collect(),
            files: RefCell::default(),
        }
    }

    /// The bytes of a tensor.
    ///
    /// The optional checksum of the whole file is not computed: it would mean reading all of it.
    pub(super) fn data(
        &self,
        tensor: &str,
        entries: &[StringStringEntryProto],
        dtype: DType,
        shape: &[usize],
    ) -> Result<Bytes, OnnxError> {
        let fail = |(fact, hint): (String, &'static str)| OnnxError::External {
            tensor: tensor.to_owned(),
            fact,
            hint,
        };
        let entry = parse(entries).map_err(fail)?;
        let elements = shape
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(dim));
        let expected = elements.and_then(|elements| dtype.bytes_for(elements));
        let expected = expected.ok_or_else(|| fail((format!("shape {shape:?} overflows"), DAMAGED)))?;
        let length = entry.length.unwrap_or(expected);
        if length != expected {
            let fact = format!("its length is {length}, but {shape:?} of {dtype} takes {expected} bytes");
            return Err(fail((fact, DAMAGED)));
        }
        let path = self.resolve(entry.location).map_err(fail)?;
        let mut files = self.files.borrow_mut();
        let file = match files.entry(path) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) => {
                let bytes = map_file(slot.key());
                let bytes =
                    bytes.map_err(|error| fail((format!("`{}`: {error}", entry.location), MISSING)))?;
                slot.insert(DataFile {
                    bytes,
                    ranges: BTreeMap::new(),
                })
            }
        };
        file.claim(tensor, entry.offset, length).map_err(fail)
    }

    /// The data file of a location, without links; it lies in the model's folder.
    fn resolve(&self, location: &str) -> Result<PathBuf, (String, &'static str)> {
        if self.folders.is_empty() {
            return Err((
                format!("it lies in `{location}`, and the model's folder is not known"),
                NO_FOLDER,
            ));
        }
        check_location(location)?;
        let path = self.folders[0].join(location);
        let target = path
            .canonicalize()
            .map_err(|error| (format!("`{location}`: {error}"), MISSING))?;
        if !self.folders.iter().any(|folder| target.starts_with(folder)) {
            return Err((
                format!("`{location}` is a link that leaves the model's folder"),
                ESCAPES,
            ));
        }
        if !target.is_file() {
            return Err((format!("`{location}` is not a file"), MISSING));
        }
        Ok(target)
    }
}

impl DataFile {
    /// The bytes of a range, which must not partly overlap another. Equal ranges are tensors that share data.
    fn claim(&mut self, tensor: &str, offset: usize, length: usize) -> Result<Bytes, (String, &'static str)> {
        let size = self.bytes.len();
        let end = offset
            .checked_add(length)
            .filter(|&end| end <= size)
            .ok_or_else(|| {
                (
                    format!(
                        "bytes {offset} to {offset} + {length} end after the data file, which has {size}"
                    ),
                    DAMAGED,
                )
            })?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let before = self.ranges.range(..end).next_back();
        if let Some((&other, (other_end, name))) = before
            && *other_end > offset
            && (other, *other_end) != (offset, end)
        {
            let fact = format!("bytes {offset} to {end} overlap those of `{name}`, {other} to {other_end}");
            return Err((fact, DAMAGED));
        }
        self.ranges
            .entry(offset)
            .or_insert_with(|| (end, tensor.to_owned()));
        Ok(self.bytes.slice(offset..end))
    }
}

/// Reads the key-value pairs of `external_data`.
fn parse(entries: &[StringStringEntryProto]) -> Result<Entry<'_>, (String, &'static str)> {
    let get = |key: &str| {
        entries
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| entry.value.as_str())
    };
    let number = |key: &str| match get(key) {
        Some(text) => match text.trim().parse::<usize>() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err((format!("`{key}` is {text:?}, not a number of bytes"), DAMAGED)),
        },
        None => Ok(None),
    };
    let location = get("location").filter(|location| !location.is_empty());
    Ok(Entry {
        location: location.ok_or_else(|| ("it has no `location`".to_owned(), DAMAGED))?,
        offset: number("offset")?.unwrap_or(0),
        length: number("length")?,
    })
}

/// Refuses locations that are absolute or climb out of the folder, on any system.
fn check_location(location: &str) -> Result<(), (String, &'static str)> {
    let path = Path::new(location);
    let climbs = path
        .components()
        .any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
        || location.split(['/', '\\']).any(|part| part == "..");
    let drive = location.as_bytes().get(1) == Some(&b':');
    if climbs || drive || location.starts_with(['/', '\\']) || location.contains('\0') {
        return Err((
            format!("location {location:?} is absolute or leaves the model's folder"),
            ESCAPES,
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Vec<StringStringEntryProto> {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        pairs.iter().map(entry).collect()
    }

    /// Reads tensors of four `u8` from a folder with the file `data` of 16 bytes.
    fn read(tensors: &[&[(&str, &str)]]) -> Result<Vec<Bytes>, String> {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("model");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("data"), (0..16).collect::<Vec<u8>>()).unwrap();
        std::fs::write(parent.path().join("secret"), [0; 64]).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        let external = External::beside(&folder, None);
        let read = |pairs: &&[(&str, &str)]| external.data("w", &entries(pairs), DType::U8, &[4]);
        tensors
            .iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn ranges_are_slices_of_the_file() {
        let whole = read(&[
            &[("location", "data")],
            &[
                ("location", "./data"),
                ("offset", "12"),
                ("length", "4"),
                ("checksum", "0"),
            ],
            &[("location", "data"), ("offset", "4")],
            &[("location", "data"), ("offset", "4"), ("length", "4")],
        ]);
        let whole = whole.unwrap();
        assert_eq!(
            (&whole[0][..], &whole[1][..]),
            (&[0, 1, 2, 3][..], &[12, 13, 14, 15][..])
        );
        assert_eq!(whole[2], whole[3], "equal ranges are shared");
    }

    #[test]
    fn hostile_locations_and_ranges_are_refused() {
        let data = ("location", "data");
        let cases: &[(&[(&str, &str)], &str)] = &[
            (&[], "no `location`"),
            (&[("location", "/etc/passwd")], "absolute"),
            (&[("location", "../secret")], "leaves"),
            (&[("location", "a/../../secret")], "leaves"),
            (&[("location", "..\\secret")], "leaves"),
            (&[("location", "C:\\secret")], "leaves"),
            (&[("location", "missing")], "`missing`"),
            (&[("location", ".")], "not a file"),
            #[cfg(unix)]
            (&[("location", "link")], "link that leaves"),
            (&[data, ("offset", "-1")], "not a number"),
            (&[data, ("offset", "99999999999999999999999")], "not a number"),
            (&[data, ("offset", "18446744073709551615")], "end after"),
            (&[data, ("offset", "13")], "end after"),
            (&[data, ("length", "5")], "takes 4 bytes"),
            (&[data, ("length", "-4")], "not a number"),
        ];
        for (pairs, expected) in cases {
            let error = read(&[pairs]).unwrap_err();
            assert!(
                error.contains(expected) && error.contains("hint:") && error.contains("`w`"),
                "{error}"
            );
        }
        let overlap = read(&[&[data, ("offset", "2")], &[data]]).unwrap_err();
        assert!(overlap.contains("overlap"), "{overlap}");
    }
}
