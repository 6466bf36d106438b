//! How much the columns of matrices count, by data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bantam_compress::{importance, importance_requests};
use bantam_formats::data::sample_indices;
use bantam_formats::gguf;
use bantam_graph::Model;
use bantam_tensor::Samples;

use super::ExportJob;
use crate::{Error, Progress, pipeline};

/// Samples that are looked at.
#[derive(Clone, Debug)]
pub struct Importance {
    /// The data set.
    pub data: PathBuf,
    /// The split.
    pub split: String,
    /// Number of samples.
    pub samples: usize,
    /// Chooses them.
    pub seed: u64,
}

/// What each matrix's columns count, by its name in a GGUF file; nothing where no data are given.
pub(super) fn columns(
    job: &ExportJob,
    model: Option<&Model>,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, Vec<f32>>, Error> {
    let Some(Importance {
        data,
        split,
        samples,
        seed,
    }) = &job.importance
    else {
        return Ok(BTreeMap::new());
    };
    let graph = match model {
        Some(model) => pipeline::prepare(model)?,
        None => pipeline::prepare(&pipeline::load(&job.model)?)?,
    }
    .graph;
    let split = pipeline::open_split(data, split, &graph)?;
    let indices = sample_indices(split.len(), *samples, *seed);
    let requests = importance_requests(&graph);
    let stats = pipeline::watched(&graph, &split, &requests, &indices, progress)?;
    // Weights of 16 bits were widened.
    let own = |name: &str| gguf::to_gguf(name.strip_suffix("_f32").unwrap_or(name));
    let columns = importance(&graph, &stats).into_iter();
    Ok(columns
        .filter_map(|(name, columns)| Some((own(&name)?, columns)))
        .collect())
}
