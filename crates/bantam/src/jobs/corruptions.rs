//! Scores under corruptions of the images, of one model or of two.

use bantam_compress::evaluate::{Estimate, Scores, compare as pair};
use bantam_formats::data::{CORRUPTIONS, Corruption, Split, Strength, corruptions_by_name};
use serde::Serialize;

use super::eval::open;
use super::{CompareJob, EvalJob, ScoreReport};
use crate::{Error, Progress};

/// How images are corrupted.
#[derive(Clone, Debug)]
pub struct CorruptionSettings {
    /// Names of corruptions or of their families, or `all`.
    pub names: Vec<String>,
    /// Strengths, 1 to 5 each.
    pub strengths: Vec<usize>,
    /// Of the noise.
    pub seed: u64,
}

/// What a model scores.
#[derive(Clone, Debug, Serialize)]
pub struct CorruptionsReport {
    /// Scores without corruption.
    #[serde(flatten)]
    pub clean: ScoreReport,
    /// The metric of the rows: the first.
    pub metric: &'static str,
    /// One for each corruption and strength.
    pub rows: Vec<CorruptionRow>,
}

/// One corruption of one strength.
#[derive(Clone, Debug, Serialize)]
pub struct CorruptionRow {
    /// Its name.
    pub corruption: &'static str,
    /// 1 to 5.
    pub strength: usize,
    /// The metric.
    pub score: Estimate,
    /// How much smaller it is than without corruption, on the same samples, as [`Comparison`](bantam_compress::evaluate::Comparison) says of its difference.
    pub drop: Estimate,
}

/// What two models score.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedCorruptions {
    /// The metric: the first.
    pub metric: &'static str,
    /// The first without corruption, then one for each corruption and strength.
    pub rows: Vec<ComparedRow>,
}

/// Two models under one corruption of one strength.
#[derive(Clone, Debug, Serialize)]
pub struct ComparedRow {
    /// Its name; `clean` without.
    pub corruption: &'static str,
    /// 1 to 5; 0 without.
    pub strength: usize,
    /// The metric of the first model.
    pub before: Estimate,
    /// That of the second.
    pub after: Estimate,
    /// The second's less the first's, on the same samples, as [`Comparison`](bantam_compress::evaluate::Comparison) says.
    pub difference: Estimate,
}

/// A kind of images that models are scored on.
struct Case {
    corruption: &'static str,
    strength: usize,
    split: Split,
}

impl CorruptionSettings {
    /// Whether all names and strengths are known.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.chosen().map(drop)
    }

    /// The corrupted splits, in the order of [`CORRUPTIONS`].
    fn cases(&self, split: &Split) -> Result<Vec<Case>, Error> {
        let mut cases = Vec::new();
        for (corruption, strength) in self.chosen()? {
            cases.push(Case {
                corruption: corruption.name,
                strength: strength.get(),
                split: split.corrupted(corruption, strength, self.seed)?,
            });
        }
        Ok(cases)
    }

    fn chosen(&self) -> Result<Vec<(&'static Corruption, Strength)>, Error> {
        let mut meant = Vec::new();
        for name in &self.names {
            let found = corruptions_by_name(name);
            meant.extend(
                found
                    .ok_or_else(|| unknown(name))?
                    .iter()
                    .map(|corruption| corruption.name),
            );
        }
        let usage = |message: String| Error::Usage {
            message,
            hint: "corruptions have strengths 1 to 5: --strengths 1,3,5".to_owned(),
        };
        let strength = |strength: &usize| {
            Strength::new(*strength).ok_or_else(|| usage(format!("there is no strength {strength}")))
        };
        let mut strengths = self
            .strengths
            .iter()
            .map(strength)
            .collect::<Result<Vec<_>, _>>()?;
        strengths.sort_unstable();
        strengths.dedup();
        if meant.is_empty() || strengths.is_empty() {
            return Err(usage("no corruption or no strength is named".to_owned()));
        }
        let chosen = CORRUPTIONS
            .iter()
            .filter(|corruption| meant.contains(&corruption.name));
        Ok(chosen
            .flat_map(|corruption| strengths.iter().map(move |strength| (corruption, *strength)))
            .collect())
    }
}

fn unknown(name: &str) -> Error {
    let mut families: Vec<&str> = CORRUPTIONS.iter().map(|corruption| corruption.family).collect();
    families.dedup();
    let names = CORRUPTIONS.iter().map(|corruption| corruption.name);
    Error::unknown_name("corruption", name, names.chain(families).chain(["all"]))
}

/// Scores a model on images as they are and under each corruption.
///
/// # Errors
/// When names, strengths, files and data do not fit together, which is found out before anything is scored.
pub fn eval_corrupted(
    job: &EvalJob,
    settings: &CorruptionSettings,
    progress: &dyn Progress,
) -> Result<CorruptionsReport, Error> {
    settings.check()?;
    let mut model = open(job)?;
    let split = model.split.clone();
    let cases = settings.cases(&split)?;
    let clean = model.score(&split, progress)?;
    let mut rows = Vec::with_capacity(cases.len());
    for case in &cases {
        let scores = model.score(&case.split, progress)?;
        rows.push(CorruptionRow {
            corruption: case.corruption,
            strength: case.strength,
            score: first(&scores),
            drop: difference(&scores, &clean)?,
        });
    }
    Ok(CorruptionsReport {
        clean: model.report(&clean),
        metric: model.metrics[0].name(),
        rows,
    })
}

/// Scores two models on images as they are and under each corruption.
///
/// # Errors
/// As [`eval_corrupted`].
pub fn compare_corrupted(
    job: &CompareJob,
    settings: &CorruptionSettings,
    progress: &dyn Progress,
) -> Result<ComparedCorruptions, Error> {
    settings.check()?;
    let (mut before, mut after) = (open(&job.first)?, open(&job.second_job())?);
    let mut cases = settings.cases(&before.split)?;
    let clean = Case {
        corruption: "clean",
        strength: 0,
        split: before.split.clone(),
    };
    cases.insert(0, clean);
    let mut rows = Vec::with_capacity(cases.len());
    for case in &cases {
        let scores = (
            before.score(&case.split, progress)?,
            after.score(&case.split, progress)?,
        );
        rows.push(ComparedRow {
            corruption: case.corruption,
            strength: case.strength,
            before: first(&scores.0),
            after: first(&scores.1),
            difference: difference(&scores.0, &scores.1)?,
        });
    }
    Ok(ComparedCorruptions {
        metric: before.metrics[0].name(),
        rows,
    })
}

/// The first metric; there is one.
fn first(scores: &Scores) -> Estimate {
    scores.metrics[0].1
}

/// The second's first metric less the first's.
fn difference(first: &Scores, second: &Scores) -> Result<Estimate, Error> {
    Ok(pair(first, second)?.estimate())
}
