//! Functions of any number of broadcast inputs.

use bantam_graph::ops::{Binary, Variadic};
use bantam_kernels::elementwise::Operand;
use bantam_kernels::elementwise::arithmetic::multiply;
use bantam_tensor::Tensor;

use super::binary::{binary, extremum};
use super::map::map_floats;
use crate::inputs::{Argument, Inputs};
use crate::{Context, OpError};

/// Folds the inputs from the first to the last.
pub(in crate::ops) fn variadic(
    op: Variadic,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (mut result, count) = (inputs.keep(0)?, inputs.len());
    for index in 1..count {
        let arguments = vec![
            Some(Argument::Last(result)),
            Some(Argument::Shared(inputs.required(index)?)),
        ];
        let mut pair = Inputs::new(arguments);
        result = match op {
            Variadic::Max => extremum(true, &mut pair, context),
            Variadic::Min => extremum(false, &mut pair, context),
            Variadic::Sum | Variadic::Mean => binary(Binary::Add, &mut pair, context),
        }?;
        pair.into_last().for_each(|tensor| context.recycle(tensor));
    }
    if op != Variadic::Mean {
        return Ok(result);
    }
    let factor = 1.0 / count as f64;
    map_floats(
        &mut Inputs::new(vec![Some(Argument::Last(result))]),
        context,
        &|y| multiply(y, Operand::Scalar(factor as f32)),
        &|y| multiply(y, Operand::Scalar(factor)),
    )
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::Variadic;
    use bantam_tensor::Tensor;

    use crate::ops::testing::{run, run_one};

    #[test]
    fn folds_and_broadcasts() {
        let inputs = [
            Tensor::from_vec1(&[1.0f32, 5.0]),
            Tensor::from_slice(&[2, 1], &[2.0f32, 3.0]).unwrap(),
            Tensor::scalar(3.0f32),
        ];
        for (op, expected) in [
            (Variadic::Max, [3.0, 5.0, 3.0, 5.0]),
            (Variadic::Min, [1.0, 2.0, 1.0, 3.0]),
            (Variadic::Sum, [6.0, 10.0, 7.0, 11.0]),
            (Variadic::Mean, [2.0, 10.0 / 3.0, 7.0 / 3.0, 11.0 / 3.0]),
        ] {
            let y = run_one(op, &inputs).to_f32().unwrap();
            assert!(
                y.iter().zip(expected).all(|(y, e)| (y - e as f32).abs() < 1e-6),
                "{op:?}: {y:?}"
            );
        }
        assert_eq!(run_one(Variadic::Max, &inputs[..1]), inputs[0]);
        assert!(run(Variadic::Max, &[]).is_err());
        assert!(run(Variadic::Mean, &[Tensor::scalar(1i32)]).is_err());
    }
}
