//! Every metric against public packages; `goldens/generate.py` wrote the cases.

use bantam_tensor::{DType, SplitMix64, Tensor};
use serde::Deserialize;

use super::agreement::Differences;
use super::{METRICS, Metric, Scores, Statistics, compare, metric_by_name};

/// Metrics that the files of their own test.
const TESTED_ELSEWHERE: &[&str] = &["top1", "top5", "perplexity", "nll", "next-token"];

/// Outputs are float32, the packages compute in float64.
const TOLERANCE: f64 = 2e-6;

#[derive(Deserialize)]
struct Case {
    metric: String,
    value: f64,
    outputs: Vec<Golden>,
    labels: Golden,
}

#[derive(Deserialize)]
struct Golden {
    dtype: DType,
    shape: Vec<usize>,
    values: Vec<f64>,
}

impl Golden {
    fn tensor(&self) -> Tensor {
        match self.dtype.is_float() {
            true => Tensor::from_f64(self.dtype, &self.shape, &self.values).unwrap(),
            false => {
                let values: Vec<i64> = self.values.iter().map(|value| *value as i64).collect();
                Tensor::from_i64(self.dtype, &self.shape, &values).unwrap()
            }
        }
    }
}

impl Case {
    fn all() -> Vec<Case> {
        serde_json::from_str(include_str!("goldens/goldens.json")).unwrap()
    }

    fn metric(&self) -> &'static dyn Metric {
        metric_by_name(&self.metric).unwrap()
    }

    /// Of the samples in two batches.
    fn statistics(&self) -> Statistics {
        let mut statistics = Statistics::default();
        let outputs: Vec<Tensor> = self.outputs.iter().map(Golden::tensor).collect();
        let (labels, count) = (self.labels.tensor(), self.labels.shape[0]);
        for (start, count) in [(0, count / 3), (count / 3, count - count / 3)] {
            let outputs: Vec<Tensor> = outputs
                .iter()
                .map(|output| output.rows(start, count).unwrap())
                .collect();
            let batch = self
                .metric()
                .statistics(&outputs, &labels.rows(start, count).unwrap());
            statistics.extend(
                &batch.unwrap_or_else(|error| panic!("{}: {error}", self.metric)),
                count,
            );
        }
        statistics
    }
}

#[test]
fn metrics_are_those_of_public_packages() {
    let cases = Case::all();
    for case in &cases {
        let estimate = case.metric().estimate(&case.statistics());
        let (name, value) = (&case.metric, case.value);
        assert!(
            (estimate.value - value).abs() < TOLERANCE * value.abs().max(1.0),
            "{name}: {estimate:?} {value}"
        );
        assert!(estimate.low < estimate.high, "{name}: {estimate:?}");
        assert!(
            estimate.low - 0.1 < value && value < estimate.high + 0.1,
            "{name}: {estimate:?}"
        );
    }
    for metric in METRICS
        .iter()
        .filter(|metric| !TESTED_ELSEWHERE.contains(&metric.name()))
    {
        assert!(
            cases.iter().any(|case| case.metric == metric.name()),
            "{} has no case",
            metric.name()
        );
    }
}

/// A sample that counts three times is the same sample three times.
#[test]
fn weights_are_repetitions() {
    let mut random = SplitMix64::new(5);
    for case in Case::all() {
        let statistics = case.statistics();
        let weights: Vec<u32> = (0..statistics.len()).map(|_| random.below(4) as u32).collect();
        let mut repeated = Statistics::default();
        for (row, weight) in statistics.rows().zip(&weights) {
            (0..*weight).for_each(|_| repeated.push(row));
        }
        let metric = case.metric();
        let weighted = metric.aggregate(&statistics)(&weights);
        let whole = metric.aggregate(&repeated)(&vec![1; repeated.len()]);
        assert!(
            (weighted - whole).abs() < 1e-12 * whole.abs().max(1.0),
            "{}: {weighted} {whole}",
            case.metric
        );
    }
}

