//! Networks that are tried: how they are described, built and judged.

use bantam_compress::quantize::aware::{Aware, AwareSettings, Width, bake};
use bantam_compress::quantize::layerwise::algorithm_by_name;
use bantam_compress::search::{PairedTest, Verdict};
use bantam_compress::select::Selector;
use bantam_compress::train::{Distillation, TrainSettings};
use bantam_formats::onnx::{NarrowCodes, SaveOptions};
use bantam_graph::{Graph, Model};
use bantam_tensor::{Samples, trained_format_by_name};
use serde::{Deserialize, Serialize};

use super::budget::Minimize;
use super::level::{FLOAT, Level};
use super::{CompressJob, Search};
use crate::files::digest;
use crate::jobs::bench::Taken;
use crate::jobs::{TrainJob, model_bytes, train};
use crate::pipeline::{self, Algorithms};
use crate::{Error, Progress};

/// A network to try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Candidate {
    /// Share of the channels that is left, in thousandths.
    pub(super) left: u32,
    /// Bits of the weights of each layer of the level; `None` for a network in float.
    pub(super) bits: Option<Vec<u32>>,
    /// Layers that stay in float, by their places.
    pub(super) float: Vec<usize>,
    /// Epochs of training.
    pub(super) epochs: usize,
}

/// What became of a candidate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Tried {
    /// What it is.
    pub(super) candidate: Candidate,
    /// Name of its file in the folder of the search.
    pub(super) file: String,
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// Most bytes of values of one sample at once, where sizes are known.
    pub(super) activation_bytes: Option<u64>,
    /// Bit operations, or picojoules where energy counts.
    pub(super) cost: f64,
    /// Median milliseconds of a run, where latency counts.
    pub(super) latency_ms: Option<f64>,
    /// Mean loss of a sample against the network as it was.
    pub(super) loss: f64,
    /// Half of its 95% interval.
    pub(super) half: f64,
    /// Samples that it took.
    pub(super) samples: usize,
    /// What they said.
    pub(super) verdict: Decided,
}

/// What samples said of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Decided {
    /// Within the budget for certain.
    Accepted,
    /// Within it by all samples there are, not for certain.
    Within,
    /// Beyond it by all samples there are, not for certain.
    Beyond,
    /// Beyond it for certain.
    Rejected,
}

impl Decided {
    /// Whether it counts as within the budget.
    pub(super) fn is_within(self) -> bool {
        matches!(self, Decided::Accepted | Decided::Within)
    }
}

impl Candidate {
    /// In float.
    pub(super) fn float(left: u32) -> Candidate {
        Candidate {
            left,
            bits: None,
            float: Vec::new(),
            epochs: 0,
        }
    }

    /// Bits of the weight of the layer at this place.
    pub(super) fn bits_of(&self, place: usize) -> u32 {
        let coded = self.bits.as_ref().and_then(|bits| bits.get(place));
        coded
            .copied()
            .filter(|_| !self.float.contains(&place))
            .unwrap_or(FLOAT)
    }

    /// A name for files, the same for the same candidate.
    fn key(&self) -> Result<String, Error> {
        let text = serde_json::to_string(self).expect("candidates hold nothing that JSON cannot say");
        Ok(format!("network-{}", &digest(&[&text], &[])?[..16]))
    }
}

/// Samples between two looks.
const LOOK: usize = 250;

/// Builds a candidate, measures it and decides; what was found before is taken as it is.
pub(super) fn try_one(
    search: &Search<'_>,
    level: &Level,
    candidate: &Candidate,
    progress: &dyn Progress,
) -> Result<Tried, Error> {
    let key = candidate.key()?;
    let tried = search.workspace.cached(&key, || {
        let file = format!("{key}.onnx");
        build(search, level, candidate, &file, progress)?;
        let path = search.workspace.file(&file);
        let test = search.timed("judging", || judge(search, &path, progress))?;
        let (low, high) = test.0.interval(0.05);
        Ok(Tried {
            candidate: candidate.clone(),
            bytes: model_bytes(&path),
            activation_bytes: level.activation_bytes(candidate),
            cost: arithmetic(level, candidate, search.job.budget.minimize),
            latency_ms: search
                .measures_latency()
                .then(|| latency(search, &path, progress).map(|taken| taken.milliseconds))
                .transpose()?,
            loss: test.0.mean(),
            half: (high - low) / 2.0,
            samples: test.0.samples(),
            verdict: test.1,
            file,
        })
    })?;
    let known = search.tried.borrow().iter().any(|one| one.file == tried.file);
    if !known {
        search.tried.borrow_mut().push(tried.clone());
        search.note(search.describe(&tried));
    }
    Ok(tried)
}

