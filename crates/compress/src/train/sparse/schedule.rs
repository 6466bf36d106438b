//! When masks change, and how many zeros there are then.

use super::settings::{SparseMethod, SparsitySchedule, SparsitySettings};

/// Most steps between two changes, and changes that there are at least where steps allow, unless the user
/// says otherwise.
const MOST_BETWEEN: u64 = 100;
const CHANGES: u64 = 40;
/// The same where connections are exchanged: new ones need time to grow before they are weighed.
const EXCHANGES: u64 = 10;

/// The steps in which masks change. A step is named by how many were made before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) first: u64,
    /// The mask of this step stays.
    pub(super) last: u64,
    every: u64,
}

impl Span {
    /// Masks are final one step before the end at the latest.
    pub(super) fn new(settings: &SparsitySettings, steps: u64) -> Span {
        let end = steps.saturating_sub(1);
        let at = |share: f32| ((f64::from(share) * steps as f64) as u64).min(end);
        let (first, last) = (at(settings.from), at(settings.until()));
        let usual = match settings.method {
            // Held back for long, weights behind the mask come back far too large.
            SparseMethod::Feedback => 1,
            SparseMethod::Set | SparseMethod::Rigl => (last - first) / EXCHANGES,
            _ => (last - first) / CHANGES,
        };
        let usual = usual.clamp(1, MOST_BETWEEN);
        Span {
            first,
            last,
            every: settings.every.unwrap_or(usual).max(1),
        }
    }

    /// Whether a step begins with other masks than the one before.
    pub(super) fn is_due(&self, step: u64) -> bool {
        (self.first..=self.last).contains(&step)
            && ((step - self.first).is_multiple_of(self.every) || step == self.last)
    }

    /// How far the change is: 0 in the first step, 1 from the last on.
    pub(super) fn done(&self, step: u64) -> f64 {
        let length = self.last.saturating_sub(self.first);
        match step.saturating_sub(self.first) {
            made if made >= length => 1.0,
            made => made as f64 / length as f64,
        }
    }
}

impl SparsitySchedule {
    /// The share of zeros between `initial` and `last` (Zhu and Gupta 2017, equation 1, for `Cubic`).
    pub fn sparsity(self, [initial, last]: [f64; 2], done: f64) -> f64 {
        let missing = match self {
            SparsitySchedule::OneShot => 0.0,
            SparsitySchedule::Linear => 1.0 - done,
            SparsitySchedule::Cubic => (1.0 - done).powi(3),
        };
        last + (initial - last) * missing
    }
}

/// The share of a layer's connections that are exchanged, `alpha / 2 (1 + cos(pi t / T))` (Evci et al. 2020,
/// section 3).
pub(super) fn exchanged(alpha: f32, done: f64) -> f64 {
    f64::from(alpha) / 2.0 * (1.0 + (std::f64::consts::PI * done).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(from: f32, until: f32, every: u64) -> SparsitySettings {
        SparsitySettings {
            from,
            until: Some(until),
            every: Some(every),
            ..SparsitySettings::default()
        }
    }

    #[test]
    fn cubic_growth_follows_the_formula() {
        let span = Span::new(&settings(0.1, 0.6, 10), 200);
        assert_eq!((span.first, span.last), (20, 120));
        for step in 20..=120u64 {
            // s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3 with n dt = 100.
            let expected = 0.9 + (0.2 - 0.9) * (1.0 - (step - 20) as f64 / 100.0).powi(3);
            let sparsity = SparsitySchedule::Cubic.sparsity([0.2, 0.9], span.done(step));
            assert!((sparsity - expected).abs() < 1e-12, "{step}: {sparsity}");
        }
        assert_eq!(SparsitySchedule::Linear.sparsity([0.0, 0.8], span.done(70)), 0.4);
        assert_eq!(SparsitySchedule::OneShot.sparsity([0.0, 0.8], span.done(20)), 0.8);
        let due: Vec<u64> = (0..200).filter(|step| span.is_due(*step)).collect();
        assert_eq!(due, (2..=12).map(|tens| tens * 10).collect::<Vec<u64>>());
    }

    #[test]
    fn masks_are_final_before_the_last_step_ends() {
        for steps in [1, 2, 3, 17] {
            let span = Span::new(&settings(0.0, 1.0, 7), steps);
            assert!(span.last < steps && span.is_due(span.last) && span.done(span.last) == 1.0);
        }
    }

    #[test]
    fn exchanges_fade() {
        let at = [0.0, 0.5, 1.0].map(|done| exchanged(0.3, done));
        assert!((at[0] - 0.3).abs() < 1e-6 && (at[1] - 0.15).abs() < 1e-6 && at[2].abs() < 1e-12);
    }
}
