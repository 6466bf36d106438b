//! One pass over the data that serves all requests.

use std::collections::BTreeMap;

use bantam_exec::{CompileError, CompileOptions, Program, RunError, Taps, compile};
use bantam_graph::{Graph, ValueId};
use bantam_tensor::{BatchSize, Samples, SamplesError, Tensor};
use rayon::prelude::*;

use super::{Observed, Request, Stat};

/// Answers by value and kind.
type Found = BTreeMap<ValueId, BTreeMap<Stat, Observed>>;

/// What was found out, by value and kind.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    found: Found,
    /// Number of samples that were looked at.
    pub samples: usize,
}

impl Stats {
    /// The answer to a request.
    pub fn get(&self, value: ValueId, stat: Stat) -> Option<&Observed> {
        self.found.get(&value)?.get(&stat)
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

/// Batches that are in flight at once. Fixed, so that neither results nor memory depend on the number of threads.
const IN_FLIGHT: usize = 4;

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
    let variable = requests
        .iter()
        .filter(|request| graph.constant(request.value).is_none());
    let mut found = Found::new();
    for request in variable {
        let of_value = found.entry(request.value).or_default();
        of_value
            .entry(request.stat)
            .or_insert_with(|| Observed::new(request.stat));
    }
    let in_any_order = (found.iter()).filter(|(_, stats)| !stats.keys().any(|stat| stat.needs_last_axis()));
    let program = compile(
        graph,
        &CompileOptions {
            observed: found.keys().copied().collect(),
            in_any_order: in_any_order.map(|(value, _)| *value).collect(),
            bf16: false,
        },
    )?;
    let empty = found.clone();
    let batches: Vec<(Vec<usize>, usize)> = options.batch_size.cut(options.indices).collect();
    let mut done = 0;
    for group in batches.chunks(IN_FLIGHT) {
        let parts: Result<Vec<Found>, ObserveError> = group
            .par_iter()
            .map(|(indices, _)| observe_batch(&program, samples, indices, empty.clone()))
            .collect();
        parts?.into_iter().for_each(|part| append(&mut found, part));
        done += group.iter().map(|(_, count)| count).sum::<usize>();
        (options.progress)(done);
    }
    Ok(Stats { found, samples: done })
}

/// Answers for one batch.
fn observe_batch(
    program: &Program,
    samples: &dyn Samples,
    indices: &[usize],
    mut found: Found,
) -> Result<Found, ObserveError> {
    let batch = samples.batch(indices)?;
    let inputs: Vec<(&str, Tensor)> = batch
        .inputs
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.clone()))
        .collect();
    let mut taps = Taps::none();
    for (value, observed) in &mut found {
        let channels_last = program.has_channels_last(*value);
        taps.add(*value, move |tensor| add(observed, tensor, channels_last));
    }
    program.run(&inputs, &mut taps)?;
    drop(taps);
    Ok(found)
}

/// Adds what the next batch gave.
fn append(found: &mut Found, next: Found) {
    for (before, after) in found.values_mut().zip(next.values()) {
        for (before, after) in before.values_mut().zip(after.values()) {
            before.append(after);
        }
    }
}

fn add(observed: &mut BTreeMap<Stat, Observed>, tensor: &Tensor, channels_last: bool) {
    let mut add = |values: &[f32]| {
        observed.values_mut().for_each(|observed| match channels_last {
            true => observed.add_channels_last(values, tensor.shape()),
            false => observed.add(values, tensor.shape()),
        });
    };
    match tensor.values::<f32>() {
        Ok(values) => add(&values),
        Err(_) => {
            if let Ok(values) = tensor.to_f32() {
                add(&values);
            }
        }
    }
}
