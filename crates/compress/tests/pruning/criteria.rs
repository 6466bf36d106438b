//! Criteria against what they stand for, computed the long way.

use bantam_compress::prune::criterion::CRITERIA;
use bantam_graph::Graph;
use bantam_tensor::{Samples, Tensor};

use super::support::{Noise, convolutions, linear, run, saliency, samples_of, values};

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

#[test]
fn every_criterion_scores_every_weight_the_same_again() {
    let (graph, samples) = convolutions();
    for criterion in CRITERIA {
        let found = saliency(&graph, &samples, criterion.name());
        let sizes: Vec<usize> = found.iter().map(Vec::len).collect();
        assert_eq!(sizes, [8 * 27, 8 * 36, 600], "{}", criterion.name());
        assert!(
            found
                .iter()
                .flatten()
                .all(|value| value.is_finite() && *value >= 0.0),
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
