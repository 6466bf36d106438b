//! The samples that the files of one input (or the labels) hold, as they are stored.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use bantam_tensor::{DType, map_file};
use bytes::Bytes;

use super::array::Array;
use super::images::{ImageFolder, ImageOptions};
use super::layout::Layout;
use super::npy::NpyArray;
use super::npz::Npz;
use super::{DataError, cifar, idx, manifest, npy, npz};

/// What the files are read for.
#[derive(Clone, Copy)]
pub(crate) enum Role<'a> {
    Input(&'a str),
    Labels,
}

impl Role<'_> {
    /// Name of the array in an npz file.
    fn name(&self) -> &str {
        match self {
            Role::Input(name) => name,
            Role::Labels => "labels",
        }
    }
}

/// A file, and which of the arrays in it: `file` or `file#array`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) path: PathBuf,
    pub(crate) member: Option<String>,
}

impl Reference {
    /// Reads what a manifest in `folder` says.
    pub(crate) fn new(folder: &Path, text: &str) -> Result<Reference, DataError> {
        let path = manifest::resolve(folder, text)?;
        match text.rsplit_once('#') {
            Some((file, member)) if !path.exists() => Ok(Reference {
                path: manifest::resolve(folder, file)?,
                member: Some(member.to_owned()),
            }),
            _ => Ok(Reference { path, member: None }),
        }
    }
}

/// Samples as they are stored.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Arrays of samples of the same type and shape, one after the other; at least one.
    Arrays(Vec<Array>),
    Images(ImageFolder),
}

impl Source {
    /// Opens the arrays of all `references`, which have to agree in type and shape.
    pub(crate) fn arrays(references: &[Reference], role: Role<'_>) -> Result<Source, DataError> {
        let mut arrays: Vec<Array> = Vec::with_capacity(references.len());
        for reference in references {
            let array = open_array(reference, role)?;
            if let Some(first) = arrays.first()
                && (array.dtype != first.dtype || array.row_shape != first.row_shape)
            {
                return Err(DataError::Parts {
                    path: references[0].path.clone(),
                    dtype: first.dtype,
                    shape: first.row_shape.clone(),
                    other: reference.path.clone(),
                    other_dtype: array.dtype,
                    other_shape: array.row_shape,
                });
            }
            arrays.push(array);
        }
        Ok(Source::Arrays(arrays))
    }

    /// Lists the images of a folder.
    pub(crate) fn images(path: &Path, options: ImageOptions) -> Result<Source, DataError> {
        Ok(Source::Images(ImageFolder::open(path, options)?))
    }

    /// The samples `first..end`, of arrays; `None` when there are not as many, or for images.
    pub(crate) fn narrowed(self, first: usize, end: usize) -> Option<Source> {
        let (mut start, total) = (0, self.rows());
        let Source::Arrays(arrays) = self else { return None };
        if first >= end || end > total {
            return None;
        }
        let mut parts = Vec::new();
        for array in arrays {
            let (before, rows) = (start, array.rows);
            start += rows;
            let within = |index: usize| index.clamp(before, start) - before;
            let (first, end) = (within(first), within(end));
            if first < end {
                parts.push(array.narrowed(first, end));
            }
        }
        Some(Source::Arrays(parts))
    }

    /// Number of samples.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Source::Arrays(arrays) => arrays.iter().map(|array| array.rows).sum(),
            Source::Images(folder) => folder.len(),
        }
    }

    /// Type of the stored elements.
    pub(crate) fn dtype(&self) -> DType {
        match self {
            Source::Arrays(arrays) => arrays[0].dtype,
            Source::Images(_) => DType::U8,
        }
    }

    /// Dimensions of one sample.
    pub(crate) fn row_shape(&self) -> Vec<usize> {
        match self {
            Source::Arrays(arrays) => arrays[0].row_shape.clone(),
            Source::Images(folder) => folder.row_shape().to_vec(),
        }
    }

    /// The layout, where the kind of file says it.
    pub(crate) fn fixed_layout(&self) -> Option<Layout> {
        matches!(self, Source::Images(_)).then_some(Layout::NHWC)
    }

    /// One sample, little endian and row-major; `index` is below `rows`.
    pub(crate) fn row(&self, mut index: usize) -> Result<Cow<'_, [u8]>, DataError> {
        match self {
            Source::Arrays(arrays) => {
                let mut part = 0;
                while index >= arrays[part].rows {
                    index -= arrays[part].rows;
                    part += 1;
                }
                arrays[part].row(index)
            }
            Source::Images(folder) => folder.row(index).map(Cow::Owned),
        }
    }
}

/// Opens one array of a file, whose kind is known from its first bytes (CIFAR: from its extension).
fn open_array(reference: &Reference, role: Role<'_>) -> Result<Array, DataError> {
    let path = &reference.path;
    let bytes = map_file(path).map_err(|problem| DataError::io(path, problem))?;
    parse_array(reference, role, &bytes)?.stored_in(path, &bytes)
}

fn parse_array(reference: &Reference, role: Role<'_>, bytes: &Bytes) -> Result<Array, DataError> {
    let Reference { path, member } = reference;
    let owned = || path.clone();
    if bytes.starts_with(npz::MAGIC) {
        let array = open_npz(bytes.clone(), member.as_deref(), role);
        return dense(
            path,
            array.map_err(|problem| DataError::Npz {
                path: owned(),
                problem,
            })?,
        );
    }
    let is_cifar = path.extension().is_some_and(|extension| extension == "bin") && !idx::is_idx(bytes);
    if is_cifar && !bytes.starts_with(npy::MAGIC) {
        let array = cifar::parse(bytes).and_then(|file| match role {
            Role::Input(_) => Ok(file.images),
            Role::Labels => file.labels(member.as_deref()),
        });
        return array.map_err(|problem| DataError::Cifar {
            path: owned(),
            problem,
        });
    }
    if let Some(member) = member {
        return Err(DataError::NoPart {
            path: owned(),
            member: member.clone(),
        });
    }
    let array = if bytes.starts_with(npy::MAGIC) {
        npy::parse_npy(bytes).map_err(|problem| DataError::Npy {
            path: owned(),
            problem,
        })?
    } else if bytes.starts_with(idx::GZIP_MAGIC) {
        idx::parse_gzip(bytes).map_err(|problem| DataError::Idx {
            path: owned(),
            problem,
        })?
    } else if idx::is_idx(bytes) {
        idx::parse(bytes).map_err(|problem| DataError::Idx {
            path: owned(),
            problem,
        })?
    } else {
        return Err(DataError::UnknownFormat { path: owned() });
    };
    dense(path, array)
}

/// The array named, or the only one, or the one with the name of the input.
fn open_npz(bytes: Bytes, member: Option<&str>, role: Role<'_>) -> Result<NpyArray, npz::NpzError> {
    let mut file = Npz::open(bytes)?;
    let names = file.names();
    match (member, names.as_slice()) {
        (Some(member), _) => file.member(member),
        (None, [only]) => file.member(only),
        (None, _) => file.member(role.name()),
    }
}

fn dense(path: &Path, array: NpyArray) -> Result<Array, DataError> {
    let shape = array.shape.clone();
    let array = Array::dense(array).ok_or_else(|| DataError::Scalar {
        path: path.to_owned(),
    })?;
    if array.rows == 0 || array.row_bytes() == 0 {
        let path = path.to_owned();
        return Err(DataError::Empty { path, shape });
    }
    Ok(array)
}
