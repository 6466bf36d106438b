//! RotaryEmbedding.

use bantam_graph::ops::RotaryEmbedding;
use bantam_kernels::Real;
use bantam_tensor::Tensor;

use super::floats::{fill, in_real, read};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// The view `[batch, heads, steps, width]` of the input, and which part of each head turns.
struct Sizes {
    heads: usize,
    steps: usize,
    width: usize,
    /// `[batch, steps, heads * width]` rather than `[batch, heads, steps, width]`.
    joined: bool,
    /// Pairs of elements that turn.
    pairs: usize,
}

impl Sizes {
    fn new(op: &RotaryEmbedding, shape: &[usize]) -> Result<Sizes, OpError> {
        let (heads, steps, width, joined) = match *shape {
            [_, heads, steps, width] => (heads, steps, width, false),
            [_, steps, hidden] => {
                let heads = usize::try_from(op.num_heads).ok().filter(|&heads| heads > 0);
                let heads = heads
                    .filter(|heads| hidden.is_multiple_of(*heads))
                    .ok_or_else(|| {
                        OpError::value(format!(
                            "num_heads {} does not divide {hidden} elements",
                            op.num_heads
                        ))
                    })?;
                (heads, steps, hidden / heads, true)
            }
            _ => {
                return Err(OpError::shape(format!(
                    "the input must have 3 or 4 dimensions, got {shape:?}"
                )));
            }
        };
        let turning = match op.rotary_embedding_dim {
            0 => Some(width),
            dim => usize::try_from(dim).ok().filter(|&dim| dim <= width),
        };
        let turning = turning
            .filter(|turning| turning.is_multiple_of(2))
            .ok_or_else(|| {
                OpError::value(format!(
                    "rotary_embedding_dim {} does not fit heads of {width}",
                    op.rotary_embedding_dim
                ))
            })?;
        Ok(Sizes {
            heads,
            steps,
            width,
            joined,
            pairs: turning / 2,
        })
    }

    /// Batch and step of the `index`-th head in memory.
    fn sample_and_step(&self, index: usize) -> (usize, usize) {
        if self.joined {
            let step = index / self.heads;
            (step / self.steps, step % self.steps)
        } else {
            (index / self.steps / self.heads, index % self.steps)
        }
    }
}

/// x, cosines, sines, optional positions; the caches are `[positions, pairs]` with positions, else `[batch, steps, pairs]`.
pub(super) fn rotary(
    op: &RotaryEmbedding,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let sizes = Sizes::new(op, x.shape())?;
    let rows = cache_rows(&sizes, x.shape(), inputs)?;
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        let (cosines, sines) = (read::<T>(inputs, 1)?, read::<T>(inputs, 2)?);
        fill(context, x.dtype(), x.shape(), |y: &mut [T]| {
            y.copy_from_slice(&values);
            for (index, head) in y.chunks_exact_mut(sizes.width.max(1)).enumerate() {
                let (sample, step) = sizes.sample_and_step(index);
                let row = rows.as_ref().map_or(sample * sizes.steps + step, |rows| rows[sample * sizes.steps + step]);
                let range = row * sizes.pairs..(row + 1) * sizes.pairs;
                turn(head, &cosines[range.clone()], &sines[range], op.interleaved);
            }
        })
    })
}

