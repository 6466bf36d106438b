//! Functions of two broadcast inputs of one type.

use bantam_graph::ops::{Binary, Mod};
use bantam_kernels::elementwise::arithmetic::{self, combine};
use bantam_kernels::elementwise::{Number, Operand};
use bantam_tensor::{DType, Tensor};

use super::{bits, compare, power};
use crate::inputs::Inputs;
use crate::ops::broadcast::{Broadcast, Run};
use crate::ops::dispatch::{in_integer, in_number};
use crate::ops::units::Unit;
use crate::{Context, OpError};
use bantam_kernels::chunks::{PIECE, for_chunks};

/// Two inputs, broadcast.
pub(in crate::ops) fn binary(
    op: Binary,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    match op {
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::PRelu => {
            arithmetic(op, inputs, context)
        }
        Binary::Pow => power::power(inputs, context),
        Binary::And | Binary::Or | Binary::Xor => bits::logical(op, inputs, context),
        Binary::BitwiseAnd | Binary::BitwiseOr | Binary::BitwiseXor => bits::bitwise(op, inputs, context),
        Binary::Equal | Binary::Greater | Binary::GreaterOrEqual | Binary::Less | Binary::LessOrEqual => {
            compare::compare(op, inputs, context)
        }
    }
}

fn arithmetic(op: Binary, inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let dtype = inputs.required(0)?.dtype();
    if op == Binary::Div && dtype.is_integer() {
        refuse_zeros(inputs.required(1)?)?;
    }
    if op == Binary::PRelu {
        slope_fits(inputs)?;
    }
    in_number!(dtype, 0, T => {
        let (kernel, commutes): (BinaryKernel<'_, T>, bool) = match op {
            Binary::Add => (&arithmetic::add, true),
            Binary::Mul => (&arithmetic::multiply, true),
            Binary::Sub => (&arithmetic::subtract, false),
            Binary::Div => (&arithmetic::divide, false),
            _ => (&arithmetic::prelu, false),
        };
        apply(inputs, context, kernel, commutes)
    })
}

/// Remainders.
pub(in crate::ops) fn modulo(
    op: &Mod,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let dtype = inputs.required(0)?.dtype();
    if dtype.is_integer() {
        refuse_zeros(inputs.required(1)?)?;
    }
    in_number!(dtype, 0, T => match op.fmod {
        true => apply::<T>(inputs, context, &|y, b| combine(y, b, T::remainder), false),
        false => apply::<T>(inputs, context, &|y, b| combine(y, b, T::modulo), false),
    })
}

/// The larger (or smaller) of two inputs.
pub(super) fn extremum(larger: bool, inputs: &mut Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    in_number!(inputs.required(0)?.dtype(), 0, T => match larger {
        true => apply::<T>(inputs, context, &arithmetic::maximum, true),
        false => apply::<T>(inputs, context, &arithmetic::minimum, true),
    })
}

fn refuse_zeros(divisor: &Tensor) -> Result<(), OpError> {
    let has_zero = in_integer!(divisor.dtype(), 1, T => Ok(divisor.values::<T>()?.contains(&0)))?;
    if has_zero {
        Err(OpError::value("an integer is divided by zero"))
    } else {
        Ok(())
    }
}

/// The slope of PRelu is broadcast to x, never x to the slope.
fn slope_fits(inputs: &Inputs<'_>) -> Result<(), OpError> {
    let (x, slope) = (inputs.required(0)?.shape(), inputs.required(1)?.shape());
    if Broadcast::new([x, slope])?.shape == x {
        return Ok(());
    }
    Err(OpError::shape(format!(
        "the slope of shape {slope:?} cannot be broadcast to {x:?}"
    )))
}

