//! Sums over what was repeated, and elements back to where they were taken from.

use rayon::prelude::*;

use crate::copy::RunList;
use crate::real::Real;

/// Adds each element of `dy` to the element of `dx` that [`crate::copy::take_runs`] would have taken it from; those that
/// came from nowhere are left out. `shape` is that of `dx`, whose elements are set.
///
/// # Panics
/// When the slices do not fit the shape and the runs.
pub fn give_runs<T: Real>(dy: &[T], shape: &[usize], axes: &[RunList], dx: &mut [T]) {
    assert_eq!(shape.len(), axes.len(), "runs for each axis");
    dx.fill(T::ZERO);
    if dy.is_empty() || dx.is_empty() {
        return;
    }
    // Leading axes that are taken whole are independent of each other.
    let whole = axes
        .iter()
        .zip(shape)
        .take_while(|(axis, size)| axis.is_identity(**size))
        .count();
    let independent: usize = shape[..whole].iter().product();
    let (from, to) = (dy.len() / independent, dx.len() / independent);
    dx.par_chunks_mut(to)
        .zip(dy.par_chunks(from))
        .for_each(|(dx, dy)| give_block(dy, &shape[whole..], &axes[whole..], dx));
}

fn give_block<T: Real>(dy: &[T], shape: &[usize], axes: &[RunList], dx: &mut [T]) {
    let mut stride = dx.len();
    let offsets: Vec<Vec<Option<usize>>> = axes
        .iter()
        .zip(shape)
        .map(|(axis, &size)| {
            stride /= size.max(1);
            axis.offsets(stride)
        })
        .collect();
    let Some((last, outer)) = offsets.split_last() else {
        dx.iter_mut().zip(dy).for_each(|(dx, &dy)| *dx += dy);
        return;
    };
    let sizes: Vec<usize> = outer.iter().map(Vec::len).collect();
    let mut index = vec![0; outer.len()];
    for dy in dy.chunks_exact(last.len().max(1)) {
        let start: Option<usize> = index.iter().zip(outer).map(|(&i, offsets)| offsets[i]).sum();
        if let Some(start) = start {
            for (&dy, offset) in dy.iter().zip(last) {
                offset.iter().for_each(|offset| dx[start + offset] += dy);
            }
        }
        crate::conv::advance(&mut index, &sizes);
    }
}

/// Adds slices of `length` elements of `dy` to `dx` at the places given; a place may come several times.
///
/// # Panics
/// When a slice does not fit.
pub fn give_slices<T: Real>(dy: &[T], places: &[usize], length: usize, dx: &mut [T]) {
    dx.fill(T::ZERO);
    if length == 0 {
        return;
    }
    for (dy, &place) in dy.chunks_exact(length).zip(places) {
        dx[place..place + length]
            .iter_mut()
            .zip(dy)
            .for_each(|(dx, &dy)| *dx += dy);
    }
}
