//! GridSample, AffineGrid.

use bantam_graph::ops::{AffineGrid, GridSample, GridSampleMode, GridSamplePadding};
use bantam_kernels::sample::{SampleMode, SamplePadding, Sampling, sample};
use bantam_tensor::Tensor;

use super::axes::count;
use super::floats::{fill, in_real, read};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// Most spatial dimensions that are sampled: the number of neighbours grows as a power of it.
const DIMENSIONS: usize = 5;

/// x `[N, C, size...]`, grid `[N, output size..., dimensions]`.
pub(super) fn grid_sample(
    op: &GridSample,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, grid) = (inputs.required(0)?, inputs.required(1)?);
    let (size, points) = (x.shape().get(2..).unwrap_or_default(), grid.shape());
    let fits = !size.is_empty()
        && points.len() == x.rank()
        && points[0] == x.shape()[0]
        && points[points.len() - 1] == size.len();
    if !fits {
        let (x, dimensions) = (x.shape(), size.len());
        return Err(OpError::shape(format!(
            "a grid of shape {points:?} does not fit x of shape {x:?}: [N, ..., {dimensions}] is needed"
        )));
    }
    if size.len() > DIMENSIONS {
        return Err(OpError::Unsupported(format!(
            "sampling in {} dimensions",
            size.len()
        )));
    }
    let sampling = Sampling {
        mode: match op.mode {
            GridSampleMode::Nearest => SampleMode::Nearest,
            GridSampleMode::Linear => SampleMode::Linear,
            GridSampleMode::Cubic => SampleMode::Cubic,
        },
        padding: match op.padding_mode {
            GridSamplePadding::Zeros => SamplePadding::Zeros,
            GridSamplePadding::Border => SamplePadding::Border,
            GridSamplePadding::Reflection => SamplePadding::Reflection,
        },
        align_corners: op.align_corners,
    };
    let shape = [&x.shape()[..2], &points[1..points.len() - 1]].concat();
    in_real!(x.dtype(), 0, T => {
        let (values, grids) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?);
        fill(context, x.dtype(), &shape, |y: &mut [T]| {
            if values.is_empty() || y.is_empty() {
                return y.fill(0.0);
            }
            let (image, of_sample) = (count(&x.shape()[1..]), count(&points[1..]));
            let samples = values.chunks_exact(image).zip(grids.chunks_exact(of_sample));
            for ((x, grid), y) in samples.zip(y.chunks_exact_mut(count(&shape[1..]))) {
                sample(sampling, x, size, grid, y);
            }
        })
    })
}

/// theta `[N, dimensions, dimensions + 1]`, size `[N, C, size...]`: the grid `[N, size..., dimensions]`.
pub(super) fn affine_grid(
    op: &AffineGrid,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let theta = inputs.required(0)?;
    let size = inputs.integers(1)?.ok_or(OpError::MissingInput { index: 1 })?;
    let sizes: Option<Vec<usize>> = size.iter().map(|&size| usize::try_from(size).ok()).collect();
    let sizes = sizes.filter(|sizes| matches!(sizes.len(), 4 | 5));
    let sizes = sizes
        .ok_or_else(|| OpError::value(format!("size {size:?} is not [N, C, H, W] or [N, C, D, H, W]")))?;
    let (batch, spatial) = (sizes[0], &sizes[2..]);
    let dimensions = spatial.len();
    if theta.shape() != [batch, dimensions, dimensions + 1] {
        let wanted = [batch, dimensions, dimensions + 1];
        return Err(OpError::shape(format!(
            "theta must have shape {wanted:?}, got {:?}",
            theta.shape()
        )));
    }
    let maps = read::<f64>(inputs, 0)?;
    let shape = [&[batch], spatial, &[dimensions]].concat();
    if !theta.dtype().is_float() {
        return Err(OpError::Type {
            index: 0,
            got: theta.dtype(),
        });
    }
    fill(context, theta.dtype(), &shape, |y: &mut [f64]| {
        let points = y.len() / (batch * dimensions).max(1);
        for (index, point) in y.chunks_exact_mut(dimensions).enumerate() {
            let base = base_point(index % points, spatial, op.align_corners);
            let map = &maps[index / points * dimensions * (dimensions + 1)..];
            for (row, out) in point.iter_mut().enumerate() {
                let row = &map[row * (dimensions + 1)..][..dimensions + 1];
                *out = row
                    .iter()
                    .zip(&base)
                    .map(|(factor, coordinate)| factor * coordinate)
                    .sum();
            }
        }
    })
}

