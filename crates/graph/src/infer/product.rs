//! Matrix products.

use std::collections::HashMap;

use bantam_tensor::DType;

use super::context::{Context, Outputs, one};
use super::dims::{broadcast, equal};
use super::error::{Problem, shape_text};
use crate::Dim;
use crate::ops::{Einsum, FusedMatMul};

/// A product of the inputs at these positions.
pub(super) fn matmul(context: &Context<'_>, dtype: Option<DType>, a: usize, b: usize) -> Outputs {
    let (Some(a), Some(b)) = (context.shape_of_min_rank(a, 1)?, context.shape_of_min_rank(b, 1)?) else {
        return one(dtype, None);
    };
    one(dtype, Some(multiply(a, b)?))
}

/// The shape of `a @ b` (NumPy's `matmul`).
pub(super) fn multiply(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>, Problem> {
    let (rows, a_inner) = match a {
        [inner] => (None, inner),
        [.., rows, inner] => (Some(rows), inner),
        [] => return Ok(Vec::new()),
    };
    let (b_inner, columns) = match b {
        [inner] => (inner, None),
        [.., inner, columns] => (inner, Some(columns)),
        [] => return Ok(Vec::new()),
    };
    equal("the inner dimensions", a_inner, b_inner)?;
    let batch = |shape: &[Dim]| shape[..shape.len().saturating_sub(2)].to_vec();
    let mut shape = broadcast(&batch(a), &batch(b))?;
    shape.extend(rows.into_iter().chain(columns).cloned());
    Ok(shape)
}

/// `op(a) * op(b) + c`: inputs at positions `a`, `b` and `c`.
pub(super) fn gemm(
    context: &Context<'_>,
    dtype: Option<DType>,
    [a, b, c]: [usize; 3],
    [transpose_a, transpose_b]: [bool; 2],
) -> Outputs {
    let turned = |position: usize, transpose: bool| -> Result<Option<[Dim; 2]>, Problem> {
        let shape = context.shape_of_rank(position, 2)?;
        Ok(shape.map(|shape| {
            let (first, second) = (shape[0].clone(), shape[1].clone());
            if transpose {
                [second, first]
            } else {
                [first, second]
            }
        }))
    };
    let (a, b) = (turned(a, transpose_a)?, turned(b, transpose_b)?);
    if let (Some(a), Some(b)) = (&a, &b) {
        equal("the inner dimensions", &a[1], &b[0])?;
    }
    let rows = a.map_or(Dim::Unknown, |[rows, _]| rows);
    let columns = b.map_or(Dim::Unknown, |[_, columns]| columns);
    let shape = vec![rows, columns];
    if let Some(c) = context.shape(c) {
        let together = broadcast(&shape, c)?;
        let grows = |(to, from): (&Dim, &Dim)| to.known().is_some() && from.known().is_some() && to != from;
        if together.len() > 2 || shape.iter().zip(&together).any(grows) {
            return Err(Problem::Broadcast {
                left: shape_text(&shape),
                right: shape_text(c),
            });
        }
    }
    one(dtype, Some(shape))
}

pub(super) fn fused_matmul(context: &Context<'_>, op: &FusedMatMul) -> Outputs {
    let dtype = context.same_dtype([0, 1])?;
    let a = context
        .shape(0)
        .map(|shape| turned(shape, op.transA, op.transBatchA));
    let b = context
        .shape(1)
        .map(|shape| turned(shape, op.transB, op.transBatchB));
    match (a, b) {
        (Some(a), Some(b)) if !a.is_empty() && !b.is_empty() => one(dtype, Some(multiply(&a, &b)?)),
        _ => one(dtype, None),
    }
}

/// A shape whose batch was moved (`[m, batch.., k]` to `[batch.., m, k]`) and whose last two dimensions were swapped.
fn turned(shape: &[Dim], transpose: bool, move_batch: bool) -> Vec<Dim> {
    let mut shape = shape.to_vec();
    let rank = shape.len();
    if rank < 2 {
        return shape;
    }
    if move_batch {
        shape[..rank - 1].rotate_left(1);
    }
    if transpose {
        shape.swap(rank - 2, rank - 1);
    }
    shape
}

/// Determinants of the last two dimensions.
pub(super) fn det(context: &Context<'_>) -> Outputs {
    let Some(shape) = context.shape_of_min_rank(0, 2)? else {
        return one(context.dtype(0), None);
    };
    let (batch, matrix) = shape.split_at(shape.len() - 2);
    equal("rows and columns", &matrix[0], &matrix[1])?;
    one(context.dtype(0), Some(batch.to_vec()))
}

pub(super) fn einsum(context: &Context<'_>, op: &Einsum) -> Outputs {
    let dtype = context.same_dtype(0..context.node.inputs.len())?;
    let problem = |expected: &str| Problem::argument("equation", &op.equation, expected);
    let equation: String = op
        .equation
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != context.node.inputs.len() {
        return Err(problem("one term for each input"));
    }
    let mut sizes: HashMap<char, Dim> = HashMap::new();
    let mut ellipsis: Vec<Dim> = Vec::new();
    for (position, term) in terms.iter().enumerate() {
        let Some(shape) = context.shape(position) else {
            return one(dtype, None);
        };
        let broadcast_part =
            label(term, shape, &mut sizes).ok_or_else(|| problem("one letter for each dimension"))??;
        ellipsis = broadcast(&ellipsis, &broadcast_part)?;
    }
    let output = right.map_or_else(|| implicit_output(left), str::to_owned);
    let letters =
        |part: &str| -> Option<Vec<Dim>> { part.chars().map(|letter| sizes.get(&letter).cloned()).collect() };
    let shape = match output.split_once("...") {
        Some((before, after)) => letters(before)
            .zip(letters(after))
            .map(|(b, a)| [b, ellipsis, a].concat()),
        None => letters(&output),
    };
    one(
        dtype,
        Some(shape.ok_or_else(|| problem("an output of letters of the inputs"))?),
    )
}

/// Records the sizes of a term's letters and gives what its ellipsis stands for; `None` when letters and dimensions
/// do not match.
fn label(term: &str, shape: &[Dim], sizes: &mut HashMap<char, Dim>) -> Option<Result<Vec<Dim>, Problem>> {
    let (before, after) = term.split_once("...").unwrap_or((term, ""));
    let named = before.chars().count() + after.chars().count();
    let broadcast_rank = shape.len().checked_sub(named)?;
    if broadcast_rank > 0 && !term.contains("...") {
        return None;
    }
    let head = before.chars().zip(shape);
    let tail = after
        .chars()
        .zip(&shape[before.chars().count() + broadcast_rank..]);
    for (letter, dim) in head.chain(tail) {
        if !letter.is_ascii_alphabetic() {
            return None;
        }
        let known = sizes.entry(letter).or_insert_with(|| dim.clone());
        // A dimension of one is broadcast, as NumPy does.
        match (known.known(), dim.known()) {
            (Some(1), _) => *known = dim.clone(),
            (_, Some(1)) => {}
            _ => match equal("the sizes of one letter", known, dim) {
                Ok(dim) => *known = dim,
                Err(problem) => return Some(Err(problem)),
            },
        }
    }
    let start = before.chars().count();
    Some(Ok(shape[start..start + broadcast_rank].to_vec()))
}

/// The ellipsis, then the letters that occur once, in alphabetical order.
fn implicit_output(left: &str) -> String {
    let mut letters: Vec<char> = left.chars().filter(char::is_ascii_alphabetic).collect();
    letters.sort_unstable();
    let once: String = letters
        .chunk_by(|a, b| a == b)
        .filter(|run| run.len() == 1)
        .map(|run| run[0])
        .collect();
    if left.contains("...") {
        format!("...{once}")
    } else {
        once
    }
}
