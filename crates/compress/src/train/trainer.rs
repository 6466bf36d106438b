//! The loop.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use bantam_graph::{Graph, InferOptions, Op, ValueId, infer_shapes};
use bantam_tensor::{Batch, Samples, SamplesError, SplitMix64, Tensor};
use serde::{Deserialize, Serialize};

use super::checkpoint::mark;
use super::state::State;
use super::step::{Lesson, Mode, Plan, Step};
use super::teacher::{Teacher, features};
use super::{Checkpoint, Loss, Parameter, ParameterRule, TrainError, TrainSettings, parameters};

/// A step that was made.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StepReport {
    /// Steps so far.
    pub step: u64,
    /// Steps of the whole training.
    pub steps: u64,
    /// The epoch, from 0.
    pub epoch: usize,
    /// The loss of the batch.
    pub loss: f32,
    /// Of this step.
    pub learning_rate: f32,
    /// Length of the gradient of all parameters, before it was clipped.
    pub gradient_norm: f32,
    /// Share of the epoch's samples so far that were right, for losses of classes.
    pub accuracy: Option<f64>,
    /// Samples of the batch.
    pub samples: usize,
    /// Time of the step, in seconds.
    pub seconds: f64,
}

/// An epoch that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Mean loss of its batches.
    pub loss: f64,
    /// Share of its samples that were right, for losses of classes.
    pub accuracy: Option<f64>,
    /// Accuracy (or else the negative loss) on the samples kept apart.
    pub validation: Option<f64>,
    /// Time in steps, in seconds.
    pub seconds: f64,
    /// Samples of a second: those of a batch over the median time of a step.
    pub samples_per_second: f64,
}

/// Hears of training, and keeps checkpoints. Errors end training.
pub trait Observer {
    /// After each step.
    fn step(&mut self, _report: &StepReport) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }

    /// After each epoch; `model` gives the graph with its weights.
    fn epoch(
        &mut self,
        _report: &EpochReport,
        _model: &dyn Fn() -> Graph,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }

    /// Whether to make a checkpoint after this many steps; there is one after each epoch anyway.
    fn wants_checkpoint(&self, _steps: u64) -> bool {
        false
    }

    /// A checkpoint to keep.
    fn checkpoint(
        &mut self,
        _checkpoint: &Checkpoint,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

/// What training gives.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The graph with its new weights: the best of all epochs if samples were kept apart, else the last.
    pub graph: Graph,
    /// The epochs.
    pub history: Vec<EpochReport>,
    /// Parts of the forward pass, all but the last of which run twice to save memory.
    pub segments: usize,
    /// Steps that were made.
    pub steps: u64,
}

/// How far training is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Progress {
    step: u64,
    epoch: usize,
    /// Steps of this epoch.
    epoch_step: usize,
    /// Bits of the sum of losses.
    loss_bits: u64,
    right: u64,
    /// Bits of the best validation score.
    best_bits: Option<u64>,
    since_best: usize,
    history: Vec<EpochReport>,
}

/// Trains a graph whose inputs are those of the samples. The graph keeps its form: only constants change.
///
/// `rules` tell what is special about constants; `teacher` is the network to learn from, if the settings ask for one;
/// training goes on from `resume`, with the same result as if it had not been interrupted.
///
/// # Errors
/// When settings, graph and samples do not fit together, when a loss is not finite, or when the observer fails.
pub fn train(
    graph: &Graph,
    samples: &dyn Samples,
    settings: &TrainSettings,
    rules: &[ParameterRule],
    teacher: Option<&Graph>,
    resume: Option<&Checkpoint>,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    if let Some(problem) = settings.problem() {
        return Err(TrainError::Settings(problem));
    }
    let mut trainer = Trainer::new(graph, samples, settings, rules, teacher)?;
    if let Some(checkpoint) = resume {
        trainer.restore(checkpoint)?;
    }
    trainer.run(observer)
}