#[test]
fn two_models_are_compared_by_any_metric() {
    for case in Case::all() {
        let scores = |statistics: Statistics| Scores {
            samples: statistics.len(),
            metrics: vec![(
                case.metric().name(),
                case.metric().estimate(&statistics),
                statistics,
            )],
            predictions: Vec::new(),
            seconds: 0.0,
        };
        let first = scores(case.statistics());
        let same = compare(&first, &first).unwrap();
        assert_eq!(
            (same.difference, same.p_value, same.disagreement),
            (0.0, 1.0, None),
            "{}",
            case.metric
        );
        // The same outputs for the labels of other samples.
        let mut other = case;
        let row = other.labels.values.len() / other.labels.shape[0];
        other.labels.values.rotate_left(row);
        let second = Scores {
            samples: first.samples,
            metrics: vec![(
                other.metric().name(),
                other.metric().estimate(&other.statistics()),
                other.statistics(),
            )],
            predictions: Vec::new(),
            seconds: 0.0,
        };
        let found = compare(&first, &second).unwrap();
        let (before, after) = (first.metrics[0].1.value, second.metrics[0].1.value);
        assert!(
            (found.difference - (after - before)).abs() < 1e-5 * before.abs().max(1.0),
            "{}",
            other.metric
        );
        assert!(
            found.difference_low < found.difference_high && found.p_value < 1.0,
            "{}: {found:?}",
            other.metric
        );
    }
}

#[test]
fn infinite_ratios_do_not_differ() {
    let exact = Tensor::from_slice(&[3, 1], &[1.0f32, 2.0, 4.0]).unwrap();
    let metric = metric_by_name("sqnr").unwrap();
    let statistics = metric.statistics(std::slice::from_ref(&exact), &exact).unwrap();
    let scores = Scores {
        samples: 3,
        metrics: vec![("sqnr", metric.estimate(&statistics), statistics)],
        predictions: Vec::new(),
        seconds: 0.0,
    };
    assert_eq!(scores.metrics[0].1.value, f64::INFINITY);
    assert_eq!(compare(&scores, &scores).unwrap().difference, 0.0);
}

