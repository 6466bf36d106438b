//! Criteria of channels against what they stand for, computed the long way.

use bantam_compress::prune::criterion::{CRITERIA, Judges};
use bantam_compress::prune::prune;
use bantam_graph::{Graph, coupling};

use super::support::{Noise, chain, convolutions, of_units, plan, run, settings, values};

/// By channel, the values of `[samples, channels, 25]`.
fn by_channel(values: &[f32], channels: usize) -> Vec<Vec<f64>> {
    let of_channel = |channel: usize| {
        let planes = values.chunks_exact(25).skip(channel).step_by(channels);
        planes.flatten().copied().map(f64::from).collect()
    };
    (0..channels).map(of_channel).collect()
}

/// The group of the first convolution's channels, and its place.
fn first(graph: &Graph) -> usize {
    let weight = graph.value_by_name("first").unwrap();
    let groups = coupling(graph).groups;
    (groups.iter())
        .position(|group| group.axes.contains(&(weight, 0)))
        .unwrap()
}

fn observed(graph: &Graph, samples: &Noise, name: &str, channels: usize) -> Vec<Vec<f64>> {
    by_channel(&run(graph, samples, name)[1], channels)
}

#[test]
fn apoz_is_the_share_of_zeros() {
    let (graph, samples) = chain();
    let found = &of_units(&graph, &samples, "apoz").unwrap()[first(&graph)];
    for (found, values) in found.iter().zip(observed(&graph, &samples, "relu1", 6)) {
        let nonzero = values.iter().filter(|value| **value != 0.0).count();
        assert!((found - nonzero as f64 / values.len() as f64).abs() < 1e-9);
    }
    assert!(found.iter().any(|share| *share < 0.9), "{found:?}");
}

#[test]
fn fpgm_is_the_sum_of_distances() {
    let (graph, samples) = chain();
    let found = &of_units(&graph, &samples, "fpgm").unwrap()[first(&graph)];
    let filters = values(&graph, "first");
    let filters: Vec<&[f32]> = filters.chunks_exact(27).collect();
    let apart = |a: &[f32], b: &[f32]| {
        (a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>())
        .sqrt()
    };
    for (found, own) in found.iter().zip(&filters) {
        let expected: f64 = filters.iter().map(|other| apart(own, other)).sum();
        assert!(
            (found - expected).abs() < 1e-5 * expected,
            "{found} instead of {expected}"
        );
    }
}

/// Variance that a channel alone adds to, or takes from, the next layer's outputs.
fn variance(values: &[Vec<f64>]) -> f64 {
    let of_channel = |values: &Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
    };
    values.iter().map(of_channel).sum()
}

#[test]
fn thinet_goes_by_what_the_next_layer_loses() {
    let (graph, samples) = chain();
    let place = first(&graph);
    let found = &of_units(&graph, &samples, "thinet").unwrap()[place];
    let outputs = observed(&graph, &samples, "conv2", 4);
    let coupling = coupling(&graph);
    // The error without a set of channels, as a share of the outputs' variance around zero padding's and biases' means.
    let lost = |gone: &[usize]| {
        let gone: Vec<(usize, usize)> = gone.iter().map(|unit| (place, *unit)).collect();
        let masked = coupling.mask(&graph, &gone).unwrap();
        let without = observed(&masked, &samples, "conv2", 4);
        let pairs = outputs.iter().zip(&without);
        let difference: Vec<Vec<f64>> = pairs
            .map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect())
            .collect();
        variance(&difference) / variance(&outputs)
    };
    // Greedily, the long way.
    let (mut gone, mut before, mut largest) = (Vec::new(), 0.0, 0f64);
    while gone.len() < 6 {
        let with = |unit: &usize| lost(&[&gone[..], &[*unit]].concat());
        let left = (0..6).filter(|unit| !gone.contains(unit));
        let next = left.min_by(|a, b| with(a).total_cmp(&with(b))).unwrap();
        let after = with(&next);
        largest = largest.max(after - before);
        assert!(
            (found[next] - largest).abs() < 1e-3 * largest,
            "{next}: {} {largest}",
            found[next]
        );
        (before, gone) = (after, [&gone[..], &[next]].concat());
    }
}

