//! Rounds the weights of one output channel so that its outputs, not its weights, change least.
//!
//! With `H` the second moments of the inputs and `H = L L^T`, the squared error of the outputs is `|L^T (w - q)|^2`. Going from the
//! last weight to the first, each is rounded after what the errors of those before ask of it: Babai's nearest plane, which is
//! GPTQ (Frantar et al. 2023) without its inverse (Chen et al. 2025, "The geometry of LLM quantization"). [`descend`] then changes one code at
//! a time for as long as that helps.

use bantam_kernels::cholesky::cholesky;
use bantam_kernels::matmul::{Onto, Product, multiply_batch};

use super::moments::Moments;
use crate::quantize::aware::Grid;

/// So often the damping is raised tenfold until the factorization exists.
const ATTEMPTS: usize = 8;

/// The numbers that a weight may become: levels times a scale.
pub(in crate::quantize) trait Levels {
    /// The scale of the weight at this place in the order of rounding.
    fn scale(&self, place: usize) -> f32;
    /// The level nearest to `x` there.
    fn level(&self, place: usize, x: f32) -> f32;
}

/// One scale for all.
pub(super) struct Even<'a> {
    pub(super) grid: &'a Grid,
    pub(super) scale: f32,
}

impl Levels for Even<'_> {
    fn scale(&self, _: usize) -> f32 {
        self.scale
    }

    fn level(&self, _: usize, x: f32) -> f32 {
        self.grid.round(x, self.scale) / self.scale
    }
}

/// The error that a layer makes for the errors of its weights.
pub(in crate::quantize) struct Metric {
    pub(super) depth: usize,
    /// `H`, with what was added to its diagonal, in the order of rounding.
    pub(super) second: Vec<f32>,
    /// `L^T`.
    pub(super) factor: Vec<f32>,
    /// For each place in the order of rounding, from last to first, the weight that is there.
    pub(in crate::quantize) order: Vec<usize>,
}

/// A rounded channel.
#[derive(Clone, Debug)]
pub(in crate::quantize) struct Rounded {
    /// Codes less the zero point, in the order of the metric.
    pub(in crate::quantize) levels: Vec<f32>,
    /// Squared error of the outputs.
    pub(in crate::quantize) error: f64,
}

impl Metric {
    /// From second moments, whose diagonal is raised by this share of its mean, or more where they cannot be factored
    /// otherwise; `None` if they never can. The weights with the largest inputs come first.
    pub(in crate::quantize) fn of(moments: &Moments, damping: f64) -> Option<Metric> {
        let depth = moments.depth;
        let diagonal = moments.diagonal();
        let mean = diagonal.iter().sum::<f64>() / depth.max(1) as f64;
        if !mean.is_finite() {
            return None;
        }
        // In units of the mean, so that neither tiny nor huge inputs leave the range of f32; inputs that never vary weigh all
        // weights alike.
        let unit = if mean > f64::MIN_POSITIVE { mean } else { 1.0 };
        let mut order: Vec<usize> = (0..depth).collect();
        order.sort_by(|a, b| diagonal[*a].total_cmp(&diagonal[*b]));
        let element = |row: usize, column: usize| moments.second[row * depth + column] / unit;
        let ordered = (order.iter()).flat_map(|row| order.iter().map(move |column| element(*row, *column)));
        let ordered: Vec<f64> = ordered.collect();
        let mut damping = damping;
        for _ in 0..ATTEMPTS {
            let mut damped = ordered.clone();
            (0..depth).for_each(|index| damped[index * depth + index] += damping);
            let mut factor = damped.clone();
            if cholesky(&mut factor, depth) {
                return Some(Metric {
                    depth,
                    second: damped.iter().map(|value| *value as f32).collect(),
                    factor: transposed(&factor, depth),
                    order,
                });
            }
            damping *= 10.0;
        }
        None
    }

    /// The numbers in the order of rounding.
    pub(in crate::quantize) fn ordered(&self, row: &[f32]) -> Vec<f32> {
        self.order.iter().map(|index| row[*index]).collect()
    }

    /// Numbers in the order of rounding, as the weight has them.
    pub(in crate::quantize) fn restored(&self, ordered: &[f32]) -> Vec<f32> {
        let mut row = vec![0.0; ordered.len()];
        self.order
            .iter()
            .zip(ordered)
            .for_each(|(index, value)| row[*index] = *value);
        row
    }

