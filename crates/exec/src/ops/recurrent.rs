//! LSTM, GRU, RNN.

use bantam_graph::ops::{self as graph, Direction};
use bantam_kernels::Real;
use bantam_kernels::recurrent::{
    Cell, CellActivation, CellState, CellWeights, Gru, Lstm, PlainCell, Sequences, run_cell,
};
use bantam_tensor::{DType, Tensor};

use super::floats::{fill, in_real, read, read_optional};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::{Context, OpError};

/// The attributes that the cells share.
#[derive(Clone, Copy)]
struct Shared<'a> {
    alphas: &'a [f32],
    betas: &'a [f32],
    names: &'a [String],
    clip: Option<f32>,
    direction: Direction,
    hidden_size: Option<i64>,
    layout: i64,
}

macro_rules! shared {
    ($op:expr) => {
        Shared {
            alphas: &$op.activation_alpha,
            betas: &$op.activation_beta,
            names: &$op.activations,
            clip: $op.clip,
            direction: $op.direction,
            hidden_size: $op.hidden_size,
            layout: $op.layout,
        }
    };
}

impl Shared<'_> {
    fn directions(&self) -> usize {
        if self.direction == Direction::Bidirectional {
            2
        } else {
            1
        }
    }

    /// The activation functions of every direction; `default` when the node names none. The parameters go to the
    /// functions that take some, in order.
    fn activations<const N: usize>(
        &self,
        default: [CellActivation; N],
    ) -> Result<Vec<[CellActivation; N]>, OpError> {
        if self.names.is_empty() {
            return Ok(vec![default; self.directions()]);
        }
        let expected = N * self.directions();
        if self.names.len() != expected {
            return Err(OpError::value(format!(
                "{} activations, expected {expected}",
                self.names.len()
            )));
        }
        let (mut alphas, mut betas) = (self.alphas.iter().copied(), self.betas.iter().copied());
        let mut parsed = Vec::with_capacity(expected);
        for name in self.names {
            let activation = CellActivation::parse(name, &mut alphas, &mut betas);
            parsed.push(activation.ok_or_else(|| OpError::Unsupported(format!("the activation `{name}`")))?);
        }
        Ok(parsed.as_chunks().0.to_vec())
    }
}

/// x, w, r, bias, sequence lengths, initial h, initial c, peepholes. Outputs: all h, last h, last c.
pub(super) fn lstm(op: &graph::Lstm, inputs: &Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
    let shared = shared!(op);
    let default = [
        CellActivation::Sigmoid,
        CellActivation::Tanh,
        CellActivation::Tanh,
    ];
    let activations = shared.activations(default)?;
    let sizes = Sizes::new(4, &shared, inputs)?;
    check(inputs, 7, "peepholes", &[sizes.directions, 3 * sizes.hidden])?;
    in_real!(inputs.required(0)?.dtype(), 0, T => {
        let peepholes = read_optional::<T>(inputs, 7)?;
        let cells = (0..sizes.directions).map(|direction| Lstm {
            activations: activations[direction],
            clip: shared.clip,
            input_forget: op.input_forget,
            peepholes: peepholes.as_ref().map(|p| &p[direction * 3 * sizes.hidden..][..3 * sizes.hidden]),
        });
        run::<T, _>(&cells.collect::<Vec<_>>(), true, shared.direction, &sizes, inputs, context)
    })
}

/// x, w, r, bias, sequence lengths, initial h. Outputs: all h, last h.
pub(super) fn gru(op: &graph::Gru, inputs: &Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
    let shared = shared!(op);
    let activations = shared.activations([CellActivation::Sigmoid, CellActivation::Tanh])?;
    let sizes = Sizes::new(3, &shared, inputs)?;
    let (clip, linear_before_reset) = (shared.clip, op.linear_before_reset);
    let cells = activations.into_iter().map(|activations| Gru {
        activations,
        clip,
        linear_before_reset,
    });
    let cells: Vec<Gru> = cells.collect();
    in_real!(inputs.required(0)?.dtype(), 0, T => run::<T, _>(&cells, false, shared.direction, &sizes, inputs, context))
}

