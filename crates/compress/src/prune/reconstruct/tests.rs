//! Reconstructions against exhaustive search and the equations of the optimum.

use bantam_tensor::SplitMix64;

use super::*;
use crate::prune::structure::pattern_groups;
use inverse::DAMPING;

/// Sizes of inputs, in turn.
const SIZES: [f64; 3] = [0.3, 1.0, 2.0];

/// Inputs of different sizes that depend on each other: `[count, depth]`.
fn inputs(count: usize, depth: usize, seed: u64) -> Vec<f64> {
    let mut random = SplitMix64::new(seed);
    let noise: Vec<f64> = (0..count * depth)
        .map(|_| f64::from(random.unit()) - 0.4)
        .collect();
    let mixed = |row: &[f64]| {
        (0..depth)
            .map(|i| (row[i] + 0.8 * row[(i + 1) % depth] + 0.5 * row[0]) * SIZES[i % 3])
            .collect::<Vec<_>>()
    };
    noise.chunks_exact(depth).flat_map(mixed).collect()
}

fn products(left: &[f64], right: &[f64], depth: usize) -> Vec<f64> {
    let count = (left.len() / depth) as f64;
    let entry = |i: usize, j: usize| {
        let rows = left.chunks_exact(depth).zip(right.chunks_exact(depth));
        rows.map(|(left, right)| left[i] * right[j]).sum::<f64>() / count
    };
    (0..depth * depth)
        .map(|index| entry(index / depth, index % depth))
        .collect()
}

/// Moments of inputs `x` in the pruned network and `y` in that before.
fn moments(x: &[f64], y: &[f64], depth: usize) -> Moments {
    Moments {
        depth,
        mean: vec![0.0; depth],
        float_mean: vec![0.0; depth],
        second: products(x, x, depth),
        cross: products(y, x, depth),
    }
}

fn row(depth: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    (0..depth).map(|_| random.unit() * 2.0 - 1.0).collect()
}

/// Solves `a x = b` by elimination.
fn eliminate(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let size = b.len();
    for pivot in 0..size {
        for row in pivot + 1..size {
            let factor = a[row][pivot] / a[pivot][pivot];
            let above = a[pivot].clone();
            a[row]
                .iter_mut()
                .zip(&above)
                .for_each(|(value, above)| *value -= factor * above);
            b[row] -= factor * b[pivot];
        }
    }
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|column| a[row][column] * b[column]).sum();
        b[row] = (b[row] - known) / a[row][row];
    }
    b
}

/// Second moments as the reconstructions that choose damp them.
fn damped(moments: &Moments) -> Vec<f64> {
    let (mut second, depth) = (moments.second.clone(), moments.depth);
    let mean = moments.diagonal().iter().sum::<f64>() / depth as f64;
    (0..depth).for_each(|index| second[index * depth + index] += DAMPING * mean);
    second
}

/// The least `(w - v) H (w - v)` over `v` that are zero outside of `kept`.
fn least_error(row: &[f32], second: &[f64], kept: &[bool]) -> f64 {
    let depth = row.len();
    let support: Vec<usize> = (0..depth).filter(|index| kept[*index]).collect();
    let weight = |index: usize| f64::from(row[index]);
    let times = |index: usize| {
        (0..depth)
            .map(|k| second[index * depth + k] * weight(k))
            .sum::<f64>()
    };
    let matrix = support
        .iter()
        .map(|i| support.iter().map(|j| second[i * depth + j]).collect());
    let solved = eliminate(
        matrix.collect(),
        support.iter().map(|index| times(*index)).collect(),
    );
    let mut left: Vec<f64> = (0..depth).map(weight).collect();
    support
        .iter()
        .zip(solved)
        .for_each(|(index, value)| left[*index] -= value);
    (0..depth * depth)
        .map(|index| left[index / depth] * second[index] * left[index % depth])
        .sum()
}