/// Least squares by coordinate descent, on the channels' correlations.
#[test]
fn correlation_is_what_least_squares_leaves() {
    let (graph, samples) = chain();
    let found = &of_units(&graph, &samples, "correlation").unwrap()[first(&graph)];
    let channels = observed(&graph, &samples, "relu1", 6);
    let scaled = |values: &Vec<f64>| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let deviation = variance(std::slice::from_ref(values)).sqrt();
        values
            .iter()
            .map(|value| (value - mean) / deviation)
            .collect::<Vec<f64>>()
    };
    let channels: Vec<Vec<f64>> = channels.iter().map(scaled).collect();
    let count = channels[0].len() as f64;
    let product = |i: usize, j: usize| {
        let sum: f64 = channels[i].iter().zip(&channels[j]).map(|(a, b)| a * b).sum();
        sum / count + if i == j { 1e-3 } else { 0.0 }
    };
    let left_over = |unit: usize| {
        let mut weights = [0.0; 6];
        weights[unit] = -1.0;
        for _ in 0..2000 {
            for i in (0..6).filter(|i| *i != unit) {
                let others: f64 = (0..6)
                    .filter(|j| *j != i)
                    .map(|j| product(i, j) * weights[j])
                    .sum();
                weights[i] = -others / product(i, i);
            }
        }
        (0..36)
            .map(|at| weights[at / 6] * product(at / 6, at % 6) * weights[at % 6])
            .sum::<f64>()
    };
    let expected: Vec<f64> = (0..6).map(left_over).collect();
    let least = (0..6)
        .min_by(|a, b| expected[*a].total_cmp(&expected[*b]))
        .unwrap();
    assert!(
        (found[least] - expected[least]).abs() < 1e-3,
        "{found:?} {expected:?}"
    );
    // The others have lost one by which they were told.
    assert!(
        found
            .iter()
            .zip(&expected)
            .all(|(found, alone)| *found > alone - 1e-3)
    );
}

#[test]
fn what_judges_channels_alone_is_refused_elsewhere() {
    let (graph, samples) = convolutions();
    let mut count = 0;
    for criterion in CRITERIA.iter().filter(|it| it.judges() == Judges::Channels) {
        for structure in ["unstructured", "2:4", "block:4x1"] {
            let settings = settings(criterion.name(), structure, 0.5);
            let message = plan(&graph, &samples, &settings).unwrap_err().to_string();
            assert!(
                message.contains("judges whole channels")
                    && message.contains("hint: it is for --structure channel"),
                "{message}"
            );
            assert_eq!(prune(&graph, &settings, None).unwrap_err().to_string(), message);
        }
        count += 1;
    }
    assert_eq!(count, 5);
    // Nothing in this network is cut at zero where a channel is alone.
    let message = of_units(&graph, &samples, "apoz").unwrap_err().to_string();
    assert!(
        message.contains("no activation of this model gives any"),
        "{message}"
    );
    let (graph, samples) = chain();
    let message = of_units(&graph, &samples, "batch-normalization")
        .unwrap_err()
        .to_string();
    assert!(message.contains("no channel that can go has one"), "{message}");
}

#[test]
fn batch_normalization_is_the_size_of_scales() {
    let (mut graph, samples) = convolutions();
    let scales: Vec<f32> = (0..8)
        .map(|channel| [0.3, -0.2][channel % 2] * (channel + 1) as f32)
        .collect();
    let scale = graph.value_by_name("scale").unwrap();
    graph.values[scale.index()].initializer = Some(bantam_tensor::Tensor::from_vec1(&scales));
    let place = first(&graph);
    let found = &of_units(&graph, &samples, "batch-normalization").unwrap()[place];
    let group = &coupling(&graph).groups[place];
    let axis = (group.axes.iter()).position(|axis| *axis == (scale, 0)).unwrap();
    for (found, unit) in found.iter().zip(&group.units) {
        let expected: f32 = unit.along(axis).map(|position| scales[position].abs()).sum();
        assert!((found - f64::from(expected)).abs() < 1e-6);
    }
}
