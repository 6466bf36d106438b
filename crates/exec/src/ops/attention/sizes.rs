//! Sizes of the inputs of Attention, and the views of them that the kernel takes.

use std::borrow::Cow;

use bantam_graph::ops::Attention;
use bantam_kernels::Real;
use bantam_kernels::attention::Visible;
use bantam_tensor::{DType, Tensor};

use crate::inputs::Inputs;
use crate::ops::floats::{fill, read};
use crate::{Context, OpError};

/// How one of q, k, v is laid out.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) batch: usize,
    pub(super) heads: usize,
    pub(super) rows: usize,
    pub(super) width: usize,
    /// `[batch, rows, heads * width]` rather than `[batch, heads, rows, width]`.
    joined: bool,
}

impl Layout {
    fn new(shape: &[usize], heads: Option<i64>) -> Result<Layout, OpError> {
        let layout = match *shape {
            [batch, heads, rows, width] => Layout {
                batch,
                heads,
                rows,
                width,
                joined: false,
            },
            [batch, rows, hidden] => {
                let heads = heads
                    .and_then(|heads| usize::try_from(heads).ok())
                    .filter(|&heads| heads > 0);
                let heads = heads
                    .filter(|heads| hidden.is_multiple_of(*heads))
                    .ok_or_else(|| {
                        OpError::value(format!(
                            "q_num_heads and kv_num_heads must divide inputs of shape {shape:?}"
                        ))
                    })?;
                Layout {
                    batch,
                    heads,
                    rows,
                    width: hidden / heads,
                    joined: true,
                }
            }
            _ => {
                return Err(OpError::shape(format!(
                    "q, k and v must have 3 or 4 dimensions, got {shape:?}"
                )));
            }
        };
        if layout.width == 0 || layout.heads == 0 {
            return Err(OpError::shape(format!(
                "shape {shape:?} has heads without elements"
            )));
        }
        Ok(layout)
    }

    /// Elements by heads as they lie in this layout.
    pub(super) fn arranged<T: Copy>(&self, by_heads: &[T], to: &mut [T]) {
        if !self.joined {
            return to.copy_from_slice(by_heads);
        }
        let Layout {
            heads, rows, width, ..
        } = *self;
        for (index, from) in by_heads.chunks_exact(width).enumerate() {
            let (sample, head, row) = (index / rows / heads, index / rows % heads, index % rows);
            to[((sample * rows + row) * heads + head) * width..][..width].copy_from_slice(from);
        }
    }

    /// Steps between samples, heads and rows; unused when there are no elements.
    pub(super) fn strides(&self) -> [usize; 3] {
        let row = self.heads.saturating_mul(self.width);
        let sample = row.saturating_mul(self.rows);
        if self.joined {
            [sample, self.width, row]
        } else {
            [sample, self.rows.saturating_mul(self.width), self.width]
        }
    }
}

pub(super) struct Sizes {
    pub(super) q: Layout,
    pub(super) k: Layout,
    pub(super) v: Layout,
    /// Keys from the past.
    past: usize,
    /// All keys.
    pub(super) keys: usize,
}

/// Elements and the steps between samples, heads and rows.
pub(super) type Located<'a, T> = (Cow<'a, [T]>, [usize; 3]);

/// Summands of the scores, the steps between samples, heads and queries, and the number of keys that they cover.
pub(super) type Mask<'a, T> = (Cow<'a, [T]>, [usize; 3], usize);

