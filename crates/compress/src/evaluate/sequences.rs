//! Sequences of tokens: BLEU and error rate.

use std::collections::HashMap;

use bantam_tensor::Tensor;

use super::bootstrap::Aggregate;
use super::metric::first;
use super::{EvaluateError, Metric, Statistics, classes};

const NEEDS: &str = "an output [samples, tokens, vocabulary] of floats, or of integer tokens [samples, tokens], and integer labels [samples, tokens]";

/// Longest run of tokens that is compared.
const ORDERS: usize = 4;

/// Predicted and labelled tokens of each sample, up to the first that is padding.
fn sequences(
    metric: &'static str,
    outputs: &[Tensor],
    labels: &Tensor,
) -> Result<Vec<[Vec<i64>; 2]>, EvaluateError> {
    let wrong = || EvaluateError::form(metric, NEEDS, outputs, labels);
    let output = first(outputs)?;
    let (predicted, length) = match *output.shape() {
        [_, length, vocabulary] if output.dtype().is_float() && vocabulary > 0 => {
            let scores = output.to_f32()?;
            let largest = |row: &[f32]| classes::largest(row) as i64;
            (scores.chunks_exact(vocabulary).map(largest).collect(), length)
        }
        [_, length] if !output.dtype().is_float() => (output.to_i64().map_err(|_| wrong())?, length),
        _ => return Err(wrong()),
    };
    let &[samples, labelled] = labels.shape() else {
        return Err(wrong());
    };
    if samples != output.shape()[0] || labelled == 0 || length == 0 {
        return Err(wrong());
    }
    let expected = labels.to_i64().map_err(|_| wrong())?;
    let rows = predicted
        .chunks_exact(length)
        .zip(expected.chunks_exact(labelled));
    Ok(rows
        .map(|(predicted, expected)| [until_padding(predicted), until_padding(expected)])
        .collect())
}

/// The tokens before the first that is 0 or negative.
fn until_padding(tokens: &[i64]) -> Vec<i64> {
    tokens.iter().copied().take_while(|token| *token > 0).collect()
}

/// BLEU of the whole corpus, with runs of up to four tokens, one reference for each sample and no smoothing (Papineni et al. 2002).
pub(super) struct Bleu;

impl Metric for Bleu {
    fn name(&self) -> &'static str {
        "bleu"
    }

    fn summary(&self) -> &'static str {
        "BLEU-4 of the corpus: runs of tokens that outputs share with labels; sequences end before the first 0"
    }

    fn is_proportion(&self) -> bool {
        true
    }

    /// Tokens of output and label, then for runs of each length those that both have, and those of the output.
    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let mut statistics = Statistics::default();
        for [predicted, expected] in sequences(self.name(), outputs, labels)? {
            let mut row = vec![predicted.len() as f64, expected.len() as f64];
            for order in 1..=ORDERS {
                let shared = shared(&runs(&predicted, order), &runs(&expected, order));
                row.extend([shared as f64, (predicted.len() + 1).saturating_sub(order) as f64]);
            }
            statistics.push(&row);
        }
        Ok(statistics)
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        Box::new(|weights| bleu(&statistics.weighted_sum(weights)))
    }
}

/// How often each run of this many tokens occurs.
fn runs(tokens: &[i64], order: usize) -> HashMap<&[i64], usize> {
    let mut runs = HashMap::new();
    for run in tokens.windows(order) {
        *runs.entry(run).or_insert(0) += 1;
    }
    runs
}

fn shared(a: &HashMap<&[i64], usize>, b: &HashMap<&[i64], usize>) -> usize {
    a.iter()
        .map(|(run, &count)| count.min(b.get(run).copied().unwrap_or(0)))
        .sum()
}

fn bleu(sums: &[f64]) -> f64 {
    let &[predicted, expected, ref orders @ ..] = sums else {
        return f64::NAN;
    };
    if orders.chunks_exact(2).any(|order| order[0] == 0.0) {
        return 0.0;
    }
    let logarithms = orders.chunks_exact(2).map(|order| (order[0] / order[1]).ln());
    let brevity = (1.0 - expected / predicted).min(0.0);
    (brevity + logarithms.sum::<f64>() / ORDERS as f64).exp()
}

/// Insertions, deletions and replacements that turn labels into outputs, over the length of all labels.
pub(super) struct Wer;

impl Metric for Wer {
    fn name(&self) -> &'static str {
        "wer"
    }

    fn summary(&self) -> &'static str {
        "error rate of tokens: edit distance over the labels' length; sequences end before the first 0"
    }

    fn is_proportion(&self) -> bool {
        true
    }

    /// Distance and length of the label.
    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let mut statistics = Statistics::default();
        for [predicted, expected] in sequences(self.name(), outputs, labels)? {
            statistics.push(&[edit_distance(&predicted, &expected) as f64, expected.len() as f64]);
        }
        Ok(statistics)
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        Box::new(|weights| {
            let sums = statistics.weighted_sum(weights);
            sums[0] / sums[1]
        })
    }
}

/// Levenshtein's distance, a row of the table at a time.
fn edit_distance(a: &[i64], b: &[i64]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
