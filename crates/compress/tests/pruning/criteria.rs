//! Criteria against what they stand for, computed the long way.

use bantam_graph::Graph;
use bantam_tensor::{Samples, Tensor};

use super::support::{
    Noise, convolutions, linear, of_elements, run, saliency, saliency_by_seed, samples_of, values,
};

/// The loss of each sample.
fn losses(graph: &Graph, samples: &Noise) -> Vec<f64> {
    let scores = &run(graph, samples, "scores")[0];
    let loss = |(index, scores): (usize, &[f32])| {
        let sum: f64 = scores.iter().map(|score| f64::from(*score).exp()).sum();
        sum.ln() - f64::from(scores[index % 3])
    };
    scores.chunks_exact(3).enumerate().map(loss).collect()
}

/// The graph with another number at one place of a constant.
fn changed(graph: &Graph, name: &str, index: usize, by: f32) -> Graph {
    let mut graph = graph.clone();
    let id = graph.value_by_name(name).unwrap();
    let tensor = graph.constant(id).unwrap().clone();
    let mut values = tensor.to_f32().unwrap();
    values[index] += by;
    graph.values[id.index()].initializer = Some(Tensor::from_slice(tensor.shape(), &values).unwrap());
    graph
}

/// For each weight of a constant, the gradient of each sample's loss, by differences.
fn gradients(graph: &Graph, samples: &Noise, name: &str) -> Vec<Vec<f64>> {
    let step = 2e-3;
    let of_weight = |index: usize| {
        let [above, below] = [step, -step].map(|by| losses(&changed(graph, name, index, by), samples));
        above
            .iter()
            .zip(&below)
            .map(|(above, below)| (above - below) / (2.0 * f64::from(step)))
            .collect()
    };
    (0..values(graph, name).len()).map(of_weight).collect()
}

fn assert_near(found: &[f32], expected: &[f64], what: &str) {
    let largest = expected
        .iter()
        .fold(0f64, |largest, value| largest.max(value.abs()));
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (f64::from(*found) - expected).abs();
        assert!(
            off < 1e-2 * largest,
            "{what}, weight {index}: {found} instead of {expected}"
        );
    }
}

#[test]
fn gradient_criteria_against_differences() {
    let (graph, samples) = convolutions();
    for (position, name) in [(0, "first"), (1, "second")] {
        let (gradients, weights) = (gradients(&graph, &samples, name), values(&graph, name));
        let count = samples.len() as f64;
        let of = |finish: &dyn Fn(&[f64], f64) -> f64| -> Vec<f64> {
            let pairs = gradients.iter().zip(&weights);
            pairs
                .map(|(gradients, weight)| finish(gradients, f64::from(*weight)))
                .collect()
        };
        let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / count;
        let squares = |numbers: &[f64]| numbers.iter().map(|x| x * x).sum::<f64>() / count;
        let fisher = of(&|g, w| squares(g) * w * w / 2.0);
        assert_near(&saliency(&graph, &samples, "fisher")[position], &fisher, "fisher");
        // All samples make one batch.
        let taylor = of(&|g, w| (mean(g) * w).powi(2));
        assert_near(&saliency(&graph, &samples, "taylor")[position], &taylor, "taylor");
        let snip = of(&|g, w| (mean(g) * w).abs());
        assert_near(&saliency(&graph, &samples, "snip")[position], &snip, "snip");
    }
}

/// Inputs of the matrix of [`linear`], and its weights by output.
fn matrix() -> (Graph, Noise, Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let (graph, samples) = linear();
    let double = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
    let x: Vec<Vec<f64>> = samples_of(&samples).chunks_exact(5).map(double).collect();
    let w = double(&values(&graph, "w"));
    let rows: Vec<Vec<f64>> = (0..3)
        .map(|output| (0..5).map(|input| w[input * 3 + output]).collect())
        .collect();
    (graph, samples, x, rows)
}

#[test]
fn wanda_is_the_weight_times_the_length_of_its_input() {
    let (graph, samples, x, rows) = matrix();
    let length = |input: usize| (x.iter().map(|x| x[input] * x[input]).sum::<f64>() / x.len() as f64).sqrt();
    let expected: Vec<f64> = (0..15)
        .map(|index| rows[index % 3][index / 3].abs() * length(index / 3))
        .collect();
    assert_near(&saliency(&graph, &samples, "wanda")[0], &expected, "wanda");
}

/// `obs` says what is lost when one weight goes and the rest of its row is fitted anew.
#[test]
fn obs_is_the_error_of_the_best_fit_without_the_weight() {
    let (graph, samples, x, rows) = matrix();
    let count = x.len() as f64;
    let mean: f64 = x.iter().flatten().map(|x| x * x).sum::<f64>() / count / 5.0;
    let second = |i: usize, j: usize| {
        x.iter().map(|x| x[i] * x[j]).sum::<f64>() / count + if i == j { 0.01 * mean } else { 0.0 }
    };
    let energy: f64 = rows
        .iter()
        .map(|row| {
            x.iter()
                .map(|x| x.iter().zip(row).map(|(x, w)| x * w).sum::<f64>().powi(2))
                .sum::<f64>()
                / count
        })
        .sum();
    // Coordinate descent on what stays.
    let lost = |row: &[f64], gone: usize| {
        let mut left = [0.0; 5];
        left[gone] = row[gone];
        for _ in 0..3000 {
            for i in (0..5).filter(|i| *i != gone) {
                let others: f64 = (0..5).filter(|j| *j != i).map(|j| second(i, j) * left[j]).sum();
                left[i] = -others / second(i, i);
            }
        }
        (0..25)
            .map(|index| left[index / 5] * second(index / 5, index % 5) * left[index % 5])
            .sum::<f64>()
    };
    let expected: Vec<f64> = (0..15)
        .map(|index| lost(&rows[index % 3], index / 3) / energy)
        .collect();
    assert_near(&saliency(&graph, &samples, "obs")[0], &expected, "obs");
}

