//! Whether a network is within a budget of accuracy, decided as early as the samples allow.

use serde::Serialize;

/// What is known of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// What it loses is below the budget for certain.
    Accepted,
    /// It is above for certain.
    Rejected,
    /// More samples are needed.
    Undecided,
}

/// Tests the mean of paired losses (score of the float network minus that of the candidate, sample by sample) against a limit, looking
/// again and again while samples come in. The error of all looks together is at most 5%: the look number k has an error of
/// 6 / (pi k)^2 of it (a spending of alpha; Lan & DeMets 1983 describe the idea).
#[derive(Clone, Debug)]
pub struct PairedTest {
    limit: f64,
    count: f64,
    sum: f64,
    squares: f64,
    looks: u32,
}

/// The error of all looks together.
const ALPHA: f64 = 0.05;

impl PairedTest {
    /// A test against a mean loss.
    pub fn new(limit: f64) -> PairedTest {
        PairedTest {
            limit,
            count: 0.0,
            sum: 0.0,
            squares: 0.0,
            looks: 0,
        }
    }

    /// Takes the losses of further samples in, and looks.
    pub fn add(&mut self, losses: &[f64]) -> Verdict {
        for loss in losses {
            self.count += 1.0;
            self.sum += loss;
            self.squares += loss * loss;
        }
        self.looks += 1;
        let (low, high) = self.interval(ALPHA * 6.0 / (std::f64::consts::PI * f64::from(self.looks)).powi(2));
        match (high <= self.limit, low > self.limit) {
            (true, _) => Verdict::Accepted,
            (_, true) => Verdict::Rejected,
            _ => Verdict::Undecided,
        }
    }

    /// Samples so far.
    pub fn samples(&self) -> usize {
        self.count as usize
    }

    /// The mean loss so far; 0 before the first sample.
    pub fn mean(&self) -> f64 {
        self.sum / self.count.max(1.0)
    }

    /// Normal interval of the mean loss with this error on both sides together. One more sample on either side, as far off as the
    /// farthest can be, keeps a few samples that agree from looking certain.
    pub fn interval(&self, error: f64) -> (f64, f64) {
        let count = self.count.max(1.0);
        let mean = self.mean();
        let variance = (self.squares + 2.0) / (count + 2.0) - mean * mean;
        let half = normal_quantile(1.0 - error / 2.0) * (variance.max(0.0) / count).sqrt();
        (mean - half, mean + half)
    }
}

/// The quantile of the standard normal distribution for a probability above one half, by bisection of its tail.
fn normal_quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        match 1.0 - 0.5 * libm::erfc(middle / std::f64::consts::SQRT_2) < probability {
            true => low = middle,
            false => high = middle,
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam_tensor::SplitMix64;

    #[test]
    fn quantiles_are_those_of_the_table() {
        for (probability, quantile) in [(0.5, 0.0), (0.975, 1.959_964), (0.999_5, 3.290_527)] {
            assert!(
                (normal_quantile(probability) - quantile).abs() < 1e-5,
                "{probability}"
            );
        }
    }

    /// Looks at samples of which `worse` in a thousand are lost and `better` won.
    fn run(seed: u64, worse: f64, better: f64, limit: f64) -> (Verdict, usize) {
        let mut random = SplitMix64::new(seed);
        let mut test = PairedTest::new(limit);
        for _ in 0..40 {
            let losses: Vec<f64> = (0..250)
                .map(|_| match f64::from(random.unit()) * 1000.0 {
                    x if x < worse => 1.0,
                    x if x < worse + better => -1.0,
                    _ => 0.0,
                })
                .collect();
            let verdict = test.add(&losses);
            if verdict != Verdict::Undecided {
                return (verdict, test.samples());
            }
        }
        (Verdict::Undecided, test.samples())
    }

    #[test]
    fn clear_cases_are_decided_early_and_right() {
        for seed in 0..20 {
            let (verdict, samples) = run(seed, 200.0, 20.0, 0.005);
            assert_eq!(verdict, Verdict::Rejected);
            assert!(samples <= 500, "{samples}");
            let (verdict, samples) = run(seed, 10.0, 10.0, 0.05);
            assert_eq!(verdict, Verdict::Accepted);
            assert!(samples <= 1000, "{samples}");
        }
    }

    #[test]
    fn looking_often_errs_seldom() {
        // The mean loss is the limit itself: each verdict is an error.
        let wrong = (0..400).filter(|&seed| run(seed, 40.0, 20.0, 0.02).0 != Verdict::Undecided);
        let wrong = wrong.count();
        assert!(wrong <= 28, "{wrong} of 400 for an error of 5%");
    }
}
