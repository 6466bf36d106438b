//! Sizes of the inputs of recurrent cells, and where their outputs and states lie.

use bantam_kernels::Real;
use bantam_kernels::recurrent::Sequences;
use bantam_tensor::{DType, Tensor};

use super::Shared;
use crate::inputs::Inputs;
use crate::ops::floats::fill;
use crate::{Context, OpError};

/// Most elements of the states of one direction.
const LARGEST_STATE: usize = 1 << 32;

/// Sizes that the inputs agree on.
pub(super) struct Sizes {
    pub(super) steps: usize,
    pub(super) batch: usize,
    inputs: usize,
    pub(super) hidden: usize,
    /// Gates times hidden.
    pub(super) width: usize,
    pub(super) directions: usize,
    batch_first: bool,
    lengths: Option<Vec<usize>>,
}

impl Sizes {
    /// Reads the sizes from the inputs that all cells share, and checks those.
    pub(super) fn new(gates: usize, shared: &Shared<'_>, inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
        let (x, r) = (inputs.required(0)?.shape(), inputs.required(2)?.shape());
        let (&[first, second, width], &[_, _, hidden]) = (x, r) else {
            return Err(OpError::shape(format!(
                "x and r must have 3 dimensions, got {x:?} and {r:?}"
            )));
        };
        let (steps, batch) = match shared.layout {
            0 => (first, second),
            1 => (second, first),
            other => return Err(OpError::value(format!("layout must be 0 or 1, got {other}"))),
        };
        if width == 0 || hidden == 0 || hidden > usize::MAX / 16 {
            return Err(OpError::shape(format!(
                "x of shape {x:?} or r of shape {r:?} has an impossible size"
            )));
        }
        // States exist for every sequence, even where there are no steps.
        if batch
            .checked_mul(hidden)
            .is_none_or(|state| state > LARGEST_STATE)
        {
            return Err(OpError::shape(format!(
                "{batch} sequences with states of {hidden} are too many"
            )));
        }
        if shared
            .hidden_size
            .is_some_and(|size| usize::try_from(size) != Ok(hidden))
        {
            return Err(OpError::shape(format!(
                "hidden_size does not fit r of shape {r:?}"
            )));
        }
        let (directions, batch_first) = (shared.directions(), shared.layout == 1);
        let lengths = lengths(inputs, steps, batch)?;
        let sizes = Sizes {
            steps,
            batch,
            inputs: width,
            hidden,
            width: gates * hidden,
            directions,
            batch_first,
            lengths,
        };
        check(inputs, 1, "w", &[directions, sizes.width, width])?;
        check(inputs, 2, "r", &[directions, sizes.width, hidden])?;
        check(inputs, 3, "the bias", &[directions, 2 * sizes.width])?;
        check(inputs, 5, "the initial h", &sizes.state_shape())?;
        if gates == 4 {
            check(inputs, 6, "the initial c", &sizes.state_shape())?;
        }
        Ok(sizes)
    }

    pub(super) fn output_shape(&self) -> [usize; 4] {
        let &Sizes {
            steps,
            batch,
            directions,
            hidden,
            ..
        } = self;
        if self.batch_first {
            [batch, steps, directions, hidden]
        } else {
            [steps, directions, batch, hidden]
        }
    }

    pub(super) fn state_shape(&self) -> [usize; 3] {
        let &Sizes {
            batch,
            directions,
            hidden,
            ..
        } = self;
        if self.batch_first {
            [batch, directions, hidden]
        } else {
            [directions, batch, hidden]
        }
    }

    /// Where the output of a step starts.
    pub(super) fn output_at(&self, step: usize, direction: usize, sequence: usize) -> usize {
        let row = if self.batch_first {
            (sequence * self.steps + step) * self.directions + direction
        } else {
            (step * self.directions + direction) * self.batch + sequence
        };
        row * self.hidden
    }

    /// Where the state of a sequence starts.
    fn state_at(&self, direction: usize, sequence: usize) -> usize {
        let row = if self.batch_first {
            sequence * self.directions + direction
        } else {
            direction * self.batch + sequence
        };
        row * self.hidden
    }

    pub(super) fn sequences<'a, T: Real>(&'a self, x: &'a [T], reverse: bool) -> Sequences<'a, T> {
        let &Sizes {
            steps,
            batch,
            inputs,
            batch_first,
            ..
        } = self;
        Sequences {
            x,
            steps,
            batch,
            inputs,
            batch_first,
            lengths: self.lengths.as_deref(),
            reverse,
        }
    }

    /// The initial state of one direction, `[batch, hidden]`.
    pub(super) fn initial<T: Real>(&self, given: Option<&[T]>, direction: usize) -> Vec<T> {
        let Some(given) = given else {
            return vec![T::ZERO; self.batch * self.hidden];
        };
        let of_sequence = |sequence| &given[self.state_at(direction, sequence)..][..self.hidden];
        (0..self.batch).flat_map(of_sequence).copied().collect()
    }

    /// The last states of all directions as a tensor.
    pub(super) fn last<T: Real>(
        &self,
        states: &[Vec<T>],
        dtype: DType,
        context: &Context,
    ) -> Result<Option<Tensor>, OpError> {
        let last = fill(context, dtype, &self.state_shape(), |out: &mut [T]| {
            for (direction, state) in states.iter().enumerate() {
                for (sequence, state) in state.chunks_exact(self.hidden).enumerate() {
                    out[self.state_at(direction, sequence)..][..self.hidden].copy_from_slice(state);
                }
            }
        });
        last.map(Some)
    }
}

/// Fails when input `index` is present with another shape.
pub(super) fn check(inputs: &Inputs<'_>, index: usize, name: &str, shape: &[usize]) -> Result<(), OpError> {
    match inputs.optional(index) {
        Some(tensor) if tensor.shape() != shape => Err(OpError::shape(format!(
            "{name} must have shape {shape:?}, got {:?}",
            tensor.shape()
        ))),
        _ => Ok(()),
    }
}

fn lengths(inputs: &Inputs<'_>, steps: usize, batch: usize) -> Result<Option<Vec<usize>>, OpError> {
    let Some(given) = inputs.integers(4)? else {
        return Ok(None);
    };
    if given.len() != batch {
        return Err(OpError::shape(format!(
            "{} sequence lengths for {batch} sequences",
            given.len()
        )));
    }
    let length = |&length: &i64| usize::try_from(length).ok().filter(|&length| length <= steps);
    let lengths: Option<Vec<usize>> = given.iter().map(length).collect();
    let outside = || OpError::value(format!("a sequence length is not between 0 and {steps}"));
    lengths.map(Some).ok_or_else(outside)
}
