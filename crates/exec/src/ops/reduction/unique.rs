//! Unique.

use bantam_graph::ops::Unique;
use bantam_kernels::copy::{RunList, permute, take_runs};
use bantam_tensor::{DType, Tensor};

use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::axes::{axis, split_at_axis};
use crate::ops::units::{Unit, in_unit};
use crate::{Context, OpError};

/// Distinct elements (or slices of an axis), their first indices, the inverse indices, and counts.
pub(in crate::ops) fn unique(
    op: &Unique,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    let x = inputs.required(0)?;
    let at = op.axis.map(|at| axis(at, x.rank())).transpose()?;
    let (outer, dim, inner) = at.map_or((1, x.len(), 1), |at| split_at_axis(x.shape(), at));
    let slices = keys_by_slice(&keys(x)?, outer, dim, inner);
    let groups = Groups::new(&slices, dim, outer * inner, op.sorted);
    let mut shape = at.map_or(vec![0], |_| x.shape().to_vec());
    shape[at.unwrap_or(0)] = groups.first.len();
    let mut taken = RunList::default();
    groups.first.iter().for_each(|&position| taken.push(position));
    let runs = [RunList::identity(outer), taken, RunList::identity(inner)];
    let y = in_unit!(x.dtype(), U => {
        let units = U::read(x)?;
        U::build(context, x.dtype(), &shape, |y| {
            take_runs(&units, &[outer, dim, inner], &runs, &U::default(), y);
            Ok(())
        })
    })?;
    let list = |values: &[usize]| {
        Some(Tensor::from_vec1(
            &values.iter().map(|&value| value as i64).collect::<Vec<_>>(),
        ))
    };
    Ok(vec![
        Some(y),
        list(&groups.first),
        list(&groups.inverse),
        list(&groups.counts),
    ])
}

/// Numbers that are ordered as the elements are; equal for both zeros, and for all that are not numbers.
fn keys(x: &Tensor) -> Result<Vec<u64>, OpError> {
    const TOP: u64 = 1 << 63;
    Ok(match x.dtype() {
        DType::String => {
            let strings = x.strings()?;
            let mut sorted: Vec<&Vec<u8>> = strings.iter().collect();
            sorted.sort_unstable();
            sorted.dedup();
            strings
                .iter()
                .map(|text| sorted.partition_point(|other| *other < text) as u64)
                .collect()
        }
        DType::U64 => x.values::<u64>()?.into_owned(),
        dtype if dtype.is_integer() || dtype == DType::Bool => {
            x.to_i64()?.into_iter().map(|value| value as u64 ^ TOP).collect()
        }
        dtype if dtype.is_float() => {
            let key = |value: f64| {
                let bits = if value.is_nan() {
                    f64::NAN.to_bits()
                } else {
                    (value + 0.0).to_bits()
                };
                if bits & TOP == 0 { bits | TOP } else { !bits }
            };
            x.to_f64()?.into_iter().map(key).collect()
        }
        got => return Err(OpError::Type { index: 0, got }),
    })
}

/// The keys of each slice of the middle axis side by side.
fn keys_by_slice(keys: &[u64], outer: usize, dim: usize, inner: usize) -> Vec<u64> {
    let mut slices = vec![0; keys.len()];
    permute(keys, &[outer, dim, inner], &[1, 0, 2], &mut slices);
    slices
}

/// Slices that are equal.
struct Groups {
    first: Vec<usize>,
    inverse: Vec<usize>,
    counts: Vec<usize>,
}

impl Groups {
    /// Groups `count` slices of `width` keys: in ascending order, or in that of their first slices.
    fn new(keys: &[u64], count: usize, width: usize, sorted: bool) -> Groups {
        let slice = |index: usize| &keys[index * width..(index + 1) * width];
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| slice(a).cmp(slice(b)));
        let mut groups: Vec<&[usize]> = order.chunk_by(|&a, &b| slice(a) == slice(b)).collect();
        if !sorted {
            // The sort keeps equal slices in their order: the first of each group comes first.
            groups.sort_by_key(|group| group[0]);
        }
        let mut inverse = vec![0; count];
        for (index, group) in groups.iter().enumerate() {
            group.iter().for_each(|&member| inverse[member] = index);
        }
        let first = groups.iter().map(|group| group[0]).collect();
        Groups {
            first,
            inverse,
            counts: groups.iter().map(|group| group.len()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::Unique;
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    fn list(values: &[i64]) -> Tensor {
        Tensor::from_vec1(values)
    }

    #[test]
    fn examples_of_the_specification() {
        let x = Tensor::from_vec1(&[2i32, 1, 1, 3, 4, 3]);
        let outputs = run(
            Unique {
                axis: None,
                sorted: false,
            },
            &[x],
        )
        .unwrap();
        let expected = [
            list(&[0, 1, 3, 4]),
            list(&[0, 1, 1, 2, 3, 2]),
            list(&[1, 2, 2, 1]),
        ];
        assert_eq!(
            (&outputs[0], &outputs[1..]),
            (&Tensor::from_vec1(&[2i32, 1, 3, 4]), &expected[..])
        );
        let x = Tensor::from_slice(&[3, 3], &[1i32, 0, 0, 1, 0, 0, 2, 3, 4]).unwrap();
        let outputs = run(
            Unique {
                axis: Some(0),
                sorted: true,
            },
            &[x],
        )
        .unwrap();
        let expected = [list(&[0, 2]), list(&[0, 0, 1]), list(&[2, 1])];
        let y = Tensor::from_slice(&[2, 3], &[1i32, 0, 0, 2, 3, 4]).unwrap();
        assert_eq!((&outputs[0], &outputs[1..]), (&y, &expected[..]));
        let x = [1.0f32, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 1.0].repeat(2);
        let x = Tensor::from_slice(&[2, 4, 2], &x).unwrap();
        let outputs = run(
            Unique {
                axis: Some(1),
                sorted: true,
            },
            &[x],
        )
        .unwrap();
        assert_eq!(
            outputs[0].to_f32().unwrap(),
            [0.0, 1.0, 1.0, 1.0, 2.0, 1.0].repeat(2)
        );
        assert_eq!(
            outputs[1..],
            [list(&[1, 0, 2]), list(&[1, 0, 2, 0]), list(&[2, 1, 1])]
        );
    }

    #[test]
    fn order_of_every_kind_of_element() {
        let sorted = Unique {
            axis: None,
            sorted: true,
        };
        let y = run_one(
            sorted.clone(),
            &[Tensor::from_vec1(&[
                f32::NAN,
                -0.0,
                -1.5,
                0.0,
                f32::NAN,
                f32::NEG_INFINITY,
            ])],
        );
        let y = y.to_f32().unwrap();
        assert!(y[..3] == [f32::NEG_INFINITY, -1.5, 0.0] && y.len() == 4 && y[3].is_nan());
        let y = run_one(sorted.clone(), &[Tensor::from_vec1(&[u64::MAX, 0, u64::MAX])]);
        assert_eq!(y, Tensor::from_vec1(&[0, u64::MAX]));
        let text = |text: &str| text.as_bytes().to_vec();
        let x = Tensor::from_strings(&[3], vec![text("b"), text("a"), text("b")]).unwrap();
        assert_eq!(
            run_one(sorted.clone(), &[x]).strings().unwrap(),
            [text("a"), text("b")]
        );
        let empty = Tensor::zeros(DType::I32, &[0]).unwrap();
        assert_eq!(run_one(sorted.clone(), &[empty]).shape(), [0]);
        assert!(run(sorted, &[Tensor::zeros(DType::Complex64, &[1]).unwrap()]).is_err());
    }
}