struct Trainer<'a> {
    graph: Graph,
    samples: &'a dyn Samples,
    settings: &'a TrainSettings,
    parameters: Vec<Parameter>,
    /// Running means and variances.
    statistics: Vec<ValueId>,
    features: Vec<ValueId>,
    teacher: Option<Teacher>,
    label_shape: Vec<usize>,
    train: Vec<usize>,
    validation: Vec<usize>,
    batch: usize,
    state: State,
    best: Option<State>,
    progress: Progress,
    steps: HashMap<(usize, Mode), Step>,
    /// Times of the steps of this epoch.
    times: Vec<f64>,
}

impl<'a> Trainer<'a> {
    fn new(
        graph: &Graph,
        samples: &'a dyn Samples,
        settings: &'a TrainSettings,
        rules: &[ParameterRule],
        teacher: Option<&Graph>,
    ) -> Result<Trainer<'a>, TrainError> {
        let mut graph = graph.clone();
        infer_shapes(&mut graph, &InferOptions::default())?;
        let parameters = parameters(&graph, rules, &settings.freeze)?;
        let statistics = statistics(&graph, &parameters);
        let (teacher, features) = match (&settings.distillation, teacher) {
            (Some(how), Some(teacher)) => {
                (Some(Teacher::new(teacher, how)?), features(how, &graph, teacher)?)
            }
            (Some(_), None) => {
                return Err(TrainError::Settings(
                    "learning from a teacher needs one".to_owned(),
                ));
            }
            _ => (None, Vec::new()),
        };
        if settings.needs_labels() && !samples.has_labels() {
            return Err(TrainError::NoLabels);
        }
        let mut order: Vec<usize> = (0..samples.len()).collect();
        if settings.validation > 0.0 {
            SplitMix64::new(settings.seed ^ 0x7661_6c69).shuffle(&mut order);
        }
        let apart = (samples.len() as f64 * f64::from(settings.validation)).round() as usize;
        let train = order.split_off(apart);
        let batch = settings.batch.min(train.len());
        if batch == 0 {
            return Err(TrainError::TooFew { samples: train.len() });
        }
        let label_shape = match samples.has_labels() {
            true => samples
                .batch(&train[..1])?
                .labels
                .map_or(Vec::new(), |labels| labels.shape()[1..].to_vec()),
            false => Vec::new(),
        };
        let initial = statistics
            .iter()
            .filter_map(|value| graph.value(*value).initializer.clone());
        Ok(Trainer {
            state: State::new(&parameters, initial.collect(), settings),
            graph,
            samples,
            settings,
            parameters,
            statistics,
            features,
            teacher,
            label_shape,
            train,
            validation: order,
            batch,
            best: None,
            progress: Progress::default(),
            steps: HashMap::new(),
            times: Vec::new(),
        })
    }

    fn steps_of_epoch(&self) -> usize {
        self.train.len() / self.batch
    }

    fn total_steps(&self) -> u64 {
        let all = self.steps_of_epoch() as u64 * self.settings.epochs as u64;
        self.settings.max_steps.map_or(all, |most| most.min(all))
    }

    fn run(mut self, observer: &mut dyn Observer) -> Result<Trained, TrainError> {
        while self.progress.epoch < self.settings.epochs && self.progress.step < self.total_steps() {
            self.epoch(observer)?;
            if self
                .settings
                .patience
                .is_some_and(|patience| self.progress.since_best > patience)
            {
                break;
            }
        }
        let state = self.best.take().unwrap_or_else(|| self.state.deployed());
        Ok(Trained {
            graph: self.with_weights(&state),
            segments: self.steps.values().map(|step| step.segments).max().unwrap_or(1),
            steps: self.progress.step,
            history: self.progress.history,
        })
    }

    /// The samples of each step of an epoch.
    fn order(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut order = self.train.clone();
        SplitMix64::new(self.draw(epoch)).shuffle(&mut order);
        order.chunks_exact(self.batch).map(<[usize]>::to_vec).collect()
    }

    /// What the random choices of an epoch start from.
    fn draw(&self, epoch: usize) -> u64 {
        SplitMix64::new(self.settings.seed.wrapping_add((epoch as u64) << 32)).next_u64()
    }

    fn mode(&self) -> Mode {
        match self.settings.freeze_statistics {
            Some(first) if self.progress.epoch >= first => Mode::TrainWithRunningStatistics,
            _ => Mode::Train,
        }
    }

    /// The program for batches of this size, made when it is first needed.
    fn step(&mut self, batch: usize, mode: Mode) -> Result<&Step, TrainError> {
        if !self.steps.contains_key(&(batch, mode)) {
            let plan = Plan {
                graph: &self.graph,
                settings: self.settings,
                parameters: &self.parameters,
                statistics: &self.statistics,
                features: &self.features,
                label_shape: &self.label_shape,
            };
            self.steps.insert((batch, mode), plan.step(batch, mode)?);
        }
        Ok(&self.steps[&(batch, mode)])
    }

    fn epoch(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let epoch = self.progress.epoch;
        let left = (self.total_steps() - self.progress.step) as usize;
        let batches: Vec<Vec<usize>> = (self.order(epoch).into_iter())
            .skip(self.progress.epoch_step)
            .take(left)
            .collect();
        let (samples, draw) = (self.samples, self.draw(epoch));
        self.times.clear();
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(2);
            scope.spawn(move || {
                for indices in &batches {
                    // The loop has ended where nobody receives.
                    if sender.send(samples.training_batch(indices, draw)).is_err() {
                        return;
                    }
                }
            });
            self.batches(receiver, observer)
        })?;
        self.end_epoch(observer)
    }

    fn batches(
        &mut self,
        receiver: Receiver<Result<Batch, SamplesError>>,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        for batch in receiver {
            let start = Instant::now();
            let batch = batch?;
            let teacher = match &self.teacher {
                Some(teacher) => teacher.say(&batch)?,
                None => Vec::new(),
            };
            let mut report = self.learn(&Lesson { batch, teacher })?;
            report.seconds = start.elapsed().as_secs_f64();
            self.times.push(report.seconds);
            observer.step(&report).map_err(TrainError::Observer)?;
            let is_last = self.progress.epoch_step == self.steps_of_epoch();
            if !is_last && observer.wants_checkpoint(self.progress.step) {
                observer
                    .checkpoint(&self.checkpoint())
                    .map_err(TrainError::Observer)?;
            }
        }
        Ok(())
    }

    /// One step.
    fn learn(&mut self, lesson: &Lesson) -> Result<StepReport, TrainError> {
        let (number, mode) = (self.progress.step, self.mode());
        self.step(self.batch, mode)?;
        let step = &self.steps[&(self.batch, mode)];
        let result = step.run(&self.state, lesson, number)?;
        if !result.loss.is_finite() {
            let node = step.culprit(&self.state, lesson, number);
            return Err(TrainError::NotFinite {
                loss: result.loss,
                step: number + 1,
                node: node.unwrap_or_else(|| "the loss itself".to_owned()),
            });
        }
        for (index, updated) in result.updated {
            self.state.statistics[index] = updated;
        }
        let settings = self.settings;
        let warmup = (f64::from(settings.warmup) * self.steps_of_epoch() as f64).round() as u64;
        let factor = settings.schedule.factor(number, self.total_steps(), warmup);
        let learning_rate = settings.learning_rate * factor;
        let gradient_norm = self.state.update(
            number + 1,
            learning_rate,
            &self.parameters,
            result.gradients,
            settings,
        )?;
        let right = right(&result.scores, lesson, settings.loss)?;
        self.progress.step += 1;
        self.progress.epoch_step += 1;
        self.progress.right += right.unwrap_or(0);
        let loss = f64::from_bits(self.progress.loss_bits) + f64::from(result.loss);
        self.progress.loss_bits = loss.to_bits();
        Ok(StepReport {
            step: self.progress.step,
            steps: self.total_steps(),
            epoch: self.progress.epoch,
            loss: result.loss,
            learning_rate,
            gradient_norm,
            accuracy: right
                .map(|_| self.progress.right as f64 / (self.progress.epoch_step * self.batch) as f64),
            samples: self.batch,
            seconds: 0.0,
        })
    }

    fn end_epoch(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let validation = self.validate()?;
        let count = self.progress.epoch_step.max(1) as f64;
        let is_classes = self.settings.loss == Loss::CrossEntropy && self.samples.has_labels();
        let mut sorted = self.times.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY);
        let report = EpochReport {
            epoch: self.progress.epoch + 1,
            loss: f64::from_bits(self.progress.loss_bits) / count,
            accuracy: is_classes.then(|| self.progress.right as f64 / (count * self.batch as f64)),
            validation,
            seconds: self.times.iter().sum(),
            samples_per_second: self.batch as f64 / median,
        };
        if let Some(score) = validation {
            let best = self.progress.best_bits.map(f64::from_bits);
            if best.is_none_or(|best| score > best) {
                self.progress.best_bits = Some(score.to_bits());
                self.progress.since_best = 0;
                self.best = Some(self.state.deployed());
            } else {
                self.progress.since_best += 1;
            }
        }
        self.progress.history.push(report.clone());
        self.progress.epoch += 1;
        (
            self.progress.epoch_step,
            self.progress.loss_bits,
            self.progress.right,
        ) = (0, 0, 0);
        observer
            .checkpoint(&self.checkpoint())
            .map_err(TrainError::Observer)?;
        let model = || self.with_weights(&self.state.deployed());
        observer.epoch(&report, &model).map_err(TrainError::Observer)
    }

    /// Accuracy, or the negative loss where there are no classes, on the samples kept apart.
    fn validate(&mut self) -> Result<Option<f64>, TrainError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let state = self.state.deployed();
        let (mut all_right, mut sum, mut count) = (None, 0.0, 0);
        for indices in self.validation.clone().chunks(self.batch) {
            let batch = self.samples.batch(indices)?;
            let teacher = match &self.teacher {
                Some(teacher) => teacher.say(&batch)?,
                None => Vec::new(),
            };
            let lesson = Lesson { batch, teacher };
            let result = self
                .step(indices.len(), Mode::Evaluate)?
                .run(&state, &lesson, 0)?;
            if let Some(right) = right(&result.scores, &lesson, self.settings.loss)? {
                *all_right.get_or_insert(0) += right;
            }
            sum += f64::from(result.loss) * indices.len() as f64;
            count += indices.len();
        }
        let score = |right: u64| right as f64 / count as f64;
        Ok(Some(all_right.map_or(-sum / count as f64, score)))
    }

    /// The graph with other weights and statistics.
    fn with_weights(&self, state: &State) -> Graph {
        let mut graph = self.graph.clone();
        let weights = self
            .parameters
            .iter()
            .map(|parameter| parameter.value)
            .zip(&state.weights);
        let statistics = self.statistics.iter().copied().zip(&state.statistics);
        for (value, tensor) in weights.chain(statistics) {
            graph.values[value.index()].initializer = Some(tensor.clone());
        }
        graph
    }
}

