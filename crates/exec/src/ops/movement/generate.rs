//! Ops that make tensors from shapes and few values.

use bantam_graph::ops::{ConstantOfShape, EyeLike, OneHot};
use bantam_tensor::{DType, Tensor};

use super::sizes;
use crate::inputs::{Argument, Inputs};
use crate::ops::axes::axis;
use crate::ops::dispatch::in_type;
use crate::ops::elementwise::{CastRules, cast};
use crate::ops::units::{Unit, in_unit};
use crate::{Context, OpError};

/// A tensor of one value and the shape in input 0.
pub(in crate::ops) fn constant_of_shape(
    op: &ConstantOfShape,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let shape = sizes(inputs, 0)?;
    let zero = Tensor::scalar(0f32);
    let value = op.value.as_ref().unwrap_or(&zero);
    if value.len() != 1 {
        return Err(OpError::shape(format!(
            "`value` must hold one value, not {}",
            value.len()
        )));
    }
    in_unit!(value.dtype(), U => constant::<U>(value, &shape, context))
}

fn constant<U: Unit>(value: &Tensor, shape: &[usize], context: &Context) -> Result<Tensor, OpError> {
    let units = U::read(value)?;
    U::build(context, value.dtype(), shape, |y| {
        y.fill(units[0].clone());
        Ok(())
    })
}

/// start, limit, delta: `start + i * delta` before the limit.
pub(in crate::ops) fn range(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let dtype = inputs.required(0)?.dtype();
    let (start, limit) = (one_value(inputs, 0, dtype)?, one_value(inputs, 1, dtype)?);
    let delta = one_value(inputs, 2, dtype)?;
    if delta.float == 0.0 {
        return Err(OpError::value("the delta of Range is 0"));
    }
    if dtype.is_integer() {
        return integer_range(dtype, start.integer, limit.integer, delta.integer, context);
    }
    let length = ((limit.float - start.float) / delta.float).ceil().max(0.0);
    let countable = length < 2f64.powi(53);
    if !countable {
        return Err(OpError::value("Range is too long"));
    }
    let wide = context.fill(&[length as usize], |y: &mut [f64]| {
        y.iter_mut()
            .enumerate()
            .for_each(|(i, y)| *y = start.float + i as f64 * delta.float);
    })?;
    cast(
        dtype,
        &CastRules::default(),
        &mut Inputs::new(vec![Some(Argument::Last(wide))]),
        context,
    )
}

fn integer_range(
    dtype: DType,
    start: i64,
    limit: i64,
    delta: i64,
    context: &Context,
) -> Result<Tensor, OpError> {
    let distance = i128::from(limit) - i128::from(start);
    let forward = (distance > 0) == (delta > 0);
    let length = if forward {
        distance.unsigned_abs().div_ceil(u128::from(delta.unsigned_abs()))
    } else {
        0
    };
    let length = usize::try_from(length).map_err(|_| OpError::value("Range is too long"))?;
    in_type!(dtype, 0, [I16 i16, I32 i32, I64 i64], T => context.fill(&[length], |y: &mut [T]| {
        let value = |i: usize| start.wrapping_add(delta.wrapping_mul(i as i64)) as T;
        y.iter_mut().enumerate().for_each(|(i, y)| *y = value(i));
    }))
}

/// A value as a float and, for integers, exactly.
struct Value {
    float: f64,
    integer: i64,
}

fn one_value(inputs: &Inputs<'_>, index: usize, dtype: DType) -> Result<Value, OpError> {
    let tensor = inputs.required(index)?;
    if tensor.dtype() != dtype {
        return Err(OpError::Type {
            index,
            got: tensor.dtype(),
        });
    }
    match tensor.to_f64()?.as_slice() {
        &[float] => Ok(Value {
            float,
            integer: if dtype.is_integer() {
                tensor.to_i64()?[0]
            } else {
                0
            },
        }),
        values => Err(OpError::shape(format!(
            "input {index} must hold one value, not {}",
            values.len()
        ))),
    }
}

/// indices, depth, values (off, on): a new axis that is "on" at the index and "off" elsewhere.
pub(in crate::ops) fn one_hot(
    op: &OneHot,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (indices, values) = (inputs.required(0)?, inputs.required(2)?);
    let depth = one_value(inputs, 1, inputs.required(1)?.dtype())?.float;
    if !(0.0..2f64.powi(53)).contains(&depth) || values.len() != 2 {
        return Err(OpError::value(format!(
            "the depth {depth} or the {} values are wrong",
            values.len()
        )));
    }
    let at = axis(op.axis, indices.rank() + 1)?;
    let mut shape = indices.shape().to_vec();
    shape.insert(at, depth as usize);
    let inner: usize = indices.shape()[at..].iter().product();
    // Negative indices count from the end; what is still outside is "off" everywhere.
    let hot = |index: f64| {
        Some(if index < 0.0 { index + depth } else { index }).filter(|i| (0.0..depth).contains(i))
    };
    let hot: Vec<Option<usize>> = indices
        .to_f64()?
        .into_iter()
        .map(|i| hot(i).map(|i| i as usize))
        .collect();
    in_unit!(values.dtype(), U => place_hot::<U>(values, &shape, (depth as usize, inner), &hot, context))
}

