//! Resampling along one axis: every output element is a weighted sum of a few input elements.

use rayon::prelude::*;

use crate::real::Real;
use crate::vectorize::vectorized;

/// The shape of the interpolation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Filter {
    /// Between two neighbours.
    Linear,
    /// Between four neighbours, by Keys' cubic with this coefficient.
    Cubic(f64),
}

impl Filter {
    /// Half the number of neighbours.
    fn radius(self) -> f64 {
        match self {
            Filter::Linear => 1.0,
            Filter::Cubic(_) => 2.0,
        }
    }

    /// Weight of an element at a distance.
    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Filter::Linear => (1.0 - x).max(0.0),
            Filter::Cubic(a) if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Filter::Cubic(a) if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            Filter::Cubic(_) => 0.0,
        }
    }
}

/// Which input elements make each output element of an axis, and their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps<T> {
    count: usize,
    indices: Vec<usize>,
    weights: Vec<T>,
}

impl<T: Real> Taps<T> {
    /// Taps at coordinates of an axis of `length > 0` elements. `stretch >= 1` widens the filter against aliasing.
    /// Neighbours outside of the axis are those at its border, or weigh nothing when `exclude_outside`.
    pub fn new(
        filter: Filter,
        coordinates: &[f64],
        length: usize,
        stretch: f64,
        exclude_outside: bool,
    ) -> Taps<T> {
        let radius = (filter.radius() * stretch).ceil().min(4.0 * length as f64 + 4.0) as i64;
        let count = 2 * radius as usize;
        let mut taps = Taps {
            count,
            indices: Vec::with_capacity(count * coordinates.len()),
            weights: Vec::with_capacity(count * coordinates.len()),
        };
        let last = length as i64 - 1;
        for &coordinate in coordinates {
            // The neighbour on the left of a coordinate that is an integer is one further left, at distance 1.
            let first = (coordinate.ceil() as i64).saturating_sub(radius);
            let neighbours = (0..2 * radius).map(|i| first.saturating_add(i));
            let weights = neighbours.clone().map(|index| {
                let outside = exclude_outside && (index < 0 || index > last);
                if outside {
                    0.0
                } else {
                    filter.weight((index as f64 - coordinate) / stretch)
                }
            });
            let weights: Vec<f64> = weights.collect();
            let sum: f64 = weights.iter().sum();
            let scale = if (stretch > 1.0 || exclude_outside) && sum != 0.0 {
                1.0 / sum
            } else {
                1.0
            };
            taps.indices
                .extend(neighbours.map(|index| index.clamp(0, last) as usize));
            taps.weights
                .extend(weights.iter().map(|weight| T::from_f64(weight * scale)));
        }
        taps
    }

    /// Output elements that copy one input element each; none makes 0.
    pub fn single(sources: &[Option<usize>]) -> Taps<T> {
        let weight = |source: &Option<usize>| source.map_or(T::ZERO, |_| T::ONE);
        Taps {
            count: 1,
            indices: sources.iter().map(|source| source.unwrap_or(0)).collect(),
            weights: sources.iter().map(weight).collect(),
        }
    }

    /// Makes an output element 0.
    pub fn silence(&mut self, position: usize) {
        self.weights[position * self.count..][..self.count].fill(T::ZERO);
    }

    /// Number of output elements.
    fn outputs(&self) -> usize {
        self.indices.len() / self.count
    }
}

/// Resamples the middle axis of `x`, viewed as `[outer, input, inner]`, into `y`, `[outer, outputs, inner]`.
///
/// # Panics
/// When the slices are not whole numbers of `[input, inner]` and `[outputs, inner]` blocks.
pub fn resize_axis<T: Real>(x: &[T], y: &mut [T], input: usize, inner: usize, taps: &Taps<T>) {
    if x.is_empty() || y.is_empty() {
        return;
    }
    let (from, to) = (input * inner, taps.outputs() * inner);
    assert!(x.len() / from == y.len() / to && x.len().is_multiple_of(from) && y.len().is_multiple_of(to));
    if inner == 1 {
        let blocks = y
            .par_chunks_exact_mut(to)
            .zip(x.par_chunks_exact(from))
            .with_min_len((4096 / to).max(1));
        return blocks.for_each(|(y, x)| resize_row(x, y, taps.count, &taps.indices, &taps.weights));
    }
    y.par_chunks_exact_mut(inner)
        .with_min_len((4096 / inner).max(1))
        .enumerate()
        .for_each(|(row, y)| {
            let (block, position) = (row / taps.outputs(), row % taps.outputs());
            let x = &x[block * from..][..from];
            let range = position * taps.count..(position + 1) * taps.count;
            y.fill(T::ZERO);
            for (&index, &weight) in taps.indices[range.clone()].iter().zip(&taps.weights[range]) {
                add_scaled(&x[index * inner..][..inner], y, weight);
            }
        });
}

