//! What can go wrong with a data set.

use std::path::{Path, PathBuf};

use bantam_tensor::{DType, SamplesError};

use super::cifar::CifarError;
use super::idx::IdxError;
use super::images::ImageError;
use super::npy::NpyError;
use super::npz::NpzError;
use super::transform::TransformError;
use crate::tokenizer::TokenizerError;

/// What is wrong with a data set; the message says the fact, then what to do about it in `hint:` lines.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum DataError {
    #[error("cannot read {}: {problem}\nhint: check the path and its permissions", path.display())]
    Io { path: PathBuf, problem: std::io::Error },
    #[error("cannot write {}: {problem}\nhint: choose a path in a folder that exists, can be written and has room", path.display())]
    Write { path: PathBuf, problem: std::io::Error },
    #[error("{}: {problem}", path.display())]
    Npy { path: PathBuf, problem: NpyError },
    #[error("{}: {problem}", path.display())]
    Npz { path: PathBuf, problem: NpzError },
    #[error("{}: {problem}", path.display())]
    Idx { path: PathBuf, problem: IdxError },
    #[error("{}: {problem}", path.display())]
    Cifar { path: PathBuf, problem: CifarError },
    #[error("{}: {problem}", path.display())]
    Image { path: PathBuf, problem: ImageError },
    #[error("manifest {}: {problem}", path.display())]
    Manifest { path: PathBuf, problem: String },
    #[error(
        "the manifest names the file {name:?}, which is not below the manifest's folder {}\nhint: use a path relative \
         to the manifest, without `..`; a link in that folder may point elsewhere",
        folder.display()
    )]
    OutsideFolder { name: String, folder: PathBuf },
    #[error(
        "{}: not a data file\nhint: use an npy, npz, IDX (plain or .gz) or CIFAR binary file, a folder of PNG or JPEG \
         images, or a TOML manifest",
        path.display()
    )]
    UnknownFormat { path: PathBuf },
    #[error("{}: this kind of file has no part {member:?}\nhint: leave out #{member}", path.display())]
    NoPart { path: PathBuf, member: String },
    #[error(
        "{}: holds both images ({file:?}) and folders ({class:?})\nhint: put every image into a folder named after its \
         class, or all into one folder",
        path.display()
    )]
    MixedFolder {
        path: PathBuf,
        file: String,
        class: String,
    },
    #[error("{}: holds no PNG or JPEG image\nhint: images lie in this folder or in one folder per class", path.display())]
    NoImages { path: PathBuf },
    #[error(
        "{} and {} have different class folders: {class:?} is in one of them only\nhint: labels are positions in the \
         sorted list of class folders, so every split needs the same ones; add an empty folder",
        first.display(), second.display()
    )]
    Classes {
        first: PathBuf,
        second: PathBuf,
        class: String,
    },
    #[error("{}: line {number} is no file and class index: {line:?}\nhint: each line is `file,class index`", path.display())]
    LabelLine {
        path: PathBuf,
        number: usize,
        line: String,
    },
    #[error("{}: gives two labels to {image:?}\nhint: leave one of the lines", path.display())]
    TwoLabels { path: PathBuf, image: String },
    #[error("{}: has no label for the image {image:?}\nhint: add a line for it, or take the image out of the folder", path.display())]
    UnlistedImage { path: PathBuf, image: String },
    #[error("split {split:?}: labels in {} need an image folder as the only input\nhint: give labels as an array file with one label per sample", path.display())]
    LabelsWithoutImages { split: String, path: PathBuf },
    #[error(
        "split {split:?}: input {input:?} mixes an image folder with other files\nhint: give one image folder, or array files only"
    )]
    MixedSources { split: String, input: String },
    #[error("{} holds {dtype}{shape:?} a sample, {} {other_dtype}{other_shape:?}", path.display(), other.display())]
    Parts {
        path: PathBuf,
        dtype: DType,
        shape: Vec<usize>,
        other: PathBuf,
        other_dtype: DType,
        other_shape: Vec<usize>,
    },
    #[error("[preprocess.{input}] resize, crop and colour are for image folders; {} is none\nhint: leave these keys out", path.display())]
    ImageKeys { input: String, path: PathBuf },
    #[error("{}: holds a single value, not one per sample\nhint: the first dimension of an array is the sample", path.display())]
    Scalar { path: PathBuf },
    #[error("{}: has no samples (shape {shape:?})\nhint: a split must hold at least one sample", path.display())]
    Empty { path: PathBuf, shape: Vec<usize> },
    #[error(
        "split {split:?}: {what} has {rows} samples ({}), {} has {first_rows}\nhint: the first \
         dimension of every file of a split is the number of samples",
        path.display(), first_path.display()
    )]
    RowCount {
        split: String,
        what: String,
        path: PathBuf,
        rows: usize,
        first_path: PathBuf,
        first_rows: usize,
    },
    #[error("split {split:?}: `rows` asks for samples {} to {} (not included) of {}, which holds {samples}\nhint: `rows` is for \
             array files and texts, and ends at their last sample", rows[0], rows[1], path.display())]
    Rows {
        split: String,
        path: PathBuf,
        rows: [usize; 2],
        samples: usize,
    },
    #[error("{}: rows of {dtype}{shape:?} are no rows of tokens\nhint: give integers [rows, length + 1], two or more in a row", path.display())]
    TokenRows {
        path: PathBuf,
        dtype: DType,
        shape: Vec<usize>,
    },
    #[error("{}: the text has {tokens} tokens, too few for a row of {length} and its last target\nhint: set a smaller `length`", path.display())]
    ShortText {
        path: PathBuf,
        tokens: usize,
        length: usize,
    },
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error("{}: there is no split {name:?}\nhint: {hint}", path.display())]
    NoSplit {
        path: PathBuf,
        name: String,
        hint: String,
    },
    #[error(
        "input {input:?} ({}): samples of shape {shape:?} cannot be augmented, they are not known to be images\nhint: set \
         `layout` in [preprocess.{input}], such as \"NCHW\"",
        path.display()
    )]
    Augment {
        input: String,
        path: PathBuf,
        shape: Vec<usize>,
    },
    #[error(
        "split {split:?}: no input is known to be images, which corruptions need ({})\nhint: set `layout` in [preprocess.INPUT] of a \
         manifest, such as \"NCHW\"",
        path.display()
    )]
    NoImageInput { split: String, path: PathBuf },
    #[error(
        "input {input:?} ({}): sample {sample} holds numbers that are no levels of pixels, 0 to 255 or (floats) 0 to 1, which \
         corruptions change\nhint: store pixels as they are, and normalize them by [preprocess.{input}]",
        path.display()
    )]
    NoPixels {
        input: String,
        path: PathBuf,
        sample: usize,
    },
    #[error("input {input:?} ({}): {problem}", path.display())]
    Transform {
        input: String,
        path: PathBuf,
        problem: Box<TransformError>,
    },
    #[error("input {input:?} ({}): sample {sample} holds {value}, which is no {dtype}", path.display())]
    Value {
        input: String,
        path: PathBuf,
        sample: usize,
        value: i128,
        dtype: DType,
    },
    #[error("sample {index} was asked for, there are {samples}")]
    Index { index: usize, samples: usize },
    #[error("{samples} samples of {what} are too large to address")]
    TooLarge { samples: usize, what: String },
    #[error("the model has no input {name:?}, which the data set has\nhint: {hint}")]
    UnknownInput { name: String, hint: String },
    #[error("the data set has no input {name:?}, which the model needs\nhint: {hint}")]
    MissingInput { name: String, hint: String },
    #[error("input {name:?}: the model expects {expected}, the data set gives {found} ({})\nhint: {hint}", path.display())]
    InputShape {
        name: String,
        path: PathBuf,
        expected: Box<str>,
        found: Box<str>,
        hint: String,
    },
    #[error(
        "input {name:?}: the model expects elements of type {expected}, the data set gives {found} ({})\nhint: {hint}",
        path.display()
    )]
    InputType {
        name: String,
        path: PathBuf,
        expected: DType,
        found: DType,
        hint: String,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, problem: std::io::Error) -> DataError {
        DataError::Io {
            path: path.to_owned(),
            problem,
        }
    }
}

impl From<DataError> for SamplesError {
    fn from(error: DataError) -> SamplesError {
        SamplesError(Box::new(error))
    }
}
