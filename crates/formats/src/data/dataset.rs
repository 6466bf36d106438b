//! A data set: named splits of samples.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bantam_tensor::map_file;

use super::images::{class_folders, read_labels};
use super::manifest::{Augment, Manifest, OneOrMany, SplitEntry};
use super::npz::{self, Npz};
use super::sequences::{self, Tokens};
use super::source::{Reference, Role, Source};
use super::split::{Input, Split};
use super::transform::Transform;
use super::{DataError, array::Array, suggest};

/// Input name of data that carry none.
const UNNAMED: &str = "input";
/// Name of the only split of data without a manifest.
const WHOLE: &str = "all";
/// Folders that are splits when they lie in a folder without a manifest.
const SPLIT_FOLDERS: &[&str] = &["train", "val", "validation", "test"];

/// Data on disk: a manifest, or a bare file or folder, which then is every split.
#[derive(Clone, Debug)]
pub struct DataSet {
    path: PathBuf,
    /// Where the manifest's paths start.
    folder: PathBuf,
    manifest: Manifest,
    is_unnamed: bool,
}

impl DataSet {
    /// Opens a manifest, a folder that holds one, a folder of images (or of the folders `train` and `test` of images),
    /// or a bare npy, npz, IDX or CIFAR file. The data themselves are opened by [`DataSet::split`].
    ///
    /// In an npz file the array `labels` holds the labels, every other one is the input of its name.
    pub fn open(path: &Path) -> Result<DataSet, DataError> {
        let metadata = std::fs::metadata(path).map_err(|problem| DataError::io(path, problem))?;
        if metadata.is_dir() {
            return match only_manifest(path)? {
                Some(manifest) => DataSet::from_manifest(&manifest),
                None => DataSet::from_folder(path),
            };
        }
        match path.extension() {
            Some(extension) if extension == "toml" => DataSet::from_manifest(path),
            _ => DataSet::from_file(path),
        }
    }

    fn from_manifest(path: &Path) -> Result<DataSet, DataError> {
        Ok(DataSet {
            path: path.to_owned(),
            folder: parent(path),
            manifest: Manifest::read(path)?,
            is_unnamed: false,
        })
    }

    fn from_file(path: &Path) -> Result<DataSet, DataError> {
        let unknown = || DataError::UnknownFormat {
            path: path.to_owned(),
        };
        let file = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(unknown)?;
        let bytes = map_file(path).map_err(|problem| DataError::io(path, problem))?;
        let (mut inputs, mut labels) = (BTreeMap::new(), None);
        let is_npz = bytes.starts_with(npz::MAGIC);
        if is_npz {
            let npz = Npz::open(bytes).map_err(|problem| DataError::Npz {
                path: path.to_owned(),
                problem,
            })?;
            for name in npz.names() {
                let reference = OneOrMany::One(format!("{file}#{name}"));
                match name.as_str() {
                    "labels" => labels = Some(reference),
                    _ => drop(inputs.insert(name, reference)),
                }
            }
        } else {
            let is_cifar = path.extension().is_some_and(|extension| extension == "bin");
            labels = is_cifar.then(|| OneOrMany::One(file.to_owned()));
            inputs.insert(UNNAMED.to_owned(), OneOrMany::One(file.to_owned()));
        }
        if inputs.is_empty() {
            return Err(unknown());
        }
        let entry = SplitEntry {
            inputs,
            labels,
            ..SplitEntry::default()
        };
        let splits = BTreeMap::from([(WHOLE.to_owned(), entry)]);
        Ok(DataSet::bare(path, parent(path), splits, !is_npz))
    }

    fn from_folder(path: &Path) -> Result<DataSet, DataError> {
        let entry = |folder: &str| SplitEntry {
            inputs: BTreeMap::from([(UNNAMED.to_owned(), OneOrMany::One(folder.to_owned()))]),
            ..SplitEntry::default()
        };
        let folders = class_folders(path)?;
        let splits = folders
            .iter()
            .filter(|name| SPLIT_FOLDERS.contains(&name.as_str()));
        let mut splits: BTreeMap<_, _> = splits.map(|name| (name.clone(), entry(name))).collect();
        if splits.is_empty() {
            splits.insert(WHOLE.to_owned(), entry("."));
        }
        Ok(DataSet::bare(path, path.to_owned(), splits, true))
    }

