//! The trainings of a lottery.

use std::path::PathBuf;

use bantam_compress::train::sparse::{Amount, LayerSparsity, Masks, SparsitySettings};
use bantam_compress::train::{Checkpoint, Observer, StepReport, TrainSettings, Trained};
use bantam_formats::data::Split;
use bantam_formats::onnx::SaveOptions;
use bantam_graph::{Graph, Model};
use bantam_tensor::Samples;

use super::LotteryJob;
use super::work::Work;
use crate::networks::{Initialization, initialize};
use crate::{Error, Progress, pipeline};

type Told = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// What all trainings share.
pub(super) struct Rounds<'a> {
    job: &'a LotteryJob,
    progress: &'a dyn Progress,
    model: Model,
    split: Split,
    work: Work,
}

/// What the rounds came to.
pub(super) struct Found {
    /// Each training's file and its share of zeros, the dense one first.
    pub(super) files: Vec<(PathBuf, f64)>,
    /// Zeros of the last round.
    pub(super) sparsity: Vec<LayerSparsity>,
}

impl<'a> Rounds<'a> {
    pub(super) fn new(job: &'a LotteryJob, progress: &'a dyn Progress) -> Result<Rounds<'a>, Error> {
        let model = pipeline::inline(&pipeline::load(&job.model)?)?.into_owned();
        // Fails early where no layer can be masked.
        Masks::by_magnitude(&model.graph, &job.sparsity)?;
        let split = pipeline::open_split(&job.data, "train", &model.graph)?;
        let (step, steps) = (job.rewind_step, job.settings.steps(split.len()));
        if step >= steps {
            return Err(Error::Usage {
                message: format!("training has no step {step} to go back to, of {steps}"),
                hint: "a smaller --rewind-step, or more epochs".to_owned(),
            });
        }
        Ok(Rounds {
            work: Work::open(job)?,
            job,
            progress,
            model,
            split,
        })
    }

    /// The dense training and all rounds; those whose files are there are not repeated.
    pub(super) fn run(&self) -> Result<Found, Error> {
        let (mut trained, rewound) = self.dense()?;
        let mut found = Found {
            files: vec![(self.work.path("round-0.onnx"), 0.0)],
            sparsity: Vec::new(),
        };
        for round in 1..=self.job.rounds {
            let masks = Masks::by_magnitude(&trained, &self.of_round(round))?;
            let mut ticket = rewound.clone();
            masks.apply(&mut ticket)?;
            if round == self.job.rounds {
                let model = Model {
                    graph: ticket.clone(),
                    ..self.model.clone()
                };
                pipeline::export(&model, &self.job.ticket, &SaveOptions::default())?;
            }
            let name = format!("round-{round}.onnx");
            trained = match self.work.read(&name)? {
                Some(trained) => trained,
                None => self.train(&name, &ticket, self.masked(self.job.rewind_step), &name_of(round))?,
            };
            found.sparsity = masks.report(&trained)?;
            found.files.push((self.work.path(&name), share(&found.sparsity)));
        }
        Ok(found)
    }

    /// The dense training, and the weights to go back to.
    fn dense(&self) -> Result<(Graph, Graph), Error> {
        let (trained, rewound) = ("round-0.onnx", "rewind.onnx");
        if let (Some(trained), Some(rewound)) = (self.work.read(trained)?, self.work.read(rewound)?) {
            return Ok((trained, rewound));
        }
        let mut watcher = self.watcher("all weights");
        let result = self.course(&self.model.graph, self.job.settings.clone(), &mut watcher)?;
        let start = match (self.job.rewind_step, watcher.rewound) {
            (0, _) => self.model.graph.clone(),
            (_, Some(checkpoint)) => checkpoint.weights_in(&self.model.graph)?,
            (_, None) => unreachable!("training makes more steps than that"),
        };
        self.work.write(rewound, &self.model, start.clone())?;
        self.work.write(trained, &self.model, result.graph.clone())?;
        Ok((result.graph, start))
    }

    /// The zeros of a round: of the weights that are left, each round takes the same share.
    fn of_round(&self, round: usize) -> SparsitySettings {
        let left = 1.0 - self.job.sparsity.amount.share();
        let share = match round == self.job.rounds {
            true => self.job.sparsity.amount.share(),
            false => 1.0 - left.powf(round as f64 / self.job.rounds as f64),
        };
        SparsitySettings {
            amount: Amount::Share(share),
            ..self.job.sparsity.clone()
        }
    }

    /// Settings that keep zeros and begin behind `first` steps.
    fn masked(&self, first: u64) -> TrainSettings {
        let sparsity = SparsitySettings {
            exclude: self.job.sparsity.exclude.clone(),
            ..SparsitySettings::default()
        };
        TrainSettings {
            sparsity: Some(sparsity),
            first_step: first,
            ..self.job.settings.clone()
        }
    }

    fn train(&self, file: &str, graph: &Graph, settings: TrainSettings, stage: &str) -> Result<Graph, Error> {
        let trained = self.course(graph, settings, &mut self.watcher(stage))?.graph;
        self.work.write(file, &self.model, trained.clone())?;
        Ok(trained)
    }

    fn course(
        &self,
        graph: &Graph,
        settings: TrainSettings,
        watcher: &mut Watcher<'_>,
    ) -> Result<Trained, Error> {
        let trained = pipeline::train(graph, &self.split, &settings, &[], None, None, watcher);
        self.progress.finish();
        Ok(trained?)
    }

    fn watcher(&self, stage: &str) -> Watcher<'_> {
        Watcher {
            stage: stage.to_owned(),
            progress: self.progress,
            rewind_step: self.job.rewind_step,
            started: false,
            rewound: None,
        }
    }

    /// Trains the last mask from weights drawn anew, with all steps.
    pub(super) fn control(&self, initialization: Initialization) -> Result<PathBuf, Error> {
        let name = "control.onnx";
        if self.work.read(name)?.is_none() {
            let ticket = pipeline::load(&self.job.ticket)?.graph;
            let masks = Masks::of_zeros(&ticket, &self.job.sparsity)?;
            let mut graph = self.model.graph.clone();
            initialize(&mut graph, initialization, !self.job.settings.seed)?;
            masks.apply(&mut graph)?;
            self.train(name, &graph, self.masked(0), "control")?;
        }
        Ok(self.work.path(name))
    }

    /// Writes the trained ticket.
    pub(super) fn finish(&self) -> Result<(), Error> {
        let trained = pipeline::load(&self.work.path(&format!("round-{}.onnx", self.job.rounds)))?;
        pipeline::export(&trained, &self.job.output, &SaveOptions::default())
    }
}

fn name_of(round: usize) -> String {
    format!("round {round}")
}

fn share(layers: &[LayerSparsity]) -> f64 {
    let sum = |count: fn(&LayerSparsity) -> usize| layers.iter().map(count).sum::<usize>();
    sum(|layer| layer.zeros) as f64 / sum(|layer| layer.elements).max(1) as f64
}

/// Draws the progress bar, and catches the weights to go back to.
struct Watcher<'a> {
    stage: String,
    progress: &'a dyn Progress,
    rewind_step: u64,
    started: bool,
    rewound: Option<Checkpoint>,
}

impl Observer for Watcher<'_> {
    fn step(&mut self, report: &StepReport) -> Told {
        if !self.started {
            self.progress.start(&self.stage, report.steps as usize);
            self.started = true;
        }
        self.progress.at(report.step as usize);
        self.progress
            .note(&format!("{}, loss {:.4}", self.stage, report.loss));
        Ok(())
    }

    fn wants_checkpoint(&self, steps: u64) -> bool {
        steps == self.rewind_step
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Told {
        if checkpoint.done()?.0 == self.rewind_step {
            self.rewound = Some(checkpoint.clone());
        }
        Ok(())
    }
}
