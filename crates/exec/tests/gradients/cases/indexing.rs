//! Taking and placing by index.

use bantam_graph::ops::*;

use crate::check::{Case, case, integers, x};

pub(crate) fn cases() -> Vec<Case> {
    let scatter = |reduction| ScatterElements { axis: 1, reduction };
    let place = |reduction| ScatterNd { reduction };
    let (none, add) = (ScatterReduction::None, ScatterReduction::Add);
    vec![
        case(
            "rows",
            Gather { axis: 0 },
            vec![x(&[4, 3]), integers(&[2, 2], &[1, 3, 1, -1])],
        ),
        case(
            "columns",
            Gather { axis: -1 },
            vec![x(&[2, 3, 4]), integers(&[3], &[0, 0, 2])],
        ),
        case(
            "one slice",
            Gather { axis: 1 },
            vec![x(&[2, 3, 4]), integers(&[], &[2])],
        ),
        case(
            "elements",
            GatherElements { axis: 1 },
            vec![x(&[2, 4]), integers(&[2, 3], &[0, 0, 3, 1, -1, 2])],
        ),
        case(
            "tuples",
            GatherNd { batch_dims: 0 },
            vec![x(&[3, 2, 4]), integers(&[3, 2], &[0, 1, 2, 0, 0, 1])],
        ),
        case(
            "tuples by sample",
            GatherNd { batch_dims: 1 },
            vec![x(&[2, 3, 4]), integers(&[2, 1], &[2, 0])],
        ),
        case(
            "placed elements",
            scatter(none),
            vec![x(&[2, 4]), integers(&[2, 2], &[0, 3, 1, 2]), x(&[2, 2])],
        ),
        case(
            "added elements",
            scatter(add),
            vec![x(&[2, 4]), integers(&[2, 2], &[0, 0, 1, 2]), x(&[2, 2])],
        ),
        case(
            "placed slices",
            place(none),
            vec![x(&[4, 3]), integers(&[2, 1], &[2, 0]), x(&[2, 3])],
        ),
        case(
            "added slices",
            place(add),
            vec![x(&[4, 3]), integers(&[2, 1], &[2, 2]), x(&[2, 3])],
        ),
    ]
}
