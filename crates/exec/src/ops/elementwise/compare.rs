//! Comparisons.

use bantam_graph::ops::Binary;
use bantam_kernels::elementwise::Operand;
use bantam_kernels::elementwise::arithmetic::relate;
use bantam_tensor::{DType, Tensor};

use super::binary::same_dtypes;
use crate::inputs::Inputs;
use crate::ops::broadcast::Broadcast;
use crate::ops::dispatch::in_number_or_bool;
use crate::ops::units::Unit;
use crate::{Context, OpError};
use bantam_kernels::chunks::for_chunks;

/// Truths of two broadcast inputs of one type; booleans and strings only for equality.
pub(super) fn compare(op: Binary, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    match same_dtypes(inputs)? {
        DType::String if op == Binary::Equal => equal_strings(inputs, context),
        DType::Bool if op != Binary::Equal => Err(OpError::Type {
            index: 0,
            got: DType::Bool,
        }),
        dtype => in_number_or_bool!(dtype, 0, T => match op {
            Binary::Equal => compare_values(inputs, context, |a: T, b: T| a == b),
            Binary::Greater => compare_values(inputs, context, |a: T, b: T| a > b),
            Binary::GreaterOrEqual => compare_values(inputs, context, |a: T, b: T| a >= b),
            Binary::Less => compare_values(inputs, context, |a: T, b: T| a < b),
            _ => compare_values(inputs, context, |a: T, b: T| a <= b),
        }),
    }
}

fn compare_values<T: Unit + Copy>(
    inputs: &Inputs<'_>,
    context: &Context,
    relation: impl Fn(T, T) -> bool + Sync,
) -> Result<Tensor, OpError> {
    let (a, b) = (T::read(inputs.required(0)?)?, T::read(inputs.required(1)?)?);
    let layout = Broadcast::new([inputs.required(0)?.shape(), inputs.required(1)?.shape()])?;
    let [step_a, step_b] = layout.steps();
    let mut y = context.uninitialized(DType::Bool, &layout.shape)?;
    for_chunks(y.bytes_mut(), |start, y| {
        layout.for_runs(start, y.len(), |run| {
            let a = Operand::at(&a, run.sources[0], step_a, run.length);
            let b = Operand::at(&b, run.sources[1], step_b, run.length);
            relate(&mut y[run.start..run.start + run.length], a, b, &relation);
        });
    });
    Ok(y)
}

fn equal_strings(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let (a, b) = (inputs.required(0)?.strings()?, inputs.required(1)?.strings()?);
    let layout = Broadcast::new([inputs.required(0)?.shape(), inputs.required(1)?.shape()])?;
    let [step_a, step_b] = layout.steps();
    let mut y = context.uninitialized(DType::Bool, &layout.shape)?;
    for_chunks(y.bytes_mut(), |start, y| {
        layout.for_runs(start, y.len(), |run| {
            for i in 0..run.length {
                let (a, b) = (&a[run.sources[0] + i * step_a], &b[run.sources[1] + i * step_b]);
                y[run.start + i] = u8::from(a == b);
            }
        });
    });
    Ok(y)
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::Binary;
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    #[test]
    fn relations_of_floats_know_not_a_number() {
        let a = Tensor::from_vec1(&[1.0f32, f32::NAN, 3.0]);
        let b = Tensor::scalar(1.0f32);
        for (op, expected) in [
            (Binary::Equal, [true, false, false]),
            (Binary::Greater, [false, false, true]),
            (Binary::GreaterOrEqual, [true, false, true]),
            (Binary::Less, [false, false, false]),
            (Binary::LessOrEqual, [true, false, false]),
        ] {
            let y = run_one(op, &[a.clone(), b.clone()]);
            assert_eq!(y, Tensor::from_bools(&[3], &expected).unwrap(), "{op:?}");
        }
    }

    #[test]
    fn strings_and_booleans_are_compared_for_equality_only() {
        let a = Tensor::from_strings(&[2], vec![b"a".to_vec(), b"b".to_vec()]).unwrap();
        let b = Tensor::from_strings(&[1], vec![b"b".to_vec()]).unwrap();
        let y = run_one(Binary::Equal, &[a.clone(), b.clone()]);
        assert_eq!(y, Tensor::from_bools(&[2], &[false, true]).unwrap());
        assert!(run(Binary::Less, &[a, b]).is_err());
        let truths = Tensor::from_bools(&[2], &[true, false]).unwrap();
        assert_eq!(
            run_one(Binary::Equal, &[truths.clone(), truths.clone()]).dtype(),
            DType::Bool
        );
        assert!(run(Binary::Greater, &[truths.clone(), truths]).is_err());
    }
}