fn job<'a>(values: &'a [f32], kept: &'a [bool], moments: &'a Moments, structure: Structure) -> Rows<'a> {
    Rows {
        values,
        kept,
        depth: moments.depth,
        places: 1,
        structure,
        moments,
    }
}

#[test]
fn least_squares_is_the_optimum_for_the_mask() {
    let depth = 12;
    let (x, y) = (inputs(200, depth, 1), inputs(200, depth, 1));
    // The inputs of the pruned network have lost something.
    let x: Vec<f64> = x
        .iter()
        .zip(inputs(200, depth, 9))
        .map(|(x, noise)| 0.8 * x + 0.1 * noise)
        .collect();
    let moments = moments(&x, &y, depth);
    let row = row(depth, 3);
    let kept: Vec<bool> = (0..depth).map(|index| index % 3 != 1).collect();
    let solved = least_squares::solved(&row, &kept, &moments).unwrap();
    // The error of the outputs over all samples, and what holds weights near where they were.
    let mean = moments.diagonal().iter().sum::<f64>() / depth as f64;
    let objective = |v: &[f64]| {
        let outputs = x.chunks_exact(depth).zip(y.chunks_exact(depth));
        let error = |(x, y): (&[f64], &[f64])| {
            let sum = (0..depth)
                .map(|k| f64::from(row[k]) * y[k] - v[k] * x[k])
                .sum::<f64>();
            sum * sum
        };
        let moved = (0..depth)
            .filter(|k| kept[*k])
            .map(|k| (v[k] - f64::from(row[k])).powi(2))
            .sum::<f64>();
        outputs.map(error).sum::<f64>() / 200.0 + 1e-3 * mean * moved
    };
    let best: Vec<f64> = solved.iter().map(|value| f64::from(*value)).collect();
    for (index, kept) in kept.iter().enumerate() {
        if !kept {
            assert_eq!(solved[index], 0.0);
            continue;
        }
        for step in [-1e-2, 1e-2] {
            let mut other = best.clone();
            other[index] += step;
            assert!(objective(&other) > objective(&best), "weight {index}");
        }
        let slope = |step: f64| {
            let mut other = best.clone();
            other[index] += step;
            objective(&other)
        };
        let slope = (slope(1e-3) - slope(-1e-3)) / 2e-3;
        assert!(slope.abs() < 1e-5, "weight {index}: slope {slope}");
    }
    let masked: Vec<f64> = row
        .iter()
        .zip(&kept)
        .map(|(w, kept)| if *kept { f64::from(*w) } else { 0.0 })
        .collect();
    assert!(objective(&best) < 0.7 * objective(&masked));
}

#[test]
fn greedy_tells_the_exact_errors() {
    let depth = 9;
    let x = inputs(60, depth, 5);
    let moments = moments(&x, &x, depth);
    let (row, kept) = (row(depth, 8), vec![true; depth]);
    let second = damped(&moments);
    let inverse = Inverse::of(&moments).unwrap();
    let trace = greedy::trace(
        &row,
        &inverse,
        &job(&row, &kept, &moments, Structure::Unstructured),
    );
    assert_eq!(trace.len(), depth);
    let (mut kept, mut total) = (vec![true; depth], 0.0);
    for (index, error) in trace {
        // No other weight would have been cheaper.
        let without = |other: usize| {
            let mut kept = kept.clone();
            kept[other] = false;
            least_error(&row, &second, &kept)
        };
        let cheapest = (0..depth)
            .filter(|other| kept[*other])
            .map(without)
            .fold(f64::INFINITY, f64::min);
        kept[index] = false;
        total += error;
        let exact = least_error(&row, &second, &kept);
        assert!((total / exact - 1.0).abs() < 1e-6, "told {total}, it is {exact}");
        assert!(
            (exact / cheapest - 1.0).abs() < 1e-6,
            "{exact} where {cheapest} would do"
        );
    }
}

