//! Products of matrices.

use super::error::Problem;
use super::tape::{Site, Tape};
use crate::ops::{Einsum, Flatten, FusedMatMul, Gemm, Squeeze, Unsqueeze};
use crate::{Op, ValueId};

/// A factor of a product: the value, and whether its transpose is meant.
#[derive(Clone, Copy)]
struct Factor {
    value: ValueId,
    transposed: bool,
}

impl Factor {
    fn of(value: ValueId, transposed: bool) -> Factor {
        Factor { value, transposed }
    }

    fn flipped(self) -> Factor {
        Factor::of(self.value, !self.transposed)
    }
}

fn multiply(tape: &mut Tape, a: Factor, b: Factor, alpha: f32) -> ValueId {
    let op = FusedMatMul {
        alpha,
        transA: a.transposed,
        transB: b.transposed,
        transBatchA: false,
        transBatchB: false,
    };
    let plain = alpha == 1.0 && !a.transposed && !b.transposed;
    let op: Op = if plain {
        crate::ops::MatMul {}.into()
    } else {
        op.into()
    };
    tape.node(op, &[a.value, b.value])
}

pub(super) fn matmul(tape: &mut Tape, site: &Site) -> Result<(), Problem> {
    product(tape, site, 1.0, [false; 2])
}

pub(super) fn fused_matmul(tape: &mut Tape, site: &Site, op: &FusedMatMul) -> Result<(), Problem> {
    if op.transBatchA || op.transBatchB {
        return Err(Problem::new("the gradient of transposed batches is not written"));
    }
    product(tape, site, op.alpha, [op.transA, op.transB])
}

/// `alpha * op(a) * op(b)` with broadcast batches; vectors are one row (a) or one column (b).
fn product(tape: &mut Tape, site: &Site, alpha: f32, transposed: [bool; 2]) -> Result<(), Problem> {
    let (a, b, mut dy) = (site.x(0), site.x(1), site.dy()?);
    let (a_rank, b_rank) = (tape.rank(a)?, tape.rank(b)?);
    // Transposition means nothing for a vector.
    let (mut left, mut right) = (
        Factor::of(a, transposed[0] && a_rank > 1),
        Factor::of(b, transposed[1] && b_rank > 1),
    );
    if a_rank == 1 {
        left.value = insert_axis(tape, a, 0);
    }
    if b_rank == 1 {
        right.value = insert_axis(tape, b, 1);
        dy = insert_axis(tape, dy, -1);
    }
    if a_rank == 1 {
        dy = insert_axis(tape, dy, -2);
    }
    if tape.needs(a) {
        let gradient = left_gradient(tape, [left, right], dy, alpha);
        let exact = a_rank > 1 && (b_rank <= 2 || equal_batches(tape, a, b));
        let summed = if exact {
            gradient
        } else {
            reduce(tape, gradient, a)
        };
        tape.give(a, summed);
    }
    if tape.needs(b) {
        let gradient = right_gradient(tape, [left, right], dy, alpha, [a_rank, b_rank]);
        let gradient = if b_rank == 1 {
            drop_last_axis(tape, gradient)
        } else {
            gradient
        };
        let one_matrix = b_rank == 2 && !(left.transposed && a_rank > 2);
        let exact = one_matrix || (a_rank >= 2 && b_rank >= 2 && equal_batches(tape, a, b));
        let summed = if exact {
            gradient
        } else {
            reduce(tape, gradient, b)
        };
        tape.give(b, summed);
    }
    Ok(())
}

/// `da = alpha * dy * op(b)^T`, transposed where a is.
fn left_gradient(tape: &mut Tape, [left, right]: [Factor; 2], dy: ValueId, alpha: f32) -> ValueId {
    match left.transposed {
        false => multiply(tape, Factor::of(dy, false), right.flipped(), alpha),
        true => multiply(tape, right, Factor::of(dy, true), alpha),
    }
}

/// `db = alpha * op(a)^T * dy`, transposed where b is. If b is one matrix for a whole batch, the rows of all are one.
fn right_gradient(
    tape: &mut Tape,
    [left, right]: [Factor; 2],
    dy: ValueId,
    alpha: f32,
    ranks: [usize; 2],
) -> ValueId {
    let (mut left, mut dy) = (left, dy);
    if ranks[0] > 2 && ranks[1] <= 2 && !left.transposed {
        left.value = rows(tape, left.value);
        dy = rows(tape, dy);
    }
    match right.transposed {
        false => multiply(tape, left.flipped(), Factor::of(dy, false), alpha),
        true => multiply(tape, Factor::of(dy, true), left, alpha),
    }
}

fn rows(tape: &mut Tape, x: ValueId) -> ValueId {
    tape.node(Flatten { axis: -1 }, &[x])
}

