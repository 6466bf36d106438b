//! Masks: what is zero stays zero, as many as asked for, whatever happens on the way.

mod moving;
mod quantized;
mod refusals;

use bantam_compress::train::sparse::{Amount, Criterion, Masks, Scope, SparseMethod, SparsitySettings};
use bantam_compress::train::{Checkpoint, Distillation, Optimizer, Precision, TrainSettings, Trained, train};
use bantam_graph::Graph;

use super::support::{Bars, network, wide_network};
use super::{Notes, run, settings, weights};

/// Settings of training with these zeros.
fn with(sparsity: SparsitySettings) -> TrainSettings {
    TrainSettings {
        sparsity: Some(sparsity),
        ..settings()
    }
}

/// Zeros by a method.
fn zeros(method: SparseMethod, share: f64) -> SparsitySettings {
    SparsitySettings {
        method,
        amount: Amount::Share(share),
        every: Some(3),
        ..SparsitySettings::default()
    }
}

/// The network with this share of its smallest weights at zero.
fn pruned(graph: &Graph, share: f64) -> Graph {
    let mut pruned = graph.clone();
    let masks = Masks::by_magnitude(graph, &zeros(SparseMethod::Gradual, share)).unwrap();
    masks.apply(&mut pruned).unwrap();
    pruned
}

/// The weights of products, which masks are for.
const MASKED: [&str; 3] = ["conv_weight", "hidden_w", "last_w"];

fn masked(graph: &Graph) -> Vec<Vec<f32>> {
    let all = weights(graph);
    MASKED
        .map(|name| all.iter().find(|it| it.0 == name).unwrap().1.clone())
        .to_vec()
}

fn count_zeros(graph: &Graph) -> usize {
    masked(graph)
        .iter()
        .flatten()
        .filter(|weight| **weight == 0.0)
        .count()
}

fn is_positive_zero(value: &f32) -> bool {
    value.to_bits() == 0
}

/// Trains, with a checkpoint after each step.
fn every_step(graph: &Graph, samples: &Bars, settings: &TrainSettings) -> (Trained, Vec<Checkpoint>) {
    let mut notes = Notes {
        every_step: true,
        ..Notes::default()
    };
    let trained = train(graph, samples, settings, &[], None, None, &mut notes).unwrap();
    let read = |bytes: &Vec<u8>| Checkpoint::from_bytes(bytes).unwrap();
    (trained, notes.checkpoints.iter().map(read).collect())
}

#[test]
fn zeros_stay_through_every_optimizer() {
    let samples = Bars::new(64);
    let start = pruned(&network(), 0.6);
    let before = masked(&start);
    for &(name, optimizer) in Optimizer::ALL {
        let settings = TrainSettings {
            optimizer,
            weight_decay: 0.01,
            ema: Some(0.9),
            clip_norm: Some(1.0),
            ..with(SparsitySettings::default())
        };
        let (trained, checkpoints) = every_step(&start, &samples, &settings);
        for (layer, (before, after)) in before.iter().zip(masked(&trained.graph)).enumerate() {
            for (before, after) in before.iter().zip(&after) {
                assert_eq!(
                    *before == 0.0,
                    is_positive_zero(after),
                    "{name}: {before} became {after}"
                );
            }
            for checkpoint in &checkpoints {
                for (key, tensor) in &checkpoint.tensors {
                    if !key.ends_with(MASKED[layer]) || key.starts_with("mask/") {
                        continue;
                    }
                    let values = tensor.to_f32().unwrap();
                    let gone = before.iter().zip(&values).filter(|(before, _)| **before == 0.0);
                    assert!(
                        gone.map(|(_, value)| value).all(is_positive_zero),
                        "{name}: {key}"
                    );
                }
            }
        }
        let reported: usize = trained.sparsity.iter().map(|layer| layer.zeros).sum();
        assert_eq!(reported, count_zeros(&start));
    }
}

#[test]
fn sparsity_is_reached_exactly() {
    let samples = Bars::new(64);
    let total: usize = masked(&network()).iter().map(Vec::len).sum();
    for &(name, method, _) in &SparseMethod::ALL[1..] {
        for &(_, scope) in Scope::ALL {
            if method.is_sparse_from_the_start() && scope == Scope::Global {
                continue;
            }
            let sparsity = SparsitySettings {
                scope: Some(scope),
                ..zeros(method, 0.8)
            };
            let (trained, notes) = run(&network(), &samples, &with(sparsity)).unwrap();
            let expected: usize = match scope {
                Scope::Layer => {
                    let lens = masked(&network()).into_iter().map(|weights| weights.len());
                    lens.map(|len| len - (0.2 * len as f64).round() as usize).sum()
                }
                _ => total - (0.2 * total as f64).round() as usize,
            };
            let there = count_zeros(&trained.graph);
            // A connection that SET grows at random where nothing arrives stays at zero.
            let fits = there == expected || (method == SparseMethod::Set && there > expected);
            assert!(fits, "{name} {scope:?}: {there} for {expected}");
            let told = notes.epochs.last().unwrap().sparsity.unwrap();
            assert!((told - expected as f64 / total as f64).abs() < 1e-9, "{told}");
        }
    }
}