/// Fills with the first value and puts the second one at the index of each place.
fn place_hot<U: Unit>(
    values: &Tensor,
    shape: &[usize],
    (depth, inner): (usize, usize),
    hot: &[Option<usize>],
    context: &Context,
) -> Result<Tensor, OpError> {
    let choices = U::read(values)?;
    U::build(context, values.dtype(), shape, |y| {
        y.fill(choices[0].clone());
        for (flat, index) in hot.iter().enumerate() {
            if let Some(index) = index {
                y[(flat / inner * depth + index) * inner + flat % inner] = choices[1].clone();
            }
        }
        Ok(())
    })
}

/// Ones on a diagonal, in the shape of the input.
pub(in crate::ops) fn eye_like(
    op: &EyeLike,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    let &[rows, columns] = x.shape() else {
        return Err(OpError::shape(format!(
            "the input must be a matrix, not {:?}",
            x.shape()
        )));
    };
    let dtype = op.dtype.unwrap_or(x.dtype());
    let mut one = Inputs::new(vec![Some(Argument::Last(Tensor::scalar(1f32)))]);
    let one = cast(dtype, &CastRules::default(), &mut one, context)?;
    in_unit!(dtype, U => diagonal::<U>(&one, op.k, rows, columns, context))
}

fn diagonal<U: Unit>(
    one: &Tensor,
    k: i64,
    rows: usize,
    columns: usize,
    context: &Context,
) -> Result<Tensor, OpError> {
    let units = U::read(one)?;
    U::build(context, one.dtype(), &[rows, columns], |y| {
        y.fill(U::default());
        for row in 0..rows {
            let column = k.saturating_add(row as i64);
            if let Some(column) = usize::try_from(column).ok().filter(|&column| column < columns) {
                y[row * columns + column] = units[0].clone();
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{ConstantOfShape, EyeLike, OneHot, Range};
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    #[test]
    fn constants() {
        let shape = Tensor::from_vec1(&[2i64, 1]);
        let y = run_one(ConstantOfShape { value: None }, std::slice::from_ref(&shape));
        assert_eq!(y, Tensor::zeros(DType::F32, &[2, 1]).unwrap());
        let nibble = Tensor::from_i64(DType::I4, &[1], &[-3]).unwrap();
        let y = run_one(ConstantOfShape { value: Some(nibble) }, &[shape]);
        assert_eq!(y.to_i64().unwrap(), [-3, -3]);
        for shape in [&[-1i64][..], &[i64::MAX, i64::MAX]] {
            assert!(run(ConstantOfShape { value: None }, &[Tensor::from_vec1(shape)]).is_err());
        }
    }

    #[test]
    fn ranges() {
        let range = |start: i64, limit: i64, delta: i64| {
            let inputs = [start, limit, delta].map(Tensor::scalar);
            run(Range {}, &inputs)
                .ok()
                .map(|outputs| outputs[0].to_i64().unwrap())
        };
        assert_eq!(range(1, 8, 3), Some(vec![1, 4, 7]));
        assert_eq!(range(10, 4, -2), Some(vec![10, 8, 6]));
        assert_eq!(range(1, 1, 1), Some(vec![]));
        assert_eq!(range(1, 8, -1), Some(vec![]));
        assert_eq!(
            range(i64::MIN, i64::MAX, i64::MAX),
            Some(vec![i64::MIN, -1, i64::MAX - 1])
        );
        assert_eq!(range(0, 1, 0), None);
        assert_eq!(range(i64::MIN, i64::MAX, 1), None);
        let floats = |values: [f32; 3]| run(Range {}, &values.map(Tensor::scalar));
        assert_eq!(
            floats([1.0, 2.0, 0.4]).unwrap()[0],
            Tensor::from_vec1(&[1.0f32, 1.4, 1.8])
        );
        assert!(floats([0.0, f32::INFINITY, 1.0]).is_err());
        assert!(floats([0.0, f32::NAN, 1.0]).unwrap()[0].is_empty());
    }

    #[test]
    fn one_hot_rows_and_columns() {
        let inputs = [
            Tensor::from_vec1(&[0i64, -1, 5]),
            Tensor::scalar(3i64),
            Tensor::from_vec1(&[2i32, 7]),
        ];
        let y = run_one(OneHot { axis: -1 }, &inputs);
        assert_eq!(
            (y.shape(), y.to_i64().unwrap()),
            (&[3, 3][..], vec![7, 2, 2, 2, 2, 7, 2, 2, 2])
        );
        let y = run_one(OneHot { axis: 0 }, &inputs);
        assert_eq!(y.to_i64().unwrap(), [7, 2, 2, 2, 2, 2, 2, 7, 2]);
        let wrong = [inputs[0].clone(), Tensor::scalar(-3i64), inputs[2].clone()];
        assert!(run(OneHot { axis: 0 }, &wrong).is_err());
        assert!(run(OneHot { axis: 2 }, &inputs).is_err());
    }

    #[test]
    fn diagonals_of_ones() {
        let x = Tensor::zeros(DType::F16, &[2, 3]).unwrap();
        let y = run_one(
            EyeLike {
                dtype: Some(DType::I64),
                k: 1,
            },
            std::slice::from_ref(&x),
        );
        assert_eq!(y, Tensor::from_slice(&[2, 3], &[0i64, 1, 0, 0, 0, 1]).unwrap());
        let y = run_one(EyeLike { dtype: None, k: -1 }, std::slice::from_ref(&x));
        assert_eq!(
            (y.dtype(), y.to_f64().unwrap()),
            (DType::F16, vec![0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
        );
        assert_eq!(
            run_one(
                EyeLike {
                    dtype: None,
                    k: i64::MIN
                },
                &[x]
            )
            .to_f64()
            .unwrap(),
            [0.0; 6]
        );
    }
}
