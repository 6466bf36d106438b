//! What the inputs of a layer look like: first and second moments of what each output element is computed from.

use bantam_exec::conv_geometry;
use bantam_graph::{Node, Op};
use bantam_kernels::cholesky::{cholesky, cholesky_solve};
use bantam_kernels::conv::{Geometry, patches};
use bantam_kernels::matmul::{Onto, Product, multiply_batch};
use bantam_tensor::{SplitMix64, Tensor};
use rayon::prelude::*;

use super::LayerwiseError;

/// Most rows that the moments of a layer are taken from; where there are more, a random share of each batch is.
const MOST_ROWS: usize = 1 << 16;

/// Moments of one group of channels, with quantized inputs `x` and those of the float network `y`; the second ones are around
/// the means, or around zero.
pub(crate) struct Moments {
    pub(crate) depth: usize,
    /// Mean of `x`.
    pub(crate) mean: Vec<f64>,
    /// Mean of `y`.
    pub(crate) float_mean: Vec<f64>,
    /// Mean of `x x^T`.
    pub(crate) second: Vec<f64>,
    /// Mean of `y x^T`.
    pub(crate) cross: Vec<f64>,
}

impl Moments {
    /// Means of the squares of `x`, or its variances.
    pub(crate) fn diagonal(&self) -> Vec<f64> {
        let depth = self.depth;
        (0..depth)
            .map(|index| self.second[index * depth + index])
            .collect()
    }

    /// The mean square that errors of the weights from `first` on add to an output.
    pub(in crate::quantize) fn squared(&self, first: usize, errors: &[f64]) -> f64 {
        let rows = self.second.chunks_exact(self.depth).skip(first);
        let sum = |row: &[f64]| -> f64 {
            let pairs = row[first..].iter().zip(errors);
            pairs.map(|(h, error)| h * error).sum()
        };
        rows.zip(errors).map(|(row, error)| error * sum(row)).sum()
    }

    /// The moments as if the float network had the same inputs.
    pub(in crate::quantize) fn settled(&self) -> Moments {
        Moments {
            depth: self.depth,
            mean: self.mean.clone(),
            float_mean: self.mean.clone(),
            second: self.second.clone(),
            cross: self.second.clone(),
        }
    }

    /// Where rows of weights make up for the difference between the inputs of the quantized and the float network: they go with
    /// `x` as the rows themselves go with `y`, by least squares, damped by this share of the mean of the diagonal.
    pub(crate) fn targets(&self, rows: &[f32], damping: f64) -> Vec<f32> {
        let depth = self.depth;
        let mut damped = self.second.clone();
        let mean = self.diagonal().iter().sum::<f64>() / depth.max(1) as f64;
        (0..depth).for_each(|index| damped[index * depth + index] += damping * mean);
        if !cholesky(&mut damped, depth) {
            return rows.to_vec();
        }
        let difference: Vec<f64> = (self.cross.iter().zip(&self.second))
            .map(|(c, h)| c - h)
            .collect();
        let target = |row: &[f32]| {
            let mut moved = vec![0.0; depth];
            for (weight, difference) in row.iter().zip(difference.chunks_exact(depth)) {
                moved
                    .iter_mut()
                    .zip(difference)
                    .for_each(|(sum, value)| *sum += f64::from(*weight) * value);
            }
            cholesky_solve(&damped, depth, &mut moved);
            row.iter()
                .zip(moved)
                .map(|(w, by)| w + by as f32)
                .collect::<Vec<f32>>()
        };
        rows.par_chunks_exact(depth.max(1))
            .flat_map_iter(target)
            .collect()
    }
}

/// Rows that one group of a product's outputs are computed from.
enum Rows<'a> {
    Windows {
        geometry: Geometry,
        x: &'a [f32],
        group: usize,
    },
    Given {
        x: &'a [f32],
        depth: usize,
    },
}

impl Rows<'_> {
    fn count(&self) -> usize {
        match self {
            Rows::Windows { geometry, .. } => geometry.batch * geometry.output_plane(),
            Rows::Given { x, depth } => x.len() / depth.max(&1),
        }
    }

    fn gather(&self, positions: &[usize], depth: usize) -> Vec<f32> {
        match self {
            Rows::Windows { geometry, x, group } => {
                let mut rows = vec![0.0; positions.len() * depth];
                patches(geometry, x, *group, positions, &mut rows);
                rows
            }
            Rows::Given { x, .. } => positions
                .iter()
                .flat_map(|position| &x[position * depth..(position + 1) * depth])
                .copied()
                .collect(),
        }
    }
}

