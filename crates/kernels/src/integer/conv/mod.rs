//! Convolution of codes whose channels come last: `[batch, spatial..., channels]`.
//!
//! A window is then a few runs of neighbouring bytes, and the sums of neighbouring output channels stand side by side:
//! nothing has to be rearranged, neither the input nor the result. [`Filters`] holds the weights in the order in which
//! the kernels read them: [`dense`] for windows over channels, [`depthwise`] for one channel each.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod dense;
mod depthwise;
mod requantize;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::DEPTH;
use crate::conv::Geometry;
use crate::conv::source::{Source, Unit};
use crate::quantize;
use dense::Dense;
use depthwise::Depthwise;
pub use requantize::Requantization;

/// The filters of a convolution in the order in which the kernels read them.
#[derive(Clone, Debug)]
pub struct Filters {
    kind: Kind,
    /// Sum of each filter.
    sums: Vec<i32>,
    /// Codes of one filter.
    taps: usize,
}

#[derive(Clone, Debug)]
enum Kind {
    Dense(Dense),
    Depthwise(Depthwise),
}

impl Filters {
    /// Filters from signed weights of shape `[out_channels, channels of a group, kernel...]`. Windows of neighbouring
    /// elements (`dilation` 1 in the last dimension) of all channels are read in longer runs.
    ///
    /// # Panics
    /// When the shape is not that of the weights, or of no filters.
    pub fn new(weights: &[i8], shape: &[usize], groups: usize, dilation: usize) -> Filters {
        assert!(
            shape.len() > 2 && weights.len() == shape.iter().product(),
            "as many weights as the shape says"
        );
        let (out_channels, taps) = (shape[0], shape[1..].iter().product());
        let sum = |filter: &[i8]| filter.iter().map(|&code| i32::from(code)).sum();
        let kind = match shape[1] == 1 && groups > 1 && groups == out_channels {
            true => Kind::Depthwise(Depthwise::new(weights, &shape[2..], out_channels)),
            false => Kind::Dense(Dense::new(weights, shape, groups, dilation)),
        };
        Filters {
            kind,
            sums: (0..out_channels)
                .map(|out| sum(&weights[out * taps..][..taps]))
                .collect(),
            taps,
        }
    }

    /// What the sums start from, in the order of the filters: bias, and what zero points of the input take off.
    fn starts(&self, zeros: ZeroPoints<'_>, bias: &[i32]) -> Vec<i32> {
        let out_channels = self.sums.len();
        assert!(
            zeros.weights.len() == 1 || zeros.weights.len() == out_channels,
            "a zero point per filter"
        );
        assert!(bias.is_empty() || bias.len() == out_channels, "a bias per filter");
        let start = |out: usize| {
            let of_zeros = zeros.of_filter(out).wrapping_mul(self.taps as i32);
            let sum = self.sums[out].wrapping_sub(of_zeros);
            let bias = bias.get(out).copied().unwrap_or(0);
            bias.wrapping_sub(sum.wrapping_mul(i32::from(zeros.x)))
        };
        self.arrange(&(0..out_channels).map(start).collect::<Vec<i32>>())
    }

    /// One number per output channel in the order in which the kernels want them.
    fn arrange<T: Copy + Default>(&self, values: &[T]) -> Vec<T> {
        match &self.kind {
            Kind::Dense(dense) => dense.blocks.arrange(values),
            Kind::Depthwise(depthwise) => depthwise.arrange(values),
        }
    }
}

/// The zero points of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct ZeroPoints<'a> {
    /// Of the input; also what the padding holds.
    pub x: u8,
    /// Of the filters: one, or one per output channel.
    pub weights: &'a [i32],
}

impl ZeroPoints<'_> {
    fn of_filter(&self, out_channel: usize) -> i32 {
        if self.weights.len() == 1 {
            self.weights[0]
        } else {
            self.weights[out_channel]
        }
    }
}

/// A convolution of codes whose sums become codes again: `requantized(bias + sums of (x - zero) * (weight - zero))`.
#[derive(Clone, Debug)]
pub struct QuantizedConvolution {
    filters: Arc<Filters>,
    x_zero: u8,
    weight_zeros: Vec<i32>,
    to: Requantization,
    /// In the order of the filters.
    starts: Vec<i32>,
    scales: Vec<f32>,
    /// No sum times its scale is beyond what 32 bits can hold.
    fits: bool,
}

