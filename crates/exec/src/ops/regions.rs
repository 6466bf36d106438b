//! RoiAlign and MaxRoiPool.

use bantam_graph::ops::{MaxRoiPool, RoiAlign, RoiAlignMode, RoiAlignTransform};
use bantam_kernels::Real;
use bantam_kernels::regions::{Region, RegionSizes, align, max};
use bantam_tensor::Tensor;

use super::floats::{fill, in_real, read};
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// Samples that are taken for one bin, at most, in each direction.
const MOST_SAMPLES: f64 = 1024.0;
/// Bins of a region, at most, in each direction.
const MOST_BINS: usize = 1 << 16;

/// The number of images of x `[N, C, H, W]` and the sizes of regions with these bins.
fn sizes(x: &[usize], bins: [i64; 2]) -> Result<(usize, RegionSizes), OpError> {
    let &[images, channels, height, width] = x else {
        return Err(OpError::shape(format!(
            "regions of {x:?}: 4 dimensions are needed"
        )));
    };
    let bin = |value: i64| {
        let size = usize::try_from(value)
            .ok()
            .filter(|size| (1..=MOST_BINS).contains(size));
        size.ok_or_else(|| OpError::value(format!("a pooled size of {value} is not in 1..={MOST_BINS}")))
    };
    let bins = [bin(bins[0])?, bin(bins[1])?];
    Ok((
        images,
        RegionSizes {
            channels,
            image: [height, width],
            bins,
        },
    ))
}

fn image(index: i64, images: usize) -> Result<usize, OpError> {
    let image = usize::try_from(index).ok().filter(|&image| image < images);
    image.ok_or_else(|| OpError::value(format!("a region of image {index} of {images}")))
}

/// x `[N, C, H, W]`, regions `[R, 4]` as left, top, right, bottom, and the image of each.
pub(super) fn roi_align(op: &RoiAlign, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let (x, rois, images) = (inputs.required(0)?, inputs.required(1)?, inputs.required(2)?);
    let (image_count, sizes) = sizes(x.shape(), [op.output_height, op.output_width])?;
    if rois.shape() != [images.len(), 4] || images.rank() != 1 {
        let (rois, images) = (rois.shape(), images.shape());
        return Err(OpError::shape(format!(
            "regions of shape {rois:?} and images of shape {images:?}"
        )));
    }
    let images: Vec<usize> = images
        .to_i64()?
        .into_iter()
        .map(|index| image(index, image_count))
        .collect::<Result<_, _>>()?;
    let shape = [images.len(), sizes.channels, sizes.bins[0], sizes.bins[1]];
    in_real!(x.dtype(), 0, T => {
        let (values, rois) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?);
        let edges = rois.chunks_exact(4);
        let regions: Vec<Region<T>> = edges
            .zip(images)
            .map(|(edges, image)| region(op, sizes.bins, edges, image))
            .collect::<Result<_, _>>()?;
        fill(context, x.dtype(), &shape, |y| {
            align(&sizes, &regions, op.mode == RoiAlignMode::Max, &values, y);
        })
    })
}

fn region<T: Real>(op: &RoiAlign, bins: [usize; 2], edges: &[T], image: usize) -> Result<Region<T>, OpError> {
    let half_pixel = op.coordinate_transformation_mode == RoiAlignTransform::HalfPixel;
    let shift = T::from_f64(if half_pixel { 0.5 } else { 0.0 });
    let scaled = |edge: usize| edges[edge] * T::from_f64(f64::from(op.spatial_scale)) - shift;
    // Malformed regions become one element large, but not with half pixels.
    let size = |first: usize, last: usize| {
        let size = scaled(last) - scaled(first);
        if half_pixel { size } else { size.larger(T::ONE) }
    };
    let bin = [
        size(1, 3) / T::from_f64(bins[0] as f64),
        size(0, 2) / T::from_f64(bins[1] as f64),
    ];
    let samples = |bin: T| match op.sampling_ratio {
        ratio if ratio > 0 => Ok(ratio as f64),
        0 => Ok(bin.to_f64().ceil()),
        ratio => Err(OpError::value(format!("sampling_ratio of {ratio} is negative"))),
    };
    let samples = [samples(bin[0])?, samples(bin[1])?];
    if samples
        .iter()
        .any(|&count| count.is_nan() || count > MOST_SAMPLES)
    {
        return Err(OpError::value(format!(
            "{samples:?} samples for one bin are too many"
        )));
    }
    Ok(Region {
        image,
        start: [scaled(1), scaled(0)],
        bin,
        samples: samples.map(|count| count.max(0.0) as usize),
    })
}

