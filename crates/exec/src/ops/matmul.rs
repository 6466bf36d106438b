//! MatMul, FusedMatMul, Gemm and FusedGemm.

use bantam_graph::ops::{FusedGemm, FusedMatMul, Gemm};
use bantam_kernels::matmul::{Number, Onto, Product, multiply_batch};
use bantam_tensor::{DType, Tensor};

use super::axes::count;
use super::broadcast::{broadcast_shape, broadcast_strides};
use super::dispatch::in_type;
use super::floats::{fill, read};
use super::fused_activation::FusedActivation;
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// Evaluates an expression with a name for the type to multiply in: the dtype's own, or `f32` for narrower floats.
macro_rules! in_product {
    ($dtype:expr, $number:ident => $body:expr) => {
        in_type!(
            $dtype, 0,
            [F32 f32, F64 f64, F16 f32, BF16 f32, I32 i32, I64 i64, U32 u32, U64 u64,
             I8 i8, I16 i16, U8 u8, U16 u16],
            $number => $body
        )
    };
}

pub(super) use in_product;

/// Number types that operators multiply in, and what they know of dtypes.
pub(super) trait Multiplied: Number {
    const ONE: Self;
    /// The elements of input `index` in this type; narrower floats widened.
    fn read<'a>(inputs: &'a Inputs<'_>, index: usize) -> Result<std::borrow::Cow<'a, [Self]>, OpError>;
    /// A new tensor of `dtype`, filled through a slice of this type.
    fn fill(
        context: &Context,
        dtype: DType,
        shape: &[usize],
        write: impl FnOnce(&mut [Self]),
    ) -> Result<Tensor, OpError>;
    fn to_f64(self) -> f64;
    fn from_f64(value: f64) -> Self;
}

macro_rules! multiplied_integers {
    ($($integer:ty),*) => {$(
        impl Multiplied for $integer {
            const ONE: $integer = 1;
            fn read<'a>(inputs: &'a Inputs<'_>, index: usize) -> Result<std::borrow::Cow<'a, [$integer]>, OpError> {
                inputs.values(index)
            }
            fn fill(
                context: &Context,
                _: DType,
                shape: &[usize],
                write: impl FnOnce(&mut [$integer]),
            ) -> Result<Tensor, OpError> {
                context.fill(shape, write)
            }
            fn to_f64(self) -> f64 { self as f64 }
            fn from_f64(value: f64) -> $integer { value as $integer }
        }
    )*};
}
multiplied_integers!(i8, i16, i32, i64, u8, u16, u32, u64);

macro_rules! multiplied_floats {
    ($($float:ty),*) => {$(
        impl Multiplied for $float {
            const ONE: $float = 1.0;
            fn read<'a>(inputs: &'a Inputs<'_>, index: usize) -> Result<std::borrow::Cow<'a, [$float]>, OpError> {
                read(inputs, index)
            }
            fn fill(
                context: &Context,
                dtype: DType,
                shape: &[usize],
                write: impl FnOnce(&mut [$float]),
            ) -> Result<Tensor, OpError> {
                fill(context, dtype, shape, write)
            }
            fn to_f64(self) -> f64 { self as f64 }
            fn from_f64(value: f64) -> $float { value as $float }
        }
    )*};
}
multiplied_floats!(f32, f64);

/// A tensor seen as a batch of matrices.
#[derive(Clone, Debug)]
struct Matrices {
    batch: Vec<usize>,
    batch_strides: Vec<usize>,
    sizes: [usize; 2],
    strides: [usize; 2],
}