/// x, w, r, bias, sequence lengths, initial h. Outputs: all h, last h.
pub(super) fn plain(op: &graph::Rnn, inputs: &Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
    let shared = shared!(op);
    let activations = shared.activations([CellActivation::Tanh])?;
    let sizes = Sizes::new(1, &shared, inputs)?;
    let cells = activations.into_iter().map(|[activation]| PlainCell {
        activation,
        clip: shared.clip,
    });
    let cells: Vec<PlainCell> = cells.collect();
    in_real!(inputs.required(0)?.dtype(), 0, T => run::<T, _>(&cells, false, shared.direction, &sizes, inputs, context))
}

/// Sizes that the inputs agree on.
struct Sizes {
    steps: usize,
    batch: usize,
    inputs: usize,
    hidden: usize,
    /// Gates times hidden.
    width: usize,
    directions: usize,
    batch_first: bool,
    lengths: Option<Vec<usize>>,
}

impl Sizes {
    /// Reads the sizes from the inputs that all cells share, and checks those.
    fn new(gates: usize, shared: &Shared<'_>, inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
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

    fn output_shape(&self) -> [usize; 4] {
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

    fn state_shape(&self) -> [usize; 3] {
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
    fn output_at(&self, step: usize, direction: usize, sequence: usize) -> usize {
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

    fn sequences<'a, T: Real>(&'a self, x: &'a [T], reverse: bool) -> Sequences<'a, T> {
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
    fn initial<T: Real>(&self, given: Option<&[T]>, direction: usize) -> Vec<T> {
        let Some(given) = given else {
            return vec![T::ZERO; self.batch * self.hidden];
        };
        let of_sequence = |sequence| &given[self.state_at(direction, sequence)..][..self.hidden];
        (0..self.batch).flat_map(of_sequence).copied().collect()
    }

    /// The last states of all directions as a tensor.
    fn last<T: Real>(
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
fn check(inputs: &Inputs<'_>, index: usize, name: &str, shape: &[usize]) -> Result<(), OpError> {
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

/// Runs one cell per direction. Outputs: all h, last h, and last c when the cells have a `memory`.
fn run<T: Real, C: Cell<T>>(
    cells: &[C],
    memory: bool,
    direction: Direction,
    sizes: &Sizes,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    let (x, w, r) = (
        read::<T>(inputs, 0)?,
        read::<T>(inputs, 1)?,
        read::<T>(inputs, 2)?,
    );
    let bias = read_optional::<T>(inputs, 3)?;
    let given_h = read_optional::<T>(inputs, 5)?;
    let given_c = if memory {
        read_optional::<T>(inputs, 6)?
    } else {
        None
    };
    let dtype = inputs.required(0)?.dtype();
    let mut scratch = context.uninitialized(T::DTYPE, &[sizes.steps, sizes.batch, sizes.width])?;
    let projected = scratch.values_mut::<T>()?;
    let (mut last_h, mut last_c) = (Vec::new(), Vec::new());
    let y = fill(context, dtype, &sizes.output_shape(), |y: &mut [T]| {
        y.fill(T::ZERO);
        for (index, cell) in cells.iter().enumerate() {
            let weights = CellWeights {
                input: of_direction(&w, index, cells.len()),
                recurrent: of_direction(&r, index, cells.len()),
                bias: bias.as_ref().map(|bias| of_direction(bias, index, cells.len())),
                hidden: sizes.hidden,
            };
            let sequences = sizes.sequences(&x, direction == Direction::Reverse || index == 1);
            let h = sizes.initial(given_h.as_deref(), index);
            let c = if memory {
                sizes.initial(given_c.as_deref(), index)
            } else {
                Vec::new()
            };
            let mut state = CellState { h, c };
            run_cell(
                cell,
                &sequences,
                &weights,
                &mut state,
                projected,
                |step, sequence, h| {
                    y[sizes.output_at(step, index, sequence)..][..sizes.hidden].copy_from_slice(h);
                },
            );
            last_h.push(state.h);
            last_c.push(state.c);
        }
    })?;
    context.recycle(scratch);
    let mut outputs = vec![Some(y), sizes.last(&last_h, dtype, context)?];
    if memory {
        outputs.push(sizes.last(&last_c, dtype, context)?);
    }
    Ok(outputs)
}

/// The part of an input that belongs to one direction.
fn of_direction<T>(values: &[T], index: usize, directions: usize) -> &[T] {
    let length = values.len() / directions;
    &values[index * length..][..length]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{run, run_outputs};

    const RNN: fn(Direction, i64) -> graph::Rnn = |direction, layout| graph::Rnn {
        activation_alpha: vec![2.0],
        activation_beta: Vec::new(),
        activations: vec![
            "Affine".to_owned();
            if direction == Direction::Bidirectional {
                2
            } else {
                1
            }
        ],
        clip: None,
        direction,
        hidden_size: Some(1),
        layout,
    };

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_slice(shape, values).unwrap()
    }

    /// Sequences 1, 2, 3 and 4, 5 in a cell `h = 2 (x + h)` (second direction `h = x + h`, by the default parameter).
    fn inputs(directions: usize, layout: i64) -> Vec<Option<Tensor>> {
        let x = if layout == 0 {
            tensor(&[3, 2, 1], &[1.0, 4.0, 2.0, 5.0, 3.0, 9.0])
        } else {
            tensor(&[2, 3, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 9.0])
        };
        let ones = tensor(&[directions, 1, 1], &vec![1.0; directions]);
        let lengths = Tensor::from_slice(&[2], &[3i32, 2]).unwrap();
        vec![Some(x), Some(ones.clone()), Some(ones), None, Some(lengths)]
    }

    #[test]
    fn directions_and_layouts() {
        let values = |tensor: &Option<Tensor>| tensor.as_ref().unwrap().to_f32().unwrap();
        let forward = run_outputs(RNN(Direction::Forward, 0), &inputs(1, 0), 2).unwrap();
        assert_eq!(values(&forward[0]), [2.0, 8.0, 8.0, 26.0, 22.0, 0.0]);
        assert_eq!(values(&forward[1]), [22.0, 26.0]);
        let reverse = run_outputs(RNN(Direction::Reverse, 1), &inputs(1, 1), 2).unwrap();
        assert_eq!(reverse[0].as_ref().unwrap().shape(), [2, 3, 1, 1]);
        assert_eq!(values(&reverse[0]), [34.0, 16.0, 6.0, 28.0, 10.0, 0.0]);
        assert_eq!(values(&reverse[1]), [34.0, 28.0]);
        let both = run_outputs(RNN(Direction::Bidirectional, 0), &inputs(2, 0), 2).unwrap();
        assert_eq!(both[0].as_ref().unwrap().shape(), [3, 2, 2, 1]);
        assert_eq!(
            values(&both[0]),
            [2.0, 8.0, 6.0, 9.0, 8.0, 26.0, 5.0, 5.0, 22.0, 0.0, 3.0, 0.0]
        );
        assert_eq!(values(&both[1]), [22.0, 26.0, 6.0, 9.0]);
    }

    #[test]
    fn wrong_arguments_are_errors() {
        let check = |op: graph::Rnn, index: usize, tensor: Tensor| {
            let mut wrong = inputs(1, 0);
            wrong[index] = Some(tensor);
            assert!(run_outputs(op, &wrong, 2).is_err(), "input {index}");
        };
        check(RNN(Direction::Forward, 0), 0, tensor(&[3, 2], &[0.0; 6]));
        check(RNN(Direction::Forward, 0), 1, tensor(&[1, 2, 1], &[0.0; 2]));
        check(RNN(Direction::Forward, 0), 2, tensor(&[1, 1, 2], &[0.0; 2]));
        check(RNN(Direction::Forward, 0), 3, tensor(&[1, 1], &[0.0]));
        check(RNN(Direction::Forward, 0), 4, Tensor::from_vec1(&[3i32, 4]));
        check(RNN(Direction::Forward, 0), 4, Tensor::from_vec1(&[3i32]));
        let plain: Vec<Tensor> = inputs(1, 0).into_iter().take(3).flatten().collect();
        assert!(
            run(
                graph::Rnn {
                    hidden_size: Some(2),
                    ..RNN(Direction::Forward, 0)
                },
                &plain
            )
            .is_err()
        );
        assert!(run(RNN(Direction::Forward, 2), &plain).is_err());
        let unknown = graph::Rnn {
            activations: vec!["Swish".to_owned()],
            ..RNN(Direction::Forward, 0)
        };
        assert!(run(unknown, &plain).is_err());
    }
}
