//! The optimal brain quantizer (Frantar and Alistarh 2022, algorithm 3): in each row, the weight whose rounding the others can make up for
//! best is rounded next.

use bantam_graph::Graph;
use bantam_kernels::cholesky::{cholesky, cholesky_solve};

use super::LayerwiseError;
use super::layers::{Layer, rows_of};
use super::rounding::{Levels, Metric};

/// The longest rows: work grows with the third power.
pub(super) const LONGEST: usize = 1152;

/// That no row is too long.
///
/// # Errors
/// When one is, with its layer.
pub(super) fn check(graph: &Graph, layers: &[Layer]) -> Result<(), LayerwiseError> {
    for layer in layers {
        if let Some((_, depth)) = rows_of(graph, layer).filter(|(_, depth)| *depth > LONGEST) {
            return Err(LayerwiseError::LongRows {
                layer: layer.name.clone(),
                depth,
                longest: LONGEST,
            });
        }
    }
    Ok(())
}

/// The inverse of the metric's second moments, in its order; `None` if they have none.
pub(super) fn inverse(metric: &Metric) -> Option<Vec<f64>> {
    let depth = metric.depth;
    let mut factor: Vec<f64> = metric.second.iter().copied().map(f64::from).collect();
    if !cholesky(&mut factor, depth) {
        return None;
    }
    let mut inverse = vec![0.0; depth * depth];
    (0..depth).for_each(|index| inverse[index * depth + index] = 1.0);
    cholesky_solve(&factor, depth, &mut inverse);
    Some(inverse)
}

/// The levels of a row, in the order of the metric that the inverse is of.
pub(super) fn greedy(inverse: &[f64], row: &[f32], to: &impl Levels) -> Vec<f32> {
    let mut open = Open {
        inverse: inverse.to_vec(),
        depth: row.len(),
        weights: row.iter().copied().map(f64::from).collect(),
        places: (0..row.len()).collect(),
    };
    let mut levels = vec![0.0; row.len()];
    while let Some(next) = open.next(to) {
        let place = open.places[next];
        let level = to.level(place, open.weights[next] as f32);
        levels[place] = level;
        open.remove(next, f64::from(level * to.scale(place)));
    }
    levels
}

/// The weights that are not rounded yet, and the inverse of their second moments, which fill the first rows and columns.
struct Open {
    inverse: Vec<f64>,
    depth: usize,
    weights: Vec<f64>,
    /// Where each of them is in the order of the metric.
    places: Vec<usize>,
}

impl Open {
    /// Which weight is rounded next: the one of least loss, or one that the others have pushed beyond the last level, which
    /// would only go on from there (section 5 of the paper).
    fn next(&self, to: &impl Levels) -> Option<usize> {
        let loss = |index: usize| {
            let (place, weight) = (self.places[index], self.weights[index]);
            let scale = f64::from(to.scale(place));
            let error = weight - f64::from(to.level(place, weight as f32)) * scale;
            let beyond = error.abs() > scale * 0.5001;
            (!beyond, error * error / self.inverse[index * self.depth + index])
        };
        let losses = (0..self.places.len()).map(|index| (loss(index), index));
        let least = losses.min_by(|(a, _), (b, _)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        least.map(|(_, index)| index)
    }

    /// Rounds a weight: the others move to where they make up for it, and it leaves the inverse.
    fn remove(&mut self, index: usize, rounded: f64) {
        let last = self.places.len() - 1;
        self.swap(index, last);
        let depth = self.depth;
        let column: Vec<f64> = (0..last).map(|row| self.inverse[row * depth + last]).collect();
        let pivot = self.inverse[last * depth + last];
        let factor = (self.weights[last] - rounded) / pivot;
        self.weights.truncate(last);
        self.places.truncate(last);
        for (row, of_row) in column.iter().enumerate() {
            self.weights[row] -= factor * of_row;
            let scale = of_row / pivot;
            let line = &mut self.inverse[row * depth..][..last];
            line.iter_mut()
                .zip(&column)
                .for_each(|(value, other)| *value -= scale * other);
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        self.weights.swap(a, b);
        self.places.swap(a, b);
        for other in 0..=b {
            self.inverse.swap(a * self.depth + other, b * self.depth + other);
        }
        for other in 0..=b {
            self.inverse.swap(other * self.depth + a, other * self.depth + b);
        }
    }
}

#[cfg(test)]
mod tests {
    use bantam_tensor::{SplitMix64, trained_format_by_name};

    use super::*;
    use crate::quantize::aware::Grid;
    use crate::quantize::layerwise::moments::Moments;
    use crate::quantize::layerwise::rounding::{Even, Rounded};

    /// Of inputs that depend on each other, or do not.
    fn metric(depth: usize, random: &mut SplitMix64, mixed: f32) -> Metric {
        let rows: Vec<f32> = (0..4 * depth * depth).map(|_| random.unit() - 0.5).collect();
        let rows: Vec<f32> = (rows.chunks_exact(depth))
            .flat_map(|row| {
                (0..depth)
                    .map(|at| row[at] + mixed * row[(at + 1) % depth])
                    .collect::<Vec<_>>()
            })
            .collect();
        let product = |index: usize| {
            let pairs = rows
                .chunks_exact(depth)
                .map(|row| row[index / depth] * row[index % depth]);
            f64::from(pairs.sum::<f32>())
        };
        let mut second: Vec<f64> = (0..depth * depth).map(product).collect();
        if mixed == 0.0 {
            second = (0..depth * depth)
                .map(|index| f64::from(u8::from(index % (depth + 1) == 0)))
                .collect();
        }
        let mean = vec![0.0; depth];
        let moments = Moments {
            depth,
            float_mean: mean.clone(),
            mean,
            cross: second.clone(),
            second,
        };
        Metric::of(&moments, 0.01).unwrap()
    }

    #[test]
    fn errors_are_made_up_for() {
        let grid = Grid::symmetric(trained_format_by_name("int3").unwrap());
        let to = Even {
            grid: &grid,
            scale: 0.3,
        };
        let mut random = SplitMix64::new(1);
        for (mixed, share) in [(0.0, 1.0), (0.9, 0.75)] {
            let (mut found, mut nearest) = (0.0, 0.0);
            for _ in 0..20 {
                let metric = metric(16, &mut random, mixed);
                let row: Vec<f32> = (0..16).map(|_| 2.0 * random.unit() - 1.0).collect();
                let error = |levels: Vec<f32>| metric.error(&row, &to, &Rounded { levels, error: 0.0 });
                found += error(greedy(&inverse(&metric).unwrap(), &row, &to));
                nearest += error(row.iter().map(|x| to.level(0, *x)).collect());
            }
            assert!(
                found <= share * nearest * 1.0001,
                "{found}, {nearest} by nearest codes"
            );
        }
    }
}