/// Going on later.
impl Trainer<'_> {
    fn identity(&self) -> String {
        let settings = serde_json::to_string(self.settings).unwrap_or_default();
        let shapes = self
            .parameters
            .iter()
            .map(|it| format!("{}{:?}", it.name, it.tensor.shape()));
        let parameters: Vec<String> = shapes.collect();
        mark(&format!("{settings}{parameters:?}{}", self.samples.len()))
    }

    fn checkpoint(&self) -> Checkpoint {
        let mut tensors = std::collections::BTreeMap::new();
        let mut put = |prefix: &str, state: &State| {
            for (parameter, tensor) in self.parameters.iter().zip(&state.weights) {
                tensors.insert(format!("{prefix}weights/{}", parameter.name), tensor.clone());
            }
            for (value, tensor) in self.statistics.iter().zip(&state.statistics) {
                tensors.insert(
                    format!("{prefix}statistics/{}", self.graph.value(*value).name),
                    tensor.clone(),
                );
            }
        };
        put("", &self.state);
        if let Some(best) = &self.best {
            put("best/", best);
        }
        for (index, parameter) in self.parameters.iter().enumerate() {
            for (list, memory) in self.state.memory[index].iter().enumerate() {
                tensors.insert(
                    format!("memory{list}/{}", parameter.name),
                    Tensor::from_vec1(memory),
                );
            }
            if let Some(averages) = &self.state.averages {
                tensors.insert(format!("average/{}", parameter.name), averages[index].clone());
            }
        }
        Checkpoint {
            identity: self.identity(),
            progress: serde_json::to_string(&self.progress).unwrap_or_default(),
            tensors,
        }
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        if checkpoint.identity != self.identity() {
            return Err(TrainError::Checkpoint {
                problem: "is of another model, other settings or other data".to_owned(),
            });
        }
        self.progress =
            serde_json::from_str(&checkpoint.progress).map_err(|error| TrainError::Checkpoint {
                problem: format!("does not say how far training is: {error}"),
            })?;
        let mut state = self.state.clone();
        self.fill("", checkpoint, &mut state)?;
        for (index, parameter) in self.parameters.iter().enumerate() {
            let len = parameter.tensor.len();
            for (list, memory) in state.memory[index].iter_mut().enumerate() {
                *memory = checkpoint
                    .tensor(&format!("memory{list}/{}", parameter.name), &[len])?
                    .to_f32()?;
            }
            if let Some(averages) = &mut state.averages {
                averages[index] =
                    checkpoint.tensor(&format!("average/{}", parameter.name), parameter.tensor.shape())?;
            }
        }
        if self.progress.best_bits.is_some() {
            let mut best = state.deployed();
            self.fill("best/", checkpoint, &mut best)?;
            self.best = Some(best);
        }
        self.state = state;
        Ok(())
    }

    /// Takes weights and statistics from a checkpoint.
    fn fill(&self, prefix: &str, checkpoint: &Checkpoint, state: &mut State) -> Result<(), TrainError> {
        for (parameter, weights) in self.parameters.iter().zip(&mut state.weights) {
            let name = format!("{prefix}weights/{}", parameter.name);
            *weights = checkpoint.tensor(&name, parameter.tensor.shape())?;
        }
        for (value, tensor) in self.statistics.iter().zip(&mut state.statistics) {
            let name = format!("{prefix}statistics/{}", self.graph.value(*value).name);
            *tensor = checkpoint.tensor(&name, tensor.shape())?;
        }
        Ok(())
    }
}

