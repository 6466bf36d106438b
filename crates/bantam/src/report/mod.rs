//! What is left for people to look at: the page of a compression run, pictures of ranges.

mod page;
mod ranges;

pub use page::page;
pub(crate) use ranges::{file_name, picture};
