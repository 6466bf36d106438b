//! Control flow: ops that hold graphs.

use bantam_tensor::DType;

use super::contents::{Contents, Scalar};
use super::dims::{axis_index, equal, size};
use super::error::Problem;
use super::merge::either_type;
use super::{Known, Scope, run};
use crate::ops::{If, Loop, Scan};
use crate::{Dim, Graph, ValueType};

/// How often the types of carried values are widened before their shapes are given up.
const MAX_WIDENINGS: usize = 3;

/// Loops inside as many graphs are not inferred again and again: that would take exponential time.
const MAX_DEPTH: usize = 3;

fn inside(graph: &mut Graph, scope: &Scope) -> Result<Vec<Known>, Problem> {
    run(graph, scope).map_err(|error| Problem::Inside(Box::new(error)))
}

fn expect_count(what: &'static str, got: usize, expected: usize) -> Result<(), Problem> {
    if got == expected {
        return Ok(());
    }
    Err(Problem::Subgraph { what, got, expected })
}

/// Types of the outputs: of the branch that is taken, if that is known, or what holds of both.
pub(super) fn branch(
    op: &mut If,
    inputs: &[Known],
    scope: &Scope,
    outputs: usize,
) -> Result<Vec<Known>, Problem> {
    let yes = inside(&mut op.then_branch, scope)?;
    let no = inside(&mut op.else_branch, scope)?;
    expect_count("outputs", yes.len(), outputs)?;
    expect_count("outputs", no.len(), outputs)?;
    let condition = inputs
        .first()
        .and_then(|known| known.contents.as_ref())
        .map(|contents| contents.values.as_slice());
    Ok(match condition {
        Some([Scalar::Known(0)]) => no,
        Some([Scalar::Known(_)]) => yes,
        _ => yes
            .iter()
            .zip(&no)
            .map(|(yes, no)| Known::typed(either_type(&yes.ty, &no.ty)))
            .collect(),
    })
}

/// Inputs: trip count, condition, carried values. Body: iteration, condition, carried values to condition, carried
/// values, values of each iteration.
pub(super) fn repeat(op: &mut Loop, inputs: &[Known], scope: &Scope) -> Result<Vec<Known>, Problem> {
    let initial: Vec<ValueType> = inputs.iter().skip(2).map(|known| known.ty.clone()).collect();
    expect_count("inputs", op.body.inputs.len(), initial.len() + 2)?;
    let fixed = [
        ValueType::tensor(DType::I64, Vec::new()),
        ValueType::tensor(DType::Bool, Vec::new()),
    ];
    let (carried, body) = carry(&mut op.body, &fixed, &[], initial, 1, scope)?;
    let scanned = body.iter().skip(1 + carried.len());
    let stacked = scanned.map(|known| stack(&known.ty, Dim::Unknown, 0));
    let stacked: Vec<ValueType> = stacked.collect::<Result<_, _>>()?;
    Ok(carried.into_iter().chain(stacked).map(Known::typed).collect())
}

/// Infers a body until its carried values come out as they went in. The body's inputs are `before`, the carried
/// values and `after`; its outputs carry them on from position `first`.
fn carry(
    body: &mut Graph,
    before: &[ValueType],
    after: &[ValueType],
    initial: Vec<ValueType>,
    first: usize,
    scope: &Scope,
) -> Result<(Vec<ValueType>, Vec<Known>), Problem> {
    let original = body.clone();
    let deep = scope.depth > MAX_DEPTH;
    let mut carried: Vec<ValueType> = if deep {
        initial.iter().map(without_shape).collect()
    } else {
        initial
    };
    for round in 0.. {
        *body = original.clone();
        let types = before.iter().chain(&carried).chain(after);
        for (id, ty) in body.inputs.clone().into_iter().zip(types) {
            set_input(&mut body.value_mut(id).ty, ty);
        }
        let outputs = inside(body, scope)?;
        if outputs.len() < first + carried.len() {
            expect_count("outputs", outputs.len(), first + carried.len())?;
        }
        let next = outputs[first..].iter().zip(&carried);
        let widened: Vec<ValueType> = next.map(|(out, before)| either_type(before, &out.ty)).collect();
        if deep || widened == carried {
            return Ok((carried, outputs));
        }
        carried = if round < MAX_WIDENINGS {
            widened
        } else {
            carried.iter().map(without_shape).collect()
        };
        if round > MAX_WIDENINGS + 1 {
            return Ok((carried, outputs));
        }
    }
    unreachable!("the loop returns")
}