impl Sizes {
    pub(super) fn new(op: &Attention, inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
        let layout = |index: usize, heads| Layout::new(inputs.required(index)?.shape(), heads);
        let (q, k, v) = (
            layout(0, op.q_num_heads)?,
            layout(1, op.kv_num_heads)?,
            layout(2, op.kv_num_heads)?,
        );
        let fits = k.batch == q.batch
            && v.batch == q.batch
            && k.heads == v.heads
            && k.rows == v.rows
            && k.width == q.width
            && q.heads.is_multiple_of(k.heads);
        if !fits {
            let shapes: Vec<_> = inputs
                .present()
                .iter()
                .take(3)
                .map(|tensor| tensor.shape().to_vec())
                .collect();
            return Err(OpError::shape(format!(
                "q, k and v of shapes {shapes:?} do not fit together"
            )));
        }
        let past = match (inputs.optional(4), inputs.optional(5)) {
            (None, None) => 0,
            (Some(key), Some(value)) => past_rows(key, k, value, v)?,
            _ => return Err(OpError::value("past_key and past_value must be given together")),
        };
        if past > 0 && inputs.optional(6).is_some() {
            return Err(OpError::value(
                "nonpad_kv_seqlen cannot be combined with past_key and past_value",
            ));
        }
        let keys = past
            .checked_add(k.rows)
            .ok_or_else(|| OpError::shape("too many keys"))?;
        Ok(Sizes { q, k, v, past, keys })
    }

    pub(super) fn visible(&self, op: &Attention, inputs: &Inputs<'_>) -> Result<Vec<Visible>, OpError> {
        let side = |size: i64| match size {
            -1 => Ok(None),
            0.. => Ok(Some(size)),
            _ => Err(OpError::value(format!(
                "a window size must be -1 or more, got {size}"
            ))),
        };
        let (before, after) = (side(op.left_window_size)?, side(op.right_window_size)?);
        let after = if op.is_causal { Some(0) } else { after };
        let Some(valid) = inputs.integers(6)? else {
            let visible = Visible {
                keys: self.keys,
                offset: self.past as i64,
                before,
                after,
            };
            // Samples without elements are never looked at.
            let samples = if inputs.required(0)?.is_empty() {
                0
            } else {
                self.q.batch
            };
            return Ok(vec![visible; samples]);
        };
        if valid.len() != self.q.batch {
            return Err(OpError::shape(format!(
                "{} numbers of keys for {} samples",
                valid.len(),
                self.q.batch
            )));
        }
        let of_sample = |&valid: &i64| Visible {
            keys: usize::try_from(valid).unwrap_or(0).min(self.keys),
            offset: valid.saturating_sub(self.q.rows as i64),
            before,
            after,
        };
        Ok(valid.iter().map(of_sample).collect())
    }

