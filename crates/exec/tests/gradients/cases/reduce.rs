//! Reductions and running sums.

use bantam_graph::ops::*;
use bantam_tensor::Tensor;

use crate::check::{Case, Input, apart, case, integers, list, positive, x};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for &kind in ReduceKind::ALL {
        let op = |keepdims| Reduce {
            kind,
            keepdims,
            noop_with_empty_axes: false,
        };
        let input = || match kind {
            ReduceKind::Max | ReduceKind::Min | ReduceKind::L1 => apart(&[2, 3, 4]),
            _ => positive(&[2, 3, 4]),
        };
        cases.push(case("over an axis, kept", op(true), vec![input(), list(&[1])]));
        cases.push(case("over two axes", op(false), vec![input(), list(&[0, -1])]));
        cases.push(case("over all", op(false), vec![input()]));
        let none = Reduce {
            noop_with_empty_axes: true,
            ..op(false)
        };
        cases.push(case("over none", none, vec![input(), list(&[])]));
        if kind != ReduceKind::Prod {
            cases.push(case(
                "over axes that are computed",
                op(false),
                vec![input(), integers(&[1], &[2])],
            ));
        }
    }
    let zeros = Input::Wrt(Tensor::from_slice(&[2, 3], &[0.0, 2.0, 3.0, 0.0, 0.0, 4.0]).unwrap());
    let product = Reduce {
        kind: ReduceKind::Prod,
        keepdims: true,
        noop_with_empty_axes: false,
    };
    cases.push(case("product with zeros", product, vec![zeros, list(&[1])]));
    for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
        cases.push(case(
            "running sum",
            CumSum { exclusive, reverse },
            vec![x(&[2, 3, 4]), list(&[1])],
        ));
        cases.push(case(
            "running product",
            CumProd { exclusive, reverse },
            vec![positive(&[2, 3, 4]), list(&[1])],
        ));
    }
    for largest in [true, false] {
        let op = TopK {
            axis: 1,
            largest,
            sorted: true,
        };
        cases.push(case("extreme elements", op, vec![apart(&[3, 6]), list(&[2])]).outputs(&[true, false]));
    }
    cases
}
