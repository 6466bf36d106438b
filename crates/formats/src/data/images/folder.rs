//! The files of an image folder, their classes and labels.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Image, ImageOptions, Size};
use crate::data::DataError;

/// Images in a folder, or in one folder per class, sorted by class, then by file name.
#[derive(Clone, Debug)]
pub(crate) struct ImageFolder {
    pub(crate) root: PathBuf,
    /// Names of the class folders, sorted; empty when the images lie in the folder itself.
    pub(crate) classes: Vec<String>,
    /// Class and file name of each image.
    files: Vec<(u32, Box<str>)>,
    options: ImageOptions,
    size: Size,
}

impl ImageFolder {
    /// Lists the images of `root` and decodes the first one.
    pub(crate) fn open(root: &Path, options: ImageOptions) -> Result<ImageFolder, DataError> {
        let classes = class_folders(root)?;
        let mut files: Vec<(u32, Box<str>)> = list(root)?.images.into_iter().map(|name| (0, name)).collect();
        if !files.is_empty() && !classes.is_empty() {
            return Err(DataError::MixedFolder {
                path: root.to_owned(),
                file: files[0].1.to_string(),
                class: classes[0].clone(),
            });
        }
        for (class, name) in (0u32..).zip(&classes) {
            files.extend(
                list(&root.join(name))?
                    .images
                    .into_iter()
                    .map(|file| (class, file)),
            );
        }
        let mut folder = ImageFolder {
            root: root.to_owned(),
            classes,
            files,
            options,
            size: (0, 0),
        };
        if folder.files.is_empty() {
            return Err(DataError::NoImages {
                path: root.to_owned(),
            });
        }
        folder.size = folder.load(0, None)?.size;
        Ok(folder)
    }

    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Height, width and channels, which every image has to have.
    pub(crate) fn row_shape(&self) -> [usize; 3] {
        [self.size.0, self.size.1, self.options.colour.channels()]
    }

    /// The pixels of one image in the order height, width, channel.
    pub(crate) fn row(&self, index: usize) -> Result<Vec<u8>, DataError> {
        Ok(self.load(index, Some(self.size))?.pixels)
    }

    /// The class of each image, or `None` when there are no class folders.
    pub(crate) fn class_labels(&self) -> Option<Vec<i64>> {
        let labels = self.files.iter().map(|&(class, _)| i64::from(class));
        (!self.classes.is_empty()).then(|| labels.collect())
    }

    /// The label of each image in a list of labels by file, as [`read_labels`] gives it.
    pub(crate) fn listed_labels(
        &self,
        list: &Path,
        labels: &HashMap<String, i64>,
    ) -> Result<Vec<i64>, DataError> {
        (0..self.len())
            .map(|index| {
                let name = self.name(index);
                let label = labels
                    .get(&name)
                    .or_else(|| labels.get(self.files[index].1.as_ref()));
                label.copied().ok_or_else(|| DataError::UnlistedImage {
                    path: list.to_owned(),
                    image: name,
                })
            })
            .collect()
    }

    /// Path of an image below the folder, with forward slashes.
    fn name(&self, index: usize) -> String {
        let (class, file) = &self.files[index];
        match self.classes.get(*class as usize) {
            Some(class) => format!("{class}/{file}"),
            None => file.to_string(),
        }
    }

    fn load(&self, index: usize, expected: Option<Size>) -> Result<Image, DataError> {
        let path = self.root.join(self.name(index));
        let image = Image::open(&path, &self.options).and_then(|image| match expected {
            Some(expected) if image.size != expected => Err(super::ImageError::OtherSize {
                height: image.size.0,
                width: image.size.1,
                expected_height: expected.0,
                expected_width: expected.1,
            }),
            _ => Ok(image),
        });
        image.map_err(|problem| DataError::Image { path, problem })
    }
}

/// Names of the folders in `root`, sorted; hidden ones are left out.
pub(crate) fn class_folders(root: &Path) -> Result<Vec<String>, DataError> {
    Ok(list(root)?.folders.into_iter().map(String::from).collect())
}

struct Listing {
    folders: Vec<Box<str>>,
    images: Vec<Box<str>>,
}

fn list(folder: &Path) -> Result<Listing, DataError> {
    let io = |problem| DataError::io(folder, problem);
    let mut listing = Listing {
        folders: Vec::new(),
        images: Vec::new(),
    };
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if is_image(&path) {
            listing.images.push(name.into());
        } else if path.is_dir() {
            listing.folders.push(name.into());
        }
    }
    listing.folders.sort_unstable();
    listing.images.sort_unstable();
    Ok(listing)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension
        .is_some_and(|extension| ["png", "jpg", "jpeg"].contains(&extension.to_ascii_lowercase().as_str()))
}

/// Reads lines `file,label` (or separated by blanks) into a map; a first line without a number is a heading.
pub(crate) fn read_labels(path: &Path) -> Result<HashMap<String, i64>, DataError> {
    let text = std::fs::read_to_string(path).map_err(|problem| DataError::io(path, problem))?;
    let mut labels = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let parts = line.rsplit_once(|c: char| c == ',' || c == ';' || c.is_whitespace());
        let parsed = parts.and_then(|(file, label)| Some((file.trim(), label.parse::<i64>().ok()?)));
        let Some((file, label)) = parsed else {
            if number == 1 {
                continue;
            }
            return Err(DataError::LabelLine {
                path: path.to_owned(),
                number,
                line: line.chars().take(60).collect(),
            });
        };
        let file = file.trim_end_matches([',', ';']).trim_matches('"');
        let file = file.strip_prefix("./").unwrap_or(file);
        if labels
            .insert(file.to_owned(), label)
            .is_some_and(|other| other != label)
        {
            return Err(DataError::TwoLabels {
                path: path.to_owned(),
                image: file.to_owned(),
            });
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_lists() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        let cases = [
            (
                "file,label\na.png,3\n./b/c d.jpg, 4\n",
                Ok(vec![("a.png", 3), ("b/c d.jpg", 4)]),
            ),
            (
                "a.png 3\r\n\n\"b.png\"\t-1",
                Ok(vec![("a.png", 3), ("b.png", -1)]),
            ),
            (
                "a.png,3\nb.png,cat",
                Err("line 2 is no file and class index: \"b.png,cat\""),
            ),
            ("a.png,3\na.png,4", Err("gives two labels to \"a.png\"")),
        ];
        for (text, expected) in cases {
            std::fs::write(&path, text).unwrap();
            match (read_labels(&path), expected) {
                (Ok(labels), Ok(expected)) => {
                    let expected = expected.into_iter().map(|(file, label)| (file.to_owned(), label));
                    assert_eq!(labels, expected.collect());
                }
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{error}");
                }
                (got, expected) => panic!("{text:?}: {got:?}, expected {expected:?}"),
            }
        }
    }
}
