//! The main job: a network and a budget in, the best network within it out.
//!
//! [`compress`] measures how much each layer minds fewer bits, on the network as it is and with ever fewer channels
//! ([`level`]), puts these together into candidates ([`plan`]), builds and judges as few of them as it takes ([`candidate`]), and scores the
//! best on samples that chose nothing ([`outcome`]).

mod budget;
mod candidate;
mod clock;
mod details;
mod fit;
mod float;
mod histograms;
mod level;
mod outcome;
mod plan;
mod samples;
mod trained;
mod workspace;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bantam_compress::evaluate::Metric;
use bantam_compress::select::Selector;
use bantam_compress::target::Target;
use bantam_compress::target::cost::CostModel;
use bantam_formats::data::DataSet;
use bantam_graph::Model;
use bantam_tensor::Samples;

use super::target::check_ops;
use super::{CorruptionSettings, RuntimeChoice, check_writable};
use crate::files::{digest, model_digest};
use crate::{Error, Progress, pipeline};
pub use budget::{Budget, Minimize};
use candidate::Tried;
use clock::Clock;
use float::Float;
pub use outcome::{CompressReport, Side};
use samples::Sources;
pub(super) use workspace::Workspace;

/// What to compress and how far.
#[derive(Clone)]
pub struct CompressJob {
    /// The model's file.
    pub model: PathBuf,
    /// The data set.
    pub data: PathBuf,
    /// The runtime that the result is for.
    pub target: &'static Target,
    /// What measures latency; what suits the target when absent.
    pub runtime: Option<RuntimeChoice>,
    /// What models latency instead; where nothing can measure it and there is none here, the target's published limits do.
    pub cost_model: Option<CostModel>,
    /// The metric that must not fall; the usual one for such a model when absent. Without labels, agreement with the network as it was.
    pub metric: Option<String>,
    /// What is asked.
    pub budget: Budget,
    /// Shares of the channels that may be left, from many to few.
    pub keep: Vec<f64>,
    /// Bits of weights that may be chosen.
    pub widths: Vec<u32>,
    /// Epochs of training for candidates that are beyond the budget without; 0 for none.
    pub epochs: usize,
    /// Its largest rate.
    pub learning_rate: f32,
    /// Nodes that stay as they are.
    pub exclude: Vec<Selector>,
    /// Number of calibration samples.
    pub samples: usize,
    /// Most samples that candidates are judged by.
    pub validation_samples: usize,
    /// Samples of a run, where latency counts.
    pub batch: usize,
    /// Threads of runs that are timed.
    pub threads: usize,
    /// Number of test samples that the result is scored on.
    pub limit: usize,
    /// Corruptions of images that the result is scored under too, beside the network as it was.
    pub corruptions: Option<CorruptionSettings>,
    /// Chooses samples, and the order in training.
    pub seed: u64,
    /// The command that asked for it, for the report.
    pub command: String,
    /// Keep the folder of the search.
    pub keep_search: bool,
    /// Where to write the result; the reports go beside it.
    pub output: PathBuf,
}

/// A search under way.
struct Search<'a> {
    job: &'a CompressJob,
    /// The network as it was, prepared.
    model: Model,
    sources: Sources,
    metric: Option<&'static dyn Metric>,
    /// How it scores.
    float: Float,
    /// Largest mean loss of a sample.
    limit: f64,
    clock: Clock,
    workspace: Workspace,
    /// Digest of all files of the data set.
    data_hash: String,
    /// In the order of trying.
    tried: RefCell<Vec<Tried>>,
    /// Seconds of each kind of work, of this run.
    seconds: RefCell<BTreeMap<&'static str, f64>>,
    /// What to know.
    warnings: RefCell<Vec<String>>,
    say: &'a dyn Progress,
}