impl Matrices {
    /// The last two dimensions of `shape` are matrices, or with `batch_behind` the first and the last.
    fn new(shape: &[usize], transposed: bool, batch_behind: bool) -> Matrices {
        let strides: Vec<usize> = (0..shape.len()).map(|axis| count(&shape[axis + 1..])).collect();
        let (row, column) = (if batch_behind { 0 } else { shape.len() - 2 }, shape.len() - 1);
        let batch: Vec<usize> = (0..column).filter(|&axis| axis != row).collect();
        let pick = |list: &[usize]| batch.iter().map(|&axis| list[axis]).collect::<Vec<usize>>();
        let [row, column] = if transposed { [column, row] } else { [row, column] };
        Matrices {
            batch: pick(shape),
            batch_strides: pick(&strides),
            sizes: [shape[row], shape[column]],
            strides: [strides[row], strides[column]],
        }
    }

    /// Where each matrix starts when the batch is broadcast to `common`.
    fn starts(&self, common: &[usize]) -> Vec<usize> {
        let repeated = broadcast_strides(&self.batch, common);
        let skipped = common.len() - self.batch.len();
        let stride = |axis: usize| match repeated[axis] {
            0 => 0,
            _ => self.batch_strides[axis - skipped],
        };
        let mut starts = vec![0; count(common).min(1)];
        for (axis, &size) in common.iter().enumerate() {
            starts = starts
                .iter()
                .flat_map(|&start| (0..size).map(move |i| start + i * stride(axis)))
                .collect();
        }
        starts
    }
}

/// Matrix product of the last two dimensions; vectors count as one row (a) or one column (b).
pub(super) fn matmul(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let op = FusedMatMul {
        alpha: 1.0,
        transA: false,
        transB: false,
        transBatchA: false,
        transBatchB: false,
    };
    fused_matmul(&op, inputs, context)
}

/// `alpha * op(a) * op(b)`.
pub(super) fn fused_matmul(
    op: &FusedMatMul,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (a, b) = (inputs.required(0)?, inputs.required(1)?);
    check_same_dtype(inputs, 1)?;
    let (a_shape, b_shape) = (a.shape(), b.shape());
    let a_matrix = if a_shape.len() == 1 {
        vec![1, a_shape[0]]
    } else {
        a_shape.to_vec()
    };
    let b_matrix = if b_shape.len() == 1 {
        vec![b_shape[0], 1]
    } else {
        b_shape.to_vec()
    };
    if a_matrix.len() < 2 || b_matrix.len() < 2 {
        return Err(OpError::shape("a product of a scalar"));
    }
    // Transposition means nothing for a vector.
    let a = Matrices::new(
        &a_matrix,
        op.transA && a_shape.len() > 1,
        op.transBatchA && a_shape.len() > 2,
    );
    let b = Matrices::new(
        &b_matrix,
        op.transB && b_shape.len() > 1,
        op.transBatchB && b_shape.len() > 2,
    );
    if a.sizes[1] != b.sizes[0] {
        return Err(OpError::shape(format!(
            "the inner sizes {} and {} of a product differ",
            a.sizes[1], b.sizes[0]
        )));
    }
    let batch = broadcast_shape(&[&a.batch, &b.batch])?;
    let mut shape = batch.clone();
    shape.extend((a_shape.len() > 1).then_some(a.sizes[0]));
    shape.extend((b_shape.len() > 1).then_some(b.sizes[1]));
    let dtype = inputs.required(0)?.dtype();
    in_product!(dtype, T => {
        let (x, w) = (<T as Multiplied>::read(inputs, 0)?, <T as Multiplied>::read(inputs, 1)?);
        <T as Multiplied>::fill(context, dtype, &shape, |y| {
            let factor = <T as Multiplied>::from_f64(f64::from(op.alpha));
            multiply_matrices(&a, &b, &batch, [&x, &w], factor, y);
        })
    })
}