#[test]
fn zeros_grow_as_the_formula_says() {
    let samples = Bars::new(64);
    let sparsity = SparsitySettings {
        from: 0.125,
        until: Some(0.75),
        every: Some(2),
        ..zeros(SparseMethod::Gradual, 0.9)
    };
    let (_, checkpoints) = every_step(&network(), &samples, &with(sparsity));
    assert_eq!(checkpoints.len(), 16);
    let total: usize = masked(&network()).iter().map(Vec::len).sum();
    for checkpoint in checkpoints {
        // The last step that was made, and the last change by then; steps 2 to 12 change masks.
        let step = checkpoint.done().unwrap().0 - 1;
        let change = (step.clamp(2, 12) - 2) / 2 * 2;
        let share = 0.9 + (0.0 - 0.9) * (1.0 - change as f64 / 10.0).powi(3);
        let stay: f32 = MASKED
            .iter()
            .flat_map(|name| checkpoint.tensors[&format!("mask/{name}")].to_f32().unwrap())
            .sum();
        assert_eq!(
            stay as usize,
            ((1.0 - share) * total as f64).round() as usize,
            "step {step}"
        );
    }
}

#[test]
fn interrupted_training_with_masks_gives_the_same_weights() {
    let samples = Bars::new(64);
    let feedback = SparsitySettings {
        mask_decay: 1e-3,
        ..zeros(SparseMethod::Feedback, 0.7)
    };
    let with_criterion = |criterion| SparsitySettings {
        criterion,
        ..zeros(SparseMethod::Gradual, 0.7)
    };
    let all = [
        zeros(SparseMethod::Rigl, 0.7),
        zeros(SparseMethod::Set, 0.7),
        feedback,
        with_criterion(Criterion::Movement),
        with_criterion(Criterion::Taylor),
    ];
    for sparsity in all {
        let settings = TrainSettings {
            ema: Some(0.9),
            validation: 0.25,
            optimizer: Optimizer::ALL[2].1,
            ..with(sparsity)
        };
        let (whole, checkpoints) = every_step(&network(), &samples, &settings);
        for checkpoint in &checkpoints {
            let resume = Some(checkpoint);
            let mut rest = Notes::default();
            let resumed = train(&network(), &samples, &settings, &[], None, resume, &mut rest).unwrap();
            assert_eq!(
                weights(&resumed.graph),
                weights(&whole.graph),
                "{:?}",
                settings.sparsity
            );
        }
    }
}

#[test]
fn threads_do_not_change_masks() {
    let samples = Bars::new(64);
    let feedback = zeros(SparseMethod::Feedback, 0.9);
    for sparsity in [
        zeros(SparseMethod::Rigl, 0.9),
        zeros(SparseMethod::Gradual, 0.9),
        feedback,
    ] {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let settings = with(sparsity.clone());
            pool.install(|| weights(&run(&wide_network(), &samples, &settings).unwrap().0.graph))
        };
        assert_eq!(on(1), on(2), "{:?}", sparsity.method);
    }
}

#[test]
fn zeros_stay_in_bf16_and_with_a_teacher() {
    let samples = Bars::new(160);
    let (teacher, _) = run(&wide_network(), &samples, &settings()).unwrap();
    let start = pruned(&network(), 0.5);
    let settings = TrainSettings {
        precision: Precision::Bf16,
        distillation: Some(Distillation::default()),
        ..with(SparsitySettings::default())
    };
    let mut notes = Notes::default();
    let teacher = Some(&teacher.graph);
    let trained = train(&start, &samples, &settings, &[], teacher, None, &mut notes).unwrap();
    let mut kept = masked(&start)
        .concat()
        .into_iter()
        .zip(masked(&trained.graph).concat());
    assert!(kept.all(|(before, after)| (before == 0.0) == (after == 0.0)));
    assert!(samples.accuracy(&trained.graph) > 0.9);
}

#[test]
fn steps_that_count_as_made_are_not_made_again() {
    let samples = Bars::new(64);
    let plain = TrainSettings {
        optimizer: Optimizer::Sgd {
            momentum: 0.0,
            nesterov: false,
        },
        ..settings()
    };
    let (whole, checkpoints) = every_step(&network(), &samples, &plain);
    for made in [3, 8] {
        let start = checkpoints[made - 1].weights_in(&network()).unwrap();
        let rest = TrainSettings {
            first_step: made as u64,
            ..plain.clone()
        };
        let (trained, notes) = run(&start, &samples, &rest).unwrap();
        assert_eq!(
            weights(&trained.graph),
            weights(&whole.graph),
            "after {made} steps"
        );
        assert_eq!(notes.steps.len(), 16 - made);
        assert!(notes.steps.iter().all(|step| step.accuracy.unwrap() <= 1.0));
    }
}
