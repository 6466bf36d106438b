//! Einsum: sums of products by index letters.
//!
//! Operands are contracted from left to right, each step as a batch of matrix products: letters that both have and that
//! are still needed make the batch, those that both have and nobody needs make the inner dimension.

mod equation;

use bantam_graph::ops::Einsum;
use bantam_kernels::matmul::{Onto, Product, multiply_batch};
use bantam_tensor::{DType, Tensor};

use self::equation::{Equation, Label};
use super::axes::count;
use super::dispatch::in_type;
use super::matmul::{Multiplied, in_product};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// Sums of products of any number of operands of one dtype.
pub(super) fn einsum(op: &Einsum, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let tensors = inputs.present();
    if tensors.len() != inputs.len() || tensors.is_empty() {
        return Err(OpError::MissingInput { index: 0 });
    }
    let dtype = tensors[0].dtype();
    if let Some(index) = tensors.iter().position(|tensor| tensor.dtype() != dtype) {
        return Err(OpError::Type {
            index,
            got: tensors[index].dtype(),
        });
    }
    let shapes: Vec<&[usize]> = tensors.iter().map(|tensor| tensor.shape()).collect();
    let equation = Equation::parse(&op.equation, &shapes)?;
    let shape: Vec<usize> = equation
        .output
        .iter()
        .map(|label| equation.size(*label))
        .collect();
    // Refuses sizes that cannot be held before anything is computed.
    context
        .uninitialized(dtype, &shape)
        .map(|tensor| context.recycle(tensor))?;
    in_product!(dtype, T => contract_all::<T>(&equation, &shape, inputs, dtype, context))
}

fn contract_all<T: Multiplied>(
    equation: &Equation,
    shape: &[usize],
    inputs: &Inputs<'_>,
    dtype: DType,
    context: &Context,
) -> Result<Tensor, OpError> {
    let mut result: Option<Factor<T>> = None;
    for (index, labels) in equation.operands.iter().enumerate() {
        let tensor = inputs.required(index)?;
        let values = T::read(inputs, index)?;
        let later = &equation.operands[index + 1..];
        let other = result
            .as_ref()
            .map(|result| result.labels.as_slice())
            .unwrap_or_default();
        let needed = |label: &Label| {
            other.contains(label)
                || equation.output.contains(label)
                || later.iter().any(|l| l.contains(label))
        };
        let factor = Factor::read(&values, tensor.shape(), labels, needed, context)?;
        let needed = |label: &Label| {
            equation.output.contains(label) || later.iter().any(|labels| labels.contains(label))
        };
        result = Some(match result {
            None => factor,
            Some(result) => result.times(&factor, needed, context)?,
        });
    }
    let result = result.ok_or_else(|| OpError::value("no operands"))?;
    let wanted: Vec<(Label, usize)> = equation
        .output
        .iter()
        .copied()
        .zip(shape.iter().copied())
        .collect();
    let values = result.arranged(&wanted, context)?;
    T::fill(context, dtype, shape, |y| y.copy_from_slice(&values))
}

/// A dense operand, each of whose labels stands for one dimension. Dimensions of size 1 are left out.
struct Factor<T> {
    labels: Vec<Label>,
    sizes: Vec<usize>,
    values: Vec<T>,
}

impl<T: Multiplied> Factor<T> {
    /// Takes the diagonal of repeated labels and sums over labels that nobody else needs.
    fn read(
        values: &[T],
        shape: &[usize],
        labels: &[Label],
        needed: impl Fn(&Label) -> bool,
        context: &Context,
    ) -> Result<Factor<T>, OpError> {
        let mut distinct: Vec<(Label, usize, usize)> = Vec::new();
        for (axis, &label) in labels.iter().enumerate() {
            let stride = count(&shape[axis + 1..]);
            match distinct.iter_mut().find(|(known, ..)| *known == label) {
                Some((_, size, total)) => {
                    // A size of 1 is repeated, and so adds no step.
                    if shape[axis] > 1 {
                        (*size, *total) = (shape[axis], *total + stride);
                    }
                }
                None => distinct.push((label, shape[axis], if shape[axis] > 1 { stride } else { 0 })),
            }
        }
        distinct.retain(|(_, size, _)| *size != 1);
        let (kept, summed): (Vec<_>, Vec<_>) = distinct.into_iter().partition(|(label, ..)| needed(label));
        let (sizes, strides): (Vec<usize>, Vec<usize>) =
            kept.iter().map(|&(_, size, stride)| (size, stride)).unzip();
        let (sum_sizes, sum_strides): (Vec<usize>, Vec<usize>) =
            summed.iter().map(|&(_, size, stride)| (size, stride)).unzip();
        let inner = offsets(&sum_sizes, &sum_strides, context)?;
        let outer = offsets(&sizes, &strides, context)?;
        let sum = |&start: &usize| match inner.as_slice() {
            [offset] => values[start + offset],
            _ => sum(&inner
                .iter()
                .map(|offset| values[start + offset])
                .collect::<Vec<T>>()),
        };
        let labels = kept.into_iter().map(|(label, ..)| label).collect();
        Ok(Factor {
            labels,
            sizes,
            values: outer.iter().map(sum).collect(),
        })
    }