fn multiply_matrices<T: Number>(
    a: &Matrices,
    b: &Matrices,
    batch: &[usize],
    values: [&[T]; 2],
    factor: T,
    y: &mut [T],
) {
    let [rows, depth] = a.sizes;
    let mut product = Product {
        rows,
        columns: b.sizes[1],
        depth,
        a_strides: a.strides,
        b_strides: b.strides,
    };
    let one_b = count(&b.batch) == 1;
    let dense = a.strides == [depth, 1] && count(&a.batch) == count(batch);
    let plain = a
        .batch_strides
        .last()
        .is_none_or(|&stride| stride == rows * depth);
    if y.is_empty() {
        return;
    }
    if one_b && dense && plain {
        // One product with the rows of the whole batch.
        product.rows = rows * count(batch);
        return multiply_batch(&product, &[[0, 0]], values, factor, Onto::Nothing, y);
    }
    let starts: Vec<[usize; 2]> = a
        .starts(batch)
        .into_iter()
        .zip(b.starts(batch))
        .map(|(a, b)| [a, b])
        .collect();
    multiply_batch(&product, &starts, values, factor, Onto::Nothing, y);
}

fn check_same_dtype(inputs: &Inputs<'_>, index: usize) -> Result<(), OpError> {
    let (first, got) = (inputs.required(0)?.dtype(), inputs.required(index)?.dtype());
    if first == got {
        Ok(())
    } else {
        Err(OpError::Type { index, got })
    }
}

/// `alpha * op(a) * op(b) + beta * c`.
pub(super) fn gemm(op: &Gemm, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let (a, b) = (inputs.required(0)?.shape(), inputs.required(1)?.shape());
    check_same_dtype(inputs, 1)?;
    if a.len() != 2 || b.len() != 2 {
        return Err(OpError::shape(format!(
            "a product of {a:?} and {b:?}: two matrices are needed"
        )));
    }
    let (a, b) = (
        Matrices::new(a, op.transA, false),
        Matrices::new(b, op.transB, false),
    );
    if a.sizes[1] != b.sizes[0] {
        return Err(OpError::shape(format!(
            "a product of {:?} and {:?}",
            a.sizes, b.sizes
        )));
    }
    let shape = [a.sizes[0], b.sizes[1]];
    if let Some(c) = inputs.optional(2).map(Tensor::shape) {
        check_same_dtype(inputs, 2)?;
        if broadcast_shape(&[c, &shape])? != shape {
            return Err(OpError::shape(format!(
                "c of shape {c:?} does not fit a product of shape {shape:?}"
            )));
        }
    }
    let dtype = inputs.required(0)?.dtype();
    in_product!(dtype, T => gemm_in::<T>(op, &a, &b, inputs, dtype, context))
}

fn gemm_in<T: Multiplied>(
    op: &Gemm,
    a: &Matrices,
    b: &Matrices,
    inputs: &Inputs<'_>,
    dtype: DType,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, w) = (T::read(inputs, 0)?, T::read(inputs, 1)?);
    let shape = [a.sizes[0], b.sizes[1]];
    let (alpha, beta) = (f64::from(op.alpha), f64::from(op.beta));
    // Factors of integers need not be integers themselves.
    let apart = T::DTYPE.is_integer() && (op.alpha != 1.0 || op.beta != 1.0);
    let addend = match inputs.optional(2) {
        Some(c) if op.beta != 0.0 => Some((T::read(inputs, 2)?, broadcast_strides(c.shape(), &shape))),
        _ => None,
    };
    let at = |strides: &[usize], index: usize| {
        let (row, column) = (index / shape[1], index % shape[1]);
        row * strides[0] + column * strides[1]
    };
    T::fill(context, dtype, &shape, |y| {
        if let (Some((c, strides)), false) = (&addend, apart) {
            for (index, y) in y.iter_mut().enumerate() {
                let c = c[at(strides, index)];
                *y = if op.beta == 1.0 {
                    c
                } else {
                    T::from_f64(c.to_f64() * beta)
                };
            }
            return multiply_onto(a, b, [&x, &w], T::from_f64(alpha), y);
        }
        let factor = if apart { T::ONE } else { T::from_f64(alpha) };
        multiply_matrices(a, b, &[], [&x, &w], factor, y);
        if apart {
            for (index, y) in y.iter_mut().enumerate() {
                let c = addend
                    .as_ref()
                    .map_or(0.0, |(c, strides)| c[at(strides, index)].to_f64());
                *y = T::from_f64(alpha * y.to_f64() + beta * c);
            }
        }
    })
}

