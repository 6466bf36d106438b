//! Inputs to measure with.

use bantam_formats::data::sample_indices;
use bantam_graph::{Dim, Graph, Value};
use bantam_tensor::SplitMix64;
use bantam_tensor::{DType, Samples, Tensor};

use super::BenchJob;
use crate::jobs::inspect::{TOKENS, is_tokens};
use crate::{Error, pipeline};

/// Integers are below this: they are often indices.
const INTEGERS: usize = 4;

/// One batch: of the data set if there is one, else random numbers.
pub(super) fn inputs(job: &BenchJob, graph: &Graph) -> Result<Vec<(String, Tensor)>, Error> {
    if let Some(data) = &job.data {
        let split = pipeline::open_split(data, &job.split, graph)?;
        let indices = sample_indices(split.len(), job.batch, job.seed);
        let batch = split
            .batch(&indices)
            .map_err(bantam_compress::stats::ObserveError::from)?;
        return Ok(batch.inputs);
    }
    let mut generator = SplitMix64::new(job.seed);
    let needed = graph
        .inputs
        .iter()
        .map(|id| graph.value(*id))
        .filter(|value| value.initializer.is_none());
    needed
        .map(|value| Ok((value.name.clone(), random(value, job, &mut generator)?)))
        .collect()
}

fn random(value: &Value, job: &BenchJob, generator: &mut SplitMix64) -> Result<Tensor, Error> {
    let unclear = |message: String, hint: &str| Error::Usage {
        message,
        hint: hint.to_owned(),
    };
    let dims = value.ty.shape().unwrap_or_default();
    let size = |(axis, dim): (usize, &Dim)| match dim.known() {
        Some(size) => Ok(size),
        None if axis == 0 => Ok(job.batch),
        None if is_tokens(value) => Ok(TOKENS),
        None => Err(unclear(
            format!(
                "dimension {axis} of input `{}` is left open by the model",
                value.name
            ),
            "give real inputs with --data",
        )),
    };
    let shape: Vec<usize> = dims.iter().enumerate().map(size).collect::<Result<_, _>>()?;
    let elements = shape
        .iter()
        .try_fold(1usize, |count, dim| count.checked_mul(*dim));
    let elements = elements.filter(|count| *count <= MOST_ELEMENTS).ok_or_else(|| {
        unclear(
            format!(
                "input `{}` of shape {shape:?} is too large to make up",
                value.name
            ),
            "choose a smaller --batch",
        )
    })?;
    let tensor = match value.ty.dtype() {
        Some(DType::F32) => {
            let unit = |_| (generator.next_u64() >> 40) as f32 / (1u64 << 24) as f32 * 2.0 - 1.0;
            Tensor::from_slice(&shape, &(0..elements).map(unit).collect::<Vec<f32>>())
        }
        Some(dtype) if dtype.is_integer() && dtype.bits() >= 8 => {
            let values: Vec<i64> = (0..elements).map(|_| generator.below(INTEGERS) as i64).collect();
            Tensor::from_i64(dtype, &shape, &values)
        }
        dtype => {
            let named = dtype.map_or("no type".to_owned(), |dtype| format!("type {dtype}"));
            return Err(unclear(
                format!("input `{}` has {named}, which is not made up", value.name),
                "give real inputs with --data",
            ));
        }
    };
    tensor.map_err(|error| unclear(error.to_string(), "give real inputs with --data"))
}

/// Most elements of a random input.
const MOST_ELEMENTS: usize = 1 << 30;
