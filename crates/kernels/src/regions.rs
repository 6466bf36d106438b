//! Pooling of regions of images.

use rayon::prelude::*;

use crate::Real;

/// Where a sample lies between four elements of a channel, and how much each counts.
#[derive(Clone, Copy, Debug, Default)]
struct Sample<T> {
    corners: [usize; 4],
    weights: [T; 4],
}

/// A region of a channel in the channel's coordinates, and how it is divided.
#[derive(Clone, Copy, Debug)]
pub struct Region<T> {
    /// Index of the image.
    pub image: usize,
    /// Top and left edge.
    pub start: [T; 2],
    /// Height and width of a bin.
    pub bin: [T; 2],
    /// Rows and columns of samples in a bin.
    pub samples: [usize; 2],
}

/// Sizes of images and of the pooled regions.
#[derive(Clone, Copy, Debug)]
pub struct RegionSizes {
    /// Channels of an image.
    pub channels: usize,
    /// Height and width of an image.
    pub image: [usize; 2],
    /// Height and width in bins.
    pub bins: [usize; 2],
}

/// For each region, channel and bin the mean (or, if `largest`, the largest corner contribution) of samples that are
/// interpolated between elements. `x` is `[images, channels, height, width]`, `y` `[regions, channels, bins...]`.
///
/// # Panics
/// When a region's image does not exist or a slice is too short.
pub fn align<T: Real>(sizes: &RegionSizes, regions: &[Region<T>], largest: bool, x: &[T], y: &mut [T]) {
    let channel = sizes.image[0] * sizes.image[1];
    let bins = sizes.bins[0] * sizes.bins[1];
    assert_eq!(
        y.len(),
        regions.len() * sizes.channels * bins,
        "a bin for each output"
    );
    if y.is_empty() {
        return;
    }
    y.par_chunks_mut(sizes.channels * bins)
        .zip(regions)
        .for_each(|(y, region)| {
            let image = &x[region.image * sizes.channels * channel..][..sizes.channels * channel];
            let samples = region_samples(sizes, region);
            let per_bin = region.samples[0] * region.samples[1];
            for (index, y) in y.iter_mut().enumerate() {
                let (plane, bin) = (index / bins, index % bins);
                let plane = &image[plane * channel..(plane + 1) * channel];
                *y = pool_bin(&samples[bin * per_bin..(bin + 1) * per_bin], largest, plane);
            }
        });
}

fn pool_bin<T: Real>(samples: &[Sample<T>], largest: bool, plane: &[T]) -> T {
    let terms = |sample: &Sample<T>| -> [T; 4] {
        std::array::from_fn(|corner| sample.weights[corner] * plane[sample.corners[corner]])
    };
    if samples.is_empty() || plane.is_empty() {
        return T::ZERO;
    }
    if largest {
        return samples
            .iter()
            .flat_map(terms)
            .fold(T::NEG_INFINITY, |largest, term| term.larger(largest));
    }
    let sum = samples
        .iter()
        .flat_map(terms)
        .fold(T::ZERO, |sum, term| sum + term);
    sum / T::from_f64(samples.len() as f64)
}

/// The samples of all bins, bin by bin.
fn region_samples<T: Real>(sizes: &RegionSizes, region: &Region<T>) -> Vec<Sample<T>> {
    let positions = |axis: usize, bin: usize| {
        let (start, size, count) = (region.start[axis], region.bin[axis], region.samples[axis]);
        let count_real = T::from_f64(count as f64);
        (0..count).map(move |sample| {
            let within = (T::from_f64(sample as f64) + T::from_f64(0.5)) * size / count_real;
            start + T::from_f64(bin as f64) * size + within
        })
    };
    let mut samples = Vec::new();
    for row in 0..sizes.bins[0] {
        for column in 0..sizes.bins[1] {
            for y in positions(0, row) {
                samples.extend(positions(1, column).map(|x| sample(sizes.image, y, x)));
            }
        }
    }
    samples
}