/// Bit operations, or picojoules where energy counts, of all layers.
pub(super) fn arithmetic(level: &Level, candidate: &Candidate, minimize: Minimize) -> f64 {
    let layers = level.layers.iter().enumerate();
    let costs = layers.map(|(place, layer)| match minimize {
        Minimize::Energy => layer.energy(candidate.bits_of(place)),
        _ => layer.bit_operations(candidate.bits_of(place)) as f64,
    });
    costs.sum()
}

/// What a network takes: milliseconds of a run, timed in turns with the network as it was, and put in relation to what that took the first time: so what is timed
/// while the machine is slower can be compared too.
pub(super) fn latency(
    search: &Search<'_>,
    path: &std::path::Path,
    progress: &dyn Progress,
) -> Result<Taken, Error> {
    let [float, own] = search.timed("latency", || search.clock.both(search.job, path, progress))?;
    let first = search.workspace.cached("latency", || Ok(float.milliseconds))?;
    Ok(Taken {
        milliseconds: own.milliseconds / float.milliseconds * first,
        ..own
    })
}

/// What to ask of quantization, but for the widths of layers.
pub(super) fn aware_settings(job: &CompressJob) -> Result<AwareSettings, Error> {
    let mut settings = AwareSettings::for_target(job.target);
    settings.edges = None;
    if job.epochs == 0 {
        settings = settings.untrained();
    }
    settings.quantize.exclude.clone_from(&job.exclude);
    Ok(settings)
}

/// The settings of a candidate with codes.
fn settings(
    job: &CompressJob,
    level: &Level,
    candidate: &Candidate,
    bits: &[u32],
) -> Result<AwareSettings, Error> {
    let mut settings = aware_settings(job)?;
    let coded = level.layers.iter().zip(bits).filter(|(_, bits)| **bits != FLOAT);
    for (layer, bits) in coded {
        settings.widths.push(Width {
            nodes: Selector::of_name(&layer.name)?,
            format: trained_format_by_name(&format!("int{bits}")).expect("listed"),
        });
    }
    for place in &candidate.float {
        let layer = &level.layers[*place];
        settings.quantize.exclude.push(Selector::of_name(&layer.name)?);
    }
    Ok(settings)
}

/// How networks are written for the target.
pub(super) fn save_options(job: &CompressJob) -> SaveOptions {
    let narrow_codes = match job.target.folds_constants {
        true => NarrowCodes::Packed,
        false => NarrowCodes::Native,
    };
    SaveOptions {
        narrow_codes,
        ..SaveOptions::default()
    }
}

fn build(
    search: &Search<'_>,
    level: &Level,
    candidate: &Candidate,
    file: &str,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let output = search.workspace.file(file);
    let quantize = candidate.bits.as_deref();
    let quantize = quantize
        .map(|bits| settings(search.job, level, candidate, bits))
        .transpose()?;
    if candidate.epochs > 0 {
        let job = train_job(search, level, candidate, quantize, output);
        return search.timed("training", || train(&job, progress)).map(drop);
    }
    let model = pipeline::load(&level.file)?;
    let built = match quantize {
        None => model,
        Some(settings) => {
            let model = pipeline::prepare(&model)?;
            let (_, aware) = search.quantize(&model.graph, &settings, progress)?;
            Model {
                graph: bake(&aware)?.graph,
                ..model
            }
        }
    };
    pipeline::export(&built, &output, &save_options(search.job))
}

