//! GridSample, AffineGrid.

use bantam_graph::ops::{AffineGrid, GridSample, GridSampleMode, GridSamplePadding};
use bantam_kernels::sample::{SampleMode, SamplePadding, Sampling, sample};
use bantam_tensor::Tensor;

use super::axes::count;
use super::floats::{fill, in_real, read};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// x `[N, C, size...]`, grid `[N, output size..., dimensions]`.
pub(super) fn grid_sample(op: &GridSample, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
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
pub(super) fn affine_grid(op: &AffineGrid, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let theta = inputs.required(0)?;
    let size = inputs.integers(1)?.ok_or(OpError::MissingInput { index: 1 })?;
    let sizes: Option<Vec<usize>> = size.iter().map(|&size| usize::try_from(size).ok()).collect();
    let sizes = sizes.filter(|sizes| matches!(sizes.len(), 4 | 5));
    let sizes = sizes.ok_or_else(|| OpError::value(format!("size {size:?} is not [N, C, H, W] or [N, C, D, H, W]")))?;
    let (batch, spatial) = (sizes[0], &sizes[2..]);
    let dimensions = spatial.len();
    if theta.shape() != [batch, dimensions, dimensions + 1] {
        let wanted = [batch, dimensions, dimensions + 1];
        return Err(OpError::shape(format!("theta must have shape {wanted:?}, got {:?}", theta.shape())));
    }
    let maps = read::<f64>(inputs, 0)?;
    let shape = [&[batch], spatial, &[dimensions]].concat();
    if !theta.dtype().is_float() {
        return Err(OpError::Type { index: 0, got: theta.dtype() });
    }
    fill(context, theta.dtype(), &shape, |y: &mut [f64]| {
        let points = y.len() / (batch * dimensions).max(1);
        for (index, point) in y.chunks_exact_mut(dimensions).enumerate() {
            let base = base_point(index % points, spatial, op.align_corners);
            let map = &maps[index / points * dimensions * (dimensions + 1)..];
            for (row, out) in point.iter_mut().enumerate() {
                let row = &map[row * (dimensions + 1)..][..dimensions + 1];
                *out = row.iter().zip(&base).map(|(factor, coordinate)| factor * coordinate).sum();
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
