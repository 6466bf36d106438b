//! Pools over sliding windows and over whole channels, and MaxUnpool.

use bantam_graph::ops::{AveragePool, GlobalLpPool, LpPool, MaxPool, MaxUnpool};
use bantam_kernels::pool;
use bantam_tensor::{Element, Tensor};
use half::{bf16, f16};

use super::axes::count;
use super::dispatch::in_type;
use super::floats::{fill, in_real, read};
use super::windows::{LastWindow, Window, WindowAttributes, window_attributes};
use crate::inputs::Inputs;
use crate::layout::{permuted, to_channels_first, to_channels_last};
use crate::operator::{Operator, Outputs, function};
use crate::{Context, OpError};

/// Evaluates an expression with a name for the type of elements that are compared.
macro_rules! in_compared {
    ($dtype:expr, $name:ident => $body:expr) => {
        in_type!($dtype, 0, [F32 f32, F64 f64, F16 f16, BF16 bf16, I8 i8, U8 u8], $name => $body)
    };
}

/// The lowest value of a type: what the maximum over nothing is.
trait Lowest: Element {
    const LOWEST: Self;
}

macro_rules! lowest {
    ($($element:ty),*) => { $(impl Lowest for $element { const LOWEST: $element = <$element>::MIN; })* };
}
lowest!(f32, f64, f16, bf16, i8, u8);

/// The windows of an input `[N, C, spatial...]`, and the output's shape.
pub(super) fn windows(
    attributes: WindowAttributes<'_>,
    ceil_mode: bool,
    x: &[usize],
) -> Result<(Vec<Window>, Vec<usize>), OpError> {
    let [batch, channels, spatial @ ..] = x else {
        return Err(OpError::shape(format!(
            "a pool of {x:?}: at least 3 dimensions are needed"
        )));
    };
    let last = if ceil_mode {
        LastWindow::Kept
    } else {
        LastWindow::Dropped
    };
    let windows = attributes.windows(spatial, None, last)?;
    let mut shape = vec![*batch, *channels];
    shape.extend(windows.iter().map(|window| window.output));
    Ok((windows, shape))
}

pub(super) fn axes(windows: &[Window]) -> Vec<pool::Axis> {
    let axis = |window: &Window| pool::Axis {
        input: window.input,
        kernel: window.kernel,
        stride: window.stride,
        dilation: window.dilation,
        before: window.before,
        after: window.after,
        output: window.output,
    };
    windows.iter().map(axis).collect()
}

/// Fails if a window has so many elements that going through it would be a mistake or an attack.
pub(super) fn check_windows(windows: &[Window]) -> Result<(), OpError> {
    let size = count(&Window::each(windows, |window| window.kernel));
    if size > LARGEST_WINDOW {
        Err(OpError::value(format!(
            "a window of {size} elements is too large"
        )))
    } else {
        Ok(())
    }
}

const LARGEST_WINDOW: usize = 1 << 28;

/// Output 0: the maxima; output 1: their flat indices in x.
pub(super) fn max_pool(
    op: &MaxPool,
    inputs: &Inputs<'_>,
    outputs: usize,
    context: &Context,
) -> Result<Outputs, OpError> {
    let x = inputs.required(0)?;
    let (windows, shape) = windows(window_attributes!(op), op.ceil_mode, x.shape())?;
    check_windows(&windows)?;
    let axes = axes(&windows);
    in_compared!(x.dtype(), T => {
        let values = inputs.values::<T>(0)?;
        let y = context.fill(&shape, |y: &mut [T]| pool::max(&axes, &values, T::LOWEST, y))?;
        if outputs < 2 {
            return Ok(vec![Some(y)]);
        }
        let indices = context.fill(&shape, |indices: &mut [i64]| {
            pool::max_indices(&axes, &values, indices);
            if op.storage_order == 1 {
                let spatial = Window::each(&windows, |window| window.input);
                indices.iter_mut().filter(|index| **index >= 0).for_each(|index| {
                    *index = column_major(*index as usize, &spatial) as i64;
                });
            }
        })?;
        Ok(vec![Some(y), Some(indices)])
    })
}

