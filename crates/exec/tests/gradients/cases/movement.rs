//! Shapes and movement.

use bantam_graph::ops::*;

use crate::check::{Case, Input, case, integers, list, x};

pub(crate) fn cases() -> Vec<Case> {
    [shapes(), joins(), slices(), resized()]
        .into_iter()
        .flatten()
        .collect()
}

fn shapes() -> Vec<Case> {
    let perm = |perm: &[i64]| Transpose {
        perm: Some(perm.to_vec()),
    };
    vec![
        case(
            "reshape",
            Reshape { allowzero: false },
            vec![x(&[2, 6]), list(&[3, -1])],
        ),
        case("flatten", Flatten { axis: 1 }, vec![x(&[2, 3, 2])]),
        case("squeeze", Squeeze {}, vec![x(&[2, 1, 3]), list(&[1])]),
        case("unsqueeze", Unsqueeze {}, vec![x(&[2, 3]), list(&[0, 2])]),
        case("transpose", perm(&[2, 0, 1]), vec![x(&[2, 3, 4])]),
        case(
            "reversed dimensions",
            Transpose { perm: None },
            vec![x(&[2, 3, 4])],
        ),
        case("expand", Expand {}, vec![x(&[3, 1]), list(&[2, 1, 4])]),
        case("tile", Tile {}, vec![x(&[2, 3]), list(&[2, 3])]),
        case(
            "tile by given repeats",
            Tile {},
            vec![x(&[2, 3]), integers(&[2], &[3, 2])],
        ),
        case(
            "depth to space",
            DepthToSpace {
                blocksize: 2,
                mode: DepthToSpaceMode::DepthColumnRow,
            },
            vec![x(&[1, 8, 2, 3])],
        ),
        case(
            "columns to space",
            DepthToSpace {
                blocksize: 2,
                mode: DepthToSpaceMode::ColumnRowDepth,
            },
            vec![x(&[1, 8, 2, 3])],
        ),
        case(
            "space to depth",
            SpaceToDepth {
                blocksize: 2,
                mode: DepthToSpaceMode::DepthColumnRow,
            },
            vec![x(&[1, 2, 4, 6])],
        ),
        case("upper triangle", Trilu { upper: true }, vec![x(&[2, 3, 4])]),
        case(
            "lower triangle",
            Trilu { upper: false },
            vec![x(&[4, 4]), Input::Constant(bantam_tensor::Tensor::scalar(-1i64))],
        ),
        case(
            "reversed sequences",
            ReverseSequence {
                batch_axis: 1,
                time_axis: 0,
            },
            vec![x(&[4, 2, 3]), integers(&[2], &[3, 2])],
        ),
    ]
}

fn joins() -> Vec<Case> {
    let split = |axis, num_outputs| Split { axis, num_outputs };
    vec![
        case(
            "join",
            Concat { axis: 1 },
            vec![x(&[2, 3]), x(&[2, 1]), x(&[2, 2])],
        ),
        case("join of one", Concat { axis: -1 }, vec![x(&[2, 3])]),
        case(
            "split by sizes",
            split(1, None),
            vec![x(&[2, 6]), list(&[1, 3, 2])],
        )
        .outputs(&[true, true, true]),
        case("split of which one is used", split(0, Some(3)), vec![x(&[6, 2])])
            .outputs(&[false, true, false]),
    ]
}

fn slices() -> Vec<Case> {
    let pad = |mode| Pad { mode };
    vec![
        case(
            "slice",
            Slice {},
            vec![x(&[4, 5]), list(&[1, -3]), list(&[3, 5]), list(&[0, 1])],
        ),
        case(
            "slice backwards",
            Slice {},
            vec![x(&[5, 4]), list(&[-1]), list(&[-100]), list(&[0]), list(&[-2])],
        ),
        case(
            "slice of the first axes",
            Slice {},
            vec![x(&[5, 4]), list(&[1]), list(&[4])],
        ),
        case(
            "pad",
            pad(PadMode::Constant),
            vec![x(&[2, 3]), list(&[1, 2, 0, 1])],
        ),
        case(
            "pad by a value that learns",
            pad(PadMode::Constant),
            vec![x(&[2, 3]), list(&[1, -1, 0, 1]), x(&[])],
        ),
        case(
            "pad by reflection",
            pad(PadMode::Reflect),
            vec![x(&[3, 4]), list(&[2, 3, 1, 0])],
        ),
        case(
            "pad by the edge",
            pad(PadMode::Edge),
            vec![x(&[3, 4]), list(&[2, 1]), Input::Absent, list(&[1])],
        ),
        case(
            "pad around",
            pad(PadMode::Wrap),
            vec![x(&[3, 4]), list(&[1, 2, 2, 1])],
        ),
    ]
}

fn resized() -> Vec<Case> {
    let resize = |mode, transform| Resize {
        antialias: false,
        axes: None,
        coordinate_transformation_mode: transform,
        cubic_coeff_a: -0.75,
        exclude_outside: false,
        extrapolation_value: 0.0,
        keep_aspect_ratio_policy: KeepAspectRatio::Stretch,
        mode,
        nearest_mode: NearestMode::RoundPreferFloor,
    };
    let scales = |scales: &[f32]| Input::Constant(bantam_tensor::Tensor::from_vec1(scales));
    let larger = || vec![x(&[1, 2, 3, 4]), Input::Absent, scales(&[1.0, 1.0, 2.0, 1.5])];
    let smaller = || {
        vec![
            x(&[1, 2, 6, 5]),
            Input::Absent,
            Input::Absent,
            list(&[1, 2, 3, 3]),
        ]
    };
    let (half, corners) = (ResizeTransform::HalfPixel, ResizeTransform::AlignCorners);
    vec![
        case(
            "larger, nearest",
            resize(ResizeMode::Nearest, ResizeTransform::Asymmetric),
            larger(),
        ),
        case("larger, linear", resize(ResizeMode::Linear, half), larger()),
        case("larger, cubic", resize(ResizeMode::Cubic, corners), larger()),
        case("smaller, nearest", resize(ResizeMode::Nearest, half), smaller()),
        case("smaller, linear", resize(ResizeMode::Linear, corners), smaller()),
        case(
            "smaller without aliases",
            Resize {
                antialias: true,
                ..resize(ResizeMode::Linear, half)
            },
            smaller(),
        ),
    ]
}
