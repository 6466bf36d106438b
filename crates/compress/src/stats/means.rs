//! Means along an axis.

use rayon::prelude::*;

/// The mean of the elements for each index of one axis.
#[derive(Clone, Debug)]
pub struct Means {
    /// `None` is the last.
    axis: Option<usize>,
    sums: Vec<f64>,
    /// Elements that each sum holds.
    count: u64,
    /// Of the squares of the elements.
    squares: bool,
}

impl Means {
    /// For each index of this axis.
    pub fn of_axis(axis: usize) -> Means {
        Means {
            axis: Some(axis),
            sums: Vec::new(),
            count: 0,
            squares: false,
        }
    }

    /// For each index of the last axis.
    pub fn of_last_axis() -> Means {
        Means {
            axis: None,
            sums: Vec::new(),
            count: 0,
            squares: false,
        }
    }

    /// Of squares, for each index of the last axis.
    pub fn of_squares() -> Means {
        Means {
            squares: true,
            ..Means::of_last_axis()
        }
    }

    /// Adds the elements of a tensor of this shape. A shape without the axis, or with another size of it than before,
    /// is left out.
    pub fn add(&mut self, values: &[f32], shape: &[usize]) {
        self.add_along(self.axis, values, shape);
    }

    /// As [`Means::add`], of a tensor whose axis 1 was moved behind the others.
    pub fn add_channels_last(&mut self, values: &[f32], shape: &[usize]) {
        self.add_along(None, values, shape);
    }

    fn add_along(&mut self, axis: Option<usize>, values: &[f32], shape: &[usize]) {
        let axis = axis.or(shape.len().checked_sub(1));
        let Some(axis) = axis.filter(|axis| *axis < shape.len()) else {
            return;
        };
        let (channels, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
        if channels == 0 || inner == 0 || (!self.sums.is_empty() && self.sums.len() != channels) {
            return;
        }
        let squares: Vec<f32> = match self.squares {
            true => values.iter().map(|x| x * x).collect(),
            false => Vec::new(),
        };
        let values = if self.squares { &squares } else { values };
        // One sum per outer index, or per some rows, added up in order: the result does not depend on the number of
        // threads.
        let outer: Vec<Vec<f64>> = match inner {
            1 => (values.par_chunks(channels * ROWS))
                .map(|rows| sums_of_columns(rows, channels))
                .collect(),
            _ => (values.par_chunks(channels * inner))
                .map(|block| sums(block, inner))
                .collect(),
        };
        self.sums.resize(channels, 0.0);
        for block in &outer {
            self.sums
                .iter_mut()
                .zip(block)
                .for_each(|(sum, part)| *sum += part);
        }
        self.count += (values.len() / channels) as u64;
    }

    /// Adds what another one saw.
    pub fn merge(&mut self, other: &Means) {
        self.sums.resize(self.sums.len().max(other.sums.len()), 0.0);
        self.sums
            .iter_mut()
            .zip(&other.sums)
            .for_each(|(sum, part)| *sum += part);
        self.count += other.count;
    }

    /// The means; empty when nothing was seen.
    pub fn means(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.count as f64).collect()
    }

    /// Smallest and largest mean.
    pub fn bounds(&self) -> (f32, f32) {
        let means = self.means();
        let smallest = means.iter().copied().reduce(f64::min);
        let largest = means.iter().copied().reduce(f64::max);
        (smallest.unwrap_or(0.0) as f32, largest.unwrap_or(0.0) as f32)
    }
}

/// Rows that are summed together.
const ROWS: usize = 1024;
/// Rows that are summed in `f32`.
const FEW_ROWS: usize = 32;

/// Sum of each column of rows of `channels` elements.
fn sums_of_columns(rows: &[f32], channels: usize) -> Vec<f64> {
    let (mut sums, mut part) = (vec![0f64; channels], vec![0f32; channels]);
    for rows in rows.chunks(channels * FEW_ROWS) {
        part.fill(0.0);
        for row in rows.chunks_exact(channels) {
            part.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        sums.iter_mut()
            .zip(&part)
            .for_each(|(sum, part)| *sum += f64::from(*part));
    }
    sums
}

/// Sum of each run of `inner` elements.
fn sums(block: &[f32], inner: usize) -> Vec<f64> {
    let sum_of = |run: &[f32]| {
        let mut lanes = [0f32; 16];
        let chunks = run.chunks_exact(16);
        let rest: f64 = chunks.remainder().iter().map(|&x| f64::from(x)).sum();
        for chunk in chunks {
            lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += x);
        }
        lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + rest
    };
    block.chunks_exact(inner).map(sum_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_by_channel_and_by_feature() {
        let values: Vec<f32> = (0..2 * 3 * 17).map(|i| i as f32).collect();
        let mut channels = Means::of_axis(1);
        channels.add(&values, &[2, 3, 17]);
        assert_eq!(channels.means(), [33.5, 50.5, 67.5]);
        let last = |index: usize| values[index / 51 * 51 + index % 3 * 17 + index / 3 % 17];
        let moved: Vec<f32> = (0..values.len()).map(last).collect();
        let mut moved_channels = Means::of_axis(1);
        moved_channels.add_channels_last(&moved, &[2, 17, 3]);
        assert_eq!(moved_channels.means(), channels.means());
        let mut features = Means::of_last_axis();
        features.add(&[1.0, 2.0, 3.0, 6.0], &[2, 2]);
        features.add(&[5.0, 1.0], &[1, 2]);
        assert_eq!(features.means(), [3.0, 3.0]);
        let mut squares = Means::of_squares();
        squares.add(&[1.0, 2.0, -3.0, 6.0], &[2, 2]);
        assert_eq!(squares.means(), [5.0, 20.0]);
    }
}