/// Finds the best network within a budget, writes it with its reports, and scores it.
///
/// # Errors
/// When settings, model and data do not fit together, or no network within the budget is found.
pub fn compress(job: &CompressJob, progress: &dyn Progress) -> Result<CompressReport, Error> {
    check(job)?;
    let search = Search::open(job, progress)?;
    let found = plan::find(&search, progress)?;
    let report = outcome::finish(&search, &found, progress)?;
    if !job.keep_search {
        search.workspace.remove()?;
    }
    Ok(report)
}

/// What can be known to be wrong before any work.
fn check(job: &CompressJob) -> Result<(), Error> {
    job.budget.check()?;
    job.corruptions
        .as_ref()
        .map_or(Ok(()), CorruptionSettings::check)?;
    check_writable(&job.output)?;
    let wrong = |message: String, hint: &str| {
        Err(Error::Usage {
            message,
            hint: hint.to_owned(),
        })
    };
    if job.keep.iter().any(|share| !(0.01..1.0).contains(share)) {
        return wrong(
            "shares of channels are between 1% and 100%".to_owned(),
            "--keep 90%,80%,70%",
        );
    }
    if job.keep.windows(2).any(|pair| pair[0] <= pair[1]) {
        return wrong("shares of channels must fall".to_owned(), "--keep 90%,80%,70%");
    }
    if let Some(bits) = job.widths.iter().find(|bits| !(2..=8).contains(*bits)) {
        return wrong(
            format!("weights cannot have {bits} bits"),
            "--widths of 2 to 8, as 8,4",
        );
    }
    if job.widths.is_empty() || job.samples == 0 || job.validation_samples == 0 {
        return wrong(
            "there is nothing to choose from, or to choose by".to_owned(),
            "--widths, --samples and --validation-samples",
        );
    }
    Ok(())
}

impl<'a> Search<'a> {
    fn open(job: &'a CompressJob, progress: &'a dyn Progress) -> Result<Search<'a>, Error> {
        let loaded = pipeline::load(&job.model)?;
        let model = pipeline::prepare(&loaded)?;
        let sources = Sources::open(
            &job.data,
            &model.graph,
            (job.samples, job.validation_samples),
            job.seed,
        )?;
        let metric = metric(job, &model, &sources)?;
        plan::refuse_impossible(job)?;
        let mut warnings = check_ops(&model.graph, job.target, &job.exclude, progress)?;
        let data_hash = digest(&[], &DataSet::open(&job.data)?.files()?)?;
        let settings = key(job);
        let model_hash = model_digest(&job.model)?;
        let version = env!("CARGO_PKG_VERSION");
        let key = digest(&[&settings, &data_hash, &model_hash, version], &[])?;
        let workspace = Workspace::open(folder(&job.output), &key)?;
        let float = Float::measure(&model, &sources, metric, &workspace, progress);
        let measured = float.and_then(|float| {
            let limit = job.budget.limit(metric, float.score(metric))?;
            Ok((float, limit))
        });
        let (float, limit) = match measured {
            Ok(measured) => measured,
            Err(error) => {
                workspace.remove()?;
                return Err(error);
            }
        };
        if sources.decides_on_training_samples() {
            warnings.push(
                "the data set has no split `validation`, so that samples of `train` decide: a network that has seen them in training loses less \
                 there than on new ones"
                    .to_owned(),
            );
        }
        if metric.is_none() {
            warnings.push(
                "the samples have no labels: what counts is agreement with the network as it was".to_owned(),
            );
        }
        let (clock, told) = Clock::of(job);
        warnings.extend(told);
        Ok(Search {
            job,
            model,
            sources,
            metric,
            float,
            limit,
            clock,
            workspace,
            data_hash,
            tried: RefCell::default(),
            seconds: RefCell::default(),
            warnings: RefCell::new(warnings),
            say: progress,
        })
    }

    /// Whether samples say what is right.
    fn has_labels(&self) -> bool {
        self.metric.is_some()
    }

    fn measures_latency(&self) -> bool {
        self.job.budget.minimize == Minimize::Latency || self.job.budget.max_latency.is_some()
    }

    /// Does some work, and adds its time to that of its kind.
    fn timed<T>(&self, kind: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        *self.seconds.borrow_mut().entry(kind).or_default() += start.elapsed().as_secs_f64();
        done
    }

    /// Whether the time is up.
    fn is_late(&self) -> bool {
        self.is_late_for(0.0)
    }

    /// Whether the time will be up after so many seconds more.
    fn is_late_for(&self, seconds: f64) -> bool {
        let limit = self.job.budget.time_limit;
        limit.is_some_and(|limit| self.workspace.seconds() + seconds > limit.as_secs_f64())
    }

    fn note(&self, text: String) {
        self.say.say(&text);
    }

    /// A candidate in words.
    fn describe(&self, tried: &Tried) -> String {
        let lost = match self.metric.is_none_or(|metric| metric.is_proportion()) {
            true => format!("{:+.2} points", -100.0 * tried.loss),
            false => format!("{:+.2}%", 100.0 * tried.loss.exp_m1()),
        };
        let latency = tried
            .latency_ms
            .map_or(String::new(), |ms| format!(", {}", milliseconds(ms)));
        format!(
            "{}: {} bytes{latency}, {lost} by {} samples: {}",
            outcome::name(&tried.candidate),
            tried.bytes,
            tried.samples,
            outcome::word(tried.verdict),
        )
    }
}

