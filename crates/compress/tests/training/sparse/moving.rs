//! Connections that are exchanged, patterns, and weights that learn behind their mask.

use bantam_compress::train::Schedule;

use super::*;

fn marks(checkpoint: &Checkpoint, name: &str) -> Vec<bool> {
    let marks = checkpoint.tensors[&format!("mask/{name}")].to_f32().unwrap();
    marks.iter().map(|mark| *mark == 1.0).collect()
}

fn plain(sparsity: SparsitySettings) -> TrainSettings {
    TrainSettings {
        optimizer: Optimizer::Sgd {
            momentum: 0.0,
            nesterov: false,
        },
        weight_decay: 0.0,
        schedule: Schedule::Constant,
        ..with(sparsity)
    }
}

/// The gradient of all weights in step `step`, masked ones included: what that step takes off them without
/// masks.
fn gradients(checkpoint: &Checkpoint, settings: &TrainSettings, samples: &Bars, step: u64) -> Vec<Vec<f32>> {
    let start = checkpoint.weights_in(&network()).unwrap();
    let one = TrainSettings {
        sparsity: None,
        first_step: step,
        max_steps: Some(step + 1),
        ..settings.clone()
    };
    let (moved, _) = run(&start, samples, &one).unwrap();
    let pairs = masked(&start).into_iter().zip(masked(&moved.graph));
    let difference = |(before, after): (Vec<f32>, Vec<f32>)| {
        before
            .iter()
            .zip(&after)
            .map(|(before, after)| (before - after).abs())
            .collect()
    };
    pairs.map(difference).collect()
}

/// Places in descending order of a number.
fn descending(places: Vec<usize>, number: impl Fn(usize) -> f32) -> Vec<usize> {
    let mut places = places;
    places.sort_by(|&a, &b| number(b).total_cmp(&number(a)));
    places
}

#[test]
fn rigl_drops_the_smallest_and_grows_where_gradients_are_largest() {
    let samples = Bars::new(64);
    let sparsity = SparsitySettings {
        until: Some(1.0),
        ..zeros(SparseMethod::Rigl, 0.7)
    };
    let settings = plain(sparsity);
    let (_, checkpoints) = every_step(&network(), &samples, &settings);
    let mut exchanged = 0;
    // Masks change every three steps, the last of 16 excepted; the checkpoint of index i is the state after i + 1 steps.
    for step in [3usize, 6, 9, 12] {
        let (before, after) = (&checkpoints[step - 1], &checkpoints[step]);
        let gradients = gradients(before, &settings, &samples, step as u64);
        let share = 0.3 / 2.0 * (1.0 + (std::f64::consts::PI * step as f64 / 15.0).cos());
        for (name, gradient) in MASKED.iter().zip(gradients) {
            let mask = marks(before, name);
            let weights = before.tensors[&format!("weights/{name}")].to_f32().unwrap();
            let (active, _): (Vec<usize>, Vec<usize>) = (0..mask.len()).partition(|&place| mask[place]);
            let count = (share * active.len() as f64).round() as usize;
            let kept = descending(active.clone(), |place| weights[place].abs());
            let kept = &kept[..active.len() - count];
            let rest = (0..mask.len()).filter(|place| !kept.contains(place)).collect();
            let grown = &descending(rest, |place| gradient[place])[..count];
            let now = marks(after, name);
            let expected = (0..mask.len()).map(|place| kept.contains(&place) || grown.contains(&place));
            assert_eq!(now, expected.collect::<Vec<bool>>(), "{name} in step {step}");
            exchanged += grown.iter().filter(|place| !mask[**place]).count();
        }
    }
    assert!(exchanged > 20, "{exchanged} connections are new");
}

