//! Small integer tensors whose elements are partly known: shapes on their way from Shape to Reshape.

use bantam_tensor::{DType, Tensor};

mod arithmetic;
mod selection;

use super::context::Context;
use crate::ops::{ReduceKind, Unary};
use crate::{Dim, Op};

/// Tensors with more elements are not followed.
const MAX_ELEMENTS: usize = 64;

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
        Op::Binary(op) => arithmetic::binary(*op, first()?, context.contents(1)?),
        Op::Mod(_) => arithmetic::combine(first()?, context.contents(1)?, |a, b| match (a, b) {
            // The sign does not matter for sizes, which are the only thing that is asked for.
            (Scalar::Known(a), Scalar::Known(b)) if *a >= 0 && *b > 0 => Scalar::Known(a % b),
            _ => Scalar::Unknown,
        }),
        Op::Variadic(op) => arithmetic::variadic(context, *op),
        Op::Where(_) => arithmetic::choose(context),
        Op::Gather(op) if op.axis == 0 || first().is_some_and(|data| data.shape.len() == 1) => {
            selection::gather(context)
        }
        Op::Slice(_) => selection::slice(context),
        Op::Concat(_) => selection::concat(context),
        Op::Expand(_) => selection::expand(context),
        Op::ConstantOfShape(op) => selection::filled(context, op.value.as_ref()?),
        Op::Range(_) => selection::range(context),
        Op::Reduce(op) if op.kind == ReduceKind::Prod => arithmetic::product(first()?, context),
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
