//! Attention.

use std::borrow::Cow;

use bantam_graph::ops::Attention;
use bantam_kernels::Real;
use bantam_kernels::attention::{self as kernel, AttentionMask, Heads, ScoreStage, Visible};
use bantam_tensor::{DType, Element, Tensor};

use super::floats::{convert, fill, in_real, read};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::{Context, OpError};

/// q, k, v, mask, past key, past value, number of valid keys. Outputs: y, present key, present value, scores.
///
/// Computed in `f32` (`f64` for `f64`) whatever `softmax_precision` says.
pub(super) fn attention(
    op: &Attention,
    inputs: &Inputs<'_>,
    outputs: usize,
    context: &Context,
) -> Result<Outputs, OpError> {
    let sizes = Sizes::new(op, inputs)?;
    let stage = match op.qk_matmul_output_mode {
        0 => ScoreStage::Products,
        1 => ScoreStage::Capped,
        2 => ScoreStage::Masked,
        3 => ScoreStage::Probabilities,
        other => {
            return Err(OpError::value(format!(
                "qk_matmul_output_mode must be 0 to 3, got {other}"
            )));
        }
    };
    let visible = sizes.visible(op, inputs)?;
    let dtype = inputs.required(0)?.dtype();
    in_real!(dtype, 0, T => {
        let (k, present_k) = sizes.keys_or_values::<T>(sizes.k, [1, 4], outputs > 1, inputs, context)?;
        let (v, present_v) = sizes.keys_or_values::<T>(sizes.v, [2, 5], outputs > 1, inputs, context)?;
        let q = read::<T>(inputs, 0)?;
        let mask = sizes.mask::<T>(inputs)?;
        let args = kernel::Attention {
            q: Heads { values: &q, strides: sizes.q.strides() },
            k: Heads { values: &k.0, strides: k.1 },
            v: Heads { values: &v.0, strides: v.1 },
            query_heads: sizes.q.heads,
            key_heads: sizes.k.heads,
            queries: sizes.q.rows,
            keys: sizes.keys,
            width: sizes.q.width,
            value_width: sizes.v.width,
            scale: T::from_f64(op.scale.map_or((sizes.q.width as f64).sqrt().recip(), f64::from)),
            soft_cap: (op.softcap > 0.0).then(|| T::from_f64(f64::from(op.softcap))),
            mask: mask.as_ref().map(|(values, strides, keys)| AttentionMask { values, strides: *strides, keys: *keys }),
            visible: &visible,
        };
        let shape = [sizes.q.batch, sizes.q.heads, sizes.q.rows, sizes.keys];
        let mut scores = (outputs > 3).then(|| context.uninitialized(T::DTYPE, &shape)).transpose()?;
        let stage_scores = match &mut scores {
            Some(scores) => Some((stage, scores.values_mut::<T>()?)),
            None => None,
        };
        let y = sizes.output(dtype, context, |y: &mut [T]| kernel::attention(&args, y, stage_scores))?;
        let scores = scores.map(|scores| convert::<T>(context, scores, dtype)).transpose()?;
        Ok(vec![Some(y), present_k, present_v, scores])
    })
}

/// How one of q, k, v is laid out.
#[derive(Clone, Copy)]
struct Layout {
    batch: usize,
    heads: usize,
    rows: usize,
    width: usize,
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

    /// Steps between samples, heads and rows; unused when there are no elements.
    fn strides(&self) -> [usize; 3] {
        let row = self.heads.saturating_mul(self.width);
        let sample = row.saturating_mul(self.rows);
        if self.joined {
            [sample, self.width, row]
        } else {
            [sample, self.rows.saturating_mul(self.width), self.width]
        }
    }
}

struct Sizes {
    q: Layout,
    k: Layout,
    v: Layout,
    /// Keys from the past.
    past: usize,
    /// All keys.
    keys: usize,
}

/// Elements and the steps between samples, heads and rows.
type Located<'a, T> = (Cow<'a, [T]>, [usize; 3]);

impl Sizes {
    fn new(op: &Attention, inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
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

    fn visible(&self, op: &Attention, inputs: &Inputs<'_>) -> Result<Vec<Visible>, OpError> {
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
    fn keys_or_values<'a, T: Real>(
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
    #[expect(clippy::type_complexity, reason = "the parts of an `AttentionMask`")]
    fn mask<'a, T: Real>(
        &self,
        inputs: &'a Inputs<'_>,
    ) -> Result<Option<(Cow<'a, [T]>, [usize; 3], usize)>, OpError> {
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

    /// The output in the layout of q, from a function that writes it by heads.
    fn output<T: Real>(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{run_optional, run_outputs};

    fn numbers(shape: &[usize], seed: usize) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|i| ((i * 37 + seed * 17) % 23) as f32 / 11.0 - 1.0)
            .collect();
        Tensor::from_slice(shape, &values).unwrap()
    }

    fn op(heads: Option<(i64, i64)>) -> Attention {
        Attention {
            is_causal: false,
            kv_num_heads: heads.map(|(_, kv)| kv),
            left_window_size: -1,
            q_num_heads: heads.map(|(q, _)| q),
            qk_matmul_output_mode: 0,
            right_window_size: -1,
            scale: None,
            softcap: 0.0,
            softmax_precision: None,
        }
    }

    /// `[batch, heads, rows, width]` as `[batch, rows, heads * width]`.
    fn joined(tensor: &Tensor) -> Tensor {
        let &[batch, heads, rows, width] = tensor.shape() else {
            panic!("not four dimensions")
        };
        let values = tensor.to_f32().unwrap();
        let mut out = vec![0.0f32; values.len()];
        for (index, from) in values.chunks_exact(width).enumerate() {
            let (sample, head, row) = (index / rows / heads, index / rows % heads, index % rows);
            out[((sample * rows + row) * heads + head) * width..][..width].copy_from_slice(from);
        }
        Tensor::from_slice(&[batch, rows, heads * width], &out).unwrap()
    }

    fn assert_close(a: &Tensor, b: &Tensor) {
        assert_eq!(a.shape(), b.shape());
        let (a, b) = (a.to_f32().unwrap(), b.to_f32().unwrap());
        assert!(
            a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5),
            "{a:?}, expected {b:?}"
        );
    }