/// A type that leaves the shape open.
fn without_shape(ty: &ValueType) -> ValueType {
    match ty {
        ValueType::Tensor { dtype, .. } => ValueType::Tensor {
            dtype: *dtype,
            shape: None,
        },
        other => other.clone(),
    }
}

/// What is known from outside, or what the body declares.
fn set_input(declared: &mut ValueType, given: &ValueType) {
    if *given != ValueType::Unknown {
        *declared = given.clone();
    }
}

/// A type with one more dimension.
fn stack(ty: &ValueType, length: Dim, axis: i64) -> Result<ValueType, Problem> {
    let shape = match ty.shape() {
        Some(shape) => {
            let mut shape = shape.to_vec();
            let axis = axis_index(axis, shape.len() + 1)?;
            shape.insert(axis, length);
            Some(shape)
        }
        None => None,
    };
    Ok(ValueType::Tensor {
        dtype: ty.dtype(),
        shape,
    })
}

/// Inputs: carried values, scanned tensors. Body: the same, one slice of each tensor, to carried values, slices.
pub(super) fn scan(op: &mut Scan, inputs: &[Known], scope: &Scope) -> Result<Vec<Known>, Problem> {
    let scanned = size("num_scan_inputs", op.num_scan_inputs)?;
    expect_count("inputs", op.body.inputs.len(), inputs.len())?;
    let Some(count) = inputs.len().checked_sub(scanned) else {
        return Err(Problem::argument(
            "num_scan_inputs",
            scanned,
            format!("at most {} inputs", inputs.len()),
        ));
    };
    let (initial, tensors) = inputs.split_at(count);
    let initial: Vec<ValueType> = initial.iter().map(|known| known.ty.clone()).collect();
    let mut length = Dim::Unknown;
    let mut slices = Vec::with_capacity(scanned);
    for (index, tensor) in tensors.iter().enumerate() {
        let axis = op.scan_input_axes.get(index).copied().unwrap_or(0);
        slices.push(slice(&tensor.ty, axis, &mut length)?);
    }
    let (carried, body) = carry(&mut op.body, &[], &slices, initial, 0, scope)?;
    let outputs = body.iter().skip(carried.len()).enumerate().map(|(index, known)| {
        stack(
            &known.ty,
            length.clone(),
            op.scan_output_axes.get(index).copied().unwrap_or(0),
        )
    });
    let outputs: Vec<ValueType> = outputs.collect::<Result<_, _>>()?;
    Ok(carried.into_iter().chain(outputs).map(Known::typed).collect())
}

/// A type without the scanned axis, whose length must be the same for all.
fn slice(ty: &ValueType, axis: i64, length: &mut Dim) -> Result<ValueType, Problem> {
    let Some(shape) = ty.shape() else {
        return Ok(without_shape(ty));
    };
    let mut shape = shape.to_vec();
    let dim = shape.remove(axis_index(axis, shape.len())?);
    *length = equal("the lengths of the scanned axes", length, &dim)?;
    Ok(ValueType::Tensor {
        dtype: ty.dtype(),
        shape: Some(shape),
    })
}

impl Known {
    /// A type, and nothing about the elements.
    fn typed(ty: ValueType) -> Known {
        let contents: Option<Contents> = None;
        Known { ty, contents }
    }
}