/// MaxPool, prepared for data with the channels last.
pub(super) fn max_pool_channels_last(op: &MaxPool) -> Box<dyn Operator> {
    let op = op.clone();
    function("maximum, channels last", move |inputs, context| {
        let x = inputs.required(0)?;
        let first = permuted(x.shape(), &to_channels_first(x.rank()));
        let (windows, shape) = windows(window_attributes!(op), op.ceil_mode, &first)?;
        check_windows(&windows)?;
        let (axes, channels) = (axes(&windows), first[1]);
        let shape = permuted(&shape, &to_channels_last(shape.len()));
        in_compared!(x.dtype(), T => {
            let values = inputs.values::<T>(0)?;
            let y = context.fill(&shape, |y: &mut [T]| {
                pool::max_channels_last(&axes, channels, &values, T::LOWEST, y);
            })?;
            Ok(vec![Some(y)])
        })
    })
}

/// The index of the same element if channels were stored with their first dimension innermost.
fn column_major(index: usize, spatial: &[usize]) -> usize {
    let channel = count(spatial);
    let (mut rest, mut within, mut steps) = (index % channel, 0, channel);
    for &size in spatial.iter().rev() {
        steps /= size;
        within += rest % size * steps;
        rest /= size;
    }
    index / channel * channel + within
}

/// Means over windows.
pub(super) fn average_pool(
    op: &AveragePool,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let (windows, shape) = windows(window_attributes!(op), op.ceil_mode, x.shape())?;
    check_windows(&windows)?;
    let axes = axes(&windows);
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        fill(context, x.dtype(), &shape, |y| pool::average(&axes, &values, op.count_include_pad, y))
    })
}

/// p-norms over windows.
pub(super) fn lp_pool(op: &LpPool, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let (x, p) = (inputs.required(0)?, norm(op.p)?);
    let (windows, shape) = windows(window_attributes!(op), op.ceil_mode, x.shape())?;
    check_windows(&windows)?;
    let axes = axes(&windows);
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        fill(context, x.dtype(), &shape, |y| pool::norm(&axes, &values, p, y))
    })
}

fn norm(p: i64) -> Result<u32, OpError> {
    let positive = u32::try_from(p).ok().filter(|&p| p > 0);
    positive.ok_or_else(|| OpError::value(format!("p of {p} is not positive")))
}

/// Elements of a channel of `[N, C, spatial...]`, and the shape with each channel as one element.
fn channels(x: &[usize]) -> Result<(usize, Vec<usize>), OpError> {
    let [batch, channels, spatial @ ..] = x else {
        return Err(OpError::shape(format!(
            "a pool of {x:?}: at least 2 dimensions are needed"
        )));
    };
    let mut shape = vec![1; x.len()];
    shape[..2].copy_from_slice(&[*batch, *channels]);
    Ok((count(spatial), shape))
}

/// Means of channels.
pub(super) fn global_average_pool(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let (channel, shape) = channels(x.shape())?;
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        fill(context, x.dtype(), &shape, |y| pool::global_average(channel, &values, y))
    })
}

/// GlobalAveragePool, prepared for data with the channels last.
pub(super) fn global_average_channels_last() -> Box<dyn Operator> {
    function("mean, channels last", |inputs, context| {
        let x = inputs.required(0)?;
        let first = permuted(x.shape(), &to_channels_first(x.rank()));
        let (area, shape) = channels(&first)?;
        let shape = permuted(&shape, &to_channels_last(shape.len()));
        let y = in_real!(x.dtype(), 0, T => {
            let values = read::<T>(inputs, 0)?;
            fill(context, x.dtype(), &shape, |y| {
                pool::global_average_channels_last(area, first[1], &values, y);
            })
        })?;
        Ok(vec![Some(y)])
    })
}

/// Maxima of channels.
pub(super) fn global_max_pool(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let (channel, shape) = channels(x.shape())?;
    in_compared!(x.dtype(), T => {
        let values = inputs.values::<T>(0)?;
        context.fill(&shape, |y: &mut [T]| pool::global_max(channel, &values, T::LOWEST, y))
    })
}

/// p-norms of channels.
pub(super) fn global_lp_pool(
    op: &GlobalLpPool,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, p) = (inputs.required(0)?, norm(op.p)?);
    let (channel, shape) = channels(x.shape())?;
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        fill(context, x.dtype(), &shape, |y| pool::global_norm(channel, &values, p, y))
    })
}