    /// The product, summed over the labels that are not needed any more.
    fn times(
        &self,
        other: &Factor<T>,
        needed: impl Fn(&Label) -> bool,
        context: &Context,
    ) -> Result<Factor<T>, OpError> {
        let size = |label: &Label| self.size(label).unwrap_or(1).max(other.size(label).unwrap_or(1));
        let shared: Vec<Label> = self
            .labels
            .iter()
            .filter(|label| other.size(label).is_some())
            .copied()
            .collect();
        let with_sizes = |labels: Vec<Label>| -> Vec<(Label, usize)> {
            labels.into_iter().map(|label| (label, size(&label))).collect()
        };
        let batch = with_sizes(shared.iter().filter(|label| needed(label)).copied().collect());
        let depth = with_sizes(shared.iter().filter(|label| !needed(label)).copied().collect());
        let own = |factor: &Factor<T>| {
            let alone = factor.labels.iter().filter(|label| !shared.contains(label));
            with_sizes(alone.copied().collect())
        };
        let (rows, columns) = (own(self), own(other));
        let a = self.arranged(&[batch.as_slice(), &rows, &depth].concat(), context)?;
        let b = other.arranged(&[batch.as_slice(), &columns, &depth].concat(), context)?;
        let total = |labels: &[(Label, usize)]| labels.iter().map(|&(_, size)| size).product::<usize>();
        let (labels, sizes): (Vec<Label>, Vec<usize>) =
            [batch.as_slice(), &rows, &columns].concat().into_iter().unzip();
        check_size::<T>(&sizes, context)?;
        let product = Product {
            rows: total(&rows),
            columns: total(&columns),
            depth: total(&depth),
            a_strides: [total(&depth), 1],
            b_strides: [1, total(&depth)],
        };
        let starts: Vec<[usize; 2]> = (0..total(&batch))
            .map(|index| {
                [
                    index * product.rows * product.depth,
                    index * product.columns * product.depth,
                ]
            })
            .collect();
        let mut values = vec![T::default(); count(&sizes)];
        multiply_batch(&product, &starts, [&a, &b], T::ONE, Onto::Nothing, &mut values);
        Ok(Factor {
            labels,
            sizes,
            values,
        })
    }

    fn size(&self, label: &Label) -> Option<usize> {
        self.labels
            .iter()
            .position(|known| known == label)
            .map(|axis| self.sizes[axis])
    }

    /// The values with dimensions in this order; missing ones and those of size 1 are repeated.
    fn arranged(&self, wanted: &[(Label, usize)], context: &Context) -> Result<Vec<T>, OpError> {
        let stride = |label: &Label| match self.labels.iter().position(|known| known == label) {
            Some(axis) if self.sizes[axis] > 1 => count(&self.sizes[axis + 1..]),
            _ => 0,
        };
        let (sizes, strides): (Vec<usize>, Vec<usize>) =
            wanted.iter().map(|(label, size)| (*size, stride(label))).unzip();
        check_size::<T>(&sizes, context)?;
        Ok(offsets(&sizes, &strides, context)?
            .into_iter()
            .map(|offset| self.values[offset])
            .collect())
    }
}

fn sum<T: Multiplied>(values: &[T]) -> T {
    let product = Product {
        rows: 1,
        columns: 1,
        depth: values.len(),
        a_strides: [0, 1],
        b_strides: [0, 0],
    };
    let mut sum = [T::default()];
    multiply_batch(
        &product,
        &[[0, 0]],
        [values, &[T::ONE]],
        T::ONE,
        Onto::Nothing,
        &mut sum,
    );
    sum[0]
}

/// Refuses sizes whose memory nobody has.
fn check_size<T: Multiplied>(sizes: &[usize], context: &Context) -> Result<(), OpError> {
    context
        .uninitialized(T::DTYPE, sizes)
        .map(|tensor| context.recycle(tensor))
}

