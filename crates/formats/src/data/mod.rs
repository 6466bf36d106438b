//! Data sets: named splits of samples, read from disk when they are asked for.
//!
//! A [`DataSet`] is a TOML manifest beside its files, or a bare file or folder. [`DataSet::split`] opens a [`Split`],
//! which gives any of its samples as a batch of tensors (`bantam_tensor::Samples`). Array files are mapped and images
//! decoded one by one, so memory depends on the batch and not on the data set.
//!
//! ```toml
//! version = 1                           # may be left out
//! [splits.train]
//! inputs.input = "train_x.npy"          # one entry per graph input; a list of files is read as one
//! labels = "train_y.npy"                # may be left out; of any type and shape, one row a sample
//! [preprocess.input]                    # x -> (x * scale - mean) / std, in f32
//! layout = "NCHW"                       # of the graph's input
//! source_layout = "NHWC"                # of the files, where detecting it from the shape goes wrong
//! scale = 0.00392156862745098
//! mean = [0.485, 0.456, 0.406]          # one number, or one per channel (needs `layout`)
//! std = [0.229, 0.224, 0.225]
//! dtype = "f32"                         # else: f32 if any of the three above is set, the stored type if not
//! [augment.input]                       # training only
//! flip = "horizontal"
//! crop_padding = 4
//! ```
//!
//! A split of a language model has tokens instead of inputs and labels; the label of a token is the next one. Any split of
//! array files or texts may take some of the samples only.
//!
//! ```toml
//! [splits.train]
//! tokens = "tokens.npy"                 # ids [rows, length + 1]: inputs are all but the last, labels all but the first
//! rows = [0, 100]                       # the first row and the one after the last
//! [splits.test]
//! text = "stories.txt"                  # UTF-8, or a list of such files
//! tokenizer = "tokenizer.json"          # where it has another name
//! length = 512                          # targets of a row; neighbouring rows share one token
//! separator = "<|endoftext|>"           # the line between documents, each of which is tokenized by itself
//! ```
//!
//! | file | what it gives |
//! |---|---|
//! | `.npy` | the rows of the array |
//! | `.npz` | the only array, or the one named as the input (`labels` for labels), or `file.npz#name` |
//! | IDX, plain or `.gz` | the rows of the array (MNIST) |
//! | CIFAR `.bin` | images or, as `labels`, labels (`file.bin#coarse` for the coarse ones of CIFAR-100) |
//! | folder | PNG and JPEG images, in the order of class folder and file name; labels are the positions of the class folders; `labels = "list.csv"` gives them by file instead |
//!
//! Image folders also take `resize = 256` (shorter side) or `[height, width]`, `crop = 224` (centre) and
//! `colour = "rgb"` or `"gray"`. Stored values of another type than the model's become it where that is a matter of
//! course ([`Split::for_inputs`]): without a `[preprocess]` section, pixels 0 to 255 reach a float input as 0.0 to 255.0.

mod array;
mod augment;
mod check;
mod cifar;
mod corruption;
mod dataset;
mod error;
mod idx;
mod images;
mod layout;
mod manifest;
mod npy;
mod npz;
mod preprocess;
mod sample;
mod sequences;
mod source;
mod split;
mod suggest;
mod transform;
mod unpack;

pub use check::InputSpec;
pub use cifar::CifarError;
pub use corruption::{CORRUPTIONS, Corruption, Strength, corruptions_by_name};
pub use dataset::DataSet;
pub use error::DataError;
pub use idx::IdxError;
pub use images::{Colour, ImageError};
pub use layout::{Channels, Layout};
pub use manifest::{Augment, Flip};
pub use npy::{NpyArray, NpyError, parse_npy, read_npy, write_npy};
pub use npz::NpzError;
pub use sample::sample_indices;
pub use split::{Split, first_non_finite};
pub(crate) use suggest::hint as suggested;
pub use transform::TransformError;