/// `y = y op b` on a run of elements.
pub(super) type BinaryKernel<'k, T> = &'k (dyn Fn(&mut [T], Operand<'_, T>) + Sync);

/// Applies a kernel to two broadcast inputs whose elements are `T`, in place where nobody else reads the first one (or
/// the second one, if the kernel commutes) and it has the shape of the result.
pub(super) fn apply<T: Unit + Copy>(
    inputs: &mut Inputs<'_>,
    context: &Context,
    kernel: BinaryKernel<'_, T>,
    commutes: bool,
) -> Result<Tensor, OpError> {
    let dtype = same_dtypes(inputs)?;
    let layout = Broadcast::new([inputs.required(0)?.shape(), inputs.required(1)?.shape()])?;
    for (position, other) in [(0, 1), (1, 0)] {
        if (position == 0 || commutes)
            && inputs.required(position)?.shape() == layout.shape
            && let Some(y) = inputs.take_unique(position)
        {
            let b = T::read(inputs.required(other)?)?;
            return T::modify(context, y, |y| {
                in_place(y, &b, &layout, other, kernel);
                Ok(())
            });
        }
    }
    let (a, b) = (T::read(inputs.required(0)?)?, T::read(inputs.required(1)?)?);
    T::build(context, dtype, &layout.shape, |y| {
        out_of_place(y, &a, &b, &layout, kernel);
        Ok(())
    })
}

fn in_place<T: Unit + Copy>(
    y: &mut [T],
    b: &[T],
    layout: &Broadcast<2>,
    other: usize,
    kernel: BinaryKernel<'_, T>,
) {
    let step = layout.steps()[other];
    for_chunks(y, |start, y| {
        layout.for_runs(start, y.len(), |run| {
            let b = Operand::at(b, run.sources[other], step, run.length);
            kernel(&mut y[run.start..run.start + run.length], b);
        });
    });
}

fn out_of_place<T: Unit + Copy>(
    y: &mut [T],
    a: &[T],
    b: &[T],
    layout: &Broadcast<2>,
    kernel: BinaryKernel<'_, T>,
) {
    let [step_a, step_b] = layout.steps();
    for_chunks(y, |start, y| {
        layout.for_runs(
            start,
            y.len(),
            |Run {
                 start,
                 length,
                 sources,
             }| {
                for offset in (0..length).step_by(PIECE) {
                    let size = PIECE.min(length - offset);
                    let y = &mut y[start + offset..start + offset + size];
                    match Operand::at(a, sources[0] + offset * step_a, step_a, size) {
                        Operand::Slice(a) => y.copy_from_slice(a),
                        Operand::Scalar(a) => y.fill(a),
                    }
                    kernel(y, Operand::at(b, sources[1] + offset * step_b, step_b, size));
                }
            },
        );
    });
}

/// The dtype that both inputs share.
pub(super) fn same_dtypes(inputs: &Inputs<'_>) -> Result<DType, OpError> {
    let (dtype, other) = (inputs.required(0)?.dtype(), inputs.required(1)?.dtype());
    if dtype == other {
        Ok(dtype)
    } else {
        Err(OpError::Type { index: 1, got: other })
    }
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{Binary, Mod};
    use bantam_tensor::Tensor;

    use crate::ops::testing::{run, run_one};

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_slice(shape, values).unwrap()
    }

    #[test]
    fn broadcasting_either_side() {
        let a = tensor(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let row = tensor(&[3], &[10.0, 20.0, 30.0]);
        let column = tensor(&[2, 1], &[100.0, 200.0]);
        let sub = |a: &Tensor, b: &Tensor| run_one(Binary::Sub, &[a.clone(), b.clone()]).to_f32().unwrap();
        assert_eq!(sub(&a, &row), [-9.0, -18.0, -27.0, -6.0, -15.0, -24.0]);
        assert_eq!(sub(&row, &a), [9.0, 18.0, 27.0, 6.0, 15.0, 24.0]);
        assert_eq!(sub(&column, &row), [90.0, 80.0, 70.0, 190.0, 180.0, 170.0]);
        let add = run_one(Binary::Add, &[column, a]);
        assert_eq!(add, tensor(&[2, 3], &[101.0, 102.0, 103.0, 204.0, 205.0, 206.0]));
        assert!(
            run(
                Binary::Add,
                &[tensor(&[2], &[1.0, 2.0]), tensor(&[3], &[1.0, 2.0, 3.0])]
            )
            .is_err()
        );
    }

    #[test]
    fn long_tensors_with_channels() {
        let (channels, area) = (7, 30_000);
        let x = vec![1.5f32; channels * area];
        let scale: Vec<f32> = (0..channels).map(|c| c as f32).collect();
        let y = run_one(
            Binary::Mul,
            &[tensor(&[1, channels, area], &x), tensor(&[channels, 1], &scale)],
        );
        let y = y.to_f32().unwrap();
        assert!(y.iter().enumerate().all(|(i, &y)| y == 1.5 * (i / area) as f32));
    }

    #[test]
    fn empty_tensors() {
        let y = run_one(
            Binary::Add,
            &[tensor(&[0, 3], &[]), tensor(&[3], &[1.0, 2.0, 3.0])],
        );
        assert_eq!(y.shape(), [0, 3]);
    }

    #[test]
    fn integers_are_checked() {
        let seven = Tensor::from_vec1(&[7i32, -7]);
        let div = run_one(Binary::Div, &[seven.clone(), Tensor::scalar(2i32)]);
        assert_eq!(div, Tensor::from_vec1(&[3i32, -3]));
        assert!(run(Binary::Div, &[seven.clone(), Tensor::scalar(0i32)]).is_err());
        assert!(run(Mod { fmod: false }, &[seven.clone(), Tensor::scalar(0i32)]).is_err());
        assert!(run(Binary::Add, &[seven.clone(), Tensor::scalar(0i64)]).is_err());
        let modulo = run_one(Mod { fmod: false }, &[seven.clone(), Tensor::scalar(3i32)]);
        assert_eq!(modulo, Tensor::from_vec1(&[1i32, 2]));
        let remainder = run_one(Mod { fmod: true }, &[seven, Tensor::scalar(3i32)]);
        assert_eq!(remainder, Tensor::from_vec1(&[1i32, -1]));
    }

    #[test]
    fn slopes_are_broadcast_one_way() {
        let x = tensor(&[2, 2], &[-1.0, 2.0, -3.0, 4.0]);
        let y = run_one(Binary::PRelu, &[x.clone(), tensor(&[2, 1], &[0.5, 0.25])]);
        assert_eq!(y, tensor(&[2, 2], &[-0.5, 2.0, -0.75, 4.0]));
        assert!(run(Binary::PRelu, &[x, tensor(&[3, 2, 2], &[0.0; 12])]).is_err());
    }
}
