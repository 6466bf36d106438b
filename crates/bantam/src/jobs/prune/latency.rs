//! As many channels go as a share of a runtime's time asks for.

use bantam_compress::prune::{Calibration, PruneError};
use bantam_graph::Model;
use serde::Serialize;

use super::{PruneJob, Pruning};
use crate::jobs::RuntimeChoice;
use crate::jobs::bench::{BenchJob, beside};
use crate::{Error, Progress, pipeline};

/// A share of the time of the whole network.
#[derive(Clone, Debug)]
pub struct LatencyTarget {
    /// The share that may be left.
    pub left: f64,
    /// What runs both networks.
    pub runtime: RuntimeChoice,
    /// Samples of a run.
    pub batch: usize,
    /// Threads of a run.
    pub threads: usize,
}

/// What was measured of the network that was chosen, in turns with the whole one.
#[derive(Clone, Debug, Serialize)]
pub struct MeasuredLatency {
    /// What ran both networks.
    pub runtime: String,
    /// Samples of a run.
    pub batch: usize,
    /// Threads of a run.
    pub threads: usize,
    /// Median milliseconds of the model.
    pub before_ms: f64,
    /// Median milliseconds of the result.
    pub after_ms: f64,
    /// Share of the multiply-accumulates that was asked for in the end.
    pub macs_left: f64,
    /// Networks that were timed.
    pub tried: usize,
}

impl MeasuredLatency {
    /// What the result takes of the time of the whole network.
    fn share(&self) -> f64 {
        self.after_ms / self.before_ms.max(f64::MIN_POSITIVE)
    }

    fn line(&self) -> String {
        format!(
            "{:.1}% of the MACs: {:.3} -> {:.3} ms, {:.1}%",
            self.macs_left * 100.0,
            self.before_ms,
            self.after_ms,
            self.share() * 100.0
        )
    }
}

impl LatencyTarget {
    /// That none of the networks was fast enough.
    fn missed(&self, tried: usize, fastest: f64) -> Error {
        Error::Usage {
            message: format!(
                "none of the {tried} networks that were timed takes {:.1}% of the time; the fastest takes {:.1}%",
                self.left * 100.0,
                fastest * 100.0
            ),
            hint: "a higher --target-latency, a lower --least, --multiple 8, or a larger --runtime-batch"
                .to_owned(),
        }
    }

    /// What makes no sense, before any work.
    pub(super) fn check(&self, pruning: &Pruning) -> Result<(), Error> {
        let wrong = |message: String, hint: &str| Error::Usage {
            message,
            hint: hint.to_owned(),
        };
        if !matches!(pruning, Pruning::Channels(_)) {
            let message = "a share of the time is reached by removing channels or heads".to_owned();
            return Err(wrong(message, "--structure channel or head"));
        }
        match self.left > 0.0 && self.left < 1.0 {
            true => Ok(()),
            false => {
                let message = format!("{}% of the time cannot be left", self.left * 100.0);
                Err(wrong(message, "a share between, as --target-latency 60%"))
            }
        }
    }
}

/// Most networks that are timed.
const MOST: usize = 7;
/// Shares of multiply-accumulates that are nearer to each other than this are not told apart.
const NEAR: f64 = 0.01;
/// Runs that count of each network.
const ROUNDS: usize = 30;

/// The pruning with the largest share of multiply-accumulates, of those tried by bisection, that is fast enough.
///
/// # Errors
/// When none is, or the runtime cannot run the networks.
pub(super) fn fast_enough(
    job: &PruneJob,
    model: &Model,
    target: &LatencyTarget,
    calibration: Option<&Calibration<'_>>,
    progress: &dyn Progress,
) -> Result<(Pruning, MeasuredLatency), Error> {
    let folder = tempfile::tempdir().map_err(|source| Error::File {
        path: std::env::temp_dir(),
        action: "cannot be written",
        source,
        hint: "set TMPDIR to a folder that can be written",
    })?;
    let bench = BenchJob {
        model: job.model.clone(),
        batch: target.batch,
        threads: target.threads,
        runtimes: vec![target.runtime],
        rounds: ROUNDS,
        ..BenchJob::default()
    };
    let (mut low, mut high, mut tried) = (0.0, 1.0, 0);
    let mut left = target.left;
    let mut best: Option<MeasuredLatency> = None;
    let mut fastest = 1.0f64;
    while tried < MOST && high - low > NEAR {
        let plan = match job.pruning.outline(left).plan(&model.graph, calibration) {
            // So few channels cannot be left.
            Err(PruneError::Target { .. }) => {
                low = left;
                left = f64::midpoint(low, high);
                continue;
            }
            plan => plan?,
        };
        let file = folder.path().join("candidate.onnx");
        pipeline::export(&pipeline::rewrite(model, &plan)?, &file, &job.save)?;
        let [before_ms, after_ms] = beside(&bench, &file, progress)?.map(|taken| taken.milliseconds);
        tried += 1;
        let measured = MeasuredLatency {
            runtime: target.runtime.name().to_owned(),
            batch: target.batch,
            threads: target.threads,
            before_ms,
            after_ms,
            macs_left: left,
            tried,
        };
        progress.say(&measured.line());
        fastest = fastest.min(measured.share());
        match measured.share() <= target.left {
            true => (low, best) = (left, Some(measured)),
            false => high = left,
        }
        left = f64::midpoint(low, high);
    }
    let found = best.ok_or_else(|| target.missed(tried, fastest))?;
    Ok((
        job.pruning.with_left(found.macs_left),
        MeasuredLatency { tried, ..found },
    ))
}