/// A sample at a position: no weights where it is more than one element outside.
fn sample<T: Real>([height, width]: [usize; 2], y: T, x: T) -> Sample<T> {
    let (Some((top, bottom, down)), Some((left, right, along))) = (between(height, y), between(width, x))
    else {
        return Sample::default();
    };
    let (up, back) = (T::ONE - down, T::ONE - along);
    Sample {
        corners: [
            top * width + left,
            top * width + right,
            bottom * width + left,
            bottom * width + right,
        ],
        weights: [up * back, up * along, down * back, down * along],
    }
}

/// The elements before and after a position, and how far it is from the first to the second.
fn between<T: Real>(size: usize, position: T) -> Option<(usize, usize, T)> {
    let end = T::from_f64(size as f64);
    if size == 0 || !(position >= -T::ONE && position <= end) {
        return None;
    }
    let position = position.larger(T::ZERO);
    let low = position.floor().to_f64() as usize;
    if low + 1 >= size {
        return Some((size - 1, size - 1, T::ZERO));
    }
    Some((low, low + 1, position - T::from_f64(low as f64)))
}

/// For each region, channel and bin the largest element, 0 for empty bins. A region is its image and the first and last
/// row and column, which may lie outside of the image.
///
/// # Panics
/// When a region's image does not exist or a slice is too short.
pub fn max<T: Real>(sizes: &RegionSizes, regions: &[(usize, [i64; 2], [i64; 2])], x: &[T], y: &mut [T]) {
    let channel = sizes.image[0] * sizes.image[1];
    let bins = sizes.bins[0] * sizes.bins[1];
    assert_eq!(
        y.len(),
        regions.len() * sizes.channels * bins,
        "a bin for each output"
    );
    if y.is_empty() {
        return;
    }
    y.par_chunks_mut(sizes.channels * bins)
        .zip(regions)
        .for_each(|(y, &(image, first, last))| {
            let image = &x[image * sizes.channels * channel..][..sizes.channels * channel];
            let range = |axis: usize, bin: usize| {
                let size = last[axis].saturating_sub(first[axis]).saturating_add(1).max(1) as f64;
                let step = size / sizes.bins[axis] as f64;
                let edge =
                    |edge: f64| (first[axis].saturating_add(edge as i64)).clamp(0, sizes.image[axis] as i64);
                edge((bin as f64 * step).floor()) as usize..edge(((bin + 1) as f64 * step).ceil()) as usize
            };
            for (index, y) in y.iter_mut().enumerate() {
                let (plane, bin) = (index / bins, index % bins);
                let columns = range(1, bin % sizes.bins[1]);
                let mut largest = None;
                for row in range(0, bin / sizes.bins[1]) {
                    let start = plane * channel + row * sizes.image[1];
                    for &x in &image[start + columns.start.min(columns.end)..start + columns.end] {
                        largest = Some(largest.map_or(x, |largest| x.larger(largest)));
                    }
                }
                *y = largest.unwrap_or(T::ZERO);
            }
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: RegionSizes = RegionSizes {
        channels: 1,
        image: [3, 4],
        bins: [1, 2],
    };

    fn counting() -> Vec<f64> {
        (0..12).map(f64::from).collect()
    }

    #[test]
    fn samples_lie_between_elements() {
        let region = Region {
            image: 0,
            start: [0.5, 0.0],
            bin: [1.0, 1.0],
            samples: [1, 1],
        };
        let mut y = [0.0; 2];
        align(&SIZES, &[region], false, &counting(), &mut y);
        // At row 1, columns 0.5 and 1.5.
        assert_eq!(y, [4.5, 5.5]);
        align(&SIZES, &[region], true, &counting(), &mut y);
        assert_eq!(y, [2.5, 3.0]);
        let outside = Region {
            start: [-9.0, 20.0],
            ..region
        };
        align(&SIZES, &[outside], false, &counting(), &mut y);
        assert_eq!(y, [0.0, 0.0]);
    }

    #[test]
    fn largest_of_bins() {
        let mut y = [0.0; 2];
        max(&SIZES, &[(0, [1, 0], [1, 3])], &counting(), &mut y);
        assert_eq!(y, [5.0, 7.0]);
        max(&SIZES, &[(0, [7, 2], [9, 3])], &counting(), &mut y);
        assert_eq!(y, [0.0, 0.0]);
        max(&SIZES, &[(0, [-2, -2], [0, 1])], &counting(), &mut y);
        assert_eq!(y, [0.0, 1.0]);
    }
}