    /// Keys or values with those of the past before them, and the same as an output if there is a past or it is `wanted`.
    /// `indices` are the positions of the current and the past ones among the inputs.
    pub(super) fn keys_or_values<'a, T: Real>(
        &self,
        layout: Layout,
        indices: [usize; 2],
        wanted: bool,
        inputs: &'a Inputs<'_>,
        context: &Context,
    ) -> Result<(Located<'a, T>, Option<Tensor>), OpError> {
        let current = read::<T>(inputs, indices[0])?;
        let strides = layout.strides();
        if self.past == 0 && !wanted {
            return Ok(((current, strides), None));
        }
        let past = if self.past == 0 {
            Cow::Borrowed(&[][..])
        } else {
            read::<T>(inputs, indices[1])?
        };
        let Layout {
            batch, heads, width, ..
        } = layout;
        let (past_block, block) = (self.past * width, self.keys * width);
        let shape = [batch, heads, self.keys, width];
        let present = context.fill(&shape, |present: &mut [T]| {
            for (index, present) in present.chunks_exact_mut(block.max(1)).enumerate() {
                let (before, after) = present.split_at_mut(past_block);
                before.copy_from_slice(&past[index * past_block..][..past_block]);
                let start = index / heads * strides[0] + index % heads * strides[1];
                for (row, out) in after.chunks_exact_mut(width).enumerate() {
                    out.copy_from_slice(&current[start + row * strides[2]..][..width]);
                }
            }
        })?;
        let values = present.values::<T>()?.into_owned();
        let dtype = inputs.required(indices[0])?.dtype();
        let output = fill(context, dtype, &shape, |out: &mut [T]| {
            out.copy_from_slice(&values)
        })?;
        let located = Layout {
            rows: self.keys,
            joined: false,
            ..layout
        }
        .strides();
        Ok(((Cow::Owned(values), located), Some(output)))
    }

    /// The mask as summands, its steps between samples, heads and queries, and the number of keys that it covers.
    pub(super) fn mask<'a, T: Real>(&self, inputs: &'a Inputs<'_>) -> Result<Option<Mask<'a, T>>, OpError> {
        let Some(mask) = inputs.optional(3) else {
            return Ok(None);
        };
        let shape = mask.shape();
        let wanted = [self.q.batch, self.q.heads, self.q.rows];
        let fits = (1..=4).contains(&shape.len()) && shape[shape.len() - 1] <= self.keys;
        let leading = &shape[..shape.len().saturating_sub(1)];
        let fits = fits
            && leading
                .iter()
                .rev()
                .zip(wanted.iter().rev())
                .all(|(&dim, &size)| dim == 1 || dim == size);
        if !fits {
            let keys = self.keys;
            return Err(OpError::shape(format!(
                "a mask of shape {shape:?} does not fit {wanted:?} and {keys} keys"
            )));
        }
        let covered = shape[shape.len() - 1];
        let (mut strides, mut step) = ([0; 3], covered);
        for (dim, stride) in leading.iter().rev().zip(strides.iter_mut().rev()) {
            *stride = if *dim == 1 { 0 } else { step };
            step = step.saturating_mul(*dim);
        }
        let values = match mask.dtype() {
            DType::Bool => {
                let summand = |&seen: &u8| if seen == 0 { T::NEG_INFINITY } else { T::ZERO };
                Cow::Owned(mask.bools()?.iter().map(summand).collect())
            }
            _ => read::<T>(inputs, 3)?,
        };
        Ok(Some((values, strides, covered)))
    }

    /// The layout of the output, which must have this shape.
    pub(super) fn like_output(&self, shape: &[usize]) -> Result<Layout, OpError> {
        let layout = Layout {
            width: self.v.width,
            ..self.q
        };
        let Layout {
            batch,
            heads,
            rows,
            width,
            joined,
        } = layout;
        let hidden = heads.checked_mul(width);
        let fits = match joined {
            false => shape == [batch, heads, rows, width],
            true => hidden.is_some_and(|hidden| shape == [batch, rows, hidden]),
        };
        match fits {
            true => Ok(layout),
            false => Err(OpError::shape(format!(
                "a gradient of shape {shape:?} does not fit the output"
            ))),
        }
    }

    /// The output in the layout of q, from a function that writes it by heads.
    pub(super) fn output<T: Real>(
        &self,
        dtype: DType,
        context: &Context,
        write: impl FnOnce(&mut [T]),
    ) -> Result<Tensor, OpError> {
        let Layout {
            batch,
            heads,
            rows,
            joined,
            ..
        } = self.q;
        let width = self.v.width;
        let by_heads = [batch, heads, rows, width];
        if !joined {
            return fill(context, dtype, &by_heads, write);
        }
        let scratch = context.fill(&by_heads, write)?;
        let values = scratch.values::<T>()?;
        let hidden = heads
            .checked_mul(width)
            .ok_or_else(|| OpError::shape("too many elements"))?;
        let y = fill(context, dtype, &[batch, rows, hidden], |y: &mut [T]| {
            for (index, from) in values.chunks_exact(width).enumerate() {
                let (sample, head, row) = (index / rows / heads, index / rows % heads, index % rows);
                y[((sample * rows + row) * heads + head) * width..][..width].copy_from_slice(from);
            }
        })?;
        drop(values);
        context.recycle(scratch);
        Ok(y)
    }
}

/// Number of rows of the past keys and values, which must fit the current ones.
fn past_rows(key: &Tensor, k: Layout, value: &Tensor, v: Layout) -> Result<usize, OpError> {
    match (key.shape(), value.shape()) {
        (&[batch, heads, rows, width], &[value_batch, value_heads, value_rows, value_width])
            if [batch, heads, width] == [k.batch, k.heads, k.width]
                && [value_batch, value_heads, value_width] == [v.batch, v.heads, v.width]
                && rows == value_rows =>
        {
            Ok(rows)
        }
        (key, value) => Err(OpError::shape(format!(
            "past_key and past_value of shapes {key:?} and {value:?} do not fit the keys and values"
        ))),
    }
}