/// Training that brings back what was lost: with the network as it was for a teacher.
fn train_job(
    search: &Search<'_>,
    level: &Level,
    candidate: &Candidate,
    quantize: Option<AwareSettings>,
    output: std::path::PathBuf,
) -> TrainJob {
    let job = search.job;
    TrainJob {
        model: level.file.clone(),
        data: job.data.clone(),
        settings: TrainSettings {
            epochs: candidate.epochs,
            batch: 64,
            learning_rate: job.learning_rate,
            weight_decay: 5e-4,
            distillation: Some(Distillation {
                weight: if search.has_labels() { 0.9 } else { 1.0 },
                ..Distillation::default()
            }),
            seed: job.seed,
            ..TrainSettings::default()
        },
        algorithms: quantize
            .as_ref()
            .filter(|settings| is_narrow(settings))
            .map_or_else(Algorithms::default, |_| least_squares()),
        quantize,
        progressive: Vec::new(),
        calibration_samples: job.samples,
        teacher: Some(job.model.clone()),
        checkpoint: output.with_extension("checkpoint"),
        keep_checkpoint: false,
        checkpoint_steps: None,
        resume: true,
        metrics_out: None,
        score_split: None,
        score_epochs: false,
        metrics: Vec::new(),
        limit: usize::MAX,
        output,
        save: save_options(job),
    }
}

/// Compares with the network as it was, sample by sample, until it is clear whether the budget is kept.
fn judge(
    search: &Search<'_>,
    path: &std::path::Path,
    progress: &dyn Progress,
) -> Result<(PairedTest, Decided), Error> {
    let mut runner = pipeline::compile(&pipeline::load(path)?)?;
    let mut test = PairedTest::new(search.limit);
    let float = &search.float;
    progress.start("decide", float.samples());
    let mut decided = None;
    for start in (0..float.samples()).step_by(LOOK) {
        let scored = search.score(&mut runner, start, LOOK)?;
        let verdict = test.add(&float.losses(start, &scored));
        progress.at(test.samples());
        match verdict {
            Verdict::Undecided => {}
            // All samples say which one of several loses least.
            Verdict::Accepted if search.job.budget.minimize == Minimize::Loss => {}
            Verdict::Accepted => decided = Some(Decided::Accepted),
            Verdict::Rejected => decided = Some(Decided::Rejected),
        }
        if decided.is_some() {
            break;
        }
    }
    progress.finish();
    let (_, likely) = test.interval(2.0 * (1.0 - search.job.budget.confidence));
    let by_samples = match likely <= search.limit {
        true => Decided::Within,
        false => Decided::Beyond,
    };
    Ok((test, decided.unwrap_or(by_samples)))
}

impl Search<'_> {
    /// Puts codes into a graph: nearest ones where all have 8 bits, else those of least squares.
    pub(super) fn quantize(
        &self,
        graph: &Graph,
        settings: &AwareSettings,
        progress: &dyn Progress,
    ) -> Result<(Graph, Aware), Error> {
        self.timed("codes", || self.codes(graph, settings, progress))
    }

    fn codes(
        &self,
        graph: &Graph,
        settings: &AwareSettings,
        progress: &dyn Progress,
    ) -> Result<(Graph, Aware), Error> {
        let (split, indices) = (self.sources.train(), &self.sources.calibration);
        let (float, mut aware) = pipeline::make_aware(graph, split, settings, indices, progress)?;
        if !is_narrow(settings) {
            return Ok((float, aware));
        }
        let learned_from: (&dyn Samples, &[usize]) = (split, indices);
        let seed = self.job.seed;
        pipeline::choose_codes(&mut aware, &float, &least_squares(), learned_from, seed, progress)?;
        Ok((float, aware))
    }
}

/// Whether any weights have fewer than 8 bits.
fn is_narrow(settings: &AwareSettings) -> bool {
    let widths = settings.widths.iter().map(|width| width.format.bits());
    widths
        .chain([settings.quantize.weights.bits()])
        .any(|bits| bits < 8)
}

/// What chooses codes of fewer than 8 bits.
fn least_squares() -> Algorithms {
    Algorithms {
        list: vec![algorithm_by_name("least-squares").expect("listed")],
        ..Algorithms::default()
    }
}