/// The flat offset of every position of a grid, in row-major order.
fn offsets(sizes: &[usize], strides: &[usize], context: &Context) -> Result<Vec<usize>, OpError> {
    check_size::<i64>(sizes, context)?;
    if sizes.contains(&0) {
        return Ok(Vec::new());
    }
    let mut offsets = vec![0];
    for (&size, &stride) in sizes.iter().zip(strides) {
        offsets = offsets
            .iter()
            .flat_map(|&start| (0..size).map(move |i| start + i * stride))
            .collect();
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{run, run_one};
    use super::*;

    fn counting(shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..count(shape)).map(|i| i as f32).collect();
        Tensor::from_slice(shape, &values).unwrap()
    }

    fn op(equation: &str) -> Einsum {
        Einsum {
            equation: equation.to_owned(),
        }
    }

    #[test]
    fn equations() {
        // Results of numpy.einsum on numpy.arange operands.
        let cases: &[(&str, &[&[usize]], &[usize], &[f32])] = &[
            ("ij->ji", &[&[2, 3]], &[3, 2], &[0., 3., 1., 4., 2., 5.]),
            ("ij", &[&[2, 2]], &[2, 2], &[0., 1., 2., 3.]),
            ("ba", &[&[2, 2]], &[2, 2], &[0., 2., 1., 3.]),
            ("ij->i", &[&[2, 3]], &[2], &[3., 12.]),
            ("ij->", &[&[2, 3]], &[], &[15.]),
            ("ii->i", &[&[3, 3]], &[3], &[0., 4., 8.]),
            ("ii", &[&[3, 3]], &[], &[12.]),
            ("i,i", &[&[3], &[3]], &[], &[5.]),
            ("i,j->ij", &[&[2], &[3]], &[2, 3], &[0., 0., 0., 0., 1., 2.]),
            (
                " i j , j k -> i k ",
                &[&[2, 2], &[2, 2]],
                &[2, 2],
                &[2., 3., 6., 11.],
            ),
            ("bij,bjk->bik", &[&[2, 1, 2], &[2, 2, 1]], &[2, 1, 1], &[1., 13.]),
            (
                "...ij,...jk->...ik",
                &[&[2, 1, 2], &[2, 2]],
                &[2, 1, 2],
                &[2., 3., 6., 11.],
            ),
            ("...i->...", &[&[2, 2]], &[2], &[1., 5.]),
            ("...", &[&[2]], &[2], &[0., 1.]),
            ("i...->i", &[&[2, 3]], &[2], &[3., 12.]),
            ("...a,...a->...", &[&[1, 2], &[2, 2]], &[2], &[1., 3.]),
            ("ij,jk,kl->il", &[&[1, 2], &[2, 2], &[2, 1]], &[1, 1], &[3.]),
            (
                "ij,ij,ij->ij",
                &[&[1, 3], &[1, 3], &[1, 3]],
                &[1, 3],
                &[0., 1., 8.],
            ),
            ("iij,j->i", &[&[2, 2, 2], &[2]], &[2], &[1., 7.]),
            ("ab,c->", &[&[2, 2], &[3]], &[], &[18.]),
            ("ij,j->i", &[&[2, 0], &[0]], &[2], &[0., 0.]),
            ("ij,ij->ij", &[&[2, 1], &[2, 2]], &[2, 2], &[0., 0., 2., 3.]),
        ];
        for (equation, shapes, shape, expected) in cases {
            let inputs: Vec<Tensor> = shapes.iter().map(|shape| counting(shape)).collect();
            let y = run_one(op(equation), &inputs);
            assert_eq!(
                (y.shape(), y.to_f32().unwrap().as_slice()),
                (*shape, *expected),
                "{equation}"
            );
        }
    }

    #[test]
    fn wrong_equations_are_refused() {
        let cases: &[(&str, &[&[usize]])] = &[
            ("ij,jk->ik", &[&[2, 2]]),
            ("ij->ji", &[&[2, 2], &[2]]),
            ("ijk->i", &[&[2, 2]]),
            ("i...j->i", &[&[2]]),
            ("ij->k", &[&[2, 2]]),
            ("ij->ii", &[&[2, 2]]),
            ("i,i", &[&[2], &[3]]),
            ("i1->i", &[&[2, 2]]),
            ("i..->i", &[&[2, 2]]),
            ("......->", &[&[2, 2]]),
            ("i->i->i", &[&[2]]),
            ("ii->i", &[&[2, 3]]),
        ];
        for (equation, shapes) in cases {
            let inputs: Vec<Tensor> = shapes.iter().map(|shape| counting(shape)).collect();
            assert!(run(op(equation), &inputs).is_err(), "{equation}");
        }
    }

    #[test]
    fn integers() {
        let x = Tensor::from_slice(&[2, 2], &[1i32, 2, 3, 4]).unwrap();
        assert_eq!(
            run_one(op("ij,jk->ik"), &[x.clone(), x]).to_i64().unwrap(),
            [7, 10, 15, 22]
        );
    }
}