/// Puts the elements of x at their indices in a tensor of zeros. An explicit output shape may be larger than the one
/// that the indices refer to; the elements then lie in its corner.
pub(super) fn max_unpool(op: &MaxUnpool, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let (x, indices) = (inputs.required(0)?, inputs.required(1)?);
    if x.shape() != indices.shape() {
        let (x, indices) = (x.shape(), indices.shape());
        return Err(OpError::shape(format!(
            "indices of shape {indices:?} for an input of shape {x:?}"
        )));
    }
    let pooled = unpooled_shape(op, x.shape())?;
    let shape = match inputs.integers(2)? {
        Some(wanted) => explicit_shape(&wanted, &pooled)?,
        None => pooled.clone(),
    };
    let indices = indices.to_i64()?;
    in_type!(x.dtype(), 0, [F32 f32, F64 f64, F16 f16, BF16 bf16], T => {
        let values = inputs.values::<T>(0)?;
        context.try_fill(&shape, |y: &mut [T]| {
            y.fill(T::default());
            for (&value, &index) in values.iter().zip(&indices) {
                let index = usize::try_from(index).ok().filter(|&index| index < count(&pooled));
                let index = index.ok_or_else(|| OpError::value("an index lies outside of the output"))?;
                y[moved(index, &pooled, &shape)] = value;
            }
            Ok(())
        })
    })
}

/// The shape that was pooled, as far as the windows tell.
fn unpooled_shape(op: &MaxUnpool, x: &[usize]) -> Result<Vec<usize>, OpError> {
    let attributes = WindowAttributes {
        auto_pad: bantam_graph::ops::AutoPad::NotSet,
        kernel: &op.kernel_shape,
        strides: &op.strides,
        dilations: &[],
        pads: &op.pads,
    };
    let [batch, channels, spatial @ ..] = x else {
        return Err(OpError::shape(format!(
            "an inverse pool of {x:?}: at least 3 dimensions are needed"
        )));
    };
    let kernel: Vec<usize> = op
        .kernel_shape
        .iter()
        .map(|&size| usize::try_from(size).unwrap_or(0))
        .collect();
    let windows = attributes.transposed(spatial, &kernel, &[], &[])?;
    Ok([*batch, *channels]
        .into_iter()
        .chain(windows.iter().map(|window| window.output))
        .collect())
}

/// The shape that input 2 gives, which must hold the one that the indices refer to.
fn explicit_shape(wanted: &[i64], pooled: &[usize]) -> Result<Vec<usize>, OpError> {
    let sizes: Option<Vec<usize>> = wanted.iter().map(|&size| usize::try_from(size).ok()).collect();
    let holds = |shape: &Vec<usize>| {
        shape.len() == pooled.len()
            && shape[..2] == pooled[..2]
            && shape.iter().zip(pooled).all(|(size, pooled)| size >= pooled)
    };
    sizes
        .filter(holds)
        .ok_or_else(|| OpError::shape(format!("the output shape {wanted:?} cannot hold {pooled:?}")))
}