#[test]
fn other_shapes_are_refused() {
    let shapes: &[&[usize]] = &[
        &[],
        &[3],
        &[3, 1],
        &[3, 2],
        &[3, 0],
        &[3, 2, 4],
        &[3, 2, 5],
        &[3, 2, 2, 2],
        &[2, 2, 2, 2],
        &[3, 2, 0, 2],
    ];
    let tensors: Vec<Tensor> = shapes
        .iter()
        .flat_map(|shape| {
            [DType::F32, DType::I64, DType::Bool].map(|dtype| Tensor::zeros(dtype, shape).unwrap())
        })
        .collect();
    for metric in METRICS {
        let mut accepted = 0;
        assert!(metric.statistics(&[], &tensors[0]).is_err());
        for (output, labels) in tensors
            .iter()
            .flat_map(|output| tensors.iter().map(move |labels| (output, labels)))
        {
            for outputs in [
                vec![output.clone()],
                vec![output.clone(), labels.clone(), labels.clone()],
            ] {
                match metric.statistics(&outputs, labels) {
                    Ok(statistics) => {
                        accepted += 1;
                        metric.aggregate(&statistics)(&vec![1; statistics.len()]);
                    }
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
        }
        assert!(accepted < 200, "{}: {accepted}", metric.name());
    }
}

#[test]
fn undefined_metrics_are_no_numbers() {
    let scores = Tensor::from_slice(&[3, 2], &[0.5f32, 0.1, 0.3, 0.7, 0.9, 0.2]).unwrap();
    let one_class = Tensor::from_slice(&[3], &[1i64; 3]).unwrap();
    let with_nan = Tensor::from_slice(&[3, 2], &[0.5f32, f32::NAN, 0.3, 0.7, 0.9, 0.2]).unwrap();
    let labels = Tensor::from_slice(&[3], &[0i64, 1, 1]).unwrap();
    for (name, output, labels) in [
        ("roc-auc", &scores, &one_class),
        ("roc-auc", &with_nan, &labels),
        ("brier", &with_nan, &labels),
    ] {
        let metric = metric_by_name(name).unwrap();
        let statistics = metric.statistics(std::slice::from_ref(output), labels).unwrap();
        assert!(metric.estimate(&statistics).value.is_nan(), "{name}");
    }
}

fn agreement(shape: &[usize], first: &[f32], second: &[f32]) -> super::Agreement {
    let mut differences = Differences::default();
    let tensor = |values| [Tensor::from_slice(shape, values).unwrap()];
    differences
        .add(&tensor(first), &tensor(second), shape[0])
        .unwrap();
    differences.finish()
}

#[test]
fn agreement_of_small_outputs() {
    let (first, second) = ([0.0f32, 3.0, 4.0, 0.0], [0.0f32, 2.0, 0.0, 3.0]);
    let found = agreement(&[2, 2], &first, &second);
    assert_eq!(found.disagreement.unwrap().value, 0.5);
    let expected = {
        let soft = |a: f64, b: f64| [a.exp() / (a.exp() + b.exp()), b.exp() / (a.exp() + b.exp())];
        let kl = |p: [f64; 2], q: [f64; 2]| p[0] * (p[0] / q[0]).ln() + p[1] * (p[1] / q[1]).ln();
        (kl(soft(0.0, 3.0), soft(0.0, 2.0)) + kl(soft(4.0, 0.0), soft(0.0, 3.0))) / 2.0
    };
    assert!(
        (found.kl.unwrap().value - expected).abs() < 1e-9,
        "{found:?} {expected}"
    );
    // Powers of 9 + 16 and 1 + 16 + 9.
    assert!((found.sqnr.unwrap().value - 10.0 * (25.0f64 / 26.0).log10()).abs() < 1e-9);
    // The same as pixels of one image, and as probabilities.
    let pixels = agreement(&[1, 2, 1, 2], &[0.0, 4.0, 3.0, 0.0], &[0.0, 0.0, 2.0, 3.0]);
    assert_eq!(pixels.disagreement.unwrap().value, 0.5);
    assert!((pixels.kl.unwrap().value - expected).abs() < 1e-9);
    let shares = agreement(&[1, 2], &[0.25, 0.75], &[0.5, 0.5]);
    let expected = 0.25 * 0.5f64.ln() + 0.75 * 1.5f64.ln();
    assert!((shares.kl.unwrap().value - expected).abs() < 1e-9);
    let certain = agreement(&[1, 2], &[0.5, 0.5], &[1.0, 0.0]);
    assert!(certain.kl.unwrap().value.is_finite());
    let same = agreement(&[2, 2], &first, &first);
    assert_eq!(
        (same.disagreement.unwrap().value, same.kl.unwrap().value),
        (0.0, 0.0)
    );
    assert_eq!(same.sqnr.unwrap().value, f64::INFINITY);
    let numbers = agreement(&[2, 1], &[1.0, 2.0], &[1.0, 2.5]);
    assert!(numbers.disagreement.is_none() && numbers.kl.is_none() && numbers.sqnr.is_some());
}

#[test]
fn boxes_are_no_classes() {
    let outputs = [&[2, 3, 4][..], &[2, 3], &[2, 3]].map(|shape| Tensor::zeros(DType::F32, shape).unwrap());
    let disagreement = |outputs: &[Tensor]| {
        let mut differences = Differences::default();
        differences.add(outputs, outputs, 2).unwrap();
        differences.finish().disagreement
    };
    assert!(disagreement(&outputs).is_none());
    assert!(
        disagreement(&outputs[..1]).is_some(),
        "four classes of three tokens"
    );
}

#[test]
fn outputs_of_other_shapes_do_not_agree() {
    let tensor = |shape: &[usize]| [Tensor::zeros(DType::F32, shape).unwrap()];
    for (a, b) in [
        (&[2usize, 3][..], &[2usize, 4][..]),
        (&[2, 3], &[2, 3, 1]),
        (&[], &[]),
        (&[1, 3], &[2, 3]),
    ] {
        assert!(
            Differences::default().add(&tensor(a), &tensor(b), 2).is_err(),
            "{a:?} {b:?}"
        );
    }
}