/// The transpose of [`resize_axis`]: `dy` is `[outer, outputs, inner]`, `dx` `[outer, input, inner]`.
///
/// # Panics
/// As [`resize_axis`].
pub fn resize_axis_gradient<T: Real>(dy: &[T], dx: &mut [T], input: usize, inner: usize, taps: &Taps<T>) {
    dx.fill(T::ZERO);
    if dx.is_empty() || dy.is_empty() {
        return;
    }
    let (to, from) = (input * inner, taps.outputs() * inner);
    assert!(dx.len() / to == dy.len() / from && dx.len().is_multiple_of(to) && dy.len().is_multiple_of(from));
    let blocks = dx.par_chunks_exact_mut(to).zip(dy.par_chunks_exact(from));
    blocks.for_each(|(dx, dy)| {
        let taps = taps
            .indices
            .iter()
            .zip(&taps.weights)
            .enumerate()
            .map(|(i, tap)| (i / taps.count, tap));
        for (position, (&index, &weight)) in taps {
            let dy = &dy[position * inner..][..inner];
            add_scaled(dy, &mut dx[index * inner..][..inner], weight);
        }
    });
}

fn resize_row<T: Real>(x: &[T], y: &mut [T], count: usize, indices: &[usize], weights: &[T]) {
    for ((y, indices), weights) in y
        .iter_mut()
        .zip(indices.chunks_exact(count))
        .zip(weights.chunks_exact(count))
    {
        *y = T::ZERO;
        for (&index, &weight) in indices.iter().zip(weights) {
            *y += x[index] * weight;
        }
    }
}

vectorized! {
    fn add_scaled<T: Real>(x: &[T], y: &mut [T], weight: T) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y += x * weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(filter: Filter, coordinate: f64, stretch: f64, exclude: bool, expected: &[(usize, f64)]) {
        let taps = Taps::<f64>::new(filter, &[coordinate], 4, stretch, exclude);
        let mut weights = [0.0; 4];
        taps.indices
            .iter()
            .zip(&taps.weights)
            .for_each(|(&index, &weight)| weights[index] += weight);
        let mut wanted = [0.0; 4];
        expected
            .iter()
            .for_each(|&(index, weight)| wanted[index] = weight);
        let close = weights.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(
            close,
            "{filter:?} at {coordinate}: {weights:?}, expected {wanted:?}"
        );
    }

    #[test]
    fn weights_match_the_definitions() {
        check(Filter::Linear, 1.25, 1.0, false, &[(1, 0.75), (2, 0.25)]);
        check(Filter::Linear, 2.0, 1.0, false, &[(2, 1.0)]);
        check(Filter::Linear, -0.25, 1.0, false, &[(0, 1.0)]);
        check(Filter::Linear, 3.25, 1.0, true, &[(3, 1.0)]);
        // Keys' cubic half-way, with a = -0.75.
        check(
            Filter::Cubic(-0.75),
            1.5,
            1.0,
            false,
            &[(0, -0.09375), (1, 0.59375), (2, 0.59375), (3, -0.09375)],
        );
        // Stretched by 2: distances halve, weights are normalized.
        check(
            Filter::Linear,
            1.5,
            2.0,
            false,
            &[(0, 0.125), (1, 0.375), (2, 0.375), (3, 0.125)],
        );
    }

    #[test]
    fn inner_and_outer_layouts_agree() {
        let (outer, input, inner) = (2, 4, 3);
        let taps = Taps::<f64>::new(Filter::Cubic(-0.5), &[0.1, 0.9, 2.2, 2.9, 3.3], input, 1.0, false);
        let x: Vec<f64> = (0..outer * input * inner).map(|i| (i * i % 17) as f64).collect();
        let mut y = vec![f64::NAN; outer * 5 * inner];
        resize_axis(&x, &mut y, input, inner, &taps);
        for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
            let column: Vec<f64> = (0..input).map(|a| x[(o * input + a) * inner + i]).collect();
            let mut expected = vec![f64::NAN; 5];
            resize_axis(&column, &mut expected, input, 1, &taps);
            (0..5).for_each(|a| assert!((y[(o * 5 + a) * inner + i] - expected[a]).abs() < 1e-12));
        }
    }
}