/// The flat index in `to` of the element that has the flat index `index` in `from`.
fn moved(index: usize, from: &[usize], to: &[usize]) -> usize {
    let (mut rest, mut flat, mut step) = (index, 0, 1);
    for (from, to) in from.iter().zip(to).rev() {
        flat += rest % from * step;
        rest /= from;
        step *= to;
    }
    flat
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{AutoPad, GlobalAveragePool, GlobalMaxPool};

    use super::super::testing::{run, run_one, run_outputs};
    use super::*;

    fn counting(shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..count(shape)).map(|i| i as f32).collect();
        Tensor::from_slice(shape, &values).unwrap()
    }

    fn max_pool(kernel: &[i64], strides: &[i64], pads: &[i64], storage_order: i64) -> MaxPool {
        MaxPool {
            auto_pad: AutoPad::NotSet,
            ceil_mode: false,
            dilations: Vec::new(),
            kernel_shape: kernel.to_vec(),
            pads: pads.to_vec(),
            strides: strides.to_vec(),
            storage_order,
        }
    }

    #[test]
    fn maxima_and_indices() {
        let x = Some(counting(&[1, 2, 2, 3]));
        for (order, expected) in [(0, [4, 5, 10, 11]), (1, [3, 5, 9, 11])] {
            let y = run_outputs(max_pool(&[2, 2], &[], &[], order), std::slice::from_ref(&x), 2).unwrap();
            assert_eq!(y[0].as_ref().unwrap().to_f32().unwrap(), [4.0, 5.0, 10.0, 11.0]);
            assert_eq!(y[1].as_ref().unwrap().to_i64().unwrap(), expected);
        }
        let bytes = Tensor::from_slice(&[1, 1, 3], &[-5i8, -9, -7]).unwrap();
        assert_eq!(
            run_one(max_pool(&[2], &[], &[1, 1], 0), &[bytes])
                .to_i64()
                .unwrap(),
            [-5, -5, -7, -7]
        );
        for wrong in [
            max_pool(&[4], &[], &[], 0),
            max_pool(&[2, 2], &[], &[], 0),
            max_pool(&[1 << 40], &[], &[], 0),
        ] {
            assert!(run(wrong, &[counting(&[1, 1, 3])]).is_err());
        }
        let huge = max_pool(&[1 << 29, 1 << 29], &[], &[1 << 29, 1 << 29, 0, 0], 0);
        assert!(run(huge, &[counting(&[1, 1, 3, 3])]).is_err());
        assert!(run(max_pool(&[1], &[], &[], 0), &[counting(&[3, 3])]).is_err());
    }

    #[test]
    fn means_and_norms() {
        let average = |count_include_pad: bool| AveragePool {
            auto_pad: AutoPad::SameUpper,
            ceil_mode: false,
            count_include_pad,
            dilations: Vec::new(),
            kernel_shape: vec![2],
            pads: Vec::new(),
            strides: Vec::new(),
        };
        let x = Tensor::from_slice(&[1, 1, 3], &[3f32, 5.0, 8.0]).unwrap();
        assert_eq!(
            run_one(average(false), std::slice::from_ref(&x))
                .to_f32()
                .unwrap(),
            [4.0, 6.5, 8.0]
        );
        assert_eq!(
            run_one(average(true), std::slice::from_ref(&x)).to_f32().unwrap(),
            [4.0, 6.5, 4.0]
        );
        let lp = |p: i64| LpPool {
            auto_pad: AutoPad::NotSet,
            ceil_mode: false,
            dilations: Vec::new(),
            kernel_shape: vec![2],
            pads: Vec::new(),
            p,
            strides: Vec::new(),
        };
        assert_eq!(
            run_one(lp(1), std::slice::from_ref(&x)).to_f32().unwrap(),
            [8.0, 13.0]
        );
        assert!(run(lp(0), &[x]).is_err());
    }

    #[test]
    fn whole_channels() {
        let x = counting(&[1, 2, 2, 2]);
        let y = run_one(GlobalAveragePool {}, std::slice::from_ref(&x));
        assert_eq!(
            (y.shape(), y.to_f32().unwrap()),
            (&[1, 2, 1, 1][..], vec![1.5, 5.5])
        );
        assert_eq!(
            run_one(GlobalMaxPool {}, std::slice::from_ref(&x))
                .to_f32()
                .unwrap(),
            [3.0, 7.0]
        );
        assert_eq!(
            run_one(GlobalLpPool { p: 1 }, &[x]).to_f32().unwrap(),
            [6.0, 22.0]
        );
        assert!(run(GlobalMaxPool {}, &[counting(&[3])]).is_err());
    }

    #[test]
    fn unpooling() {
        let op = MaxUnpool {
            kernel_shape: vec![2, 2],
            pads: Vec::new(),
            strides: vec![2, 2],
        };
        let x = Tensor::from_slice(&[1, 1, 1, 2], &[5f32, 7.0]).unwrap();
        let indices = Tensor::from_slice(&[1, 1, 1, 2], &[1i64, 6]).unwrap();
        let y = run_one(op.clone(), &[x.clone(), indices.clone()]);
        assert_eq!(
            (y.shape(), y.to_f32().unwrap()),
            (&[1, 1, 2, 4][..], vec![0., 5., 0., 0., 0., 0., 7., 0.])
        );
        let shape = Tensor::from_vec1(&[1i64, 1, 2, 5]);
        let y = run_one(op.clone(), &[x.clone(), indices.clone(), shape]);
        assert_eq!(y.to_f32().unwrap(), [0., 5., 0., 0., 0., 0., 0., 7., 0., 0.]);
        let small = Tensor::from_vec1(&[1i64, 1, 2, 3]);
        assert!(run(op.clone(), &[x.clone(), indices, small]).is_err());
        let outside = Tensor::from_slice(&[1, 1, 1, 2], &[1i64, 8]).unwrap();
        assert!(run(op, &[x, outside]).is_err());
    }
}
