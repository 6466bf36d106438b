//! Pools of data with the channels last.

use bantam_tensor::Element;
use rayon::prelude::*;

use super::{Axis, planes};
use crate::Real;
use crate::conv::advance;

/// As [`super::max`], with `x` and `y` as `[batch, spatial..., channels]`.
///
/// # Panics
/// When the slices do not fit the sizes.
pub fn max_channels_last<T: Element + PartialOrd>(
    axes: &[Axis],
    channels: usize,
    x: &[T],
    none: T,
    y: &mut [T],
) {
    let (input, output) = planes(axes, x.len(), y.len());
    let sizes: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
    let kernel: Vec<usize> = axes.iter().map(|axis| axis.kernel).collect();
    if y.is_empty() {
        return;
    }
    let row = sizes[sizes.len() - 1] * channels;
    let of_row = |(index, y): (usize, &mut [T])| {
        let first = index * sizes[sizes.len() - 1];
        let x = &x[first / output * input * channels..][..input * channels];
        let mut window = position(first % output, &sizes);
        for y in y.chunks_exact_mut(channels) {
            let (mut tap, mut seen) = (vec![0; kernel.len()], false);
            y.fill(none);
            loop {
                if let Some(flat) = element(axes, &window, &tap) {
                    let x = &x[flat * channels..][..channels];
                    if seen {
                        max_into(x, y)
                    } else {
                        y.copy_from_slice(x)
                    }
                    seen = true;
                }
                if !advance(&mut tap, &kernel) {
                    break;
                }
            }
            advance(&mut window, &sizes);
        }
    };
    y.par_chunks_mut(row).enumerate().for_each(of_row);
}

/// The position of a flat index.
fn position(flat: usize, sizes: &[usize]) -> Vec<usize> {
    let (mut rest, mut position) = (flat, vec![0; sizes.len()]);
    for (index, size) in position.iter_mut().zip(sizes).rev() {
        (*index, rest) = (rest % size, rest / size);
    }
    position
}

/// The flat index in the input of an element of a window; `None` in the padding.
pub(super) fn element(axes: &[Axis], window: &[usize], tap: &[usize]) -> Option<usize> {
    axes.iter().enumerate().try_fold(0, |flat, (i, axis)| {
        let index = axis.padded(window[i], tap[i]).checked_sub(axis.before)?;
        (index < axis.input).then_some(flat * axis.input + index)
    })
}

crate::vectorize::vectorized! {
    /// Replaces elements of `y` by larger ones of `x`.
    fn max_into<T: bantam_tensor::Element>(x: &[T], y: &mut [T]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = if *x > *y { *x } else { *y };
        }
    }
}

/// As [`super::global_average`], with `x` as `[batch, area, channels]` and `y` as `[batch, channels]`.
///
/// # Panics
/// When the slices do not fit the sizes.
pub fn global_average_channels_last<T: Real>(area: usize, channels: usize, x: &[T], y: &mut [T]) {
    assert_eq!(
        Some(x.len()),
        y.len().checked_mul(area),
        "one result for each channel"
    );
    if y.is_empty() {
        return;
    }
    let count = T::from_f64(area.max(1) as f64);
    y.par_chunks_mut(channels).enumerate().for_each(|(image, y)| {
        let x = &x[image * area * channels..][..area * channels];
        let blocks = y.par_chunks_mut(BLOCK).enumerate();
        blocks.for_each(|(block, y)| {
            y.fill(T::ZERO);
            let mut part = [T::ZERO; BLOCK];
            let part = &mut part[..y.len()];
            // Sums of sums lose fewer digits than one long sum.
            for x in x.chunks(SUMMED * channels) {
                part.fill(T::ZERO);
                let rows = x.chunks_exact(channels);
                rows.for_each(|x| add_to(&x[block * BLOCK..][..part.len()], part));
                add_to(part, y);
            }
            y.iter_mut().for_each(|y| *y = *y / count);
        });
    });
}

/// Channels that one task adds up.
const BLOCK: usize = 128;
/// Pixels that are added up one by one.
const SUMMED: usize = 64;

crate::vectorize::vectorized! {
    fn add_to<T: crate::Real>(x: &[T], y: &mut [T]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += *x;
        }
    }
}
