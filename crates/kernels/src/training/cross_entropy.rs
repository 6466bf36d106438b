//! Cross-entropy of a softmax, and its gradient, in one pass over rows of logits. As `torch.nn.functional.cross_entropy`.
//!
//! With targets q, logits x and p = softmax(x), the loss of a row is `-sum(q * log(p))`, and its gradient with respect to x
//! `p * sum(q) - q`. Smoothing s makes `q * (1 - s) + s / classes` of q.

use rayon::prelude::*;

use crate::exp_f32;
use crate::rows::{maximum, sum_of};
use crate::vectorize::vectorized;

/// What rows of logits should be.
#[derive(Clone, Copy, Debug)]
pub enum Targets<'a> {
    /// The class of each row; a row with a negative one has neither loss nor gradient.
    Labels(&'a [i64]),
    /// The probability of each class of each row.
    Probabilities(&'a [f32]),
}

/// Rows of logits and what they should be.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy<'a> {
    /// `[rows, classes]`.
    pub logits: &'a [f32],
    /// Logits of a row.
    pub classes: usize,
    /// For each row.
    pub targets: Targets<'a>,
    /// Share of the targets that is spread evenly over all classes.
    pub smoothing: f32,
}

/// Logits that a task takes.
const PIECE: usize = 1 << 13;

impl CrossEntropy<'_> {
    /// Writes the loss of each row, and `factor` times its gradient with respect to the logits.
    ///
    /// # Panics
    /// When slices are not whole rows, or a label is not below `classes`.
    pub fn run(&self, factor: f32, losses: &mut [f32], gradient: &mut [f32]) {
        let classes = self.classes;
        let rows = losses.len();
        let targets = match self.targets {
            Targets::Labels(labels) => labels.len() == rows,
            Targets::Probabilities(q) => q.len() == self.logits.len(),
        };
        assert!(
            classes > 0 && Some(self.logits.len()) == rows.checked_mul(classes) && targets,
            "a target for each row of logits"
        );
        assert_eq!(gradient.len(), self.logits.len(), "a gradient for each logit");
        let at_once = (PIECE / classes).max(1);
        let parts = losses
            .par_chunks_mut(at_once)
            .zip(gradient.par_chunks_mut(at_once * classes));
        parts.enumerate().for_each(|(index, (losses, gradient))| {
            let rows = losses.iter_mut().zip(gradient.chunks_exact_mut(classes));
            for (row, (loss, gradient)) in rows.enumerate() {
                *loss = self.row(index * at_once + row, factor, gradient);
            }
        });
    }

    fn row(&self, row: usize, factor: f32, gradient: &mut [f32]) -> f32 {
        let range = row * self.classes..(row + 1) * self.classes;
        let logits = &self.logits[range.clone()];
        match self.targets {
            Targets::Labels(labels) => match usize::try_from(labels[row]) {
                Ok(label) => of_label(logits, label, self.smoothing, factor, gradient),
                Err(_) => {
                    gradient.fill(0.0);
                    0.0
                }
            },
            Targets::Probabilities(q) => of_targets(logits, &q[range], self.smoothing, factor, gradient),
        }
    }
}

