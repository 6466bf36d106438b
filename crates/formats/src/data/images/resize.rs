//! Resizing with antialiasing, in the integer arithmetic of Pillow's `Image.resize(size, BILINEAR)` and `BOX`.
//!
//! Networks are trained on images that Pillow resized; the same pixels come out here. Each output pixel is a weighted
//! sum of the input pixels under a triangle or box that is as wide as the step between output pixels (at least one input
//! pixel); weights have 22 fraction bits; rows first, then columns, rounded to 8 bits in between.

const FRACTION_BITS: u32 = 22;

/// How much of its neighbours an output pixel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Less with their distance.
    Bilinear,
    /// All that it covers alike.
    Box,
}

impl Filter {
    /// Half its width, in steps.
    fn support(self) -> f64 {
        match self {
            Filter::Bilinear => 1.0,
            Filter::Box => 0.5,
        }
    }

    fn at(self, distance: f64) -> f64 {
        match self {
            Filter::Bilinear => (1.0 - distance.abs()).max(0.0),
            Filter::Box => f64::from(u8::from(distance > -0.5 && distance <= 0.5)),
        }
    }
}

/// The input pixels that one output pixel sees, and how much of each.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// Resizes `height x width x channels` bytes to `target` (height, width).
pub(crate) fn resize(
    pixels: Vec<u8>,
    channels: usize,
    size: (usize, usize),
    target: (usize, usize),
    filter: Filter,
) -> Vec<u8> {
    let (height, width) = size;
    let wide = if target.1 == width {
        pixels
    } else {
        resize_rows(&pixels, channels, &windows(width, target.1, filter))
    };
    if target.0 == height {
        wide
    } else {
        resize_columns(&wide, target.1 * channels, &windows(height, target.0, filter))
    }
}

fn resize_rows(pixels: &[u8], channels: usize, (from, windows): &(usize, Vec<Window>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / from * windows.len());
    for row in pixels.chunks_exact(from * channels) {
        for window in windows {
            let inputs = &row[window.start * channels..];
            for channel in 0..channels {
                let values = inputs[channel..].iter().step_by(channels);
                let sum: i32 = values.zip(&window.weights).map(|(&v, &w)| i32::from(v) * w).sum();
                out.push(round(sum));
            }
        }
    }
    out
}

fn resize_columns(pixels: &[u8], row: usize, (_, windows): &(usize, Vec<Window>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(row * windows.len());
    let mut sums = vec![0i32; row];
    for window in windows {
        sums.fill(0);
        for (line, &weight) in pixels[window.start * row..]
            .chunks_exact(row)
            .zip(&window.weights)
        {
            for (sum, &value) in sums.iter_mut().zip(line) {
                *sum += i32::from(value) * weight;
            }
        }
        out.extend(sums.iter().map(|&sum| round(sum)));
    }
    out
}

fn round(sum: i32) -> u8 {
    ((sum + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS).clamp(0, 255) as u8
}

/// The number of input pixels of an axis, and the windows of its output pixels.
fn windows(from: usize, to: usize, filter: Filter) -> (usize, Vec<Window>) {
    let scale = from as f64 / to as f64;
    let step = scale.max(1.0);
    let support = filter.support() * step;
    let window = |position: usize| {
        let centre = (position as f64 + 0.5) * scale;
        // Truncation, as in Pillow; the values are not below -0.5.
        let start = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let share = |pixel: usize| filter.at((pixel as f64 - centre + 0.5) / step);
        let total: f64 = (start..end).map(share).sum();
        let weight = |pixel| (0.5 + share(pixel) / total * f64::from(1 << FRACTION_BITS)) as i32;
        Window {
            start,
            weights: (start..end).map(weight).collect(),
        }
    };
    (from, (0..to).map(window).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases() {
        // Expected values from Pillow 13.0.0: Image.fromarray(numpy.array([...], "uint8")).resize(..., BILINEAR).
        type Case = (&'static [u8], (usize, usize), (usize, usize), &'static [u8]);
        let cases: &[Case] = &[
            (&[0, 255], (1, 2), (1, 4), &[0, 64, 191, 255]),
            (&[0, 100, 200, 50], (2, 2), (1, 1), &[88]),
            (&[10, 20, 30, 40, 50], (1, 5), (1, 2), &[20, 40]),
            (&[7, 8], (2, 1), (2, 1), &[7, 8]),
        ];
        for (pixels, size, target, expected) in cases {
            assert_eq!(
                resize(pixels.to_vec(), 1, *size, *target, Filter::Bilinear),
                *expected,
                "{pixels:?}"
            );
        }
    }
}
