//! ONNX Runtime's forms of Gelu with a bias.

use bantam_kernels::Real;
use bantam_kernels::elementwise::activation as kernel;
use bantam_kernels::elementwise::{Operand, arithmetic};
use bantam_tensor::Tensor;
use rayon::prelude::*;

use super::floats::{fill, in_real, read, read_optional};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// Gelu of x plus the bias in input 1: by the error function (BiasGelu), or by tanh and without bias where it is left
/// out (FastGelu).
pub(super) fn biased(by_tanh: bool, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    if let Some(bias) = inputs
        .optional(1)
        .filter(|bias| bias.rank() != 1 || bias.shape().last() != x.shape().last())
    {
        let (bias, x) = (bias.shape(), x.shape());
        return Err(OpError::shape(format!(
            "a bias of shape {bias:?} does not fit x of shape {x:?}"
        )));
    }
    in_real!(x.dtype(), 0, T => {
        let function = if by_tanh { kernel::gelu_tanh::<T> } else { kernel::gelu::<T> };
        let (values, bias) = (read::<T>(inputs, 0)?, read_optional::<T>(inputs, 1)?);
        fill(context, x.dtype(), x.shape(), |y: &mut [T]| gelu_rows(&values, bias.as_deref(), y, function))
    })
}

/// Elements that a thread takes at once.
const GRAIN: usize = 1 << 14;

fn gelu_rows<T: Real + arithmetic::Number>(x: &[T], bias: Option<&[T]>, y: &mut [T], function: fn(&mut [T])) {
    let row = bias.map_or(GRAIN, <[T]>::len).max(1);
    let chunk = (GRAIN / row).max(1) * row;
    y.par_chunks_mut(chunk)
        .zip(x.par_chunks(chunk))
        .for_each(|(y, x)| {
            y.copy_from_slice(x);
            if let Some(bias) = bias {
                y.chunks_exact_mut(row)
                    .for_each(|y| arithmetic::add(y, Operand::Slice(bias)));
            }
            function(y);
        });
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{BiasGelu, FastGelu, Gelu, GeluApproximation, MsGelu};

    use super::*;
    use crate::ops::testing::{run, run_one};

    #[test]
    fn the_bias_is_added_first() {
        let values: Vec<f32> = (0..70_000).map(|i| (i % 13) as f32 * 0.5 - 3.0).collect();
        let x = Tensor::from_slice(&[35_000, 2], &values).unwrap();
        let bias = Tensor::from_vec1(&[0.25f32, -1.0]);
        let sum: Vec<f32> = values
            .iter()
            .enumerate()
            .map(|(i, x)| x + [0.25, -1.0][i % 2])
            .collect();
        let sum = Tensor::from_slice(&[35_000, 2], &sum).unwrap();
        let gelu = |approximate| Gelu { approximate };
        let exact = run_one(gelu(GeluApproximation::None), std::slice::from_ref(&sum));
        assert_eq!(run_one(BiasGelu {}, &[x.clone(), bias.clone()]), exact);
        assert_eq!(run_one(MsGelu {}, std::slice::from_ref(&sum)), exact);
        let by_tanh = run_one(gelu(GeluApproximation::Tanh), std::slice::from_ref(&sum));
        assert_eq!(run_one(FastGelu {}, &[x.clone(), bias]), by_tanh);
        assert_eq!(run_one(FastGelu {}, &[sum]), by_tanh);
        assert!(run(BiasGelu {}, &[x, Tensor::from_vec1(&[0.0f32; 3])]).is_err());
    }
}
