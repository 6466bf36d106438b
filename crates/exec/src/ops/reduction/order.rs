//! TopK.

use std::cmp::Ordering;

use bantam_graph::ops::TopK;
use bantam_tensor::{DType, Element};
use rayon::prelude::*;

use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::axes::{axis, split_at_axis};
use crate::ops::dispatch::in_number;
use crate::{Context, OpError};

/// The k (input 1) largest or smallest elements along an axis in order, and their positions; of equal elements the
/// first come first, and not-a-number counts as the largest.
pub(in crate::ops) fn top_k(op: &TopK, inputs: &Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
    in_number!(inputs.required(0)?.dtype(), 0, T => top_values::<T>(op, inputs, context))
}

fn top_values<T: Element + Copy>(
    op: &TopK,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    let x = inputs.required(0)?;
    let at = axis(op.axis, x.rank())?;
    let (outer, dim, inner) = split_at_axis(x.shape(), at);
    let k = match inputs
        .integers(1)?
        .ok_or(OpError::MissingInput { index: 1 })?
        .as_slice()
    {
        &[k] => usize::try_from(k).ok().filter(|&k| k <= dim),
        _ => None,
    };
    let k = k.ok_or_else(|| OpError::value(format!("k must be one number from 0 to {dim}")))?;
    let mut shape = x.shape().to_vec();
    shape[at] = k;
    let values = inputs.values::<T>(0)?;
    let mut indices = context.uninitialized(DType::I64, &shape)?;
    let mut top = context.uninitialized(T::DTYPE, &shape)?;
    // One lane along the axis for each place outside of it.
    let lanes: Vec<Vec<usize>> = (0..outer * inner)
        .into_par_iter()
        .with_min_len(16)
        .map(|lane| {
            let start = lane / inner * dim * inner + lane % inner;
            best(dim, k, op.largest, |position| values[start + position * inner])
        })
        .collect();
    let (top_slice, index_slice) = (top.values_mut::<T>()?, indices.values_mut::<i64>()?);
    for (lane, positions) in lanes.iter().enumerate() {
        let (outer, column) = (lane / inner, lane % inner);
        for (rank, &position) in positions.iter().enumerate() {
            let target = (outer * k + rank) * inner + column;
            top_slice[target] = values[(outer * dim + position) * inner + column];
            index_slice[target] = position as i64;
        }
    }
    Ok(vec![Some(top), Some(indices)])
}

/// The positions of the best `k` of `dim` values, in order.
#[allow(clippy::eq_op, reason = "NaN differs from itself")]
fn best<T: PartialOrd>(dim: usize, k: usize, largest: bool, value: impl Fn(usize) -> T) -> Vec<usize> {
    let ascending = |a: &usize, b: &usize| {
        let (a, b) = (value(*a), value(*b));
        // Only not-a-number cannot be compared; it comes after all others.
        a.partial_cmp(&b).unwrap_or_else(|| (a != a).cmp(&(b != b)))
    };
    let order = |a: &usize, b: &usize| -> Ordering {
        let by_value = if largest { ascending(b, a) } else { ascending(a, b) };
        by_value.then(a.cmp(b))
    };
    let mut positions: Vec<usize> = (0..dim).collect();
    if k < dim {
        positions.select_nth_unstable_by(k, order);
        positions.truncate(k);
    }
    positions.sort_unstable_by(order);
    positions
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::TopK;
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::run;

    fn top(axis: i64, largest: bool, k: i64, x: &Tensor) -> Option<(Tensor, Vec<i64>)> {
        let outputs = run(
            TopK {
                axis,
                largest,
                sorted: true,
            },
            &[x.clone(), Tensor::from_vec1(&[k])],
        )
        .ok()?;
        Some((outputs[0].clone(), outputs[1].to_i64().unwrap()))
    }

    #[test]
    fn first_of_equal_elements() {
        let x = Tensor::from_slice(&[2, 4], &[1i64, 3, 3, 0, 7, 5, 7, 7]).unwrap();
        let values = |values: &[i64]| Tensor::from_slice(&[2, 2], values).unwrap();
        assert_eq!(
            top(-1, true, 2, &x),
            Some((values(&[3, 3, 7, 7]), vec![1, 2, 0, 2]))
        );
        assert_eq!(
            top(1, false, 2, &x),
            Some((values(&[0, 1, 5, 7]), vec![3, 0, 1, 0]))
        );
        let columns = Tensor::from_slice(&[1, 4], &[7i64, 5, 7, 7]).unwrap();
        assert_eq!(top(0, true, 1, &x), Some((columns, vec![1, 1, 1, 1])));
        assert_eq!(top(0, true, 0, &x).unwrap().0.shape(), [0, 4]);
        assert!(top(0, true, 3, &x).is_none() && top(0, true, -1, &x).is_none());
    }

    #[test]
    fn not_a_number_is_the_largest() {
        let x = Tensor::from_vec1(&[1.0f32, f32::NAN, 2.0]);
        assert_eq!(top(0, true, 2, &x).unwrap().1, [1, 2]);
        assert_eq!(top(0, false, 3, &x).unwrap().1, [0, 2, 1]);
        assert!(top(0, true, 1, &Tensor::zeros(DType::Bool, &[2]).unwrap()).is_none());
    }
}
