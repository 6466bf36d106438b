//! The gradient of Attention.

use bantam_graph::ops::{Attention, AttentionGradient};
use bantam_kernels::Real;
use bantam_kernels::attention::{self as kernel, Heads, ScoreStage};
use bantam_kernels::gradient::attention::{self as gradients, Gradients, Scores};
use bantam_tensor::{Element, Tensor};

use super::arguments;
use super::sizes::{Layout, Sizes};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::floats::{convert, fill, in_real, read};
use crate::{Context, OpError};

fn forward(op: &AttentionGradient) -> Attention {
    Attention {
        is_causal: op.is_causal,
        kv_num_heads: op.kv_num_heads,
        left_window_size: op.left_window_size,
        q_num_heads: op.q_num_heads,
        qk_matmul_output_mode: 0,
        right_window_size: op.right_window_size,
        scale: op.scale,
        softcap: op.softcap,
        softmax_precision: None,
    }
}

/// The inputs of Attention, and dy. Outputs: the gradients of q, k, v and the masked scores.
pub(in crate::ops) fn gradient(
    op: &AttentionGradient,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    let op = forward(op);
    let sizes = Sizes::new(&op, inputs)?;
    if sizes.keys != sizes.k.rows {
        return Err(OpError::Unsupported(
            "the gradient of attention with a past".to_owned(),
        ));
    }
    let dy = sizes.like_output(inputs.required(7)?.shape())?;
    let visible = sizes.visible(&op, inputs)?;
    let dtype = inputs.required(0)?.dtype();
    in_real!(dtype, 0, T => {
        let (k, _) = sizes.keys_or_values::<T>(sizes.k, [1, 4], false, inputs, context)?;
        let (v, _) = sizes.keys_or_values::<T>(sizes.v, [2, 5], false, inputs, context)?;
        let (q, mask, of_y) = (read::<T>(inputs, 0)?, sizes.mask::<T>(inputs)?, read::<T>(inputs, 7)?);
        let args = arguments(&op, &sizes, &visible, &q, [&k, &v], mask.as_ref());
        let dy = Heads { values: &of_y, strides: dy.strides() };
        let shape = [sizes.q.batch, sizes.q.heads, sizes.q.rows, sizes.keys];
        let probabilities = scores::<T>(&args, &sizes, ScoreStage::Probabilities, context)?;
        let capped = args.soft_cap.map(|_| scores::<T>(&args, &sizes, ScoreStage::Capped, context)).transpose()?;
        let (probabilities, capped) = (probabilities.values::<T>()?, capped.as_ref().map(Tensor::values::<T>).transpose()?);
        let scores = Scores { probabilities: &probabilities, capped: capped.as_deref() };
        let zeros = |index: usize| Ok::<_, OpError>(vec![T::ZERO; inputs.required(index)?.len()]);
        let (mut dq, mut dk, mut dv) = (zeros(0)?, zeros(1)?, zeros(2)?);
        let mut of_scores = context.uninitialized(T::DTYPE, &shape)?;
        let into = Gradients { q: &mut dq, k: &mut dk, v: &mut dv, scores: of_scores.values_mut::<T>()? };
        gradients::attention(&args, dy, scores, into);
        let arranged = |layout: Layout, values: &[T], index: usize| {
            let like = inputs.required(index)?;
            fill(context, like.dtype(), like.shape(), |to: &mut [T]| layout.arranged(values, to)).map(Some)
        };
        Ok(vec![
            arranged(sizes.q, &dq, 0)?,
            arranged(sizes.k, &dk, 1)?,
            arranged(sizes.v, &dv, 2)?,
            Some(convert::<T>(context, of_scores, dtype)?),
        ])
    })
}

/// The scores at a stage.
fn scores<T: Real>(
    args: &kernel::Attention<'_, T>,
    sizes: &Sizes,
    stage: ScoreStage,
    context: &Context,
) -> Result<Tensor, OpError> {
    let shape = [sizes.q.batch, sizes.q.heads, sizes.q.rows, sizes.keys];
    let y = [sizes.q.batch, sizes.q.heads, sizes.q.rows, sizes.v.width];
    let mut y = context.uninitialized(T::DTYPE, &y)?;
    let scores = context.try_fill(&shape, |scores: &mut [T]| {
        kernel::attention(args, y.values_mut::<T>()?, Some((stage, scores)));
        Ok(())
    });
    context.recycle(y);
    scores
}