fn insert_axis(tape: &mut Tape, x: ValueId, axis: i64) -> ValueId {
    let axes = tape.integers(&[axis]);
    tape.node(Unsqueeze {}, &[x, axes])
}

fn drop_last_axis(tape: &mut Tape, x: ValueId) -> ValueId {
    let axes = tape.integers(&[-1]);
    tape.node(Squeeze {}, &[x, axes])
}

fn reduce(tape: &mut Tape, gradient: ValueId, to: ValueId) -> ValueId {
    let shape = tape.shape_of(to);
    tape.node(crate::ops::SumTo {}, &[gradient, shape])
}

/// Whether the dimensions before the matrices are the same for certain.
fn equal_batches(tape: &Tape, a: ValueId, b: ValueId) -> bool {
    let (Ok(a), Ok(b)) = (tape.dims(a), tape.dims(b)) else {
        return false;
    };
    let (a, b) = (&a[..a.len().saturating_sub(2)], &b[..b.len().saturating_sub(2)]);
    a == b && !a.contains(&crate::Dim::Unknown)
}

/// `alpha * op(a) * op(b) + beta * c`.
pub(super) fn gemm(tape: &mut Tape, site: &Site, op: &Gemm) -> Result<(), Problem> {
    let (a, b, dy) = (site.x(0), site.x(1), site.dy()?);
    let part = |trans_a, trans_b| Gemm {
        alpha: op.alpha,
        beta: 1.0,
        transA: trans_a,
        transB: trans_b,
    };
    if tape.needs(a) {
        let da = match op.transA {
            false => tape.node(part(false, !op.transB), &[dy, b]),
            true => tape.node(part(op.transB, true), &[b, dy]),
        };
        tape.give(a, da);
    }
    if tape.needs(b) {
        let db = match op.transB {
            false => tape.node(part(!op.transA, false), &[a, dy]),
            true => tape.node(part(true, op.transA), &[dy, a]),
        };
        tape.give(b, db);
    }
    if let Some(c) = tape.wanted(site, 2) {
        let scaled = tape.times(dy, f64::from(op.beta));
        tape.give_summed(site, c, scaled)?;
    }
    Ok(())
}

/// A factor's gradient is the product of the others and dy, summed over the letters that the factor does not have.
pub(super) fn einsum(tape: &mut Tape, site: &Site, op: &Einsum) -> Result<(), Problem> {
    let equation: String = op
        .equation
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .collect();
    let (terms, output) = match equation.split_once("->") {
        Some((terms, output)) => (terms.to_owned(), output.to_owned()),
        None => (equation.clone(), implicit_output(&equation)),
    };
    let terms: Vec<&str> = terms.split(',').collect();
    let dy = site.dy()?;
    for (position, term) in terms.iter().enumerate() {
        let Some(input) = tape.wanted(site, position) else {
            continue;
        };
        let others: Vec<usize> = (0..terms.len()).filter(|&other| other != position).collect();
        check_letters(
            term,
            &output,
            &others.iter().map(|&other| terms[other]).collect::<Vec<_>>(),
        )?;
        let mut left = vec![output.as_str()];
        left.extend(others.iter().map(|&other| terms[other]));
        let mut inputs = vec![dy];
        inputs.extend(others.iter().map(|&other| site.x(other)));
        let equation = format!("{}->{}", left.join(","), term);
        let gradient = tape.node(Einsum { equation }, &inputs);
        // Dimensions of size 1 that were repeated get the sum.
        let summed = if term.contains('.') {
            reduce(tape, gradient, input)
        } else {
            gradient
        };
        tape.give(input, summed);
    }
    Ok(())
}

/// Letters that occur once, in alphabetical order.
fn implicit_output(equation: &str) -> String {
    let mut letters: Vec<char> = equation.chars().filter(|letter| letter.is_alphabetic()).collect();
    letters.sort_unstable();
    let once = letters
        .iter()
        .filter(|letter| equation.matches(**letter).count() == 1);
    let ellipsis = if equation.contains("...") { "..." } else { "" };
    format!("{ellipsis}{}", once.collect::<String>())
}

/// Each letter of a factor must be found, once, in the output or in another factor: a sum or a diagonal of the factor
/// alone has no equation for its gradient.
fn check_letters(term: &str, output: &str, others: &[&str]) -> Result<(), Problem> {
    let letters = || term.chars().filter(|letter| letter.is_alphabetic());
    let found =
        letters().all(|letter| output.contains(letter) || others.iter().any(|other| other.contains(letter)));
    let once = letters().all(|letter| term.matches(letter).count() == 1);
    let ellipsis =
        !term.contains("...") || output.contains("...") || others.iter().any(|other| other.contains("..."));
    if found && once && ellipsis {
        return Ok(());
    }
    Err(Problem::new(format!(
        "its factor `{term}` has an index that no other factor and not the output has, or has one twice"
    )))
}
