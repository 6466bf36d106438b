//! Makes trained neural networks small and fast, and proves that they still work.
//!
//! [`pipeline`] is the map: a model is loaded, observed, planned for, rewritten, evaluated and exported, each by one
//! function. [`jobs`] puts these together as the commands do. Everything is re-exported from the crates below.

pub mod demo;
mod error;
mod files;
pub mod jobs;
pub mod networks;
pub mod pipeline;
pub mod progress;
pub mod report;
pub mod runtime;

pub use bantam_compress as compress;
pub use bantam_exec as exec;
pub use bantam_formats as formats;
pub use bantam_graph as graph;
pub use bantam_tensor as tensor;

pub use error::Error;
pub use files::write_whole;
pub use progress::{NoProgress, Progress};
