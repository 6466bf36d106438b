//! Channels that vanish while training.

use bantam_compress::train::{Penalty, Regularization, TrainError, TrainSettings};
use bantam_graph::{Graph, InferOptions, coupling, infer_shapes};

use super::support::{Bars, wide_network};
use super::{run, settings, weights};

fn with(penalty: Penalty, strength: f32) -> TrainSettings {
    TrainSettings {
        epochs: 20,
        regularization: Some(Regularization {
            penalty,
            strength,
            growth: 0.5,
        }),
        ..settings()
    }
}

fn values(graph: &Graph, name: &str) -> Vec<f32> {
    let found = weights(graph).into_iter().find(|(found, _)| found == name);
    found.unwrap().1
}

#[test]
fn a_group_lasso_leaves_fewer_channels_and_removing_the_others_changes_nothing() {
    let samples = Bars::new(320);
    let (plain, _) = run(&wide_network(), &samples, &with(Penalty::GroupLasso, 1e-9)).unwrap();
    let (trained, _) = run(&wide_network(), &samples, &with(Penalty::GroupLasso, 4e-2)).unwrap();
    let gone = |graph: &Graph| -> Vec<usize> {
        let filters = values(graph, "conv_weight");
        let zero = |filter: &[f32]| filter.iter().all(|value| *value == 0.0);
        (0..16)
            .filter(|channel| zero(&filters[channel * 9..][..9]))
            .collect()
    };
    assert!(gone(&plain.graph).is_empty());
    let gone = gone(&trained.graph);
    assert!((4..16).contains(&gone.len()), "{gone:?}");
    let (scales, readers) = (
        values(&trained.graph, "bn_scale"),
        values(&trained.graph, "hidden_w"),
    );
    for channel in &gone {
        assert_eq!(scales[*channel], 0.0);
        let read = readers
            .chunks_exact(16 * 9)
            .flat_map(|row| &row[channel * 9..][..9]);
        assert!(read.copied().all(|value| value == 0.0));
    }
    let mut graph = trained.graph.clone();
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    let coupling = coupling(&graph);
    let weight = graph.value_by_name("conv_weight").unwrap();
    let group = (coupling.groups.iter())
        .position(|group| group.axes.contains(&(weight, 0)))
        .unwrap();
    let units: Vec<(usize, usize)> = gone.iter().map(|unit| (group, *unit)).collect();
    let smaller = coupling.remove(&graph, &units).unwrap();
    let (before, after) = (samples.accuracy(&trained.graph), samples.accuracy(&smaller));
    assert_eq!(before, after);
    assert!(after > 0.9, "{after}");
}

#[test]
fn a_penalty_on_scales_leaves_the_weights() {
    let samples = Bars::new(320);
    let (trained, _) = run(&wide_network(), &samples, &with(Penalty::BatchNormalization, 0.2)).unwrap();
    let scales = values(&trained.graph, "bn_scale");
    let zeros = scales.iter().filter(|scale| **scale == 0.0).count();
    assert!((2..16).contains(&zeros), "{scales:?}");
    assert!(
        values(&trained.graph, "conv_weight")
            .iter()
            .all(|weight| *weight != 0.0)
    );
    assert!(samples.accuracy(&trained.graph) > 0.9);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let samples = Bars::new(32);
    for strength in [0.0, -1.0, f32::NAN] {
        let error = run(&wide_network(), &samples, &with(Penalty::GroupLasso, strength)).err();
        assert!(matches!(error, Some(TrainError::Settings(_))), "{error:?}");
    }
    let frozen = TrainSettings {
        freeze: vec!["conv_weight".to_owned(), "hidden_w".to_owned()],
        ..with(Penalty::GroupLasso, 1e-3)
    };
    let error = run(&wide_network(), &samples, &frozen).err().unwrap().to_string();
    assert!(
        error.contains("group-lasso") && error.contains("hint:"),
        "{error}"
    );
}