/// The homogeneous coordinates of a position in an image, the last dimension first, then 1.
fn base_point(mut index: usize, size: &[usize], align_corners: bool) -> [f64; 4] {
    let mut point = [1.0; 4];
    for (coordinate, &length) in point.iter_mut().zip(size.iter().rev()) {
        let (position, length_f) = ((index % length) as f64, length as f64);
        index /= length;
        *coordinate = match align_corners {
            true if length == 1 => -1.0,
            true => 2.0 * position / (length_f - 1.0) - 1.0,
            false => (2.0 * position + 1.0) / length_f - 1.0,
        };
    }
    point
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{run, run_one};

    fn affine(align_corners: bool) -> AffineGrid {
        AffineGrid { align_corners }
    }

    #[test]
    fn the_identity_map_samples_the_image_itself() {
        let image: Vec<f32> = (0..12u8).map(f32::from).collect();
        let x = Tensor::from_slice(&[1, 2, 2, 3], &image).unwrap();
        let theta = Tensor::from_slice(&[1, 2, 3], &[1.0f32, 0.0, 0.0, 0.0, 1.0, 0.0]).unwrap();
        let size = Tensor::from_vec1(&[1i64, 2, 2, 3]);
        for align_corners in [false, true] {
            let grid = run_one(affine(align_corners), &[theta.clone(), size.clone()]);
            assert_eq!(grid.shape(), [1, 2, 3, 2]);
            for mode in [
                GridSampleMode::Nearest,
                GridSampleMode::Linear,
                GridSampleMode::Cubic,
            ] {
                let op = GridSample {
                    align_corners,
                    mode,
                    padding_mode: GridSamplePadding::Border,
                };
                let y = run_one(op, &[x.clone(), grid.clone()]);
                let close = y
                    .to_f32()
                    .unwrap()
                    .iter()
                    .zip(&image)
                    .all(|(a, b)| (a - b).abs() < 1e-4);
                assert!(close, "{mode:?} {align_corners}: {:?}", y.to_f32());
            }
        }
    }

    #[test]
    fn affine_maps_scale_and_shift() {
        // x' = 2 x + 1, y' = x
        let theta = Tensor::from_slice(&[1, 2, 3], &[2.0f32, 0.0, 1.0, 1.0, 0.0, 0.0]).unwrap();
        let grid = run_one(affine(true), &[theta, Tensor::from_vec1(&[1i64, 1, 1, 3])]);
        assert_eq!(grid.to_f32().unwrap(), [-1.0, -1.0, 1.0, 0.0, 3.0, 1.0]);
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let zeros = |shape: &[usize]| Tensor::zeros(bantam_tensor::DType::F32, shape).unwrap();
        let op = GridSample {
            align_corners: false,
            mode: GridSampleMode::Linear,
            padding_mode: GridSamplePadding::Zeros,
        };
        for grid in [&[1, 2, 2, 3][..], &[2, 2, 2, 2], &[1, 2, 2]] {
            assert!(run(op.clone(), &[zeros(&[1, 1, 4, 4]), zeros(grid)]).is_err());
        }
        let theta = zeros(&[1, 2, 3]);
        for size in [
            &[1i64, 1, 2][..],
            &[1, 1, 2, -2],
            &[2, 1, 2, 2],
            &[1, 1, 2, 2, 2],
            &[1, 1, 1 << 40, 1 << 40],
        ] {
            assert!(
                run(affine(false), &[theta.clone(), Tensor::from_vec1(size)]).is_err(),
                "{size:?}"
            );
        }
    }
}