/// The moments of each group of a product with a weight of this shape, from batches of its inputs in the quantized and in the
/// float network, or of the first alone, which then stand for both.
///
/// # Errors
/// When an input has another type or shape.
pub(crate) fn moments(
    node: &Node,
    weight: &[usize],
    depth: usize,
    (inputs, float): (&[Tensor], Option<&[Tensor]>),
    (around_means, seed): (bool, u64),
) -> Result<Vec<Moments>, LayerwiseError> {
    let groups = match &node.op {
        Op::Conv(conv) => usize::try_from(conv.group).unwrap_or(1).max(1),
        _ => 1,
    };
    let total: usize = (inputs.iter())
        .map(|x| Ok(rows(node, weight, depth, x, &[], 0)?.count()))
        .sum::<Result<usize, LayerwiseError>>()?;
    let share = (MOST_ROWS as f64 / total.max(1) as f64).min(1.0);
    let mut sums: Vec<Sums> = (0..groups).map(|_| Sums::new(depth, float.is_some())).collect();
    for (index, x) in inputs.iter().enumerate() {
        let y = float.and_then(|float| float.get(index));
        let values = x.to_f32()?;
        let float_values = y.map(Tensor::to_f32).transpose()?;
        let count = rows(node, weight, depth, x, &values, 0)?.count();
        let positions = chosen(count, share, seed.wrapping_add(index as u64));
        for (group, sums) in sums.iter_mut().enumerate() {
            let gather = |tensor: &Tensor, values: &[f32]| {
                Ok::<_, LayerwiseError>(
                    rows(node, weight, depth, tensor, values, group)?.gather(&positions, depth),
                )
            };
            let float = y.zip(float_values.as_deref());
            let float = float.map(|(tensor, values)| gather(tensor, values)).transpose()?;
            sums.add(&gather(x, &values)?, float.as_deref());
        }
    }
    Ok(sums.into_iter().map(|sums| sums.moments(around_means)).collect())
}

fn rows<'a>(
    node: &Node,
    weight: &[usize],
    depth: usize,
    tensor: &Tensor,
    x: &'a [f32],
    group: usize,
) -> Result<Rows<'a>, LayerwiseError> {
    match &node.op {
        Op::Conv(conv) => Ok(Rows::Windows {
            geometry: conv_geometry(conv, tensor.shape(), weight).map_err(|error| LayerwiseError::Shape {
                problem: error.to_string(),
            })?,
            x,
            group,
        }),
        _ if tensor.shape().last() == Some(&depth) => Ok(Rows::Given { x, depth }),
        _ => Err(LayerwiseError::Shape {
            problem: format!("an input of {:?} for weights of depth {depth}", tensor.shape()),
        }),
    }
}

/// A share of the numbers under `count`, in order.
fn chosen(count: usize, share: f64, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    if share < 1.0 {
        SplitMix64::new(seed).shuffle(&mut order);
        order.truncate(((count as f64 * share).ceil() as usize).min(count));
        order.sort_unstable();
    }
    order
}

/// Sums over rows.
struct Sums {
    depth: usize,
    count: usize,
    x: Vec<f64>,
    second: Vec<f64>,
    /// Of `y`, and of its products with `x`.
    float: Option<[Vec<f64>; 2]>,
}

impl Sums {
    fn new(depth: usize, float: bool) -> Sums {
        Sums {
            depth,
            count: 0,
            x: vec![0.0; depth],
            second: vec![0.0; depth * depth],
            float: float.then(|| [vec![0.0; depth], vec![0.0; depth * depth]]),
        }
    }

    fn add(&mut self, x: &[f32], y: Option<&[f32]>) {
        self.count += x.len() / self.depth.max(1);
        add_rows(&mut self.x, x);
        add_products(&mut self.second, x, x, self.depth);
        if let (Some([first, cross]), Some(y)) = (&mut self.float, y) {
            add_rows(first, y);
            add_products(cross, y, x, self.depth);
        }
    }

    /// Means, the second ones around the first or around zero.
    fn moments(self, around_means: bool) -> Moments {
        let (count, depth) = (self.count.max(1) as f64, self.depth);
        let mean = |sums: Vec<f64>| sums.into_iter().map(|sum| sum / count).collect::<Vec<f64>>();
        let (x, second) = (mean(self.x), mean(self.second));
        let central = |mut products: Vec<f64>, left: &[f64]| {
            if !around_means {
                return products;
            }
            for (row, left) in products.chunks_exact_mut(depth.max(1)).zip(left) {
                row.iter_mut()
                    .zip(&x)
                    .for_each(|(product, right)| *product -= left * right);
            }
            products
        };
        let second = central(second, &x);
        let (float_mean, cross) = match self.float {
            Some([first, cross]) => {
                let first = mean(first);
                let cross = central(mean(cross), &first);
                (first, cross)
            }
            None => (x.clone(), second.clone()),
        };
        Moments {
            depth,
            mean: x,
            float_mean,
            second,
            cross,
        }
    }
}

fn add_rows(sums: &mut [f64], rows: &[f32]) {
    for row in rows.chunks_exact(sums.len().max(1)) {
        sums.iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += f64::from(*value));
    }
}

fn add_products(sums: &mut [f64], left: &[f32], right: &[f32], depth: usize) {
    let products = outer(left, right, depth);
    sums.iter_mut()
        .zip(products)
        .for_each(|(sum, value)| *sum += f64::from(value));
}

/// Sum of the outer products of rows: `left^T right`.
fn outer(left: &[f32], right: &[f32], depth: usize) -> Vec<f32> {
    let rows = left.len() / depth.max(1);
    let product = Product {
        rows: depth,
        columns: depth,
        depth: rows,
        a_strides: [1, depth],
        b_strides: [depth, 1],
    };
    let mut sums = vec![0.0; depth * depth];
    multiply_batch(&product, &[[0, 0]], [left, right], 1.0, Onto::Nothing, &mut sums);
    sums
}
