//! Ops on images: resizing, blocks, sampling.

use super::contents::Scalar;
use super::context::{Context, Outputs, one};
use super::dims::{axis_indices, equal, positive, product, sum, times, unknowns};
use super::error::Problem;
use super::window::{Window, kernel_sizes};
use crate::Dim;
use crate::ops::{AutoPad, CenterCropPad, Col2Im, KeepAspectRatio, Resize};

pub(super) fn resize(context: &Context<'_>, op: &Resize) -> Outputs {
    let dtype = context.dtype(0);
    let Some(shape) = context.shape(0) else {
        let shape = context.shape_of_length(3).or(context.shape_of_length(2));
        return one(dtype, shape.filter(|_| op.axes.is_none()));
    };
    let axes = match &op.axes {
        Some(axes) => axis_indices(axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let mut result = shape.to_vec();
    axes.iter().for_each(|&axis| result[axis] = Dim::Unknown);
    if context.has(3) {
        let sizes = context.contents(3).map(|sizes| sizes.values.as_slice());
        apply_sizes(op, shape, &axes, sizes, &mut result)?;
    } else if let Some(scales) = context.constant(2).and_then(|scales| scales.to_f32().ok()) {
        check_count("scales", scales.len(), axes.len())?;
        for (&axis, &scale) in axes.iter().zip(&scales) {
            result[axis] = scaled(&shape[axis], scale)?;
        }
    }
    one(dtype, Some(result))
}

fn check_count(name: &'static str, got: usize, expected: usize) -> Result<(), Problem> {
    if got == expected {
        return Ok(());
    }
    Err(Problem::argument(name, got, format!("{expected} numbers")))
}

fn scaled(dim: &Dim, scale: f32) -> Result<Dim, Problem> {
    if !(scale.is_finite() && scale > 0.0) {
        return Err(Problem::argument("scales", scale, "numbers above zero"));
    }
    match dim.known() {
        // The standard's floor(size * scale), computed like the runtimes do, in f32.
        Some(size) => Ok(Dim::Known((size as f32 * scale).floor() as usize)),
        None if scale == 1.0 => Ok(dim.clone()),
        None => Ok(Dim::Unknown),
    }
}

fn apply_sizes(
    op: &Resize,
    shape: &[Dim],
    axes: &[usize],
    sizes: Option<&[Scalar]>,
    result: &mut [Dim],
) -> Result<(), Problem> {
    let Some(sizes) = sizes else { return Ok(()) };
    check_count("sizes", sizes.len(), axes.len())?;
    if op.keep_aspect_ratio_policy == KeepAspectRatio::Stretch {
        for (&axis, size) in axes.iter().zip(sizes) {
            result[axis] = size
                .to_dim()
                .ok_or_else(|| Problem::argument("sizes", size, "sizes that are not negative"))?;
        }
        return Ok(());
    }
    let known = |(&axis, size): (&usize, &Scalar)| Some((shape[axis].known()?, size.to_dim()?.known()?));
    let pairs: Option<Vec<(usize, usize)>> = axes.iter().zip(sizes).map(known).collect();
    let Some(pairs) = pairs else { return Ok(()) };
    let scales = pairs.iter().map(|&(from, to)| to as f32 / from as f32);
    let scale = match op.keep_aspect_ratio_policy {
        KeepAspectRatio::NotLarger => scales.fold(f32::INFINITY, f32::min),
        _ => scales.fold(0.0, f32::max),
    };
    for (&axis, &(from, _)) in axes.iter().zip(&pairs) {
        // Half away from zero, as the standard says.
        result[axis] = Dim::Known((scale * from as f32).round() as usize);
    }
    Ok(())
}

/// `[N, C, H, W]` to `[N, C / block^2, H * block, W * block]`.
pub(super) fn depth_to_space(context: &Context<'_>, blocksize: i64) -> Outputs {
    let block = positive("blocksize", blocksize)?;
    let Some(shape) = context.shape_of_rank(0, 4)? else {
        return one(context.dtype(0), Some(unknowns(4)));
    };
    let channels = divided(&shape[1], block.checked_mul(block), blocksize)?;
    let spatial = [times(&shape[2], block)?, times(&shape[3], block)?];
    one(
        context.dtype(0),
        Some([&[shape[0].clone(), channels], &spatial[..]].concat()),
    )
}

/// `[N, C, H, W]` to `[N, C * block^2, H / block, W / block]`.
pub(super) fn space_to_depth(context: &Context<'_>, blocksize: i64) -> Outputs {
    let block = positive("blocksize", blocksize)?;
    let Some(shape) = context.shape_of_rank(0, 4)? else {
        return one(context.dtype(0), Some(unknowns(4)));
    };
    let channels = times(&times(&shape[1], block)?, block)?;
    let spatial = [
        divided(&shape[2], Some(block), blocksize)?,
        divided(&shape[3], Some(block), blocksize)?,
    ];
    one(
        context.dtype(0),
        Some([&[shape[0].clone(), channels], &spatial[..]].concat()),
    )
}

fn divided(dim: &Dim, divisor: Option<usize>, blocksize: i64) -> Result<Dim, Problem> {
    let (Some(size), Some(divisor)) = (dim.known(), divisor) else {
        return Ok(if divisor == Some(1) {
            dim.clone()
        } else {
            Dim::Unknown
        });
    };
    if !size.is_multiple_of(divisor) {
        return Err(Problem::argument(
            "blocksize",
            blocksize,
            format!("blocks that divide {size}"),
        ));
    }
    Ok(Dim::Known(size / divisor))
}

/// x `[N, C, spatial...]` and grid `[N, out..., axes]` to `[N, C, out...]`.
pub(super) fn grid_sample(context: &Context<'_>) -> Outputs {
    let (x, grid) = (context.shape_of_min_rank(0, 3)?, context.shape_of_min_rank(1, 3)?);
    let Some(rank) = x.or(grid).map(<[Dim]>::len) else {
        return one(context.dtype(0), None);
    };
    let (x, grid) = (context.shape_of_rank(0, rank)?, context.shape_of_rank(1, rank)?);
    let batch = match (x, grid) {
        (Some(x), Some(grid)) => equal("the batches of x and the grid", &x[0], &grid[0])?,
        (Some(shape), None) | (None, Some(shape)) => shape[0].clone(),
        (None, None) => Dim::Unknown,
    };
    let channels = x.map_or(Dim::Unknown, |x| x[1].clone());
    let spatial = grid.map_or_else(|| unknowns(rank - 2), |grid| grid[1..rank - 1].to_vec());
    one(context.dtype(0), Some([vec![batch, channels], spatial].concat()))
}

/// Size `[N, C, spatial...]` to `[N, spatial..., axes]`.
pub(super) fn affine_grid(context: &Context<'_>) -> Outputs {
    let dtype = context.dtype(0);
    let Some(rank) = context.length(1) else {
        return one(dtype, None);
    };
    if !matches!(rank, 4 | 5) {
        return Err(Problem::argument("size", rank, "4 or 5 numbers"));
    }
    let dims = match context.contents(1) {
        Some(size) => size
            .values
            .iter()
            .map(|value| value.to_dim().unwrap_or(Dim::Unknown))
            .collect(),
        None => unknowns(rank),
    };
    one(
        dtype,
        Some([&dims[..1], &dims[2..], &[Dim::Known(rank - 2)]].concat()),
    )
}

/// Columns `[N, C * kernel, positions]`, image shape and kernel shape to `[N, C, image...]`.
pub(super) fn col2im(context: &Context<'_>, op: &Col2Im) -> Outputs {
    let dtype = context.dtype(0);
    let Some(columns) = context.shape_of_rank(0, 3)? else {
        return one(dtype, None);
    };
    let image = context.contents(1).and_then(|image| {
        image
            .values
            .iter()
            .map(Scalar::to_dim)
            .collect::<Option<Vec<_>>>()
    });
    let Some(image) = image.or(context.shape_of_length(1)) else {
        return one(dtype, None);
    };
    let mut channels = Dim::Unknown;
    if let Some(kernel) = context.integers(2) {
        let window = Window {
            auto_pad: AutoPad::NotSet,
            ceil_mode: false,
            dilations: &op.dilations,
            pads: &op.pads,
            strides: &op.strides,
        };
        let kernel_dims = kernel_sizes(&kernel, image.len())?;
        let elements = product(&kernel_dims.iter().copied().map(Dim::Known).collect::<Vec<_>>())?;
        let positions = product(&window.output(&image, &kernel_dims)?)?;
        equal(
            "the columns and the positions of the window",
            &columns[2],
            &positions,
        )?;
        channels = divided(&columns[1], elements.known(), 0)
            .map_err(|_| Problem::argument("block_shape", &kernel, format!("a divisor of {}", columns[1])))?;
    }
    one(dtype, Some([vec![columns[0].clone(), channels], image].concat()))
}

pub(super) fn center_crop_pad(context: &Context<'_>, op: &CenterCropPad) -> Outputs {
    let dtype = context.dtype(0);
    let Some(shape) = context.shape(0) else {
        return one(dtype, None);
    };
    let axes = match &op.axes {
        Some(axes) => axis_indices(axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let mut result = shape.to_vec();
    let sizes = context.contents(1).map(|sizes| &sizes.values);
    if let Some(sizes) = sizes {
        check_count("shape", sizes.len(), axes.len())?;
    }
    for (index, &axis) in axes.iter().enumerate() {
        result[axis] = sizes
            .and_then(|sizes| sizes[index].to_dim())
            .unwrap_or(Dim::Unknown);
    }
    one(dtype, Some(result))
}

/// Dimensions that follow each other in a cache: the past ones and the new ones.
pub(super) fn appended(past: Option<&Dim>, new: &Dim) -> Result<Dim, Problem> {
    past.map_or_else(|| Ok(new.clone()), |past| sum(past, new))
}
