//! Whether outputs are in the order of the labels.

use bantam_tensor::Tensor;

use super::bootstrap::Aggregate;
use super::regression::Numbers;
use super::{EvaluateError, Metric, Statistics};

/// Spearman's rank correlation: the correlation of ranks, where equal numbers share their mean rank. Of several outputs, the mean of
/// their correlations.
pub(super) struct Spearman;

impl Metric for Spearman {
    fn name(&self) -> &'static str {
        "spearman"
    }

    fn summary(&self) -> &'static str {
        "regression: rank correlation of outputs and labels, mean over outputs"
    }

    fn is_proportion(&self) -> bool {
        false
    }

    /// Outputs, then labels.
    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let numbers = Numbers::new(self.name(), outputs, labels)?;
        let mut statistics = Statistics::default();
        for (output, label) in numbers.rows() {
            statistics.push(&[output, label].concat());
        }
        Ok(statistics)
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        let rows: Vec<&[f64]> = statistics.rows().collect();
        let length = rows.first().map_or(0, |row| row.len() / 2);
        let column = |column: usize| Order::new(rows.iter().map(|row| row[column]).collect());
        let pairs: Vec<_> = (0..length)
            .map(|output| (column(output), column(length + output)))
            .collect();
        Box::new(move |weights| {
            let correlation =
                |(a, b): &(Order, Order)| correlation(&a.ranks(weights), &b.ranks(weights), weights);
            pairs.iter().map(correlation).sum::<f64>() / length as f64
        })
    }
}

/// Samples by groups of equal numbers, in order.
struct Order {
    groups: Vec<Vec<usize>>,
    has_nan: bool,
}

impl Order {
    fn new(values: Vec<f64>) -> Order {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        let groups = order.chunk_by(|a, b| values[*a] == values[*b]);
        Order {
            groups: groups.map(<[usize]>::to_vec).collect(),
            has_nan: values.iter().any(|value| value.is_nan()),
        }
    }

    /// The rank of each sample among those that count.
    fn ranks(&self, weights: &[u32]) -> Vec<f64> {
        let (mut ranks, mut before) = (
            vec![if self.has_nan { f64::NAN } else { 0.0 }; weights.len()],
            0.0,
        );
        for group in self.groups.iter().filter(|_| !self.has_nan) {
            let count: f64 = group.iter().map(|&sample| f64::from(weights[sample])).sum();
            group
                .iter()
                .for_each(|&sample| ranks[sample] = before + (count + 1.0) / 2.0);
            before += count;
        }
        ranks
    }
}

fn correlation(a: &[f64], b: &[f64], weights: &[u32]) -> f64 {
    let weighted = |of: &dyn Fn(usize) -> f64| -> f64 {
        (0..weights.len())
            .map(|sample| f64::from(weights[sample]) * of(sample))
            .sum()
    };
    let count = weighted(&|_| 1.0);
    let (mean_a, mean_b) = (weighted(&|i| a[i]) / count, weighted(&|i| b[i]) / count);
    let product = weighted(&|i| (a[i] - mean_a) * (b[i] - mean_b));
    let (square_a, square_b) = (
        weighted(&|i| (a[i] - mean_a).powi(2)),
        weighted(&|i| (b[i] - mean_b).powi(2)),
    );
    product / (square_a * square_b).sqrt()
}
