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
    if let Some(bias) = inputs.optional(1).filter(|bias| bias.rank() != 1 || bias.shape().last() != x.shape().last()) {
        let (bias, x) = (bias.shape(), x.shape());
        return Err(OpError::shape(format!("a bias of shape {bias:?} does not fit x of shape {x:?}")));
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
    y.par_chunks_mut(chunk).zip(x.par_chunks(chunk)).for_each(|(y, x)| {
        y.copy_from_slice(x);
        if let Some(bias) = bias {
            y.chunks_exact_mut(row).for_each(|y| arithmetic::add(y, Operand::Slice(bias)));
        }
        function(y);
    });
}
