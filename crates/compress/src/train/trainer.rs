//! The loop.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use bantam_graph::{Graph, InferOptions, Op, ValueId, infer_shapes};
use bantam_tensor::{Batch, Samples, SamplesError, SplitMix64, Tensor};

use super::feature::{Feature, features};
use super::regularization::Regularizer;
use super::resume::Progress;
use super::sparse::Sparse;
use super::state::State;
use super::step::{Lesson, Mode, Plan, Step};
use super::teacher::Teacher;
use super::{
    Checkpoint, EpochReport, Loss, Observer, Parameter, ParameterRule, StepReport, TrainError, TrainSettings,
    Trained, parameters,
};
use crate::evaluate::predictions;

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
    trainer.begin()?;
    if let Some(checkpoint) = resume {
        trainer.restore(checkpoint)?;
    }
    trainer.run(observer)
}

/// Training that goes on.
pub(super) struct Trainer<'a> {
    pub(super) graph: Graph,
    pub(super) samples: &'a dyn Samples,
    pub(super) settings: &'a TrainSettings,
    pub(super) parameters: Vec<Parameter>,
    /// Running means and variances.
    pub(super) statistics: Vec<ValueId>,
    features: Vec<Feature>,
    teacher: Option<Teacher>,
    label_shape: Vec<usize>,
    train: Vec<usize>,
    validation: Vec<usize>,
    batch: usize,
    pub(super) state: State,
    pub(super) sparse: Option<Sparse>,
    regularizer: Option<Regularizer>,
    pub(super) best: Option<State>,
    pub(super) progress: Progress,
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
        let (teacher, features) = lessons(&graph, settings, teacher)?;
        if settings.needs_labels() && !samples.has_labels() {
            return Err(TrainError::NoLabels);
        }
        let mut order: Vec<usize> = (0..samples.len()).collect();
        if settings.validation > 0.0 {
            SplitMix64::new(settings.seed ^ 0x7661_6c69).shuffle(&mut order);
        }
        let train = order.split_off(settings.validation_samples(samples.len()));
        let batch = settings.batch.min(train.len());
        if batch == 0 {
            return Err(TrainError::TooFew { samples: train.len() });
        }
        let labels = match samples.has_labels() {
            true => samples.batch(&train[..1])?.labels,
            false => None,
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
            label_shape: labels.map_or(Vec::new(), |labels| labels.shape()[1..].to_vec()),
            train,
            validation: order,
            batch,
            sparse: None,
            regularizer: None,
            best: None,
            progress: Progress::default(),
            steps: HashMap::new(),
            times: Vec::new(),
        })
    }

    /// Masks before the first step, and what counts as made before it.
    fn begin(&mut self) -> Result<(), TrainError> {
        let (first, steps) = (self.settings.first_step, self.total_steps());
        if first >= steps {
            return Err(TrainError::FirstStep { first, steps });
        }
        let in_epoch = self.steps_of_epoch() as u64;
        self.progress.step = first;
        self.progress.epoch = (first / in_epoch) as usize;
        self.progress.epoch_step = (first % in_epoch) as usize;
        if let Some(settings) = &self.settings.sparsity {
            let span = (steps, self.settings.seed);
            let sparse = Sparse::new(&self.graph, &self.parameters, settings, span)?;
            sparse.apply(&mut self.state)?;
            self.sparse = Some(sparse);
        }
        if let Some(regularization) = self.settings.regularization {
            self.regularizer = Some(Regularizer::new(&self.graph, &self.parameters, regularization)?);
        }
        Ok(())
    }

    fn steps_of_epoch(&self) -> usize {
        self.train.len() / self.batch
    }

    /// Steps of this epoch that were made, and not only count as made.
    fn counted(&self) -> usize {
        let in_epoch = self.steps_of_epoch() as u64;
        let is_first = self.progress.epoch as u64 == self.settings.first_step / in_epoch;
        let before = if is_first {
            self.settings.first_step % in_epoch
        } else {
            0
        };
        self.progress.epoch_step - before as usize
    }

    fn total_steps(&self) -> u64 {
        self.settings.steps(self.samples.len())
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
        let best = self.best.take();
        let graph = self.with_weights(&best.map_or_else(|| self.deployed(), Ok)?);
        Ok(Trained {
            sparsity: self
                .sparse
                .as_ref()
                .map_or(Vec::new(), |it| it.report(&graph, &self.parameters)),
            graph,
            segments: self.steps.values().map(|step| step.segments).max().unwrap_or(1),
            steps: self.progress.step,
            history: self.progress.history,
        })
    }

    /// What the result would be now.
    fn deployed(&self) -> Result<State, TrainError> {
        let mut state = self.state.deployed();
        if let Some(sparse) = &self.sparse {
            sparse.mask(&mut state.weights)?;
        }
        Ok(state)
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
        let mut shown = None;
        if let Some(sparse) = &mut self.sparse {
            sparse.begin(number, &mut self.state)?;
            shown = sparse.shown(&self.state)?;
        }
        let shown = shown.as_ref().unwrap_or(&self.state);
        let mut result = step.run(shown, lesson, number)?;
        if !result.loss.is_finite() {
            let node = step.culprit(shown, lesson, number);
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
        if let Some(sparse) = &mut self.sparse {
            sparse.learn(number, learning_rate, &mut result.gradients, &mut self.state)?;
        }
        let gradient_norm = self.state.update(
            number + 1,
            learning_rate,
            &self.parameters,
            result.gradients,
            settings,
        )?;
        if let Some(regularizer) = &self.regularizer {
            let done = (number + 1) as f64 / self.total_steps() as f64;
            regularizer.shrink(learning_rate, done, &mut self.state.weights)?;
        }
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
            accuracy: right.map(|_| self.progress.right as f64 / (self.counted() * self.batch) as f64),
            samples: self.batch,
            seconds: 0.0,
        })
    }

    fn end_epoch(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let validation = self.validate()?;
        let count = self.counted().max(1) as f64;
        let is_classes = self.settings.loss == Loss::CrossEntropy && self.samples.has_labels();
        let mut sorted = self.times.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY);
        let report = EpochReport {
            epoch: self.progress.epoch + 1,
            loss: f64::from_bits(self.progress.loss_bits) / count,
            accuracy: is_classes.then(|| self.progress.right as f64 / (count * self.batch as f64)),
            validation,
            sparsity: self.sparse.as_ref().map(Sparse::sparsity),
            seconds: self.times.iter().sum(),
            samples_per_second: self.batch as f64 / median,
        };
        let is_final = self
            .sparse
            .as_ref()
            .is_none_or(|it| it.is_final(self.progress.step));
        if let Some(score) = validation.filter(|_| is_final) {
            let best = self.progress.best_bits.map(f64::from_bits);
            if best.is_none_or(|best| score > best) {
                self.progress.best_bits = Some(score.to_bits());
                self.progress.since_best = 0;
                self.best = Some(self.deployed()?);
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
        let deployed = self.deployed()?;
        let model = || self.with_weights(&deployed);
        observer.epoch(&report, &model).map_err(TrainError::Observer)
    }

    /// Accuracy, or the negative loss where there are no classes, on the samples kept apart.
    fn validate(&mut self) -> Result<Option<f64>, TrainError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let state = self.deployed()?;
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

/// The teacher that the settings ask for, and what is compared with it.
fn lessons(
    graph: &Graph,
    settings: &TrainSettings,
    teacher: Option<&Graph>,
) -> Result<(Option<Teacher>, Vec<Feature>), TrainError> {
    match (&settings.distillation, teacher) {
        (Some(how), Some(teacher)) => Ok((Some(Teacher::new(teacher, how)?), features(how, graph, teacher)?)),
        (Some(_), None) => Err(TrainError::Settings(
            "learning from a teacher needs one".to_owned(),
        )),
        _ => Ok((None, Vec::new())),
    }
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
    let (Ok(predictions), labels) = (predictions(scores), labels.to_i64()?) else {
        return Ok(None);
    };
    if predictions.len() != labels.len() {
        return Ok(None);
    }
    let pairs = predictions.iter().zip(&labels);
    Ok(Some(
        pairs.filter(|(class, label)| **class as i64 == **label).count() as u64,
    ))
}
