//! Training of small networks on made-up data.

mod regularization;
mod sparse;
mod support;

use bantam_compress::train::{
    Checkpoint, Distillation, EpochReport, Loss, Observer, Optimizer, ParameterRule, Precision, Schedule,
    StepReport, TrainError, TrainSettings, Trained, parameters, train,
};
use bantam_graph::{Graph, Op};
use support::{Bars, network, wide_network};

/// Keeps what it hears.
#[derive(Default)]
struct Notes {
    steps: Vec<StepReport>,
    epochs: Vec<EpochReport>,
    checkpoints: Vec<Vec<u8>>,
    every_step: bool,
}

impl Observer for Notes {
    fn step(&mut self, report: &StepReport) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.steps.push(*report);
        Ok(())
    }
    fn epoch(
        &mut self,
        report: &EpochReport,
        model: &dyn Fn() -> Graph,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        assert!(!model().nodes.is_empty());
        self.epochs.push(report.clone());
        Ok(())
    }
    fn wants_checkpoint(&self, _: u64) -> bool {
        self.every_step
    }
    fn checkpoint(
        &mut self,
        checkpoint: &Checkpoint,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.checkpoints.push(checkpoint.to_bytes());
        Ok(())
    }
}

fn settings() -> TrainSettings {
    TrainSettings {
        epochs: 4,
        batch: 16,
        learning_rate: 0.05,
        weight_decay: 1e-4,
        ..TrainSettings::default()
    }
}

fn run(graph: &Graph, samples: &Bars, settings: &TrainSettings) -> Result<(Trained, Notes), TrainError> {
    let mut notes = Notes::default();
    let trained = train(graph, samples, settings, &[], None, None, &mut notes)?;
    Ok((trained, notes))
}

fn weights(graph: &Graph) -> Vec<(String, Vec<f32>)> {
    let floats = graph.values.iter().filter_map(|value| {
        let tensor = value.initializer.as_ref()?;
        Some((value.name.clone(), tensor.values::<f32>().ok()?.into_owned()))
    });
    floats.collect()
}

#[test]
fn a_network_learns_with_every_optimizer_and_schedule() {
    let samples = Bars::new(160);
    for &(name, optimizer) in Optimizer::ALL {
        for &(_, schedule) in Schedule::ALL {
            let settings = TrainSettings {
                optimizer,
                schedule,
                learning_rate: if name == "sgd" { 0.05 } else { 0.01 },
                warmup: 0.5,
                ema: Some(0.9),
                clip_norm: Some(5.0),
                label_smoothing: 0.05,
                ..settings()
            };
            let (_, notes) = run(&network(), &samples, &settings).unwrap();
            let last = notes.epochs.last().unwrap();
            assert!(last.accuracy.unwrap() > 0.9, "{name}: {:?}", notes.epochs);
            assert_eq!(notes.steps.len(), 40);
        }
    }
}

#[test]
fn other_losses_go_down() {
    for loss in [Loss::Mse, Loss::BinaryCrossEntropy] {
        let samples = Bars::with_real_labels(160);
        let settings = TrainSettings {
            loss,
            learning_rate: 0.02,
            ..settings()
        };
        let (_, notes) = run(&network(), &samples, &settings).unwrap();
        let (first, last) = (notes.epochs[0].loss, notes.epochs[3].loss);
        assert!(last < 0.75 * first, "{loss:?}: {first} to {last}");
    }
}

#[test]
fn training_is_the_same_again_and_on_any_number_of_threads() {
    let samples = Bars::new(64);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| weights(&run(&network(), &samples, &settings()).unwrap().0.graph))
    };
    let one = on(1);
    assert_eq!(one, on(1));
    assert_eq!(one, on(2));
    assert_eq!(one, on(3));
    let other = TrainSettings {
        seed: 1,
        ..settings()
    };
    assert_ne!(one, weights(&run(&network(), &samples, &other).unwrap().0.graph));
}

#[test]
fn interrupted_training_gives_the_same_weights() {
    let samples = Bars::new(64);
    let settings = TrainSettings {
        optimizer: Optimizer::ALL[2].1,
        ema: Some(0.9),
        validation: 0.25,
        ..settings()
    };
    let mut notes = Notes {
        every_step: true,
        ..Notes::default()
    };
    let whole = train(&network(), &samples, &settings, &[], None, None, &mut notes).unwrap();
    assert_eq!(notes.checkpoints.len() as u64, whole.steps);
    for bytes in notes.checkpoints {
        let checkpoint = Checkpoint::from_bytes(&bytes).unwrap();
        let mut rest = Notes::default();
        let resumed = train(
            &network(),
            &samples,
            &settings,
            &[],
            None,
            Some(&checkpoint),
            &mut rest,
        )
        .unwrap();
        assert_eq!(weights(&resumed.graph), weights(&whole.graph));
        assert_eq!(resumed.history.len(), whole.history.len());
    }
}

