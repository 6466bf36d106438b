//! Small integer tensors whose elements are partly known: shapes on their way from Shape to Reshape.

use bantam_tensor::{DType, Tensor};

use super::context::Context;
use super::dims::axis_index;
use crate::ops::{Binary, ReduceKind, Unary};
use crate::{Dim, Op};

/// Tensors with more elements are not followed.
const MAX_ELEMENTS: usize = 1024;

/// One element.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Known(i64),
    /// The size of the dimension of this name.
    Symbol(String),
    Unknown,
}

impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scalar::Known(value) => write!(f, "{value}"),
            Scalar::Symbol(name) => f.write_str(name),
            Scalar::Unknown => f.write_str("?"),
        }
    }
}

impl Scalar {
    pub(super) fn from_dim(dim: &Dim) -> Scalar {
        match dim {
            Dim::Known(size) => i64::try_from(*size).map_or(Scalar::Unknown, Scalar::Known),
            Dim::Symbol(name) => Scalar::Symbol(name.clone()),
            Dim::Unknown => Scalar::Unknown,
        }
    }

    /// The dimension of this size; `None` for negative numbers.
    pub(super) fn to_dim(&self) -> Option<Dim> {
        match self {
            Scalar::Known(size) => usize::try_from(*size).ok().map(Dim::Known),
            Scalar::Symbol(name) => Some(Dim::Symbol(name.clone())),
            Scalar::Unknown => Some(Dim::Unknown),
        }
    }
}

/// The elements of a tensor, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<Scalar>,
}

impl Contents {
    pub(super) fn from_tensor(tensor: &Tensor) -> Option<Contents> {
        let followed = tensor.dtype().is_integer() || tensor.dtype() == DType::Bool;
        if !followed || tensor.len() > MAX_ELEMENTS {
            return None;
        }
        Some(Contents {
            shape: tensor.shape().to_vec(),
            values: tensor.to_i64().ok()?.into_iter().map(Scalar::Known).collect(),
        })
    }

    fn list(values: Vec<Scalar>) -> Contents {
        Contents {
            shape: vec![values.len()],
            values,
        }
    }

    fn scalar(value: Scalar) -> Contents {
        Contents {
            shape: Vec::new(),
            values: vec![value],
        }
    }
}

/// The elements of a node's first output, as far as they follow from those of its inputs.
pub(super) fn propagate(context: &Context<'_>) -> Option<Contents> {
    let contents = propagate_any(context)?;
    (contents.values.len() <= MAX_ELEMENTS).then_some(contents)
}

fn propagate_any(context: &Context<'_>) -> Option<Contents> {
    let first = || context.contents(0);
    match &context.node.op {
        Op::Shape(op) => {
            let shape = context.shape(0)?;
            let range = super::generate::shape_range(op, shape.len());
            Some(Contents::list(
                shape[range].iter().map(Scalar::from_dim).collect(),
            ))
        }
        Op::Size(_) => {
            let size = super::dims::product(context.shape(0)?).ok()?;
            Some(Contents::scalar(Scalar::from_dim(&size)))
        }
        Op::Unary(Unary::Identity) => first().cloned(),
        Op::Unary(Unary::Neg) => map(first()?, |value| value.checked_neg()),
        Op::Unary(Unary::Abs) => map(first()?, |value| value.checked_abs()),
        Op::Unary(Unary::Not) => map(first()?, |value| Some(i64::from(value == 0))),
        Op::Cast(cast) if cast.to == DType::Bool => map(first()?, |value| Some(i64::from(value != 0))),
        Op::Cast(cast) if matches!(cast.to, DType::I64 | DType::I32) => first().cloned(),
        Op::Squeeze(_) | Op::Unsqueeze(_) | Op::Reshape(_) | Op::Flatten(_) => reshaped(context),
        Op::Binary(op) => binary(*op, first()?, context.contents(1)?),
        Op::Mod(_) => combine(first()?, context.contents(1)?, |a, b| match (a, b) {
            // The sign does not matter for sizes, which are the only thing that is asked for.
            (Scalar::Known(a), Scalar::Known(b)) if *a >= 0 && *b > 0 => Scalar::Known(a % b),
            _ => Scalar::Unknown,
        }),
        Op::Variadic(op) => variadic(context, *op),
        Op::Where(_) => choose(context),
        Op::Gather(op) if op.axis == 0 || first().is_some_and(|data| data.shape.len() == 1) => {
            gather(context)
        }
        Op::Slice(_) => slice(context),
        Op::Concat(_) => concat(context),
        Op::Expand(_) => expand(context),
        Op::ConstantOfShape(op) => filled(context, op.value.as_ref()?),
        Op::Range(_) => range(context),
        Op::Reduce(op) if op.kind == ReduceKind::Prod => product(first()?, context),
        _ => None,
    }
}