    /// Rounds one weight after another. `row` is in the order of the metric.
    pub(in crate::quantize) fn round(&self, row: &[f32], to: &impl Levels) -> Rounded {
        let depth = self.depth;
        let (mut errors, mut levels) = (vec![0.0; depth], vec![0.0; depth]);
        let mut error = 0.0;
        for index in (0..depth).rev() {
            let factor = &self.factor[index * depth..][..depth];
            let asked = dot(&factor[index + 1..], &errors[index + 1..]) / factor[index];
            let level = to.level(index, row[index] + asked);
            levels[index] = level;
            errors[index] = row[index] - level * to.scale(index);
            error += f64::from(factor[index] * (errors[index] + asked)).powi(2);
        }
        Rounded { levels, error }
    }

    /// Changes codes one at a time, and the scale where `scales`, as long as the error shrinks.
    pub(super) fn descend(
        &self,
        row: &[f32],
        to: &mut Even<'_>,
        rounded: &mut Rounded,
        (rounds, scales): (usize, bool),
    ) {
        for _ in 0..rounds {
            let changed = self.sweep(row, to, rounded);
            let rescaled = scales && self.rescale(row, to, rounded);
            if !changed && !rescaled {
                break;
            }
        }
        rounded.error = self.error(row, to, rounded);
    }

    /// What is left of a row.
    pub(in crate::quantize) fn errors(row: &[f32], to: &impl Levels, rounded: &Rounded) -> Vec<f32> {
        let pairs = row.iter().zip(&rounded.levels).enumerate();
        pairs.map(|(place, (w, q))| w - q * to.scale(place)).collect()
    }

    /// Moves each code to where it is best with all others as they are; whether any moved.
    pub(in crate::quantize) fn sweep(&self, row: &[f32], to: &impl Levels, rounded: &mut Rounded) -> bool {
        let mut slopes = self.times(&Metric::errors(row, to, rounded));
        let mut changed = false;
        for index in 0..self.depth {
            let scale = to.scale(index);
            let column = &self.second[index * self.depth..][..self.depth];
            let best = rounded.levels[index] * scale + slopes[index] / column[index];
            let level = to.level(index, best);
            let step = (level - rounded.levels[index]) * scale;
            // What the error changes by; ties stay.
            if step != 0.0 && step * step * column[index] < 2.0 * step * slopes[index] * 0.9999 {
                rounded.levels[index] = level;
                slopes
                    .iter_mut()
                    .zip(column)
                    .for_each(|(slope, h)| *slope -= h * step);
                changed = true;
            }
        }
        changed
    }

    /// The scale of least error for the codes as they are.
    fn rescale(&self, row: &[f32], to: &mut Even<'_>, rounded: &Rounded) -> bool {
        let weighted = self.times(&rounded.levels);
        let (above, below) = (dot(&weighted, row), dot(&weighted, &rounded.levels));
        let scale = above / below;
        let useful = scale.is_finite() && scale > 0.0 && (scale / to.scale - 1.0).abs() > 1e-4;
        if useful {
            to.scale = scale;
        }
        useful
    }

    pub(in crate::quantize) fn error(&self, row: &[f32], to: &impl Levels, rounded: &Rounded) -> f64 {
        let errors = Metric::errors(row, to, rounded);
        f64::from(dot(&self.times(&errors), &errors))
    }

    /// The errors of each row times `H`.
    pub(super) fn slopes(&self, errors: &[f32], slopes: &mut [f32]) {
        let depth = self.depth;
        let product = Product {
            rows: errors.len() / depth.max(1),
            columns: depth,
            depth,
            a_strides: [depth, 1],
            b_strides: [depth, 1],
        };
        let second = &self.second;
        multiply_batch(&product, &[[0, 0]], [errors, second], 1.0, Onto::Nothing, slopes);
    }

    /// `H` times a column.
    pub(in crate::quantize) fn times(&self, column: &[f32]) -> Vec<f32> {
        let rows = self.second.chunks_exact(self.depth.max(1));
        rows.map(|row| dot(row, column)).collect()
    }
}

/// `L^T` of the lower factor.
fn transposed(factor: &[f64], depth: usize) -> Vec<f32> {
    let element = |index: usize| factor[index % depth * depth + index / depth] as f32;
    (0..depth * depth).map(element).collect()
}

