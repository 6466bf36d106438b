//! Folders of PNG and JPEG images, decoded one by one when they are asked for.

mod decode;
mod folder;
mod resize;

pub use decode::{Colour, ImageError};
pub(crate) use decode::{Image, ImageOptions, Resize, Size, decode_jpeg};
pub(crate) use folder::{ImageFolder, class_folders, read_labels};
pub(crate) use resize::{Filter, resize};
