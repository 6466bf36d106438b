//! Normalization, softmax and losses.

use bantam_graph::ops::*;
use bantam_tensor::Tensor;

use crate::check::{Case, Input, case, drawn, integers, positive, x};

pub(crate) fn cases() -> Vec<Case> {
    [batch(), rows(), others(), softmax(), losses()]
        .into_iter()
        .flatten()
        .collect()
}

fn batch() -> Vec<Case> {
    let given = |low, high| Input::Given(drawn(&[3], low, high));
    let training = || BatchNormalizationTraining {
        epsilon: 1e-3,
        momentum: 0.9,
    };
    let inference = BatchNormalization {
        epsilon: 1e-3,
        momentum: 0.9,
        training_mode: false,
    };
    vec![
        case(
            "batch",
            training(),
            vec![
                x(&[4, 3, 2, 2]),
                x(&[3]),
                x(&[3]),
                given(0.0, 1.0),
                given(0.5, 1.0),
            ],
        )
        .outputs(&[true, false, false]),
        case(
            "batch of rows",
            training(),
            vec![x(&[5, 3]), x(&[3]), x(&[3]), given(0.0, 1.0), given(0.5, 1.0)],
        ),
        case(
            "frozen",
            inference,
            vec![x(&[2, 3, 4]), x(&[3]), x(&[3]), x(&[3]), positive(&[3])],
        ),
    ]
}

fn rows() -> Vec<Case> {
    let layer = |axis| LayerNormalization {
        axis,
        epsilon: 1e-3,
        stash_type: 11,
    };
    let square = || RmsNormalization {
        axis: -1,
        epsilon: 1e-3,
        stash_type: 11,
    };
    let simplified = SimplifiedLayerNormalization {
        axis: -1,
        epsilon: 1e-3,
        stash_type: 11,
    };
    vec![
        case("layer", layer(-1), vec![x(&[2, 3, 8]), x(&[8]), x(&[8])]),
        case(
            "layer over two axes",
            layer(1),
            vec![x(&[3, 4, 5]), x(&[4, 5]), x(&[4, 5])],
        ),
        case(
            "layer with repeated scale",
            layer(1),
            vec![x(&[3, 4, 5]), x(&[5]), x(&[4, 1])],
        ),
        case(
            "layer with a scale for each sample",
            layer(-1),
            vec![x(&[3, 4, 5]), x(&[3, 1, 5]), x(&[1])],
        ),
        case("layer without bias", layer(-1), vec![x(&[2, 20]), x(&[20])]),
        case("root mean square", square(), vec![x(&[2, 3, 8]), x(&[8])]),
        case("simplified", simplified, vec![x(&[2, 8]), x(&[8])]),
        case(
            "skip",
            SkipLayerNormalization { epsilon: 1e-3 },
            vec![x(&[2, 3, 8]), x(&[2, 3, 8]), x(&[8]), x(&[8]), x(&[8])],
        ),
        case(
            "skip, repeated",
            SkipLayerNormalization { epsilon: 1e-3 },
            vec![x(&[2, 3, 8]), x(&[1, 3, 8]), x(&[8])],
        ),
        case(
            "skip, and its sum",
            SkipLayerNormalization { epsilon: 1e-3 },
            vec![x(&[2, 3, 8]), x(&[3, 8]), x(&[8]), x(&[8])],
        )
        .outputs(&[true, false, false, true]),
        case(
            "skip, root mean square",
            SkipSimplifiedLayerNormalization { epsilon: 1e-3 },
            vec![x(&[2, 3, 8]), x(&[2, 3, 8]), x(&[8]), x(&[8])],
        ),
    ]
}

fn others() -> Vec<Case> {
    let group = |num_groups| GroupNormalization {
        epsilon: 1e-3,
        num_groups,
        stash_type: 11,
    };
    vec![
        case(
            "instances",
            InstanceNormalization { epsilon: 1e-3 },
            vec![x(&[2, 3, 4, 2]), x(&[3]), x(&[3])],
        ),
        case("groups", group(2), vec![x(&[2, 4, 5]), x(&[4]), x(&[4])]),
        case("one group", group(1), vec![x(&[2, 4, 3, 2]), x(&[4]), x(&[4])]),
        case(
            "neighbours",
            Lrn {
                alpha: 0.3,
                beta: 0.75,
                bias: 1.5,
                size: 3,
            },
            vec![x(&[2, 5, 3])],
        ),
        case(
            "an even number of neighbours",
            Lrn {
                alpha: 0.3,
                beta: 0.5,
                bias: 1.0,
                size: 4,
            },
            vec![x(&[1, 6, 2, 2])],
        ),
        case(
            "norm 1 of rows",
            LpNormalization { axis: -1, p: 1 },
            vec![positive(&[3, 4])],
        ),
        case(
            "norm 2 of columns",
            LpNormalization { axis: 0, p: 2 },
            vec![x(&[3, 4])],
        ),
        case(
            "mean and variance",
            MeanVarianceNormalization { axes: vec![0, 2] },
            vec![x(&[3, 2, 4])],
        ),
    ]
}

fn softmax() -> Vec<Case> {
    vec![
        case("softmax", Softmax { axis: -1 }, vec![x(&[3, 5])]),
        case("softmax of columns", Softmax { axis: 1 }, vec![x(&[2, 3, 4])]),
        case("log softmax", LogSoftmax { axis: -1 }, vec![x(&[3, 5])]),
        case("log softmax of columns", LogSoftmax { axis: 0 }, vec![x(&[3, 4])]),
    ]
}

fn losses() -> Vec<Case> {
    let mut cases = Vec::new();
    let labels = || integers(&[3], &[0, 3, 1]);
    let places = || integers(&[2, 3], &[0, 3, 1, 2, 9, 0]);
    let weights = || Input::Constant(Tensor::from_vec1(&[0.5, 1.0, 2.0, 0.25]));
    for reduction in ["none", "sum", "mean"] {
        let reduction = || reduction.to_owned();
        let entropy = |ignore_index| SoftmaxCrossEntropyLoss {
            ignore_index,
            reduction: reduction(),
        };
        let likelihood = |ignore_index| NegativeLogLikelihoodLoss {
            ignore_index,
            reduction: reduction(),
        };
        cases.extend([
            case("entropy", entropy(None), vec![x(&[3, 4]), labels()]),
            case(
                "entropy, weighted",
                entropy(None),
                vec![x(&[3, 4]), labels(), weights()],
            ),
            case(
                "entropy of places, some ignored",
                entropy(Some(9)),
                vec![x(&[2, 4, 3]), places(), weights()],
            ),
            case(
                "likelihood",
                likelihood(None),
                vec![x(&[3, 4]), labels(), weights()],
            ),
            case(
                "likelihood of places, some ignored",
                likelihood(Some(9)),
                vec![x(&[2, 4, 3]), places()],
            ),
        ]);
    }
    let entropy = SoftmaxCrossEntropyLoss {
        ignore_index: None,
        reduction: "mean".to_owned(),
    };
    cases
        .push(case("entropy and its logarithms", entropy, vec![x(&[3, 4]), labels()]).outputs(&[true, true]));
    cases
}
