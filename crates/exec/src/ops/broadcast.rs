//! Shapes that are broadcast against each other (ONNX "multidirectional broadcasting", NumPy's rules).

use crate::OpError;

/// The common shape.
pub(crate) fn broadcast_shape(shapes: &[&[usize]]) -> Result<Vec<usize>, OpError> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut common = vec![1; rank];
    for shape in shapes {
        for (size, &dim) in common[rank - shape.len()..].iter_mut().zip(*shape) {
            if *size == 1 {
                *size = dim;
            } else if dim != 1 && dim != *size {
                return Err(OpError::shape(format!("shapes {shapes:?} cannot be broadcast together")));
            }
        }
    }
    Ok(common)
}

/// Steps through a tensor of `shape` as if it had the broadcast shape `common`: 0 where it is repeated.
pub(crate) fn broadcast_strides(shape: &[usize], common: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; common.len()];
    let mut step = 1;
    for axis in (0..shape.len()).rev() {
        let target = common.len() - shape.len() + axis;
        strides[target] = if shape[axis] == 1 { 0 } else { step };
        step *= shape[axis];
    }
    strides
}
