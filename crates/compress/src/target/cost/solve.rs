//! Least squares with coefficients that are not below zero.

use bantam_kernels::cholesky::{cholesky, cholesky_solve};

/// The coefficients, none below zero, with the least squared error of `rows * x` against `targets`: of all choices of coefficients that are
/// not zero the best whose solution has none below. There are few columns, so all choices are tried.
///
/// # Panics
/// When rows differ in length, or there are not as many as targets.
pub(super) fn non_negative(rows: &[Vec<f64>], targets: &[f64]) -> Vec<f64> {
    assert_eq!(rows.len(), targets.len(), "a target for each row");
    let columns = rows.first().map_or(0, Vec::len);
    // Columns of length 1: they differ by many powers of ten.
    let lengths: Vec<f64> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].powi(2)).sum::<f64>().sqrt())
        .collect();
    let scaled: Vec<Vec<f64>> = (rows.iter())
        .map(|row| {
            row.iter()
                .zip(&lengths)
                .map(|(x, length)| x / length.max(f64::MIN_POSITIVE))
                .collect()
        })
        .collect();
    let mut best = (targets.iter().map(|y| y * y).sum::<f64>(), vec![0.0; columns]);
    for chosen in 1usize..1 << columns {
        let places: Vec<usize> = (0..columns)
            .filter(|column| chosen >> column & 1 == 1 && lengths[*column] > 0.0)
            .collect();
        let Some(found) = normal(&scaled, targets, &places).filter(|found| found.iter().all(|x| *x >= 0.0))
        else {
            continue;
        };
        let mut all = vec![0.0; columns];
        places.iter().zip(found).for_each(|(place, x)| all[*place] = x);
        let error = squared_error(&scaled, targets, &all);
        if error < best.0 {
            best = (error, all);
        }
    }
    let unscaled = best
        .1
        .iter()
        .zip(&lengths)
        .map(|(x, length)| x / length.max(f64::MIN_POSITIVE));
    unscaled.collect()
}

fn squared_error(rows: &[Vec<f64>], targets: &[f64], x: &[f64]) -> f64 {
    let predicted = rows
        .iter()
        .map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>());
    predicted.zip(targets).map(|(p, y)| (p - y).powi(2)).sum()
}

/// Least length of what a column has beyond the columns before it, of 1.
const INDEPENDENT: f64 = 1e-5;

/// The solution of the normal equations of some columns; `None` where they depend on each other.
fn normal(rows: &[Vec<f64>], targets: &[f64], places: &[usize]) -> Option<Vec<f64>> {
    let size = places.len();
    let sum = |of: &dyn Fn(usize) -> f64| (0..rows.len()).map(of).sum::<f64>();
    let mut gram: Vec<f64> = (places.iter())
        .flat_map(|a| places.iter().map(move |b| (a, b)))
        .map(|(a, b)| sum(&|row| rows[row][*a] * rows[row][*b]))
        .collect();
    let right = places.iter().map(|a| sum(&|row| rows[row][*a] * targets[row]));
    let mut right: Vec<f64> = right.collect();
    let definite = cholesky(&mut gram, size);
    let independent = (0..size).all(|place| gram[place * size + place] > INDEPENDENT);
    if !definite || !independent {
        return None;
    }
    cholesky_solve(&gram, size, &mut right);
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_and_bounded_solutions() {
        let rows = vec![vec![1.0, 1e9], vec![2.0, 1e9], vec![3.0, 4e9]];
        let solve = |x: [f64; 2]| {
            let targets: Vec<f64> = rows.iter().map(|row| row[0] * x[0] + row[1] * x[1]).collect();
            non_negative(&rows, &targets)
        };
        let found = solve([0.5, 2e-9]);
        assert!(
            (found[0] - 0.5).abs() < 1e-9 && (found[1] / 2e-9 - 1.0).abs() < 1e-9,
            "{found:?}"
        );
        // Without the bound the second would be -1e-9; then the best of the first alone.
        let targets: Vec<f64> = rows.iter().map(|row| 5.0 * row[0] - 1e-9 * row[1]).collect();
        let found = non_negative(&rows, &targets);
        let alone = rows.iter().zip(&targets).map(|(row, y)| row[0] * y).sum::<f64>() / 14.0;
        assert!((found[0] - alone).abs() < 1e-9, "{found:?} {alone}");
        assert_eq!(found[1], 0.0);
        // A column of zeros stays zero.
        assert_eq!(non_negative(&[vec![0.0, 2.0]], &[4.0]), [0.0, 2.0]);
    }
}
