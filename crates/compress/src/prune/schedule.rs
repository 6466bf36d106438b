//! How much is gone after each of several steps.

/// How what is gone grows from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PruneSchedule {
    /// Each step keeps the same share of what the one before has left.
    #[default]
    Geometric,
    /// Much at first, little in the end: what is to stay longer falls with the cube of the time that is left (Zhu and Gupta 2017,
    /// equation 1).
    Cubic,
}

impl PruneSchedule {
    /// Every schedule, by the name that users write.
    pub const ALL: &[(&str, PruneSchedule)] = &[
        ("geometric", PruneSchedule::Geometric),
        ("cubic", PruneSchedule::Cubic),
    ];

    /// The share that is gone after step `step` of `steps`, when the share `gone` is in the end.
    pub fn gone(self, gone: f64, step: usize, steps: usize) -> f64 {
        let done = step as f64 / steps.max(1) as f64;
        match self {
            PruneSchedule::Geometric => 1.0 - (1.0 - gone).powf(done),
            PruneSchedule::Cubic => gone * (1.0 - (1.0 - done).powi(3)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_end_at_what_was_asked_for() {
        for (name, schedule) in PruneSchedule::ALL {
            let gone: Vec<f64> = (0..=4).map(|step| schedule.gone(0.9, step, 4)).collect();
            assert!((gone[0]).abs() < 1e-12 && (gone[4] - 0.9).abs() < 1e-12, "{name}");
            assert!(gone.windows(2).all(|pair| pair[0] < pair[1]), "{name}: {gone:?}");
        }
        let half = PruneSchedule::Geometric.gone(0.75, 1, 2);
        assert!((half - 0.5).abs() < 1e-12);
        assert!((PruneSchedule::Cubic.gone(0.8, 1, 2) - 0.7).abs() < 1e-12);
    }
}
