//! Softmax, LogSoftmax and Hardmax before 13: all dimensions from the axis on were taken as one.

use bantam_graph::{Attribute, Dim, ValueId};
use bantam_tensor::Tensor;

use super::known::Facts;
use super::{Fault, Lifted, Lifter, RawNode};

/// Takes the last axis where that is the same; otherwise flattens before and restores the shape after.
pub(super) fn flattening(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    let axis = raw.take::<i64>("axis")?.unwrap_or(1);
    let x = raw.required(0)?;
    if let Some(axis) = equivalent_axis(lifter, x, axis) {
        raw.set("axis", &axis);
        return Ok(Lifted::Node);
    }
    let flat = lifter.emit(raw, "Flatten", &[("axis", Attribute::Int(axis))], &[Some(x)])?;
    let op = raw.op.clone();
    let result = lifter.emit(raw, &op, &[("axis", Attribute::Int(-1))], &[Some(flat)])?;
    let shape = match fixed_shape(lifter, x) {
        Some(shape) => lifter.constant(raw, "shape", Tensor::from_vec1(&shape)),
        None => lifter.emit(raw, "Shape", &[], &[Some(x)])?,
    };
    raw.op = "Reshape".to_owned();
    raw.inputs = vec![Some(result), Some(shape)];
    Ok(Lifted::Node)
}

/// The one axis over which the result is the same, if the shape is known well enough to say that there is one.
fn equivalent_axis(lifter: &Lifter<'_>, x: ValueId, axis: i64) -> Option<i64> {
    let rank = i64::try_from(lifter.known_of(x).rank?).ok()?;
    let from_start = if axis < 0 { axis + rank } else { axis };
    if from_start == rank - 1 {
        return Some(-1);
    }
    let dims = lifter.graph.value(x).ty.shape()?;
    let after = dims.get(usize::try_from(from_start + 1).ok()?..)?;
    after.iter().all(|dim| *dim == Dim::Known(1)).then_some(axis)
}

/// The shape for a Reshape, if at most one dimension is not known.
fn fixed_shape(lifter: &Lifter<'_>, x: ValueId) -> Option<Vec<i64>> {
    let dims = lifter.graph.value(x).ty.shape()?;
    let unknown = dims.iter().filter(|dim| dim.known().is_none()).count();
    let has_zero = dims.contains(&Dim::Known(0));
    let size = |dim: &Dim| dim.known().map_or(Some(-1), |size| i64::try_from(size).ok());
    dims.iter()
        .map(size)
        .collect::<Option<Vec<i64>>>()
        .filter(|_| unknown <= 1 && !has_zero)
}