impl QuantizedConvolution {
    /// Without bias when it is empty.
    ///
    /// # Panics
    /// When there are not as many zero points, biases or scales as filters.
    pub fn new(
        filters: Arc<Filters>,
        zeros: ZeroPoints<'_>,
        bias: &[i32],
        to: Requantization,
    ) -> QuantizedConvolution {
        assert_eq!(to.scales.len(), filters.sums.len(), "a scale per filter");
        let starts = filters.starts(zeros, bias);
        let scales = filters.arrange(&to.scales);
        QuantizedConvolution {
            fits: fits(&filters, &starts, &scales),
            x_zero: zeros.x,
            weight_zeros: zeros.weights.to_vec(),
            filters,
            to,
            starts,
            scales,
        }
    }

    /// Computes `y`; both it and `x` have the channels last. Signed codes are written as their bits.
    ///
    /// # Panics
    /// When the slices do not have the sizes of the geometry, or the filters were made for other ones.
    pub fn run(&self, geometry: &Geometry, x: &[u8], y: &mut [u8]) {
        let zeros = ZeroPoints {
            x: self.x_zero,
            weights: &self.weight_zeros,
        };
        let job = Job::new(geometry, x, y.len(), &self.filters, zeros, &self.starts);
        let scaling = Scaling {
            to: &self.to,
            scales: &self.scales,
            fits: self.fits,
        };
        job.source.for_units(y, |unit, y| job.codes(unit, scaling, y));
    }
}

/// Whether every sum times its scale is within 32 bits, whatever the input; NaN is not.
fn fits(filters: &Filters, starts: &[i32], scales: &[f32]) -> bool {
    let products = filters.taps as f64 * (255.0 * 128.0);
    let largest = |(start, scale): (&i32, &f32)| (f64::from(*start).abs() + products) * f64::from(*scale);
    let mut each = starts.iter().zip(scales).map(largest);
    each.all(|largest| largest.abs() < f64::from(1 << 30))
}

/// The exact sums of `(x - zero) * (weight - zero)`, with the channels last; they wrap around beyond 32 bits.
///
/// # Panics
/// When the slices do not have the sizes of the geometry, or the filters were made for other ones.
pub fn convolve_exact(
    geometry: &Geometry,
    x: &[u8],
    filters: &Filters,
    zeros: ZeroPoints<'_>,
    y: &mut [i32],
) {
    let starts = filters.starts(zeros, &[]);
    let job = Job::new(geometry, x, y.len(), filters, zeros, &starts);
    job.source.for_units(y, |unit, y| job.sums(unit, y));
}

/// What follows sums that become reals.
#[derive(Clone, Copy, Debug)]
pub struct Scaled<'a> {
    /// For each output channel, what its sums are multiplied with.
    pub scales: &'a [f32],
    /// For each output channel, what is added then; empty for nothing.
    pub bias: &'a [f32],
    /// Applied last, in place.
    pub activation: Option<fn(&mut [f32])>,
}

/// `activation(sums of (x - zero) * (weight - zero) * scale + bias)`, with the channels last.
///
/// # Panics
/// When the slices do not have the sizes of the geometry, the filters were made for other ones, or those of the weights
/// have zero points other than 0.
pub fn convolve_scaled(
    geometry: &Geometry,
    x: &[u8],
    filters: &Filters,
    zeros: ZeroPoints<'_>,
    scaled: Scaled<'_>,
    y: &mut [f32],
) {
    let channels = filters.sums.len();
    assert!(
        scaled.scales.len() == channels && (scaled.bias.is_empty() || scaled.bias.len() == channels),
        "a scale and a bias per filter"
    );
    assert!(
        zeros.weights.iter().all(|&zero| zero == 0),
        "weights whose zero is 0"
    );
    let starts = filters.starts(zeros, &[]);
    let job = Job::new(geometry, x, y.len(), filters, zeros, &starts);
    let scales = filters.arrange(scaled.scales);
    let bias = match scaled.bias {
        [] => vec![0.0; scales.len()],
        bias => filters.arrange(bias),
    };
    job.source.for_units(y, |unit, y| {
        let (scales, bias) = (&scales, &bias);
        job.multiply(unit, Target::Reals { y, scales, bias });
        if let Some(activation) = scaled.activation {
            activation(y);
        }
    });
}

/// What becomes of the sums of a tile.
enum Target<'a> {
    /// Codes.
    Codes {
        y: &'a mut [u8],
        to: Scaling<'a>,
    },
    /// Reals: by scales and a bias in the order of the filters.
    Reals {
        y: &'a mut [f32],
        scales: &'a [f32],
        bias: &'a [f32],
    },
    Sums(&'a mut [i32]),
}