    fn bare(path: &Path, folder: PathBuf, splits: BTreeMap<String, SplitEntry>, is_unnamed: bool) -> DataSet {
        DataSet {
            path: path.to_owned(),
            folder,
            manifest: Manifest::of_splits(splits),
            is_unnamed,
        }
    }

    /// Names of the splits, sorted.
    pub fn split_names(&self) -> Vec<&str> {
        self.manifest.splits.keys().map(String::as_str).collect()
    }

    /// True for a bare file or folder (and a manifest with `[splits.all]` only): the same samples answer to every
    /// split's name.
    pub fn is_one_split(&self) -> bool {
        self.manifest.splits.len() == 1 && self.manifest.splits.contains_key(WHOLE)
    }

    /// What training does to this input at random, if anything.
    pub fn augment(&self, input: &str) -> Option<&Augment> {
        self.manifest.augment.get(input)
    }

    /// Every file that it reads, the manifest included; of folders, all files in them. Sorted.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn files(&self) -> Result<Vec<PathBuf>, DataError> {
        let entries = self.manifest.splits.values();
        let named = entries.flat_map(|entry| {
            let lists = [&entry.labels, &entry.tokens, &entry.text];
            let lists = lists.into_iter().flatten().chain(entry.inputs.values());
            lists.flat_map(|files| files.as_slice()).chain(&entry.tokenizer)
        });
        let mut files = vec![self.path.clone()];
        for name in named {
            files.push(Reference::new(&self.folder, name)?.path);
        }
        let mut found = Vec::new();
        while let Some(path) = files.pop() {
            match path.is_dir() {
                false => found.push(path),
                true => {
                    let entries =
                        std::fs::read_dir(&path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
                    let entries = entries.map_err(|problem| DataError::io(&path, problem))?;
                    files.extend(entries.iter().map(std::fs::DirEntry::path));
                }
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Opens the files of a split and checks that they agree.
    pub fn split(&self, name: &str) -> Result<Split, DataError> {
        let key = if self.is_one_split() { WHOLE } else { name };
        let Some(entry) = self.manifest.splits.get(key) else {
            return Err(DataError::NoSplit {
                path: self.path.clone(),
                name: name.to_owned(),
                hint: suggest::hint(name, &self.split_names()),
            });
        };
        let split = match entry.sequences() {
            Some(tokens) => self.token_split(name, entry, &tokens)?,
            None => self.sample_split(name, entry)?,
        };
        let split = split.check_rows()?;
        match entry.rows {
            Some([first, end]) => split.narrowed(first, end),
            None => Ok(split),
        }
    }

    /// A split of token rows: it has one input, whose name it leaves to the model, and labels.
    fn token_split(&self, name: &str, entry: &SplitEntry, tokens: &Tokens<'_>) -> Result<Split, DataError> {
        let (Tokens::Rows(files) | Tokens::Text(files)) = tokens;
        let path = Reference::new(&self.folder, &files[0])?.path;
        let [inputs, labels] = sequences::open(&self.folder, entry, tokens)?;
        Ok(Split {
            name: name.to_owned(),
            inputs: vec![Input::new(UNNAMED, path.clone(), inputs, Default::default())?],
            labels: Some(of_source(path, labels)),
            is_unnamed: true,
        })
    }

    fn sample_split(&self, name: &str, entry: &SplitEntry) -> Result<Split, DataError> {
        let inputs = entry
            .inputs
            .iter()
            .map(|(input, files)| self.open_input(name, input, files.as_slice()));
        let inputs = inputs.collect::<Result<Vec<_>, DataError>>()?;
        let labels = self.open_labels(name, entry, &inputs)?;
        Ok(Split {
            name: name.to_owned(),
            inputs,
            labels,
            is_unnamed: self.is_unnamed,
        })
    }

    fn references(&self, files: &[String]) -> Result<Vec<Reference>, DataError> {
        files
            .iter()
            .map(|file| Reference::new(&self.folder, file))
            .collect()
    }

    fn open_input(&self, split: &str, name: &str, files: &[String]) -> Result<Input, DataError> {
        let references = self.references(files)?;
        let preprocess = self.manifest.preprocess.get(name).cloned().unwrap_or_default();
        let folders = references
            .iter()
            .filter(|reference| reference.path.is_dir())
            .count();
        let source = match references.as_slice() {
            [folder] if folders == 1 => {
                self.check_classes(name, &folder.path)?;
                Source::images(&folder.path, preprocess.image_options())?
            }
            _ if folders > 0 => {
                return Err(DataError::MixedSources {
                    split: split.to_owned(),
                    input: name.to_owned(),
                });
            }
            files => Source::arrays(files, Role::Input(name))?,
        };
        let input = Input::new(name, references[0].path.clone(), source, preprocess)?;
        input.augmented(self.manifest.augment.get(name))
    }

    /// Image folders of the same input have the same classes in every split, or labels would not mean the same.
    fn check_classes(&self, input: &str, folder: &Path) -> Result<(), DataError> {
        let classes = class_folders(folder)?;
        for entry in self.manifest.splits.values() {
            let Some([other]) = entry.inputs.get(input).map(OneOrMany::as_slice) else {
                continue;
            };
            let other = Reference::new(&self.folder, other)?.path;
            if !other.is_dir() || other == folder {
                continue;
            }
            let others = class_folders(&other)?;
            let difference = classes.iter().find(|class| !others.contains(class));
            if let Some(class) = difference.or_else(|| others.iter().find(|class| !classes.contains(class))) {
                return Err(DataError::Classes {
                    first: folder.to_owned(),
                    second: other,
                    class: class.clone(),
                });
            }
        }
        Ok(())
    }

    /// Labels: an array; a list of labels by file, or the class folders, when the only input is an image folder.
    fn open_labels(
        &self,
        split: &str,
        entry: &SplitEntry,
        inputs: &[Input],
    ) -> Result<Option<Input>, DataError> {
        let images = match inputs {
            [
                Input {
                    source: Source::Images(folder),
                    ..
                },
            ] => Some(folder),
            _ => None,
        };
        let Some(files) = &entry.labels else {
            let labels = images.and_then(|folder| Some((folder.root.clone(), folder.class_labels()?)));
            return Ok(labels.map(|(path, labels)| of_integers(path, &labels)));
        };
        let references = self.references(files.as_slice())?;
        let path = references[0].path.clone();
        let is_list = path
            .extension()
            .is_some_and(|extension| ["txt", "csv", "tsv"].iter().any(|e| extension == *e));
        if !is_list && !path.is_dir() {
            let source = Source::arrays(&references, Role::Labels)?;
            return Ok(Some(of_source(path, source)));
        }
        let labels = match images {
            Some(folder) if is_list => Some(folder.listed_labels(&path, &read_labels(&path)?)?),
            Some(folder) if path == folder.root => folder.class_labels(),
            _ => None,
        };
        match labels {
            Some(labels) => Ok(Some(of_integers(path, &labels))),
            None => Err(DataError::LabelsWithoutImages {
                split: split.to_owned(),
                path,
            }),
        }
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

fn of_integers(path: PathBuf, labels: &[i64]) -> Input {
    of_source(path, Source::Arrays(vec![Array::integers(labels)]))
}

/// Labels as they are stored.
fn of_source(path: PathBuf, source: Source) -> Input {
    Input {
        name: "labels".to_owned(),
        path,
        transform: Transform::identity(source.dtype(), &source.row_shape()),
        source,
        preprocess: Default::default(),
        augmentation: None,
        corruption: None,
    }
}

/// The TOML file of a folder, if there is exactly one.
fn only_manifest(folder: &Path) -> Result<Option<PathBuf>, DataError> {
    let io = |problem| DataError::io(folder, problem);
    let mut found = None;
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") && found.replace(path).is_some() {
            return Ok(None);
        }
    }
    Ok(found)
}