/// Softmax of the scores of each sample of [`matrix`], divided by a temperature, in double precision.
fn shares(x: &[Vec<f64>], rows: &[Vec<f64>], bias: &[f32], temperature: f64) -> Vec<Vec<f64>> {
    let of_sample = |x: &Vec<f64>| {
        let score = |(row, bias): (&Vec<f64>, &f32)| {
            let sum: f64 = row.iter().zip(x).map(|(w, x)| w * x).sum();
            ((sum + f64::from(*bias)) / temperature).exp()
        };
        let scores: Vec<f64> = rows.iter().zip(bias).map(score).collect();
        let sum: f64 = scores.iter().sum();
        scores.iter().map(|score| score / sum).collect()
    };
    x.iter().map(of_sample).collect()
}

/// Elements are `[5, 3]` in the tensor.
#[test]
fn obd_is_the_curvature_of_cross_entropy() {
    let (graph, samples, x, rows) = matrix();
    let shares = shares(&x, &rows, &values(&graph, "b"), 1.0);
    let curvature = |input: usize, output: usize| {
        let terms = x.iter().zip(&shares);
        let sum: f64 = terms
            .map(|(x, p)| x[input].powi(2) * p[output] * (1.0 - p[output]))
            .sum();
        sum / x.len() as f64
    };
    let expected: Vec<f64> = (0..15)
        .map(|at| curvature(at / 3, at % 3) * rows[at % 3][at / 3].powi(2) / 2.0)
        .collect();
    let draws = 2000;
    let mut mean = [0f32; 15];
    for seed in 0..draws {
        let found = saliency_by_seed(&graph, &samples, "obd", 1000 * seed);
        (mean.iter_mut().zip(&found[0])).for_each(|(mean, found)| *mean += found / draws as f32);
    }
    let largest = expected.iter().fold(0f64, |largest, value| largest.max(*value));
    for (found, expected) in mean.iter().zip(&expected) {
        // 2,000 draws of 40 signs each are right to half a percent.
        let off = (f64::from(*found) - expected).abs();
        assert!(off < 0.025 * largest, "{found} instead of {expected}");
    }
}

#[test]
fn grasp_is_the_weight_times_the_slope_of_the_squared_gradient() {
    let (graph, samples, mut x, rows) = matrix();
    let bias = values(&graph, "b");
    // Gradients are of whole batches.
    x.truncate(32);
    // Half the square of the mean gradient's length, for scores at the temperature of the paper's program.
    let flow = |rows: &[Vec<f64>]| {
        let shares = shares(&x, rows, &bias, 200.0);
        let gradient = |input: usize, output: usize| {
            let terms = x.iter().zip(&shares).enumerate();
            let sum: f64 = terms
                .map(|(index, (x, p))| x[input] * (p[output] - f64::from(u8::from(index % 3 == output))))
                .sum();
            sum / x.len() as f64 / 200.0
        };
        (0..15).map(|at| gradient(at / 3, at % 3).powi(2)).sum::<f64>() / 2.0
    };
    let slope = |at: usize| {
        let [above, below] = [1e-4, -1e-4].map(|by| {
            let mut rows = rows.clone();
            rows[at % 3][at / 3] += by;
            flow(&rows)
        });
        (above - below) / 2e-4
    };
    let expected: Vec<f64> = (0..15).map(|at| slope(at) * rows[at % 3][at / 3]).collect();
    let found = &saliency(&graph, &samples, "grasp")[0];
    let largest = expected
        .iter()
        .fold(0f64, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        let off = (f64::from(*found) - expected).abs();
        assert!(off < 0.05 * largest, "{found} instead of {expected}");
    }
}

/// What flows into a layer flows out of it (Tanaka et al. 2020, theorem 2), and each weight has the share of its paths.
#[test]
fn synflow_is_the_share_of_what_flows() {
    let (graph, samples) = linear();
    let weights = values(&graph, "w");
    let all: f64 = weights.iter().map(|w| f64::from(w.abs())).sum();
    let expected: Vec<f64> = weights.iter().map(|w| f64::from(w.abs()) / all).collect();
    assert_near(&saliency(&graph, &samples, "synflow")[0], &expected, "synflow");
    let (graph, samples) = convolutions();
    for layer in saliency(&graph, &samples, "synflow") {
        let sum: f64 = layer.iter().copied().map(f64::from).sum();
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    }
}

#[test]
fn every_criterion_scores_every_weight_the_same_again() {
    let (graph, samples) = convolutions();
    for criterion in of_elements() {
        let found = saliency(&graph, &samples, criterion.name());
        let sizes: Vec<usize> = found.iter().map(Vec::len).collect();
        assert_eq!(sizes, [8 * 27, 8 * 36, 600], "{}", criterion.name());
        assert!(
            found
                .iter()
                .flatten()
                // What the gradient gains when a weight goes is negative with `grasp`.
                .all(|value| value.is_finite() && (*value >= 0.0 || criterion.name() == "grasp")),
            "{}",
            criterion.name()
        );
        assert_eq!(
            found,
            saliency(&graph, &samples, criterion.name()),
            "{}",
            criterion.name()
        );
    }
}