/// x `[N, C, H, W]`, regions `[R, 5]` as image, left, top, right, bottom.
pub(super) fn max_roi_pool(
    op: &MaxRoiPool,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, rois) = (inputs.required(0)?, inputs.required(1)?);
    let &[height, width] = op.pooled_shape.as_slice() else {
        return Err(OpError::value(format!(
            "pooled_shape {:?} has not two sizes",
            op.pooled_shape
        )));
    };
    let (image_count, sizes) = sizes(x.shape(), [height, width])?;
    let &[region_count, 5] = rois.shape() else {
        return Err(OpError::shape(format!(
            "regions of shape {:?}, not [regions, 5]",
            rois.shape()
        )));
    };
    let edges = rois.to_f64().map_err(|_| OpError::Type {
        index: 1,
        got: rois.dtype(),
    })?;
    let scale = f64::from(op.spatial_scale);
    // Halves are rounded away from zero.
    let position = |edge: f64| (edge * scale).round() as i64;
    let regions: Vec<(usize, [i64; 2], [i64; 2])> = edges
        .chunks_exact(5)
        .map(|r| {
            let (first, last) = ([position(r[2]), position(r[1])], [position(r[4]), position(r[3])]);
            Ok((image(r[0] as i64, image_count)?, first, last))
        })
        .collect::<Result<_, OpError>>()?;
    let shape = [region_count, sizes.channels, sizes.bins[0], sizes.bins[1]];
    in_real!(x.dtype(), 0, T => {
        let values = read::<T>(inputs, 0)?;
        fill(context, x.dtype(), &shape, |y| max(&sizes, &regions, &values, y))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{run, run_one};
    use super::*;

    fn counting(shape: &[usize]) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
        Tensor::from_slice(shape, &values).unwrap()
    }

    fn aligned(mode: RoiAlignMode, sampling_ratio: i64) -> RoiAlign {
        RoiAlign {
            coordinate_transformation_mode: RoiAlignTransform::HalfPixel,
            mode,
            output_height: 1,
            output_width: 1,
            sampling_ratio,
            spatial_scale: 1.0,
        }
    }

    #[test]
    fn aligned_regions() {
        let inputs = |edges: [f32; 4], image: i64| {
            [
                counting(&[1, 1, 4, 4]),
                Tensor::from_slice(&[1, 4], &edges).unwrap(),
                Tensor::from_vec1(&[image]),
            ]
        };
        // The samples of both ratios surround the middle of the region, at row and column 1.
        for ratio in [1, 2] {
            let y = run_one(
                aligned(RoiAlignMode::Average, ratio),
                &inputs([0.5, 0.5, 2.5, 2.5], 0),
            );
            assert_eq!(y.to_f32().unwrap(), [5.0]);
        }
        assert!(run(aligned(RoiAlignMode::Average, 0), &inputs([0.5; 4], 1)).is_err());
        assert!(run(aligned(RoiAlignMode::Max, -1), &inputs([0.5; 4], 0)).is_err());
        assert!(run(aligned(RoiAlignMode::Max, 0), &inputs([0.0, 0.0, 1e30, 1e30], 0)).is_err());
        assert!(
            run(
                aligned(RoiAlignMode::Max, 0),
                &inputs([0.0, 0.0, f32::NAN, 1.0], 0)
            )
            .is_err()
        );
    }

    #[test]
    fn maxima_of_regions() {
        let op = MaxRoiPool {
            pooled_shape: vec![2, 1],
            spatial_scale: 0.5,
        };
        let rois = Tensor::from_slice(&[1, 5], &[0f32, 0.0, 0.0, 4.0, 6.0]).unwrap();
        let y = run_one(op.clone(), &[counting(&[1, 1, 4, 4]), rois]);
        assert_eq!(y.to_f32().unwrap(), [6.0, 14.0]);
        let outside = Tensor::from_slice(&[1, 5], &[3f32, 0.0, 0.0, 4.0, 6.0]).unwrap();
        assert!(run(op, &[counting(&[1, 1, 4, 4]), outside]).is_err());
    }
}