/// The error of the outputs with the mask that a reconstruction finds, other weights making up for it.
fn error_of(name: &str, row: &[f32], moments: &Moments, structure: Structure) -> f64 {
    let depth = row.len();
    let mut kept = vec![true; depth];
    let mut order: Vec<usize> = (0..depth).collect();
    order.sort_by(|a, b| row[*a].abs().total_cmp(&row[*b].abs()));
    order[..depth / 2].iter().for_each(|index| kept[*index] = false);
    let solved = reconstruction_by_name(name)
        .unwrap()
        .solve(&job(row, &kept, moments, structure))
        .unwrap();
    assert_eq!(
        solved.kept.iter().filter(|kept| **kept).count(),
        depth / 2,
        "{name}"
    );
    assert!(
        solved
            .values
            .iter()
            .zip(&solved.kept)
            .all(|(value, kept)| *kept || *value == 0.0)
    );
    least_error(row, &damped(moments), &solved.kept)
}

#[test]
fn chosen_masks_are_better_than_the_smallest_weights_and_near_the_best() {
    let depth = 8;
    let (mut sums, mut optimum) = ([0.0; 3], 0.0);
    for seed in 0..25 {
        let x = inputs(40, depth, seed);
        let (moments, row) = (moments(&x, &x, depth), row(depth, seed + 1000));
        for (sum, name) in sums.iter_mut().zip(["least-squares", "sparsegpt", "obs"]) {
            *sum += error_of(name, &row, &moments, Structure::Unstructured);
        }
        let masks = (0..256u32).filter(|bits| bits.count_ones() == 4);
        let error = |bits: u32| {
            let kept: Vec<bool> = (0..depth).map(|index| bits >> index & 1 == 1).collect();
            least_error(&row, &damped(&moments), &kept)
        };
        optimum += masks.map(error).fold(f64::INFINITY, f64::min);
    }
    let [magnitude, sparse_gpt, greedy] = sums;
    assert!(
        sparse_gpt < 0.9 * magnitude,
        "sparsegpt {sparse_gpt}, magnitude {magnitude}"
    );
    assert!(
        greedy < sparse_gpt && greedy < 1.25 * optimum,
        "obs {greedy}, sparsegpt {sparse_gpt}, best {optimum}"
    );
}

#[test]
fn chosen_masks_have_the_pattern() {
    let depth = 24;
    let x = inputs(80, depth, 2);
    let moments = moments(&x, &x, depth);
    let values: Vec<f32> = (0..3).flat_map(|seed| row(depth, seed)).collect();
    let kept = vec![true; values.len()];
    for (name, places) in [("sparsegpt", 1), ("sparsegpt", 3), ("obs", 1), ("obs", 3)] {
        let structure = Structure::Pattern { kept: 2, of: 4 };
        let rows = Rows {
            places,
            ..job(&values, &kept, &moments, structure)
        };
        let solved = reconstruction_by_name(name).unwrap().solve(&rows).unwrap();
        for row in solved.kept.chunks_exact(depth) {
            for group in pattern_groups(depth, places, 4) {
                assert_eq!(
                    group.filter(|index| row[*index]).count(),
                    2,
                    "{name}, {places} places"
                );
            }
        }
    }
}

#[test]
fn inputs_that_never_vary_and_no_numbers() {
    let depth = 4;
    let still = moments(&[0.0; 40], &[0.0; 40], depth);
    let broken = moments(&[f64::NAN; 40], &[0.0; 40], depth);
    let (row, kept) = (row(depth, 1), [true, false, true, false]);
    for reconstruction in RECONSTRUCTIONS {
        let job = |moments| job(&row, &kept, moments, Structure::Unstructured);
        let solved = reconstruction.solve(&job(&still)).unwrap();
        assert!(
            solved.values.iter().all(|value| value.is_finite()),
            "{}",
            reconstruction.name()
        );
        assert!(
            reconstruction.solve(&job(&broken)).is_none(),
            "{}",
            reconstruction.name()
        );
    }
}