/// How sums become codes.
#[derive(Clone, Copy)]
struct Scaling<'a> {
    to: &'a Requantization,
    /// Its scales in the order of the filters.
    scales: &'a [f32],
    /// No sum times its scale is beyond what 32 bits can hold.
    fits: bool,
}

impl Target<'_> {
    /// Whether there are scales, or none are needed, up to `end` in the order of the filters.
    fn has_scales(&self, end: usize) -> bool {
        match self {
            Target::Codes { to, .. } => to.scales.len() >= end,
            Target::Reals { scales, bias, .. } => scales.len() >= end && bias.len() >= end,
            Target::Sums(_) => true,
        }
    }

    /// The number of elements.
    fn len(&self) -> usize {
        match self {
            Target::Codes { y, .. } => y.len(),
            Target::Reals { y, .. } => y.len(),
            Target::Sums(y) => y.len(),
        }
    }
}

/// One run of a convolution.
struct Job<'a> {
    source: Source<'a, u8>,
    filters: &'a Filters,
    zeros: ZeroPoints<'a>,
    out_channels: usize,
    /// What [`Filters::starts`] gives.
    starts: &'a [i32],
}

impl<'a> Job<'a> {
    fn new(
        geometry: &Geometry,
        x: &'a [u8],
        y: usize,
        filters: &'a Filters,
        zeros: ZeroPoints<'a>,
        starts: &'a [i32],
    ) -> Job<'a> {
        let (taps, out_channels) = (geometry.taps(), geometry.out_channels);
        assert!(
            geometry.fits(x.len(), taps * out_channels, y),
            "slices that fit the geometry"
        );
        assert!(
            filters.taps == taps && filters.sums.len() == out_channels,
            "filters of these sizes"
        );
        let merged = matches!(&filters.kind, Kind::Dense(dense) if dense.blocks.merged);
        Job {
            source: Source::new(geometry, x, zeros.x, merged, DEPTH),
            filters,
            zeros,
            out_channels,
            starts,
        }
    }

    fn codes(&self, unit: Unit, to: Scaling<'_>, y: &mut [u8]) {
        if self.zeros.weights.iter().all(|&zero| zero == 0) {
            return self.multiply(unit, Target::Codes { y, to });
        }
        let to = to.to;
        let mut sums = vec![0; y.len()];
        self.sums(unit, &mut sums);
        for (y, sums) in y
            .chunks_exact_mut(self.out_channels)
            .zip(sums.chunks_exact(self.out_channels))
        {
            to.apply(sums, &to.scales, y);
        }
    }

    fn sums(&self, unit: Unit, y: &mut [i32]) {
        self.multiply(unit, Target::Sums(y));
        if self.zeros.weights.iter().any(|&zero| zero != 0) {
            self.subtract_weight_zeros(unit, y);
        }
    }

    fn multiply(&self, unit: Unit, target: Target<'_>) {
        match &self.filters.kind {
            Kind::Dense(dense) => dense.multiply(&self.source, unit, self.starts, target),
            Kind::Depthwise(depthwise) => depthwise.multiply(&self.source, unit, self.starts, target),
        }
    }

    /// Takes `zero * (sum of what the window sees)` off every sum.
    fn subtract_weight_zeros(&self, unit: Unit, y: &mut [i32]) {
        let groups = self.source.geometry.groups;
        let patches = self.sums_of_windows(unit);
        let filters = self.out_channels / groups;
        for (sums, patches) in y
            .chunks_exact_mut(self.out_channels)
            .zip(patches.chunks_exact(groups))
        {
            for (out, sum) in sums.iter_mut().enumerate() {
                let patch = patches[out / filters];
                *sum = sum.wrapping_sub(self.zeros.of_filter(out).wrapping_mul(patch));
            }
        }
    }

    /// For each pixel of a unit and each group, the sum of the bytes that its window sees.
    fn sums_of_windows(&self, unit: Unit) -> Vec<i32> {
        let (bytes, starts) = self.source.windows(unit);
        let channels = self.source.geometry.group_channels();
        let of_group = |start: usize, group: usize| {
            let run = |offset: &usize| &bytes[start + group * channels + offset..][..self.source.run];
            let sums = self.source.runs.iter().map(|offset| quantize::sum(run(offset)));
            sums.fold(0, i32::wrapping_add)
        };
        let of_pixel =
            |start: usize| (0..self.source.geometry.groups).map(move |group| of_group(start, group));
        starts.iter().flat_map(|&start| of_pixel(start)).collect()
    }
}