impl CompressJob {
    /// Bits of weights to choose from, from many to few.
    fn bits(&self) -> Vec<u32> {
        let mut widths = match self.budget.minimize {
            // Runtimes multiply codes of 8 bits.
            Minimize::Latency => vec![8],
            Minimize::Size | Minimize::BitOperations | Minimize::Energy | Minimize::Loss => {
                self.widths.clone()
            }
        };
        widths.sort_unstable_by(|a, b| b.cmp(a));
        widths.dedup();
        widths
    }
}

/// Beside the result.
fn folder(output: &Path) -> PathBuf {
    let mut folder = output.as_os_str().to_owned();
    folder.push(".search");
    folder.into()
}

/// What results depend on, but for the contents of files. Limits only choose among them, except that one of latency has them timed.
fn key(job: &CompressJob) -> String {
    let budget = &job.budget;
    format!(
        "{:?} {} {:?} {:?} {:?} {:?} {:?} {} {} {:?} {} {} {} {} {} {:?}",
        job.model,
        job.target.name,
        job.metric,
        budget.max_drop,
        budget.min_score,
        (budget.minimize, budget.confidence, budget.max_latency.is_some()),
        job.widths,
        job.learning_rate,
        job.samples,
        job.exclude.iter().map(Selector::text).collect::<Vec<_>>(),
        job.validation_samples,
        job.batch,
        job.threads,
        job.seed,
        job.runtime.map_or("", RuntimeChoice::name),
        job.cost_model,
    )
}

/// The metric that counts; `None` where samples have no labels.
fn metric(job: &CompressJob, model: &Model, sources: &Sources) -> Result<Option<&'static dyn Metric>, Error> {
    let name = match &job.metric {
        Some(name) => name.clone(),
        None if !sources.deciding().has_labels() => return Ok(None),
        None => super::eval::usual_metric(&model.graph).to_owned(),
    };
    let metric = super::metrics_by_name(&[name])?.into_iter().next();
    match metric {
        Some(metric) if !metric.has_scores() || !(metric.is_proportion() || metric.name() == "perplexity") => Err(Error::Usage {
            message: format!("a budget of {} cannot be decided sample by sample", metric.name()),
            hint: "--metric top1, top5, next-token or perplexity; `bantam compare` scores the result by any other".to_owned(),
        }),
        metric => Ok(metric),
    }
}

/// A time in words, with three digits or more.
fn milliseconds(ms: f64) -> String {
    match ms < 0.1 {
        true => format!("{ms:.2e} ms"),
        false => format!("{ms:.2} ms"),
    }
}
