//! Gradients of pools. Tensors are `[channels, spatial...]`.

use rayon::prelude::*;

use crate::Real;
use crate::conv::advance;
use crate::pool::{Axis, max_indices, planes, visit_row};

/// The gradient of each window's maximum goes to its first largest element.
///
/// # Panics
/// When the slices do not fit the sizes.
pub fn max<T: Real>(axes: &[Axis], dy: &[T], x: &[T], dx: &mut [T]) {
    assert_eq!(x.len(), dx.len(), "a gradient for each element");
    let mut places = vec![0i64; dy.len()];
    max_indices(axes, x, &mut places);
    let (input, output) = planes(axes, dx.len(), dy.len());
    dx.fill(T::ZERO);
    if input == 0 || output == 0 {
        return;
    }
    dx.par_chunks_mut(input).enumerate().for_each(|(channel, dx)| {
        let windows = channel * output..(channel + 1) * output;
        for (&dy, &place) in dy[windows.clone()].iter().zip(&places[windows]) {
            // A window that sees nothing has no place.
            if let Some(dx) = usize::try_from(place)
                .ok()
                .and_then(|place| dx.get_mut(place - channel * input))
            {
                *dx += dy;
            }
        }
    });
}

/// How the gradient of a window is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// By the number of elements that the window sees in the input.
    Input,
    /// By those in the padding too.
    WithPadding,
    /// Not at all: the window was a sum.
    Whole,
}

/// The gradient of each window's mean (or sum) goes to all its elements.
///
/// # Panics
/// When the slices do not fit the sizes.
pub fn average<T: Real>(axes: &[Axis], dy: &[T], share: Share, dx: &mut [T]) {
    let (input, output) = planes(axes, dx.len(), dy.len());
    dx.fill(T::ZERO);
    if input == 0 || output == 0 {
        return;
    }
    let counts = |axis: &Axis| -> Vec<usize> {
        (0..axis.output)
            .map(|window| axis.count(window, share == Share::WithPadding))
            .collect()
    };
    let counts: Vec<Vec<usize>> = match share {
        Share::Whole => axes.iter().map(|axis| vec![1; axis.output]).collect(),
        _ => axes.iter().map(counts).collect(),
    };
    let sizes: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
    let last = sizes.len() - 1;
    let stride = axes[last].stride;
    dx.par_chunks_mut(input).enumerate().for_each(|(channel, dx)| {
        let mut row = vec![0; last];
        for dy in dy[channel * output..(channel + 1) * output].chunks_exact(sizes[last]) {
            let rows: usize = row
                .iter()
                .zip(&counts)
                .map(|(&window, counts)| counts[window])
                .product();
            let shares = dy
                .iter()
                .zip(&counts[last])
                .map(|(&dy, &columns)| dy / T::from_f64((rows * columns).max(1) as f64));
            let shares: Vec<T> = shares.collect();
            visit_row(axes, &row, |windows, first| {
                let elements = dx[first..].iter_mut().step_by(stride);
                elements
                    .zip(&shares[windows])
                    .for_each(|(dx, &share)| *dx += share);
            });
            advance(&mut row, &sizes[..last]);
        }
    });
}
