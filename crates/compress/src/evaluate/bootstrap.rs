//! Intervals of whatever is computed from samples, by drawing the samples again (Efron 1979).

use bantam_tensor::SplitMix64;
use rayon::prelude::*;

use super::Estimate;

/// Times that all samples are drawn again, with replacement.
const RESAMPLINGS: usize = 1000;

/// Of the draws: the same for all metrics, so that two models are drawn alike.
const SEED: u64 = 0;

/// A number as a function of how often each sample counts; NaN where it is not defined.
pub type Aggregate<'a> = Box<dyn Fn(&[u32]) -> f64 + Send + Sync + 'a>;

/// A number of all samples, its interval, and how far it is from 0.
pub(super) struct Resampled {
    pub(super) estimate: Estimate,
    /// Two-sided: how often draws lie on the other side of 0, counted twice; at least 1 in 501.
    pub(super) p_value: f64,
}

/// The number with every sample counted once, and the interval that holds 95% of the numbers of `count` samples drawn again.
/// Draws for which the number is not defined are left out. The draws depend on `count` alone.
pub(super) fn bootstrap(count: usize, aggregate: &(dyn Fn(&[u32]) -> f64 + Sync)) -> Resampled {
    let value = aggregate(&vec![1; count]);
    let mut drawn: Vec<f64> = (0..RESAMPLINGS)
        .into_par_iter()
        .map_init(
            || vec![0; count],
            |weights, index| aggregate(draw(index, weights)),
        )
        .collect();
    drawn.retain(|value| !value.is_nan());
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let position = (drawn.len().saturating_sub(1) as f64 * share).round() as usize;
        drawn.get(position).copied().unwrap_or(f64::NAN)
    };
    let share = |is_beyond: fn(&f64) -> bool| {
        (1 + drawn.iter().filter(|value| is_beyond(value)).count()) as f64 / (1 + drawn.len()) as f64
    };
    let tail = share(|value| *value <= 0.0).min(share(|value| *value >= 0.0));
    Resampled {
        estimate: Estimate {
            value,
            low: at(0.025),
            high: at(0.975),
        },
        p_value: (2.0 * tail).min(1.0),
    }
}

/// How often each sample is drawn in the draw with this index.
fn draw(index: usize, weights: &mut [u32]) -> &[u32] {
    let seed = SplitMix64::new(SEED ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).next_u64();
    let mut random = SplitMix64::new(seed);
    weights.fill(0);
    for _ in 0..weights.len() {
        weights[random.below(weights.len())] += 1;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::normal_interval;

    #[test]
    fn intervals_of_means_are_near_the_normal_ones() {
        let scores: Vec<f32> = (0..400).map(|index| (index * 37 % 101) as f32 / 101.0).collect();
        let mean = |weights: &[u32]| {
            let sum: f64 = scores
                .iter()
                .zip(weights)
                .map(|(s, w)| f64::from(*s) * f64::from(*w))
                .sum();
            sum / 400.0
        };
        let (got, normal) = (bootstrap(400, &mean), normal_interval(&scores));
        assert!((got.estimate.value - normal.value).abs() < 1e-12);
        assert!(
            (got.estimate.low - normal.low).abs() < 0.004,
            "{:?} {normal:?}",
            got.estimate
        );
        assert!(
            (got.estimate.high - normal.high).abs() < 0.004,
            "{:?} {normal:?}",
            got.estimate
        );
        assert!((got.p_value - 2.0 / 1001.0).abs() < 1e-12, "{}", got.p_value);
        let centred = |weights: &[u32]| mean(weights) - got.estimate.value;
        assert!(bootstrap(400, &centred).p_value > 0.8);
    }

    #[test]
    fn undefined_draws_are_left_out() {
        // Defined only where the first sample was drawn.
        let got = bootstrap(3, &|weights: &[u32]| if weights[0] == 0 { f64::NAN } else { 2.0 });
        assert_eq!(
            (got.estimate.low, got.estimate.value, got.estimate.high),
            (2.0, 2.0, 2.0)
        );
    }
}
