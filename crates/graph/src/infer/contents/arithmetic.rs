//! Element-wise arithmetic on partly known elements.

use super::{Contents, Scalar};
use crate::Dim;
use crate::infer::context::Context;
use crate::infer::dims::axis_index;
use crate::ops::{Binary, Variadic};

/// Element-wise with broadcasting of single elements.
pub(super) fn combine(
    left: &Contents,
    right: &Contents,
    function: impl Fn(&Scalar, &Scalar) -> Scalar,
) -> Option<Contents> {
    let (a, b) = (&left.values, &right.values);
    let shape = match (a.len(), b.len()) {
        _ if left.shape == right.shape => &left.shape,
        (_, 1) if left.shape.len() >= right.shape.len() => &left.shape,
        (1, _) if right.shape.len() >= left.shape.len() => &right.shape,
        _ => return None,
    };
    let count = a.len().max(b.len());
    let at = |values: &[Scalar], index: usize| values[if values.len() == 1 { 0 } else { index }].clone();
    let count = if a.is_empty() || b.is_empty() { 0 } else { count };
    let values = (0..count)
        .map(|index| function(&at(a, index), &at(b, index)))
        .collect();
    Some(Contents {
        shape: shape.clone(),
        values,
    })
}

pub(super) fn binary(op: Binary, left: &Contents, right: &Contents) -> Option<Contents> {
    let compare = |function: fn(&i64, &i64) -> bool| {
        combine(left, right, |a, b| match (a, b) {
            (Scalar::Known(a), Scalar::Known(b)) => Scalar::Known(i64::from(function(a, b))),
            _ => Scalar::Unknown,
        })
    };
    match op {
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div => {
            combine(left, right, |a, b| arithmetic(op, a, b))
        }
        Binary::Equal => compare(i64::eq),
        Binary::Greater => compare(i64::gt),
        Binary::GreaterOrEqual => compare(i64::ge),
        Binary::Less => compare(i64::lt),
        Binary::LessOrEqual => compare(i64::le),
        Binary::And => compare(|a, b| *a != 0 && *b != 0),
        Binary::Or => compare(|a, b| *a != 0 || *b != 0),
        _ => None,
    }
}

pub(super) fn arithmetic(op: Binary, left: &Scalar, right: &Scalar) -> Scalar {
    use Scalar::{Known, Unknown};
    match (op, left, right) {
        (_, Known(a), Known(b)) => {
            let result = match op {
                Binary::Add => a.checked_add(*b),
                Binary::Sub => a.checked_sub(*b),
                Binary::Mul => a.checked_mul(*b),
                _ => a.checked_div(*b),
            };
            result.map_or(Unknown, Known)
        }
        (Binary::Add | Binary::Sub, any, Known(0)) | (Binary::Add, Known(0), any) => any.clone(),
        (Binary::Mul | Binary::Div, any, Known(1)) | (Binary::Mul, Known(1), any) => any.clone(),
        (Binary::Mul, _, Known(0)) | (Binary::Mul, Known(0), _) => Known(0),
        (Binary::Sub, Scalar::Symbol(a), Scalar::Symbol(b)) if a == b => Known(0),
        _ => Unknown,
    }
}

pub(super) fn variadic(context: &Context<'_>, op: Variadic) -> Option<Contents> {
    let pick = |a: &Scalar, b: &Scalar| match (a, b) {
        _ if a == b && op != Variadic::Sum => a.clone(),
        (Scalar::Known(a), Scalar::Known(b)) if op == Variadic::Max => Scalar::Known(*a.max(b)),
        (Scalar::Known(a), Scalar::Known(b)) if op == Variadic::Min => Scalar::Known(*a.min(b)),
        _ => Scalar::Unknown,
    };
    if matches!(op, Variadic::Sum | Variadic::Mean) {
        return None;
    }
    let mut total = context.contents(0)?.clone();
    for position in 1..context.node.inputs.len() {
        total = combine(&total, context.contents(position)?, pick)?;
    }
    Some(total)
}

pub(super) fn choose(context: &Context<'_>) -> Option<Contents> {
    let (condition, yes, no) = (context.contents(0)?, context.contents(1)?, context.contents(2)?);
    let index = Contents {
        shape: condition.shape.clone(),
        values: (0..).take(condition.values.len()).map(Scalar::Known).collect(),
    };
    // Pair the branches first, so that the condition can pick by position.
    let pairs = combine(yes, no, |a, b| if a == b { a.clone() } else { Scalar::Unknown })?;
    let indexed = combine(&index, &pairs, |i, _| i.clone())?;
    let at = |contents: &Contents, i: usize| {
        contents.values[if contents.values.len() == 1 { 0 } else { i }].clone()
    };
    let values = indexed.values.iter().enumerate().map(|(position, index)| {
        let decision = match index {
            Scalar::Known(index) => condition.values.get(usize::try_from(*index).ok()?)?.clone(),
            _ => Scalar::Unknown,
        };
        Some(match decision {
            Scalar::Known(0) => at(no, position),
            Scalar::Known(_) => at(yes, position),
            _ => at(&pairs, position),
        })
    });
    let values: Vec<Scalar> = values.collect::<Option<_>>()?;
    Some(Contents {
        shape: indexed.shape.clone(),
        values,
    })
}

/// The product of a list.
pub(super) fn product(list: &Contents, context: &Context<'_>) -> Option<Contents> {
    let one_axis = list.shape.len() == 1 && (!context.has(1) || axis_index(context.integer(1)?, 1).is_ok());
    let values = list
        .values
        .iter()
        .fold(Scalar::Known(1), |a, b| arithmetic(Binary::Mul, &a, b));
    let output = context.values.get(context.node.output(0)?.index())?;
    one_axis.then(|| Contents {
        shape: vec![1; output.ty.shape().map_or(0, <[Dim]>::len)],
        values: vec![values],
    })
}