fn map(contents: &Contents, function: impl Fn(i64) -> Option<i64>) -> Option<Contents> {
    let one = |value: &Scalar| match value {
        Scalar::Known(value) => function(*value).map_or(Scalar::Unknown, Scalar::Known),
        _ => Scalar::Unknown,
    };
    Some(Contents {
        shape: contents.shape.clone(),
        values: contents.values.iter().map(one).collect(),
    })
}

/// The same elements in the shape that was inferred for the output, which must be known.
fn reshaped(context: &Context<'_>) -> Option<Contents> {
    let contents = context.contents(0)?;
    let output = context.values.get(context.node.output(0)?.index())?;
    let shape = output.ty.static_shape()?;
    let elements = shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))?;
    (elements == contents.values.len()).then(|| Contents {
        shape,
        values: contents.values.clone(),
    })
}

/// Element-wise with broadcasting of single elements.
fn combine(
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

fn binary(op: Binary, left: &Contents, right: &Contents) -> Option<Contents> {
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

fn arithmetic(op: Binary, left: &Scalar, right: &Scalar) -> Scalar {
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

fn variadic(context: &Context<'_>, op: crate::ops::Variadic) -> Option<Contents> {
    use crate::ops::Variadic;
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

fn choose(context: &Context<'_>) -> Option<Contents> {
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

/// Rows along the first axis.
fn gather(context: &Context<'_>) -> Option<Contents> {
    let (data, indices) = (context.contents(0)?, context.contents(1)?);
    let rows = i64::try_from(*data.shape.first()?).ok()?;
    let row: usize = data.shape[1..].iter().product();
    let mut values = Vec::new();
    for index in &indices.values {
        if values.len() > MAX_ELEMENTS {
            return None;
        }
        match index {
            Scalar::Known(index) => {
                let index = if *index < 0 {
                    index.checked_add(rows)?
                } else {
                    *index
                };
                let start = usize::try_from(index).ok()?.checked_mul(row)?;
                values.extend_from_slice(data.values.get(start..start.checked_add(row)?)?);
            }
            _ => values.extend(vec![Scalar::Unknown; row]),
        }
    }
    Some(Contents {
        shape: [&indices.shape, &data.shape[1..]].concat(),
        values,
    })
}

/// Slice of a list.
fn slice(context: &Context<'_>) -> Option<Contents> {
    let data = context.contents(0).filter(|data| data.shape.len() == 1)?;
    let (start, end) = (context.integer(1)?, context.integer(2)?);
    let step = if context.has(4) { context.integer(4)? } else { 1 };
    let positions = super::movement::slice_positions(data.values.len(), start, end, step)?;
    Some(Contents::list(
        positions.map(|position| data.values[position].clone()).collect(),
    ))
}

/// Lists, one behind the other.
fn concat(context: &Context<'_>) -> Option<Contents> {
    let mut values = Vec::new();
    for position in 0..context.node.inputs.len() {
        let length = context.length(position);
        match context.contents(position) {
            Some(part) if part.shape.len() == 1 => values.extend_from_slice(&part.values),
            None if context.dtype(position) == Some(DType::I64) && length? <= MAX_ELEMENTS => {
                values.extend(vec![Scalar::Unknown; length?]);
            }
            _ => return None,
        }
        if values.len() > MAX_ELEMENTS {
            return None;
        }
    }
    Some(Contents::list(values))
}

/// One element, repeated.
fn expand(context: &Context<'_>) -> Option<Contents> {
    let value = match context.contents(0)?.values.as_slice() {
        [value] => value.clone(),
        _ => return None,
    };
    repeat(&context.integers(1)?, value)
}

fn filled(context: &Context<'_>, value: &Tensor) -> Option<Contents> {
    let value = Contents::from_tensor(value)?.values.into_iter().next()?;
    repeat(&context.integers(0)?, value)
}

fn repeat(shape: &[i64], value: Scalar) -> Option<Contents> {
    let shape: Vec<usize> = shape
        .iter()
        .map(|&size| usize::try_from(size).ok())
        .collect::<Option<_>>()?;
    let count = shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))?;
    (count <= MAX_ELEMENTS).then(|| Contents {
        shape,
        values: vec![value; count],
    })
}

fn range(context: &Context<'_>) -> Option<Contents> {
    let (start, limit, step) = (context.integer(0)?, context.integer(1)?, context.integer(2)?);
    let count = super::generate::range_length(start, limit, step)?;
    let count = usize::try_from(count)
        .ok()
        .filter(|&count| count <= MAX_ELEMENTS)?;
    let values = (0..)
        .take(count)
        .map(|index: i64| Scalar::Known(start + index * step));
    Some(Contents::list(values.collect()))
}

/// The product of a list.
fn product(list: &Contents, context: &Context<'_>) -> Option<Contents> {
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
