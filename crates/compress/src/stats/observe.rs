//! One pass over the data that serves all requests.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bantam_exec::{CompileError, CompileOptions, RunError, Taps, compile};
use bantam_graph::{Graph, ValueId};
use bantam_tensor::{BatchSize, Samples, SamplesError, Tensor};

use super::{Observed, Request, Stat};

/// What was found out, by value and kind.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    found: BTreeMap<(ValueId, Stat), Observed>,
    /// Number of samples that were looked at.
    pub samples: usize,
}

impl Stats {
    /// The answer to a request.
    pub fn get(&self, value: ValueId, stat: Stat) -> Option<&Observed> {
        self.found.get(&(value, stat))
    }
}

/// How to go through the data.
pub struct ObserveOptions<'a> {
    /// Indices of the samples.
    pub indices: &'a [usize],
    /// Samples that run at once.
    pub batch_size: BatchSize,
    /// Called after each batch with the number of samples done.
    pub progress: &'a dyn Fn(usize),
}

/// Why observation stopped.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum ObserveError {
    #[error(
        "there are no samples to calibrate on\nhint: the split for calibration must hold at least one sample"
    )]
    Empty,
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Samples(#[from] SamplesError),
}

/// Runs the graph over samples and answers the requests. Memory does not depend on the number of samples: a value is
/// looked at as soon as it exists, and then its memory is reused.
///
/// # Errors
/// When there are no samples, or when reading, compiling or running fails.
pub fn observe(
    graph: &Graph,
    samples: &dyn Samples,
    requests: &[Request],
    options: &ObserveOptions<'_>,
) -> Result<Stats, ObserveError> {
    if options.indices.is_empty() {
        return Err(ObserveError::Empty);
    }
    let observed = requests.iter().map(|request| request.value).collect();
    let program = compile(graph, &CompileOptions { observed })?;
    let mut by_value: BTreeMap<ValueId, Vec<Observed>> = BTreeMap::new();
    let mut order: BTreeMap<ValueId, Vec<Stat>> = BTreeMap::new();
    for request in requests
        .iter()
        .filter(|request| graph.constant(request.value).is_none())
    {
        let stats = order.entry(request.value).or_default();
        if !stats.contains(&request.stat) {
            stats.push(request.stat);
            by_value
                .entry(request.value)
                .or_default()
                .push(Observed::new(request.stat));
        }
    }
    let cells: BTreeMap<ValueId, Mutex<Vec<Observed>>> = by_value
        .into_iter()
        .map(|(value, observed)| (value, Mutex::new(observed)))
        .collect();
    let mut taps = Taps::none();
    for (value, cell) in &cells {
        taps.add(*value, |tensor| add(cell, tensor));
    }
    let mut done = 0;
    for (indices, count) in options.batch_size.cut(options.indices) {
        let batch = samples.batch(&indices)?;
        let inputs: Vec<(&str, Tensor)> = batch
            .inputs
            .iter()
            .map(|(n, t)| (n.as_str(), t.clone()))
            .collect();
        program.run(&inputs, &mut taps)?;
        done += count;
        (options.progress)(done);
    }
    drop(taps);
    let mut found = BTreeMap::new();
    for (value, cell) in cells {
        let observed = cell
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        found.extend(
            order[&value]
                .iter()
                .zip(observed)
                .map(|(stat, observed)| ((value, *stat), observed)),
        );
    }
    Ok(Stats { found, samples: done })
}

fn add(cell: &Mutex<Vec<Observed>>, tensor: &Tensor) {
    let mut observed = cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match tensor.values::<f32>() {
        Ok(values) => observed
            .iter_mut()
            .for_each(|observed| observed.add(&values, tensor.shape())),
        Err(_) => {
            let Ok(values) = tensor.to_f32() else { return };
            observed
                .iter_mut()
                .for_each(|observed| observed.add(&values, tensor.shape()));
        }
    }
}
