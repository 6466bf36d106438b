//! Channels by what the others of their layer do not tell of them.

use bantam_graph::coupling::Group;
use bantam_kernels::cholesky::{cholesky, cholesky_solve};
use bantam_kernels::matmul::{Onto, Product, multiply_batch};

use super::channels::{Given, data, visit_data};
use super::{Criterion, Evidence, Judges, Needs, PruneError};

/// The share of a channel's variance that no linear combination of the channels of its group that are left gives:
/// `1 / [R^-1]_ii` with `R` the correlations of what they give, which is one over the variance inflation factor, `1 - R_i^2`.
/// The least goes, and `R^-1` follows, again and again, so that of two equal channels one stays.
pub(super) struct Correlation;

/// What is added to the diagonal of correlations.
const DAMPING: f64 = 1e-3;

impl Criterion for Correlation {
    fn name(&self) -> &'static str {
        "correlation"
    }

    fn summary(&self) -> &'static str {
        "the share of a channel's variance that the others of its layer that are left do not give (1 - R^2 of least squares); channels \
         alone"
    }

    fn needs(&self) -> Needs {
        Needs::Inputs
    }

    fn judges(&self) -> Judges {
        Judges::Channels
    }

    fn of_units(&self, evidence: &Evidence<'_>, groups: &[&Group]) -> Result<Vec<Vec<f64>>, PruneError> {
        let given = given(evidence, groups);
        let mut sums: Vec<Correlations> = Vec::with_capacity(given.len());
        visit_data(evidence, self.name(), &given, &mut |given, rows, columns| {
            if sums
                .last()
                .is_none_or(|sums| sums.value != given.value || sums.group != given.group)
            {
                sums.push(Correlations::new(given, rows.len() / columns.max(1)));
            }
            if let Some(sums) = sums.last_mut() {
                sums.add(rows, columns);
            }
            Ok(())
        })?;
        let of_group = |(place, group): (usize, &&Group)| {
            let size = group.units.len();
            let parts: Vec<Vec<f64>> = (sums.iter().filter(|sums| sums.group == place))
                .map(Correlations::finished)
                .collect();
            if parts.is_empty() {
                return vec![f64::INFINITY; size];
            }
            let mut mean = vec![0.0; size * size];
            for part in &parts {
                (mean.iter_mut().zip(part)).for_each(|(sum, part)| *sum += part / parts.len() as f64);
            }
            eliminated(mean, size).unwrap_or_else(|| vec![f64::NAN; size])
        };
        Ok(groups.iter().enumerate().map(of_group).collect())
    }
}

/// What products read of each group; where none reads it directly, the last that its channels give.
fn given(evidence: &Evidence<'_>, groups: &[&Group]) -> Vec<Given> {
    let mut given = data(evidence.graph, groups);
    let is_read = |given: &Given| evidence.weights.iter().any(|weight| weight.input == given.value);
    let mut last = vec![None; groups.len()];
    let mut read = vec![false; groups.len()];
    for given in &given {
        last[given.group] = Some(given.value);
        read[given.group] |= is_read(given);
    }
    given.retain(|given| match read[given.group] {
        true => is_read(given),
        false => last[given.group] == Some(given.value),
    });
    given
}

/// Sums over what the units of a group give in one place.
struct Correlations {
    group: usize,
    value: bantam_graph::ValueId,
    count: usize,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Correlations {
    fn new(given: &Given, size: usize) -> Correlations {
        Correlations {
            group: given.group,
            value: given.value,
            count: 0,
            first: vec![0.0; size],
            second: vec![0.0; size * size],
        }
    }

    /// `rows` are `[units, columns]`.
    fn add(&mut self, rows: &[f32], columns: usize) {
        let size = self.first.len();
        let product = Product {
            rows: size,
            columns: size,
            depth: columns,
            a_strides: [columns, 1],
            b_strides: [1, columns],
        };
        let mut products = vec![0.0; size * size];
        multiply_batch(
            &product,
            &[[0, 0]],
            [rows, rows],
            1.0,
            Onto::Nothing,
            &mut products,
        );
        (self.second.iter_mut().zip(products)).for_each(|(sum, value)| *sum += f64::from(value));
        for (sum, row) in self.first.iter_mut().zip(rows.chunks_exact(columns.max(1))) {
            *sum += row.iter().map(|value| f64::from(*value)).sum::<f64>();
        }
        self.count += columns;
    }

    /// Correlations, `[units, units]`; those of units that never change are zero, with themselves too.
    fn finished(&self) -> Vec<f64> {
        let (size, count) = (self.first.len(), self.count.max(1) as f64);
        let covariance = |i: usize, j: usize| {
            self.second[i * size + j] / count - self.first[i] / count * self.first[j] / count
        };
        let deviation = |i: usize| {
            let square = self.second[i * size + i] / count;
            // Below this, rounding is all that there is.
            let variance = covariance(i, i);
            if variance > 1e-6 * square {
                variance.sqrt()
            } else {
                f64::INFINITY
            }
        };
        let deviations: Vec<f64> = (0..size).map(deviation).collect();
        let correlation = |at: usize| {
            let (i, j) = (at / size, at % size);
            covariance(i, j) / (deviations[i] * deviations[j])
        };
        (0..size * size).map(correlation).collect()
    }
}

/// By unit, the share of its variance that is lost when it goes, in the order in which the least goes; never less than that of those before.
/// `None` if the correlations are no finite numbers.
fn eliminated(mut correlations: Vec<f64>, size: usize) -> Option<Vec<f64>> {
    let still: Vec<bool> = (0..size)
        .map(|index| correlations[index * size + index] == 0.0)
        .collect();
    for (index, still) in still.iter().enumerate() {
        correlations[index * size + index] += if *still { 1.0 } else { DAMPING };
    }
    if !cholesky(&mut correlations, size) {
        return None;
    }
    let mut inverse = vec![0.0; size * size];
    (0..size).for_each(|index| inverse[index * size + index] = 1.0);
    cholesky_solve(&correlations, size, &mut inverse);
    let mut saliency: Vec<f64> = still
        .iter()
        .map(|still| if *still { 0.0 } else { f64::NAN })
        .collect();
    let mut largest = 0f64;
    let mut left: Vec<usize> = (0..size).filter(|index| !still[*index]).collect();
    while !left.is_empty() {
        let share = |index: &usize| 1.0 / inverse[index * size + index];
        let place = (0..left.len()).min_by(|a, b| share(&left[*a]).total_cmp(&share(&left[*b])))?;
        let goes = left.remove(place);
        largest = largest.max(share(&goes));
        saliency[goes] = largest;
        let column: Vec<f64> = (0..size).map(|index| inverse[index * size + goes]).collect();
        for &row in &left {
            let factor = column[row] / column[goes];
            for &other in &left {
                inverse[row * size + other] -= factor * column[other];
            }
        }
    }
    saliency.iter().all(|share| share.is_finite()).then_some(saliency)
}

#[cfg(test)]
mod tests {
    use super::eliminated;

    #[test]
    fn of_two_equal_units_one_goes_first_and_the_other_stays() {
        // The first and the last are equal, the second is alone, the third never changes.
        let mut correlations = vec![0.0; 16];
        for (i, j) in [(0, 0), (1, 1), (3, 3), (0, 3), (3, 0)] {
            correlations[i * 4 + j] = 1.0;
        }
        let saliency = eliminated(correlations, 4).unwrap();
        assert!(saliency[0] < 0.01 && saliency[2] == 0.0, "{saliency:?}");
        assert!(saliency[1] > 0.99 && saliency[3] > 0.99, "{saliency:?}");
    }
}
