//! ONNX Runtime's pools of codes.

use bantam_graph::ops::{AveragePool, QLinearAveragePool, QLinearGlobalAveragePool};
use bantam_kernels::quantize::{self, Code, Grid};
use bantam_tensor::{Element, Tensor};
use rayon::prelude::*;

use super::codes::{scale, zero_point};
use crate::inputs::{Argument, Inputs};
use crate::ops::axes::count;
use crate::ops::dispatch::in_type;
use crate::ops::pooling::average_pool;
use crate::{Context, OpError};

/// QLinearGlobalAveragePool: x, scale, zero point, output scale, zero point. Sums are exact.
pub(crate) fn global_average(
    op: &QLinearGlobalAveragePool,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    in_type!(inputs.required(0)?.dtype(), 0, [U8 u8, I8 i8], T => global::<T>(op.channels_last, inputs, context))
}

fn global<T: Code + Element>(
    channels_last: bool,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, values) = (inputs.required(0)?, inputs.values::<T>(0)?);
    let &[batch, second, ref rest @ ..] = x.shape() else {
        return Err(OpError::shape(format!(
            "an input of shape {:?} has no channels",
            x.shape()
        )));
    };
    let mut shape = vec![batch];
    let (channels, area) = match rest {
        [spatial @ .., channels] if channels_last => {
            shape.extend(std::iter::repeat_n(1, spatial.len() + 1));
            shape.push(*channels);
            (*channels, second.saturating_mul(count(spatial)))
        }
        _ => {
            shape.push(second);
            shape.extend(std::iter::repeat_n(1, rest.len()));
            (second, count(rest))
        }
    };
    let zero = zero_point(inputs, 2)?;
    let to = scale(inputs, 3)? * area as f32;
    let grid = Grid::of::<T>(scale(inputs, 1)? / to, zero_point(inputs, 4)?);
    let mut sums = vec![0i32; batch.saturating_mul(channels).min(values.len())];
    let images = (sums.par_chunks_mut(channels.max(1))).zip(values.par_chunks((area * channels).max(1)));
    images.for_each(|(sums, x)| match channels_last {
        true => quantize::sum_rows(x, zero, sums),
        false => (sums.iter_mut().zip(x.chunks_exact(area.max(1))))
            .for_each(|(sum, x)| *sum = quantize::sum(x).wrapping_sub(zero.wrapping_mul(area as i32))),
    });
    context.try_fill(&shape, |codes: &mut [T]| {
        if codes.len() != sums.len() {
            return Err(OpError::shape("the mean over no elements"));
        }
        quantize::requantize(&sums, 0, &grid, codes);
        Ok(())
    })
}

/// QLinearAveragePool: x, scale, zero point, output scale, zero point. Means are real numbers.
pub(crate) fn average(
    op: &QLinearAveragePool,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    if op.channels_last {
        return Err(OpError::Unsupported(
            "QLinearAveragePool with the channels last".to_owned(),
        ));
    }
    let pool = AveragePool {
        auto_pad: op.auto_pad,
        ceil_mode: op.ceil_mode,
        count_include_pad: op.count_include_pad,
        dilations: op.dilations.clone(),
        kernel_shape: op.kernel_shape.clone(),
        pads: op.pads.clone(),
        strides: op.strides.clone(),
    };
    in_type!(inputs.required(0)?.dtype(), 0, [U8 u8, I8 i8], T => {
        let (from, zero) = (scale(inputs, 1)?, zero_point(inputs, 2)?);
        let (to, to_zero) = (scale(inputs, 3)?, zero_point(inputs, 4)?);
        let codes = inputs.values::<T>(0)?;
        let reals = context.fill(inputs.required(0)?.shape(), |x: &mut [f32]| {
            quantize::dequantize(&codes, from, zero, x);
        })?;
        let mut means = average_pool(&pool, &Inputs::new(vec![Some(Argument::Last(reals))]), context)?;
        // The zero point comes before rounding, which matters for means near a tie.
        means.values_mut::<f32>()?.iter_mut().for_each(|mean| *mean = *mean / to + to_zero as f32);
        let values = means.values::<f32>()?;
        context.fill(means.shape(), |codes: &mut [T]| quantize::quantize(&values, &Grid::of::<T>(1.0, 0), codes))
    })
}