fn multiply_onto<T: Number>(a: &Matrices, b: &Matrices, values: [&[T]; 2], factor: T, y: &mut [T]) {
    let [rows, depth] = a.sizes;
    let product = Product {
        rows,
        columns: b.sizes[1],
        depth,
        a_strides: a.strides,
        b_strides: b.strides,
    };
    multiply_batch(&product, &[[0, 0]], values, factor, Onto::Before, y);
}

/// Gemm, then an activation.
pub(super) fn fused_gemm(op: &FusedGemm, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let gemm_op = Gemm {
        alpha: op.alpha,
        beta: op.beta,
        transA: op.transA,
        transB: op.transB,
    };
    let parameters = [op.activation_alpha, op.activation_beta, op.activation_gamma];
    let activation = FusedActivation::parse(&op.activation, &parameters)?;
    activation.apply(gemm(&gemm_op, inputs, context)?, context)
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::MatMul;
    use half::f16;

    use super::super::testing::{run, run_one};
    use super::*;

    fn counting(shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..count(shape)).map(|i| i as f32).collect();
        Tensor::from_slice(shape, &values).unwrap()
    }

    #[test]
    fn ranks_and_broadcasting() {
        // Shapes of a and b, then the result's shape and its first and last element (numpy.matmul of numpy.arange).
        let cases: &[(&[usize], &[usize], &[usize], f32, f32)] = &[
            (&[3], &[3], &[], 5.0, 5.0),
            (&[3], &[3, 2], &[2], 10.0, 13.0),
            (&[2, 3], &[3], &[2], 5.0, 14.0),
            (&[2, 3], &[3, 2], &[2, 2], 10.0, 40.0),
            (&[2, 2, 3], &[3, 2], &[2, 2, 2], 10.0, 94.0),
            (&[2, 1, 2, 3], &[4, 3, 1], &[2, 4, 2, 1], 5.0, 302.0),
            (&[1, 2, 3], &[2, 3, 2], &[2, 2, 2], 10.0, 112.0),
            (&[2, 0], &[0, 3], &[2, 3], 0.0, 0.0),
            (&[2, 3], &[2, 3, 2], &[2, 2, 2], 10.0, 112.0),
        ];
        for (a, b, shape, first, last) in cases {
            let y = run_one(MatMul {}, &[counting(a), counting(b)]);
            assert_eq!(y.shape(), *shape, "{a:?} x {b:?}");
            let y = y.to_f32().unwrap();
            assert_eq!((y[0], y[y.len() - 1]), (*first, *last), "{a:?} x {b:?}");
        }
        assert!(run_one(MatMul {}, &[counting(&[0, 3]), counting(&[3, 2])]).is_empty());
        for (a, b) in [(&[2, 3][..], &[2, 3][..]), (&[], &[2]), (&[2, 2, 3], &[3, 3, 2])] {
            assert!(
                run(MatMul {}, &[counting(a), counting(b)]).is_err(),
                "{a:?} x {b:?}"
            );
        }
    }

    #[test]
    fn other_types() {
        let a = Tensor::from_slice(&[1, 2], &[i64::MAX, 3]).unwrap();
        let b = Tensor::from_slice(&[2, 1], &[2i64, 5]).unwrap();
        assert_eq!(run_one(MatMul {}, &[a, b.clone()]).to_i64().unwrap(), [13]);
        let half = Tensor::from_slice(&[1, 2], &[f16::from_f32(0.5), f16::from_f32(2.0)]).unwrap();
        let other = Tensor::from_slice(&[2, 1], &[f16::from_f32(3.0), f16::from_f32(0.25)]).unwrap();
        let y = run_one(MatMul {}, &[half.clone(), other]);
        assert_eq!((y.dtype(), y.to_f32().unwrap()), (DType::F16, vec![2.0]));
        assert!(run(MatMul {}, &[half, b]).is_err());
    }

    #[test]
    fn transposed_batches() {
        let op = |trans_a, trans_batch_a| FusedMatMul {
            alpha: 0.5,
            transA: trans_a,
            transB: true,
            transBatchA: trans_batch_a,
            transBatchB: false,
        };
        let b = counting(&[2, 2, 3]);
        // Against numpy: 0.5 * a.transpose(1, 0, 2) @ b.transpose(0, 2, 1) for a of shape [4, 2, 3].
        let y = run_one(op(false, true), &[counting(&[4, 2, 3]), b.clone()]);
        assert_eq!(y.shape(), [2, 4, 2]);
        assert_eq!(y.to_f32().unwrap()[8..10], [43.0, 61.0]);
        // 0.5 * a.transpose(1, 2, 0) @ b.transpose(0, 2, 1) for a of shape [3, 2, 4].
        let y = run_one(op(true, true), &[counting(&[3, 2, 4]), b]);
        assert_eq!(y.shape(), [2, 4, 2]);
        assert_eq!(y.to_f32().unwrap()[..2], [20.0, 56.0]);
    }

    #[test]
    fn gemm_scales_and_broadcasts() {
        let op = Gemm {
            alpha: 2.0,
            beta: 0.5,
            transA: true,
            transB: true,
        };
        let (a, b) = (counting(&[2, 3]), counting(&[2, 2]));
        for (shape, values, expected) in [
            (
                &[2][..],
                &[2.0f32, 4.0][..],
                [7.0f32, 20.0, 9.0, 30.0, 11.0, 40.0],
            ),
            (&[3, 1], &[2.0, 4.0, 6.0], [7.0, 19.0, 10.0, 30.0, 13.0, 41.0]),
            (&[], &[2.0], [7.0, 19.0, 9.0, 29.0, 11.0, 39.0]),
        ] {
            let c = Tensor::from_slice(shape, values).unwrap();
            let y = run_one(op.clone(), &[a.clone(), b.clone(), c]);
            assert_eq!(y.to_f32().unwrap(), expected, "c of shape {shape:?}");
        }
        assert_eq!(
            run_one(op.clone(), &[a.clone(), b.clone()]).to_f32().unwrap()[0],
            6.0
        );
        assert!(run(op.clone(), &[a.clone(), b.clone(), counting(&[2, 3, 2])]).is_err());
        assert!(run(op, &[a, counting(&[3, 3])]).is_err());
    }

    #[test]
    fn gemm_of_integers_with_factors() {
        let op = Gemm {
            alpha: 0.5,
            beta: 3.0,
            transA: false,
            transB: false,
        };
        let a = Tensor::from_slice(&[1, 2], &[1i32, 2]).unwrap();
        let b = Tensor::from_slice(&[2, 1], &[3i32, 4]).unwrap();
        let y = run_one(op, &[a, b, Tensor::from_vec1(&[2i32])]);
        assert_eq!(y.to_i64().unwrap(), [11]);
    }

    #[test]
    fn fused_gemm_activates() {
        let op = |activation: &str| FusedGemm {
            activation: activation.to_owned(),
            activation_alpha: 0.5,
            activation_beta: 0.0,
            activation_gamma: 0.0,
            alpha: 1.0,
            beta: 1.0,
            transA: false,
            transB: false,
        };
        let a = Tensor::from_slice(&[1, 1], &[-2.0f32]).unwrap();
        let b = Tensor::from_slice(&[1, 1], &[3.0f32]).unwrap();
        for (activation, expected) in [("", -6.0), ("Relu", 0.0), ("LeakyRelu", -3.0)] {
            let y = run_one(op(activation), &[a.clone(), b.clone()]);
            assert_eq!(y.to_f32().unwrap(), [expected], "{activation}");
        }
        assert!(run(op("Unheard"), &[a, b]).is_err());
    }
}
