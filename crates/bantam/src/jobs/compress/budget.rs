//! What a compressed network may lose, and what of it is to be small.

use std::time::Duration;

use bantam_compress::evaluate::Metric;
use serde::Serialize;

use crate::Error;

/// What is to be as small as possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Minimize {
    /// Bytes of the file.
    Size,
    /// Time of a run in the target's runtime.
    Latency,
    /// Multiply-accumulates, each times the bits of both factors.
    BitOperations,
    /// Energy of a run by a model: arithmetic, and reading the weights.
    Energy,
    /// What is lost, of all files of [`Budget::max_bytes`] at most.
    Loss,
}

impl Minimize {
    /// Every one, by the name that users write.
    pub const ALL: &[(&str, Minimize)] = &[
        ("size", Minimize::Size),
        ("latency", Minimize::Latency),
        ("bit-operations", Minimize::BitOperations),
        ("energy", Minimize::Energy),
        ("loss", Minimize::Loss),
    ];
}

/// What is asked of the result.
#[derive(Clone, Debug, Serialize)]
pub struct Budget {
    /// Most that may be lost: points of a share such as top1, else percent of the metric; infinite for no limit.
    pub max_drop: f64,
    /// Least score, where one is asked for; a share is written as 0.91.
    pub min_score: Option<f64>,
    /// Most bytes of the file.
    pub max_bytes: Option<u64>,
    /// Most bytes of values of one sample at once, codes of 8 bits counted as they are.
    pub max_activation_bytes: Option<u64>,
    /// Most milliseconds of a run.
    pub max_latency: Option<f64>,
    /// How sure it must be that the budget is kept on new samples, when those that decide are used up: 0.5 takes their mean as it is.
    pub confidence: f64,
    /// What is to be small.
    pub minimize: Minimize,
    /// When to stop looking for better ones.
    #[serde(skip)]
    pub time_limit: Option<Duration>,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            max_drop: 0.5,
            min_score: None,
            max_bytes: None,
            max_activation_bytes: None,
            max_latency: None,
            confidence: 0.95,
            minimize: Minimize::Size,
            time_limit: None,
        }
    }
}

impl Budget {
    /// What makes no sense, before any work.
    pub(super) fn check(&self) -> Result<(), Error> {
        let wrong = |message: String, hint: &str| {
            Err(Error::Usage {
                message,
                hint: hint.to_owned(),
            })
        };
        if self.max_drop.is_nan() || self.max_drop < 0.0 {
            return wrong(
                format!("{} points cannot be lost", self.max_drop),
                "--max-drop 0.5, or 0 to lose nothing",
            );
        }
        if !(0.5..1.0).contains(&self.confidence) {
            return wrong(
                format!("nothing can be {}% sure here", 100.0 * self.confidence),
                "--confidence from 50% to below 100%, as 95%",
            );
        }
        if self.minimize == Minimize::Loss && self.max_bytes.is_none() {
            return wrong(
                "the network as it is loses least: nothing says how small the result is to be".to_owned(),
                "--minimize loss --max-bytes 300KB",
            );
        }
        if self.max_bytes == Some(0) || self.max_latency.is_some_and(|most| most.is_nan() || most <= 0.0) {
            return wrong(
                "no network has 0 bytes or takes no time".to_owned(),
                "raise the limit",
            );
        }
        if self.time_limit.is_some_and(|limit| limit.is_zero()) {
            return wrong("nothing can be done in no time".to_owned(), "--time-limit 20m");
        }
        Ok(())
    }

    /// The largest mean loss of a sample, as the difference of scores: of shares the points, of losses the logarithm of the factor.
    /// `float` is the score of the network as it was.
    pub(super) fn limit(&self, metric: Option<&dyn Metric>, float: f64) -> Result<f64, Error> {
        let is_share = metric.is_none_or(Metric::is_proportion);
        let drop = match is_share {
            true => self.max_drop / 100.0,
            false => (self.max_drop / 100.0).ln_1p(),
        };
        let Some(least) = self.min_score else {
            return Ok(drop);
        };
        let room = match is_share {
            true => float - least,
            false => (least / float).ln(),
        };
        match room >= 0.0 {
            true => Ok(drop.min(room)),
            false => Err(Error::Usage {
                message: format!(
                    "the network as it is scores {float:.4}, which is already worse than {least}"
                ),
                hint: "ask for a score that the network has, or train it first with `bantam train`"
                    .to_owned(),
            }),
        }
    }
}
