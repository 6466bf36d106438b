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
                let heads = heads.filter(|heads| hidden.is_multiple_of(*heads)).ok_or_else(|| {
                    OpError::value(format!("num_heads {} does not divide {hidden} elements", op.num_heads))
                })?;
                (heads, steps, hidden / heads, true)
            }
            _ => return Err(OpError::shape(format!("the input must have 3 or 4 dimensions, got {shape:?}"))),
        };
        let turning = match op.rotary_embedding_dim {
            0 => Some(width),
            dim => usize::try_from(dim).ok().filter(|&dim| dim <= width),
        };
        let turning = turning.filter(|turning| turning.is_multiple_of(2)).ok_or_else(|| {
            OpError::value(format!("rotary_embedding_dim {} does not fit heads of {width}", op.rotary_embedding_dim))
        })?;
        Ok(Sizes { heads, steps, width, joined, pairs: turning / 2 })
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
pub(super) fn rotary(op: &RotaryEmbedding, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
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
        let message = || format!("caches must have shape {:?}, got {cosines:?} and {sines:?}", [batch, steps, pairs]);
        return if fits { Ok(None) } else { Err(OpError::shape(message())) };
    };
    if cosines.len() != 2 || cosines[1] != pairs || sines != cosines {
        let message = format!("caches must have shape [positions, {pairs}], got {cosines:?} and {sines:?}");
        return Err(OpError::shape(message));
    }
    if inputs.required(3)?.shape() != [batch, steps] {
        return Err(OpError::shape(format!("positions must have shape [{batch}, {steps}]")));
    }
    let row = |&position: &i64| usize::try_from(position).ok().filter(|&row| row < cosines[0]);
    let rows: Option<Vec<usize>> = positions.iter().map(row).collect();
    rows.map(Some).ok_or_else(|| OpError::value(format!("a position is outside of the {} in the caches", cosines[0])))
}

/// Turns the pairs of a head: neighbours when `interleaved`, else the two halves of the turning part.
fn turn<T: Real>(head: &mut [T], cosines: &[T], sines: &[T], interleaved: bool) {
    let pairs = cosines.len();
    for (pair, (&cosine, &sine)) in cosines.iter().zip(sines).enumerate() {
        let (first, second) = if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pairs + pair) };
        let (real, imaginary) = (head[first], head[second]);
        head[first] = cosine * real - sine * imaginary;
        head[second] = sine * real + cosine * imaginary;
    }
}