vectorized! {
    fn of_label(x: &[f32], label: usize, smoothing: f32, factor: f32, gradient: &mut [f32]) -> f32 {
        assert!(label < x.len(), "a label below the number of classes");
        let largest = maximum(x);
        for (gradient, x) in gradient.iter_mut().zip(x) {
            *gradient = exp_f32(x - largest);
        }
        let sum = sum_of(gradient, |value| value);
        let logarithm = sum.ln() + f64::from(largest);
        let even = f64::from(smoothing) / x.len() as f64;
        let scale = (f64::from(factor) / sum) as f32;
        let spread = factor * even as f32;
        for gradient in gradient.iter_mut() {
            *gradient = *gradient * scale - spread;
        }
        let own = 1.0 - f64::from(smoothing);
        gradient[label] -= factor * own as f32;
        let mut loss = own * (logarithm - f64::from(x[label]));
        // An impossible class has no share unless there is smoothing.
        if smoothing != 0.0 {
            let shifted = sum_of(x, |value| value - largest);
            loss += even * (x.len() as f64 * (logarithm - f64::from(largest)) - shifted);
        }
        loss as f32
    }

    fn of_targets(x: &[f32], q: &[f32], smoothing: f32, factor: f32, gradient: &mut [f32]) -> f32 {
        let largest = maximum(x);
        for (gradient, x) in gradient.iter_mut().zip(x) {
            *gradient = exp_f32(x - largest);
        }
        let sum = sum_of(gradient, |value| value);
        let logarithm = sum.ln() as f32;
        let even = smoothing / x.len() as f32;
        let own = 1.0 - smoothing;
        let share = sum_of(q, |q| own * q + even);
        let scale = (f64::from(factor) * share / sum) as f32;
        let mut loss = 0.0;
        for ((gradient, x), q) in gradient.iter_mut().zip(x).zip(q) {
            let q = own * q + even;
            *gradient = *gradient * scale - factor * q;
            // A class of no probability has no share, impossible or not.
            loss += if q == 0.0 { 0.0 } else { f64::from(q * (logarithm - (x - largest))) };
        }
        loss as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::tests::Random;

    /// The loss of a row and its gradient by the definition.
    fn definition(x: &[f32], q: &[f64], smoothing: f64) -> (f64, Vec<f64>) {
        let exact: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let largest = exact.iter().copied().fold(f64::MIN, f64::max);
        let sum: f64 = exact.iter().map(|x| (x - largest).exp()).sum();
        let smooth = |q: &f64| q * (1.0 - smoothing) + smoothing / x.len() as f64;
        let q: Vec<f64> = q.iter().map(smooth).collect();
        let total: f64 = q.iter().sum();
        let logarithms: Vec<f64> = exact.iter().map(|x| x - largest - sum.ln()).collect();
        let loss = q
            .iter()
            .zip(&logarithms)
            .map(|(q, logarithm)| -q * logarithm)
            .sum();
        let gradient = q
            .iter()
            .zip(&logarithms)
            .map(|(q, logarithm)| logarithm.exp() * total - q);
        (loss, gradient.collect())
    }

    fn check(cross_entropy: &CrossEntropy<'_>, q: &[f64], what: &str) {
        let CrossEntropy {
            logits,
            classes,
            smoothing,
            ..
        } = *cross_entropy;
        let factor = 0.25;
        let mut losses = vec![f32::NAN; logits.len() / classes];
        let mut gradient = vec![f32::NAN; logits.len()];
        cross_entropy.run(factor, &mut losses, &mut gradient);
        for (row, &loss) in losses.iter().enumerate() {
            let range = row * classes..(row + 1) * classes;
            let q = &q[range.clone()];
            let (expected, of_logits) = definition(&logits[range.clone()], q, f64::from(smoothing));
            let error = (f64::from(loss) - expected).abs();
            assert!(
                error < 2e-6 * (1.0 + expected.abs()),
                "{what}: {loss} for {expected}"
            );
            for (got, expected) in gradient[range].iter().zip(of_logits) {
                let error = (f64::from(*got) - 0.25 * expected).abs();
                assert!(error < 1e-6, "{what}: {got} for {expected}");
            }
        }
    }

    #[test]
    fn losses_and_gradients_are_those_of_the_definition() {
        let mut random = Random(1);
        for (rows, classes) in [(1, 1), (5, 10), (3000, 10), (7, 1000), (2, 33)] {
            let logits: Vec<f32> = (random.values(rows * classes).iter())
                .map(|x| x * 12.0 + 90.0)
                .collect();
            let labels: Vec<i64> = (0..rows).map(|_| random.below(classes) as i64).collect();
            let mut of_labels = vec![0.0; logits.len()];
            (labels.iter().enumerate())
                .for_each(|(row, &label)| of_labels[row * classes + label as usize] = 1.0);
            let soft: Vec<f32> = random.values(logits.len()).iter().map(|q| q.max(0.0)).collect();
            let of_soft: Vec<f64> = soft.iter().map(|&q| f64::from(q) / classes as f64).collect();
            let soft: Vec<f32> = of_soft.iter().map(|&q| q as f32).collect();
            for smoothing in [0.0, 0.125] {
                let what = format!("{rows} x {classes}, smoothing {smoothing}");
                let with = |targets| CrossEntropy {
                    logits: &logits,
                    classes,
                    targets,
                    smoothing,
                };
                check(&with(Targets::Labels(&labels)), &of_labels, &what);
                check(&with(Targets::Probabilities(&soft)), &of_soft, &what);
            }
        }
    }

    #[test]
    fn rows_without_a_label_and_impossible_classes_cost_nothing() {
        let logits = [1.0, f32::NEG_INFINITY, 1.0, 5.0, 6.0, 7.0];
        let (mut losses, mut gradient) = ([f32::NAN; 2], [f32::NAN; 6]);
        let mut cross_entropy = CrossEntropy {
            logits: &logits,
            classes: 3,
            targets: Targets::Labels(&[2, -100]),
            smoothing: 0.0,
        };
        cross_entropy.run(1.0, &mut losses, &mut gradient);
        assert!((losses[0] - 2f32.ln()).abs() < 1e-6 && losses[1] == 0.0);
        assert_eq!(gradient, [0.5, 0.0, -0.5, 0.0, 0.0, 0.0]);
        let q = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        cross_entropy.targets = Targets::Probabilities(&q);
        cross_entropy.run(1.0, &mut losses, &mut gradient);
        assert!((losses[0] - 2f32.ln()).abs() < 1e-6 && losses[1] == 0.0);
    }
}