    #[test]
    fn joined_heads_give_the_joined_result() {
        let (q, k, v) = (
            numbers(&[2, 4, 3, 2], 1),
            numbers(&[2, 2, 5, 2], 2),
            numbers(&[2, 2, 5, 3], 3),
        );
        let by_heads = run_outputs(op(None), &[q.clone(), k.clone(), v.clone()].map(Some), 4).unwrap();
        let inputs = [joined(&q), joined(&k), joined(&v)].map(Some);
        let together = run_outputs(op(Some((4, 2))), &inputs, 4).unwrap();
        assert_close(
            together[0].as_ref().unwrap(),
            &joined(by_heads[0].as_ref().unwrap()),
        );
        assert_eq!(together[1..], by_heads[1..]);
        assert_eq!(by_heads[1].as_ref(), Some(&k));
    }

    #[test]
    fn the_past_comes_first() {
        let (k, v) = (numbers(&[1, 2, 5, 2], 2), numbers(&[1, 2, 5, 3], 3));
        let part = |tensor: &Tensor, rows: std::ops::Range<usize>| {
            let width = tensor.shape()[3];
            let values = tensor.to_f32().unwrap();
            let heads = values.chunks_exact(5 * width);
            let kept: Vec<f32> = heads
                .flat_map(|head| head[rows.start * width..rows.end * width].to_vec())
                .collect();
            Tensor::from_slice(&[1, 2, rows.len(), width], &kept).unwrap()
        };
        let q = numbers(&[1, 2, 2, 2], 1);
        let causal = Attention {
            is_causal: true,
            ..op(None)
        };
        let inputs = [
            Some(q.clone()),
            Some(part(&k, 3..5)),
            Some(part(&v, 3..5)),
            None,
            Some(part(&k, 0..3)),
            Some(part(&v, 0..3)),
        ];
        let outputs = run_optional(causal, &inputs).unwrap();
        assert_eq!((outputs[1].as_ref(), outputs[2].as_ref()), (Some(&k), Some(&v)));
        // The same by a mask over all keys.
        let mask: Vec<bool> = (0..10).map(|i| i % 5 <= i / 5 + 3).collect();
        let mask = Tensor::from_bools(&[2, 5], &mask).unwrap();
        let expected = run_optional(op(None), &[q, k, v, mask].map(Some)).unwrap();
        assert_close(outputs[0].as_ref().unwrap(), expected[0].as_ref().unwrap());
        let half = [
            inputs[0].clone(),
            inputs[1].clone(),
            inputs[2].clone(),
            None,
            inputs[4].clone(),
        ];
        assert!(run_optional(op(None), &half).is_err());
    }

    #[test]
    fn padding_is_not_seen_and_queries_without_keys_give_zeros() {
        let (q, k, v) = (
            numbers(&[2, 1, 2, 2], 1),
            numbers(&[2, 1, 3, 2], 2),
            numbers(&[2, 1, 3, 1], 3),
        );
        let valid = Tensor::from_slice(&[2], &[1i64, 0]).unwrap();
        let inputs = [Some(q), Some(k), Some(v.clone()), None, None, None, Some(valid)];
        let probabilities = Attention {
            qk_matmul_output_mode: 3,
            ..op(None)
        };
        let outputs = run_optional(probabilities, &inputs).unwrap();
        let first = v.to_f32().unwrap()[0];
        assert_eq!(
            outputs[0].as_ref().unwrap().to_f32().unwrap(),
            [first, first, 0.0, 0.0]
        );
        let scores = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(outputs[3].as_ref().unwrap().to_f32().unwrap(), scores);
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let good = [
            numbers(&[1, 2, 3, 2], 1),
            numbers(&[1, 2, 4, 2], 2),
            numbers(&[1, 2, 4, 3], 3),
        ];
        for (index, shape) in [
            (0, [1, 2, 3, 4]),
            (1, [1, 3, 4, 2]),
            (1, [2, 2, 4, 2]),
            (2, [1, 2, 5, 3]),
        ] {
            let mut wrong = good.clone().map(Some);
            wrong[index] = Some(numbers(&shape, 4));
            assert!(run_optional(op(None), &wrong).is_err(), "{index} {shape:?}");
        }
        let [q, k, v] = good;
        let mask = numbers(&[2, 4], 5);
        assert!(run_optional(op(None), &[q.clone(), k.clone(), v.clone(), mask].map(Some)).is_err());
        assert!(run_optional(op(Some((3, 1))), &[joined(&q), joined(&k), joined(&v)].map(Some)).is_err());
    }
}