#[test]
fn static_masks_stay_and_others_move() {
    let samples = Bars::new(64);
    for (method, moves) in [(SparseMethod::Static, false), (SparseMethod::Set, true)] {
        let (_, checkpoints) = every_step(&network(), &samples, &with(zeros(method, 0.8)));
        let last = checkpoints.last().unwrap();
        let same = MASKED
            .iter()
            .all(|name| marks(&checkpoints[0], name) == marks(last, name));
        assert_eq!(same, !moves, "{method:?}");
        // 12 of 16 steps change masks.
        let late = MASKED
            .iter()
            .all(|name| marks(&checkpoints[12], name) == marks(last, name));
        assert!(late, "masks are final for the rest");
    }
}

#[test]
fn patterns_hold_for_every_group_of_inputs() {
    let samples = Bars::new(160);
    for method in [SparseMethod::Gradual, SparseMethod::Feedback] {
        let sparsity = SparsitySettings {
            amount: Amount::Pattern { stay: 1, of: 2 },
            exclude: vec!["name:conv".to_owned()],
            mask_decay: if method == SparseMethod::Feedback {
                2e-4
            } else {
                0.0
            },
            every: Some(1),
            ..zeros(method, 0.0)
        };
        let (trained, _) = run(&network(), &samples, &with(sparsity)).unwrap();
        let layers = masked(&trained.graph);
        assert!(
            layers[0].iter().all(|weight| *weight != 0.0),
            "the convolution is dense"
        );
        // Weights of both Gemm nodes are [outputs, inputs].
        for pair in layers[1..].iter().flat_map(|weights| weights.chunks(2)) {
            assert_eq!(
                pair.iter().filter(|weight| **weight == 0.0).count(),
                1,
                "{pair:?}"
            );
        }
        assert!(samples.accuracy(&trained.graph) > 0.9);
    }
}

#[test]
fn weights_learn_behind_the_mask_until_it_is_final() {
    let samples = Bars::new(64);
    let (_, checkpoints) = every_step(&network(), &samples, &plain(zeros(SparseMethod::Feedback, 0.8)));
    let behind = |checkpoint: &Checkpoint| -> Vec<f32> {
        let of = |name: &&str| {
            let weights = checkpoint.tensors[&format!("weights/{name}")].to_f32().unwrap();
            let pairs = weights.into_iter().zip(marks(checkpoint, name));
            pairs
                .filter(|(_, stays)| !stays)
                .map(|(weight, _)| weight)
                .collect::<Vec<f32>>()
        };
        MASKED.iter().flat_map(of).collect()
    };
    // Masks are final from step 8 on.
    assert!(behind(&checkpoints[7]).iter().any(|weight| *weight != 0.0));
    assert!(
        checkpoints[8..]
            .iter()
            .all(|it| behind(it).iter().all(is_positive_zero))
    );
    let back = MASKED.iter().any(|name| {
        let masks: Vec<Vec<bool>> = checkpoints[..9].iter().map(|it| marks(it, name)).collect();
        masks
            .windows(2)
            .any(|pair| pair[0].iter().zip(&pair[1]).any(|(before, now)| !before && *now))
    });
    assert!(back, "a weight has come back");
}

#[test]
fn criteria_choose_differently() {
    let samples = Bars::new(160);
    let masks = Criterion::ALL.iter().map(|&(_, criterion)| {
        let sparsity = SparsitySettings {
            criterion,
            ..zeros(SparseMethod::Gradual, 0.6)
        };
        let settings = TrainSettings {
            epochs: 12,
            ..with(sparsity)
        };
        let (trained, _) = run(&network(), &samples, &settings).unwrap();
        assert!(samples.accuracy(&trained.graph) > 0.85, "{criterion:?}");
        masked(&trained.graph)
            .concat()
            .iter()
            .map(|weight| *weight == 0.0)
            .collect::<Vec<bool>>()
    });
    let masks: Vec<Vec<bool>> = masks.collect();
    assert!(masks[0] != masks[1] && masks[1] != masks[2] && masks[0] != masks[2]);
}