/// Sum of products, in eight partial sums.
pub(in crate::quantize) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = (a_chunks.remainder().iter().zip(b_chunks.remainder()))
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam_kernels::cholesky::cholesky;
    use bantam_tensor::{SplitMix64, trained_format_by_name};

    fn noise(count: usize, seed: u64) -> Vec<f32> {
        let mut generator = SplitMix64::new(seed);
        let mut number = || (generator.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..count).map(|_| number()).collect()
    }

    /// Moments of inputs that depend on each other.
    fn metric(depth: usize, seed: u64) -> Metric {
        let samples: Vec<f32> = noise(depth * (depth + 3), seed);
        let mixed: Vec<f64> = (samples.chunks_exact(depth))
            .flat_map(|row| {
                (0..depth)
                    .map(|i| f64::from(row[i] + 0.7 * row[(i + 1) % depth] + 0.5 * row[0]))
                    .collect::<Vec<_>>()
            })
            .collect();
        let entry = |i: usize, j: usize| mixed.chunks_exact(depth).map(|row| row[i] * row[j]).sum::<f64>();
        let mut factor: Vec<f64> = (0..depth * depth)
            .map(|index| entry(index / depth, index % depth))
            .collect();
        let second = factor.iter().map(|value| *value as f32).collect();
        assert!(cholesky(&mut factor, depth));
        let transposed = |index: usize| factor[index % depth * depth + index / depth] as f32;
        Metric {
            depth,
            second,
            factor: (0..depth * depth).map(transposed).collect(),
            order: (0..depth).rev().collect(),
        }
    }

    fn grid(name: &str) -> Grid {
        Grid::symmetric(trained_format_by_name(name).unwrap())
    }

    fn nearest(metric: &Metric, row: &[f32], to: &Even<'_>) -> Rounded {
        let levels = row.iter().map(|w| to.level(0, *w)).collect();
        let mut rounded = Rounded { levels, error: 0.0 };
        rounded.error = metric.error(row, to, &rounded);
        rounded
    }

    #[test]
    fn each_step_makes_the_error_smaller() {
        for (format, scale) in [("int2", 0.6), ("int3", 0.3), ("int4", 0.15)] {
            let (mut sums, count) = ([0.0; 4], 20);
            for seed in 0..count {
                let (metric, row) = (metric(24, seed), noise(24, seed + 100));
                let grid = grid(format);
                let mut to = Even { grid: &grid, scale };
                let plain = nearest(&metric, &row, &to);
                let rounded = metric.round(&row, &to);
                let told = metric.error(&row, &to, &rounded);
                assert!(
                    (rounded.error / told - 1.0).abs() < 1e-3,
                    "{} is told, {told} is it",
                    rounded.error
                );
                let (mut better, mut best) = (rounded.clone(), rounded.clone());
                metric.descend(&row, &mut to, &mut better, (8, false));
                assert_eq!(to.scale, scale);
                metric.descend(&row, &mut to, &mut best, (8, true));
                assert!(better.error <= rounded.error * 1.0001, "{format}: codes");
                assert!(best.error <= rounded.error * 1.0001, "{format}: codes and scales");
                let errors = [plain.error, rounded.error, better.error, best.error];
                sums.iter_mut().zip(errors).for_each(|(sum, error)| *sum += error);
            }
            assert!(sums[1] < 0.6 * sums[0], "{format}: {sums:?}");
            assert!(
                sums[2] < 0.98 * sums[1] && sums[3] < sums[2],
                "{format}: {sums:?}"
            );
        }
    }

    /// Of all codes of four weights, those that are better than what is found are not much better.
    #[test]
    fn near_the_best_of_all_codes() {
        let (grid, scale) = (grid("int2"), 0.6);
        let (mut found, mut optimum) = (0.0, 0.0);
        for seed in 0..30 {
            let (metric, row) = (metric(4, seed), noise(4, seed + 7));
            let mut to = Even { grid: &grid, scale };
            let mut rounded = metric.round(&row, &to);
            metric.descend(&row, &mut to, &mut rounded, (8, false));
            let all = (0..256).map(|index| {
                let levels = (0..4)
                    .map(|place| (index >> (2 * place) & 3) as f32 - 1.5)
                    .collect();
                metric.error(&row, &to, &Rounded { levels, error: 0.0 })
            });
            let best = all.fold(f64::INFINITY, f64::min);
            assert!(rounded.error >= best * 0.999);
            (found, optimum) = (found + rounded.error, optimum + best);
        }
        assert!(found < 1.35 * optimum, "{found} against {optimum}");
    }

    #[test]
    fn the_order_is_undone() {
        let metric = metric(5, 1);
        let row = noise(5, 2);
        assert_ne!(metric.ordered(&row), row);
        assert_eq!(metric.restored(&metric.ordered(&row)), row);
    }
}
