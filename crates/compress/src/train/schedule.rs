//! How the learning rate changes.

use serde::{Deserialize, Serialize};

/// The rate's course from the largest one on; a linear warm-up may come before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// It stays.
    Constant,
    /// A tenth after half of the steps, a hundredth after three quarters (He et al. 2016, section 4.2).
    Step,
    /// Half a cosine, to 0 (Loshchilov and Hutter 2017, equation 5).
    #[default]
    Cosine,
}

impl Schedule {
    /// Every schedule, by the name that users write.
    pub const ALL: &[(&str, Schedule)] = &[
        ("constant", Schedule::Constant),
        ("step", Schedule::Step),
        ("cosine", Schedule::Cosine),
    ];

    /// The share of the largest rate in step `step` of `steps`, of which `warmup` steps grow linearly.
    pub fn factor(self, step: u64, steps: u64, warmup: u64) -> f32 {
        if step < warmup {
            return (step + 1) as f32 / (warmup + 1) as f32;
        }
        let rest = steps.saturating_sub(warmup).max(1);
        let done = (step - warmup) as f64 / rest as f64;
        match self {
            Schedule::Constant => 1.0,
            Schedule::Step => match done {
                done if done < 0.5 => 1.0,
                done if done < 0.75 => 0.1,
                _ => 0.01,
            },
            Schedule::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())) as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_their_schedules() {
        let at = |schedule: Schedule, step| schedule.factor(step, 100, 0);
        assert_eq!([0, 50, 99].map(|step| at(Schedule::Constant, step)), [1.0; 3]);
        assert_eq!(
            [49, 50, 75].map(|step| at(Schedule::Step, step)),
            [1.0, 0.1, 0.01]
        );
        assert_eq!([0, 50].map(|step| at(Schedule::Cosine, step)), [1.0, 0.5]);
        assert!(at(Schedule::Cosine, 99) < 0.001);
        let warm: Vec<f32> = (0..4).map(|step| Schedule::Cosine.factor(step, 100, 3)).collect();
        assert_eq!(warm, [0.25, 0.5, 0.75, 1.0]);
    }
}
