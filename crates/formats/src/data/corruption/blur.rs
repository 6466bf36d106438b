//! Images out of focus.

use super::{Change, Corruption, Pixels, Strength, level};

pub(super) const GAUSSIAN_BLUR: Corruption = Corruption {
    name: "gaussian-blur",
    family: "blur",
    summary: "blur by a normal distribution, deviation 0.4 to 1 pixels",
    make: gaussian,
};

pub(super) const DEFOCUS_BLUR: Corruption = Corruption {
    name: "defocus-blur",
    family: "blur",
    summary: "blur by a disk, radius 0.3 to 1.5 pixels with soft edges",
    make: defocus,
};

/// A square of weights around a pixel.
struct Kernel {
    reach: usize,
    /// `[2 * reach + 1, 2 * reach + 1]`, sum 1.
    weights: Vec<f64>,
}

/// As scikit-image's `gaussian`: cut at four deviations, pixels at the edge repeated.
fn gaussian(strength: Strength) -> Change {
    let deviation: f64 = strength.of([0.4, 0.6, 0.7, 0.8, 1.0]);
    let kernel = Kernel::outer(&bell(deviation, (4.0 * deviation + 0.5) as usize));
    let repeated = |position: isize, size: usize| position.clamp(0, size as isize - 1) as usize;
    Box::new(move |pixels, _| kernel.apply(pixels, repeated))
}

/// A disk with the aliasing of its edge blurred away, as `disk` and OpenCV's `filter2D` of the original; pixels mirrored at the edge.
fn defocus(strength: Strength) -> Change {
    let (radius, softness): (f64, f64) =
        strength.of([(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)]);
    let kernel = Kernel::disk(radius).softened(&bell(softness, 1));
    Box::new(move |pixels, _| kernel.apply(pixels, mirrored))
}

/// Position -1 is position 1.
fn mirrored(position: isize, size: usize) -> usize {
    let period = (2 * size as isize - 2).max(1);
    let position = position.rem_euclid(period);
    position.min(period - position) as usize
}

/// The normal distribution at whole pixels up to `reach`, sum 1.
fn bell(deviation: f64, reach: usize) -> Vec<f64> {
    let at = |offset: isize| libm::exp(-0.5 * (offset as f64 / deviation).powi(2));
    let values: Vec<f64> = (-(reach as isize)..=reach as isize).map(at).collect();
    let sum: f64 = values.iter().sum();
    values.iter().map(|value| value / sum).collect()
}

impl Kernel {
    fn outer(line: &[f64]) -> Kernel {
        Kernel {
            reach: line.len() / 2,
            weights: line
                .iter()
                .flat_map(|row| line.iter().map(move |column| row * column))
                .collect(),
        }
    }

    /// Equal weights up to a distance.
    fn disk(radius: f64) -> Kernel {
        let reach = radius as usize;
        let side = -(reach as isize)..=reach as isize;
        let is_inside = |row: isize, column: isize| ((row * row + column * column) as f64) <= radius * radius;
        let rows = side
            .clone()
            .flat_map(|row| side.clone().map(move |column| (row, column)));
        let inside: Vec<f64> = rows
            .map(|(row, column)| f64::from(u8::from(is_inside(row, column))))
            .collect();
        let sum: f64 = inside.iter().sum();
        Kernel {
            reach,
            weights: inside.iter().map(|weight| weight / sum).collect(),
        }
    }

    /// Blurred in both directions.
    fn softened(&self, line: &[f64]) -> Kernel {
        let (inner, margin) = (2 * self.reach + 1, line.len() / 2);
        let side = inner + 2 * margin;
        let mut weights = vec![0.0; side * side];
        for (index, weight) in self.weights.iter().enumerate() {
            for (row, down) in line.iter().enumerate() {
                for (column, across) in line.iter().enumerate() {
                    weights[(index / inner + row) * side + index % inner + column] += weight * down * across;
                }
            }
        }
        Kernel {
            reach: self.reach + margin,
            weights,
        }
    }

    /// `beyond` says which pixel of a line stands for one outside.
    fn apply(&self, pixels: &mut Pixels, beyond: fn(isize, usize) -> usize) {
        let source = pixels.levels.clone();
        let (height, width, channels) = (pixels.height, pixels.width, pixels.channels);
        let side = 2 * self.reach + 1;
        let seen = |position: usize, size: usize| -> Vec<usize> {
            (0..side)
                .map(|offset| beyond((position + offset) as isize - self.reach as isize, size))
                .collect()
        };
        let columns: Vec<Vec<usize>> = (0..width).map(|column| seen(column, width)).collect();
        for (row, line) in pixels.levels.chunks_exact_mut(width * channels).enumerate() {
            let rows = seen(row, height);
            for (position, value) in line.iter_mut().enumerate() {
                let (columns, channel) = (&columns[position / channels], position % channels);
                let taps = rows
                    .iter()
                    .flat_map(|row| columns.iter().map(move |column| row * width + column));
                let products = taps
                    .zip(&self.weights)
                    .map(|(pixel, weight)| f64::from(source[pixel * channels + channel]) * weight);
                *value = level(products.sum());
            }
        }
    }
}