#[test]
fn checkpoints_of_other_trainings_are_refused() {
    let samples = Bars::new(32);
    let (_, notes) = run(&network(), &samples, &settings()).unwrap();
    let checkpoint = Checkpoint::from_bytes(&notes.checkpoints[0]).unwrap();
    let other = TrainSettings {
        learning_rate: 0.01,
        ..settings()
    };
    let error = train(
        &network(),
        &samples,
        &other,
        &[],
        None,
        Some(&checkpoint),
        &mut Notes::default(),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("other settings") && error.to_string().contains("hint:"),
        "{error}"
    );
}

#[test]
fn what_is_frozen_stays() {
    let samples = Bars::new(32);
    let frozen = |globs: &[&str]| TrainSettings {
        freeze: globs.iter().map(|glob| (*glob).to_owned()).collect(),
        freeze_statistics: Some(0),
        ..settings()
    };
    let (trained, _) = run(&network(), &samples, &frozen(&["conv", "hid*_w"])).unwrap();
    let (before, after) = (weights(&network()), weights(&trained.graph));
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        let stays = ["conv_weight", "hidden_w", "bn_mean", "bn_variance"].contains(&name.as_str());
        assert_eq!(before == after, stays, "{name}");
    }
    let error = run(&network(), &samples, &frozen(&["nothing*"]))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("nothing*") && error.contains("hint:"), "{error}");
    let error = run(&network(), &samples, &frozen(&["*"]))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("nothing to train"), "{error}");
}

#[test]
fn decay_is_for_weights_alone() {
    let graph = network();
    let found = parameters(&graph, &[], &[]).unwrap();
    let decayed: Vec<&str> = found
        .iter()
        .filter(|it| it.decays)
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(decayed, ["conv_weight", "hidden_w", "last_w"]);
    assert_eq!(
        found.len(),
        7,
        "and the normalization's scale and bias, and two biases"
    );
    let rule = ParameterRule {
        name: "bn_scale".to_owned(),
        decays: true,
        learning_rate_factor: 0.5,
        lower_bound: Some(0.9),
    };
    let found = parameters(&graph, std::slice::from_ref(&rule), &[]).unwrap();
    let scale = found.iter().find(|it| it.name == "bn_scale").unwrap();
    assert!(scale.decays && scale.learning_rate_factor == 0.5);
    let mut notes = Notes::default();
    let trained = train(
        &graph,
        &Bars::new(64),
        &settings(),
        &[rule],
        None,
        None,
        &mut notes,
    )
    .unwrap();
    let after = weights(&trained.graph);
    let (_, scale) = after.iter().find(|(name, _)| name == "bn_scale").unwrap();
    assert!(scale.iter().all(|scale| *scale >= 0.9));
}

#[test]
fn a_loss_that_is_no_number_stops_with_the_node() {
    let mut graph = network();
    let conv = graph.value_by_name("conv_weight").unwrap();
    let weights = graph.values[conv.index()].initializer.as_mut().unwrap();
    weights.values_mut::<f32>().unwrap()[0] = f32::NAN;
    let error = run(&graph, &Bars::new(32), &settings())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("step 1") && error.contains("`conv`") && error.contains("hint:"),
        "{error}"
    );
}

#[test]
fn the_best_epoch_is_kept_and_patience_ends() {
    let settings = TrainSettings {
        epochs: 30,
        validation: 0.25,
        patience: Some(2),
        learning_rate: 0.1,
        schedule: Schedule::Constant,
        ..settings()
    };
    let (trained, notes) = run(&network(), &Bars::new(128), &settings).unwrap();
    assert!(trained.history.len() < 30, "it is learned long before");
    assert!(notes.epochs.iter().all(|epoch| epoch.validation.is_some()));
}

#[test]
fn less_memory_gives_the_same_weights() {
    let samples = Bars::new(64);
    let (whole, _) = run(&wide_network(), &samples, &settings()).unwrap();
    let limited = |bytes: u64| TrainSettings {
        memory_limit: Some(bytes),
        ..settings()
    };
    let least = match run(&wide_network(), &samples, &limited(1000)) {
        Err(TrainError::Memory(error)) => error.least,
        _ => panic!("a kilobyte is not enough"),
    };
    let (less, _) = run(&wide_network(), &samples, &limited(least)).unwrap();
    assert!(
        less.segments > 1 && whole.segments == 1,
        "{} segments",
        less.segments
    );
    assert_eq!(weights(&less.graph), weights(&whole.graph));
}

