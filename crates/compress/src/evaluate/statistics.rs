//! What metrics keep of samples.

/// A row of numbers for each sample, of any length; the metric that made them knows what they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    values: Vec<f64>,
    /// Where each row ends in `values`.
    ends: Vec<usize>,
}

impl Statistics {
    /// One number for each sample.
    pub fn from_scores(scores: impl IntoIterator<Item = f32>) -> Statistics {
        let values: Vec<f64> = scores.into_iter().map(f64::from).collect();
        Statistics {
            ends: (1..=values.len()).collect(),
            values,
        }
    }

    /// Adds a sample.
    pub fn push(&mut self, row: &[f64]) {
        self.values.extend_from_slice(row);
        self.ends.push(self.values.len());
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when there are no samples.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The row of each sample.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts
            .zip(&self.ends)
            .map(|(&start, &end)| &self.values[start..end])
    }

    /// The first number of each row: its score, where rows are scores.
    pub fn scores(&self) -> Vec<f32> {
        self.rows()
            .map(|row| row.first().map_or(f32::NAN, |&score| score as f32))
            .collect()
    }

    /// Adds the first `count` rows of `other`.
    pub(super) fn extend(&mut self, other: &Statistics, count: usize) {
        other.rows().take(count).for_each(|row| self.push(row));
    }

    /// The sum of all rows, each times its weight; rows have the same length.
    pub(super) fn weighted_sum(&self, weights: &[u32]) -> Vec<f64> {
        let length = self.ends.first().copied().unwrap_or(0);
        let mut sums = vec![0.0; length];
        for (row, &weight) in self.rows().zip(weights).filter(|(_, weight)| **weight > 0) {
            let weight = f64::from(weight);
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += weight * value);
        }
        sums
    }
}