/// The row of the caches for each sample and step, from the positions in input 3 if they are given.
fn cache_rows(sizes: &Sizes, shape: &[usize], inputs: &Inputs<'_>) -> Result<Option<Vec<usize>>, OpError> {
    let (cosines, sines) = (inputs.required(1)?.shape(), inputs.required(2)?.shape());
    let (batch, steps, pairs) = (shape[0], sizes.steps, sizes.pairs);
    let Some(positions) = inputs.integers(3)? else {
        let fits = cosines == [batch, steps, pairs] && sines == cosines;
        let message = || {
            format!(
                "caches must have shape {:?}, got {cosines:?} and {sines:?}",
                [batch, steps, pairs]
            )
        };
        return if fits {
            Ok(None)
        } else {
            Err(OpError::shape(message()))
        };
    };
    if cosines.len() != 2 || cosines[1] != pairs || sines != cosines {
        let message = format!("caches must have shape [positions, {pairs}], got {cosines:?} and {sines:?}");
        return Err(OpError::shape(message));
    }
    if inputs.required(3)?.shape() != [batch, steps] {
        return Err(OpError::shape(format!(
            "positions must have shape [{batch}, {steps}]"
        )));
    }
    let row = |&position: &i64| usize::try_from(position).ok().filter(|&row| row < cosines[0]);
    let rows: Option<Vec<usize>> = positions.iter().map(row).collect();
    rows.map(Some).ok_or_else(|| {
        OpError::value(format!(
            "a position is outside of the {} in the caches",
            cosines[0]
        ))
    })
}

/// Turns the pairs of a head: neighbours when `interleaved`, else the two halves of the turning part.
fn turn<T: Real>(head: &mut [T], cosines: &[T], sines: &[T], interleaved: bool) {
    let pairs = cosines.len();
    for (pair, (&cosine, &sine)) in cosines.iter().zip(sines).enumerate() {
        let (first, second) = if interleaved {
            (2 * pair, 2 * pair + 1)
        } else {
            (pair, pairs + pair)
        };
        let (real, imaginary) = (head[first], head[second]);
        head[first] = cosine * real - sine * imaginary;
        head[second] = sine * real + cosine * imaginary;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{run, run_one};

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_slice(shape, values).unwrap()
    }

    const OP: RotaryEmbedding = RotaryEmbedding {
        interleaved: false,
        num_heads: 0,
        rotary_embedding_dim: 0,
    };

    /// One head, two steps, width 4; a cache of three positions with a quarter turn at position 2.
    fn inputs() -> Vec<Tensor> {
        vec![
            tensor(&[1, 1, 2, 4], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
            tensor(&[3, 2], &[1.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
            tensor(&[3, 2], &[0.0, 0.0, 0.0, 0.0, 1.0, 1.0]),
            Tensor::from_slice(&[1, 2], &[0i64, 2]).unwrap(),
        ]
    }

    #[test]
    fn pairs_are_halves_or_neighbours() {
        let halves = run_one(OP, &inputs());
        assert_eq!(
            halves.to_f32().unwrap(),
            [1.0, 2.0, 3.0, 4.0, -7.0, -8.0, 5.0, 6.0]
        );
        let neighbours = run_one(
            RotaryEmbedding {
                interleaved: true,
                ..OP
            },
            &inputs(),
        );
        assert_eq!(
            neighbours.to_f32().unwrap(),
            [1.0, 2.0, 3.0, 4.0, -6.0, 5.0, -8.0, 7.0]
        );
    }

    #[test]
    fn joined_heads_and_partial_rotation() {
        let mut given = inputs();
        // Two heads of width 2 in one step each.
        given[0] = tensor(&[1, 2, 4], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        given[1] = tensor(&[3, 1], &[1.0, 1.0, 0.0]);
        given[2] = tensor(&[3, 1], &[0.0, 0.0, 1.0]);
        let joined = run_one(RotaryEmbedding { num_heads: 2, ..OP }, &given);
        assert_eq!(
            joined.to_f32().unwrap(),
            [1.0, 2.0, 3.0, 4.0, -6.0, 5.0, -8.0, 7.0]
        );
        let partial = run_one(
            RotaryEmbedding {
                num_heads: 1,
                rotary_embedding_dim: 2,
                ..OP
            },
            &given,
        );
        assert_eq!(
            partial.to_f32().unwrap(),
            [1.0, 2.0, 3.0, 4.0, -6.0, 5.0, 7.0, 8.0]
        );
        assert!(run(OP, &given).is_err());
    }

    #[test]
    fn positions_outside_of_the_cache_are_errors() {
        for wrong in [3i64, -1] {
            let mut given = inputs();
            given[3] = Tensor::from_slice(&[1, 2], &[0, wrong]).unwrap();
            assert!(run(OP, &given).is_err());
        }
    }
}
