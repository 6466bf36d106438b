//! Products.

use bantam_graph::ops::*;

use crate::check::{Case, case, x};

pub(crate) fn cases() -> Vec<Case> {
    [products(), gemm(), einsum()].into_iter().flatten().collect()
}

fn products() -> Vec<Case> {
    let shapes: &[(&'static str, &[usize], &[usize])] = &[
        ("matrices", &[2, 3], &[3, 4]),
        ("rows of a batch", &[2, 3, 4], &[4, 5]),
        ("batches", &[2, 3, 4], &[2, 4, 5]),
        ("batches, left repeated", &[3, 4], &[2, 4, 5]),
        ("batches, both repeated", &[3, 1, 2, 4], &[2, 4, 5]),
        ("vector by matrix", &[4], &[4, 5]),
        ("vector by batch", &[4], &[2, 4, 5]),
        ("matrix by vector", &[3, 4], &[4]),
        ("batch by vector", &[2, 3, 4], &[4]),
        ("vectors", &[4], &[4]),
    ];
    let mut cases: Vec<Case> = shapes
        .iter()
        .map(|(name, a, b)| case(name, MatMul {}, vec![x(a), x(b)]))
        .collect();
    let fused = |trans_a, trans_b| FusedMatMul {
        alpha: 0.5,
        transA: trans_a,
        transB: trans_b,
        transBatchA: false,
        transBatchB: false,
    };
    cases.extend([
        case(
            "transposed left",
            fused(true, false),
            vec![x(&[2, 4, 3]), x(&[4, 5])],
        ),
        case(
            "transposed right",
            fused(false, true),
            vec![x(&[2, 3, 4]), x(&[5, 4])],
        ),
        case(
            "both transposed",
            fused(true, true),
            vec![x(&[2, 4, 3]), x(&[2, 5, 4])],
        ),
    ]);
    cases
}

fn gemm() -> Vec<Case> {
    let mut cases = Vec::new();
    for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
        let op = Gemm {
            alpha: 0.5,
            beta: 2.0,
            transA: trans_a,
            transB: trans_b,
        };
        let a: &[usize] = if trans_a { &[4, 3] } else { &[3, 4] };
        let b: &[usize] = if trans_b { &[5, 4] } else { &[4, 5] };
        cases.push(case("gemm", op.clone(), vec![x(a), x(b), x(&[5])]));
        cases.push(case(
            "gemm with a column",
            op.clone(),
            vec![x(a), x(b), x(&[3, 1])],
        ));
        cases.push(case("gemm without addend", op, vec![x(a), x(b)]));
    }
    cases
}

fn einsum() -> Vec<Case> {
    let of = |equation: &'static str, shapes: &[&[usize]]| {
        let op = Einsum {
            equation: equation.to_owned(),
        };
        case(equation, op, shapes.iter().map(|shape| x(shape)).collect())
    };
    vec![
        of("ij,jk->ik", &[&[2, 3], &[3, 4]]),
        of("bhid, bhjd -> bhij", &[&[2, 2, 3, 4], &[2, 2, 5, 4]]),
        of("ij,jk", &[&[2, 3], &[3, 4]]),
        of("...ij,...jk->...ik", &[&[2, 2, 3], &[1, 3, 4]]),
        of("ij->ji", &[&[2, 3]]),
        of("i,j,k->kij", &[&[2], &[3], &[2]]),
    ]
}