#[test]
fn a_student_learns_from_a_teacher_without_labels() {
    let samples = Bars::new(160);
    let (teacher, _) = run(&wide_network(), &samples, &settings()).unwrap();
    let unlabelled = Bars::without_labels(160);
    let how = |weight: f32, features: &[&str]| TrainSettings {
        distillation: Some(Distillation {
            temperature: 2.0,
            weight,
            features: features.iter().map(|pair| (*pair).to_owned()).collect(),
            feature_weight: 0.1,
        }),
        ..settings()
    };
    let learn = |samples: &Bars, settings: &TrainSettings| {
        let mut notes = Notes::default();
        let student = train(
            &network(),
            samples,
            settings,
            &[],
            Some(&teacher.graph),
            None,
            &mut notes,
        )?;
        Ok::<_, TrainError>((student, notes))
    };
    let (student, _) = learn(&unlabelled, &how(1.0, &[])).unwrap();
    assert!(samples.accuracy(&student.graph) > 0.9);
    let (student, _) = learn(&samples, &how(0.5, &["hidden=hidden"])).unwrap();
    assert!(samples.accuracy(&student.graph) > 0.9);
    assert!(matches!(
        learn(&unlabelled, &how(0.5, &[])),
        Err(TrainError::NoLabels)
    ));
    // Values with other numbers of channels are compared by their attention.
    let (student, notes) = learn(&samples, &how(0.5, &["relu=relu"])).unwrap();
    assert!(samples.accuracy(&student.graph) > 0.9);
    let (_, without) = learn(&samples, &how(0.5, &[])).unwrap();
    // Two maps of length 1 and without negative values are at most the root of 2 apart.
    let added = notes.steps[0].loss - without.steps[0].loss;
    assert!(added > 0.0 && added < 0.1 * 2.0, "{added}");
    let error = learn(&samples, &how(0.5, &["relu=hidden"]))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("one shape") && error.contains("hint:"), "{error}");
    let mut narrow = teacher.graph.clone();
    narrow.outputs = vec![narrow.value_by_name("hidden").unwrap()];
    let mut notes = Notes::default();
    let error = train(
        &network(),
        &samples,
        &how(0.5, &[]),
        &[],
        Some(&narrow),
        None,
        &mut notes,
    )
    .unwrap_err();
    assert!(error.to_string().contains("[16, 8]"), "{error}");
    let error = learn(&samples, &how(0.5, &["hidden=nothing"]))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("hidden=nothing") && error.contains("hint:"),
        "{error}"
    );
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let samples = Bars::new(32);
    let refuse = |settings: TrainSettings, what: &str| {
        let error = run(&network(), &samples, &settings).err().unwrap().to_string();
        assert!(error.contains(what), "{error}");
    };
    refuse(
        TrainSettings {
            epochs: 0,
            ..settings()
        },
        "epochs",
    );
    refuse(
        TrainSettings {
            learning_rate: f32::NAN,
            ..settings()
        },
        "learning-rate",
    );
    refuse(
        TrainSettings {
            validation: 1.0,
            ..settings()
        },
        "validation",
    );
    refuse(
        TrainSettings {
            patience: Some(1),
            ..settings()
        },
        "validation",
    );
    refuse(
        TrainSettings {
            memory_limit: Some(1000),
            ..settings()
        },
        "hint: use a smaller batch",
    );
    let mut graph = network();
    graph.nodes.retain(|node| !matches!(node.op, Op::Gemm(_)));
    graph.outputs.clear();
    let error = run(&graph, &samples, &settings()).err().unwrap();
    assert!(matches!(error, TrainError::NoOutput), "{error}");
}

#[test]
fn bf16_learns_as_much_whatever_the_number_of_threads() {
    let samples = Bars::new(160);
    let bf16 = TrainSettings {
        precision: Precision::Bf16,
        ..settings()
    };
    let (single, _) = run(&wide_network(), &samples, &settings()).unwrap();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap()
            .install(|| run(&wide_network(), &samples, &bf16).unwrap().0)
    };
    let (half, other) = (on(1), on(2));
    assert_eq!(weights(&half.graph), weights(&other.graph));
    assert_ne!(weights(&half.graph), weights(&single.graph));
    let [expected, loss] = [&single, &half].map(|trained| trained.history.last().unwrap().loss);
    assert!((loss - expected).abs() < 0.05, "{loss} for {expected}");
    assert!(samples.accuracy(&half.graph) > 0.95);
}
