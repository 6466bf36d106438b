//! Softmax, LogSoftmax, Hardmax.

use bantam_kernels::softmax::{SoftmaxKind, softmax as kernel};
use bantam_tensor::Tensor;

use super::axes::{axis as resolve, split_at_axis};
use super::floats::{fill, in_real, read};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// Same shape out; each slice along `axis` by itself.
pub(super) fn softmax(
    kind: SoftmaxKind,
    axis: i64,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    // A scalar is a slice of one element.
    let shape: &[usize] = if x.rank() == 0 { &[1] } else { x.shape() };
    let (_, axis, inner) = split_at_axis(shape, resolve(axis, shape.len())?);
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        fill(context, x.dtype(), x.shape(), |y: &mut [T]| kernel(kind, &values, y, axis, inner))
    })
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{Hardmax, LogSoftmax, Softmax};
    use half::f16;

    use super::*;
    use crate::ops::testing::{run, run_one};

    #[test]
    fn slices_along_any_axis() {
        let x = Tensor::from_slice(&[2, 2], &[0.0f32, 1.0, 0.0, 3.0]).unwrap();
        let y = run_one(Softmax { axis: 0 }, std::slice::from_ref(&x))
            .to_f32()
            .unwrap();
        let low = 1.0 / (1.0 + 2f32.exp());
        let expected = [0.5, low, 0.5, 1.0 - low];
        assert!(y.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{y:?}");
        let y = run_one(Hardmax { axis: -1 }, std::slice::from_ref(&x));
        assert_eq!(y, Tensor::from_slice(&[2, 2], &[0.0f32, 1.0, 0.0, 1.0]).unwrap());
        assert!(run(LogSoftmax { axis: 2 }, &[x]).is_err());
    }

    #[test]
    fn half_precision_scalars_and_empty_tensors() {
        let x = Tensor::from_slice(&[2], &[f16::from_f32(1.0), f16::from_f32(1.0)]).unwrap();
        let half = f16::from_f32(0.5);
        assert_eq!(
            run_one(Softmax { axis: 0 }, &[x]),
            Tensor::from_slice(&[2], &[half, half]).unwrap()
        );
        assert_eq!(
            run_one(Softmax { axis: -1 }, &[Tensor::scalar(7.0f64)]),
            Tensor::scalar(1.0f64)
        );
        let empty = Tensor::from_slice::<f32>(&[0, 1 << 28, 1 << 28], &[]).unwrap();
        assert_eq!(run_one(Softmax { axis: 1 }, std::slice::from_ref(&empty)), empty);
        assert!(run(Softmax { axis: 0 }, &[Tensor::from_vec1(&[1i32])]).is_err());
    }
}