/// The running means and variances of a graph that are constants, and no parameters.
fn statistics(graph: &Graph, parameters: &[Parameter]) -> Vec<ValueId> {
    let mut statistics = Vec::new();
    for (_, node) in graph.node_ids() {
        if !matches!(node.op, Op::BatchNormalization(_)) {
            continue;
        }
        for value in [node.input(3), node.input(4)].into_iter().flatten() {
            let constant = graph.value(value).initializer.is_some();
            let trained = parameters.iter().any(|parameter| parameter.value == value);
            if constant && !trained && !statistics.contains(&value) {
                statistics.push(value);
            }
        }
    }
    statistics
}

/// How many samples of a batch have their largest score at their label; `None` where that is no question.
fn right(scores: &Tensor, lesson: &Lesson, loss: Loss) -> Result<Option<u64>, TrainError> {
    let Some(labels) = lesson
        .batch
        .labels
        .as_ref()
        .filter(|_| loss == Loss::CrossEntropy)
    else {
        return Ok(None);
    };
    let &[samples, classes] = scores.shape() else {
        return Ok(None);
    };
    let (scores, labels) = (scores.values::<f32>()?, labels.to_i64()?);
    if labels.len() != samples || classes == 0 {
        return Ok(None);
    }
    let best = |row: &[f32]| (0..classes).fold(0, |best, at| if row[at] > row[best] { at } else { best });
    let rows = scores.chunks_exact(classes).zip(&labels);
    Ok(Some(
        rows.filter(|(row, label)| best(row) as i64 == **label).count() as u64,
    ))
}
