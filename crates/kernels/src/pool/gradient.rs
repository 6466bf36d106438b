//! Gradients of pools of data with the channels last.

use rayon::prelude::*;

use super::channels_last::element;
use super::{Axis, planes};
use crate::conv::advance;
use crate::conv::gradient::Write;
use crate::vectorize::vectorized;

/// What the gradient of a maximum is made of.
#[derive(Clone, Copy, Debug)]
pub struct MaxBackward<'a> {
    /// For each spatial dimension.
    pub axes: &'a [Axis],
    /// Channels of a pixel.
    pub channels: usize,
    /// The input, `[batch, spatial..., channels]`.
    pub x: &'a [f32],
    /// The output: what [`super::max_channels_last`] makes of `x`.
    pub y: &'a [f32],
    /// The output's gradient.
    pub dy: &'a [f32],
}

impl MaxBackward<'_> {
    /// The gradient of each window goes to its first element that is the maximum; where windows overlap, gradients add up.
    /// A window whose maximum is not a number gives none.
    ///
    /// # Panics
    /// When the slices do not fit the sizes.
    pub fn run(&self, write: Write, dx: &mut [f32]) {
        let (input, output) = planes(self.axes, self.x.len(), self.y.len());
        assert!(
            self.dy.len() == self.y.len() && dx.len() == self.x.len(),
            "a gradient for each element"
        );
        if write == Write::Replace {
            dx.fill(0.0);
        }
        if dx.is_empty() || self.y.is_empty() {
            return;
        }
        let (input, output) = (input * self.channels, output * self.channels);
        dx.par_chunks_mut(input).enumerate().for_each(|(image, dx)| {
            let x = &self.x[image * input..][..input];
            let range = image * output..(image + 1) * output;
            self.image(x, &self.y[range.clone()], &self.dy[range], dx);
        });
    }

    fn image(&self, x: &[f32], y: &[f32], dy: &[f32], dx: &mut [f32]) {
        let sizes: Vec<usize> = self.axes.iter().map(|axis| axis.output).collect();
        let kernel: Vec<usize> = self.axes.iter().map(|axis| axis.kernel).collect();
        let (mut window, mut left) = (vec![0; sizes.len()], vec![0.0; self.channels]);
        for (y, dy) in y.chunks_exact(self.channels).zip(dy.chunks_exact(self.channels)) {
            left.copy_from_slice(dy);
            let mut tap = vec![0; kernel.len()];
            loop {
                if let Some(flat) = element(self.axes, &window, &tap) {
                    let at = flat * self.channels..(flat + 1) * self.channels;
                    give(&x[at.clone()], y, &mut left, &mut dx[at]);
                }
                if !advance(&mut tap, &kernel) {
                    break;
                }
            }
            advance(&mut window, &sizes);
        }
    }
}

/// The gradient of [`super::global_average_channels_last`]: `dy` is `[batch, channels]`, `dx` `[batch, area, channels]`.
///
/// # Panics
/// When the slices do not fit the sizes.
pub fn global_average(area: usize, channels: usize, dy: &[f32], write: Write, dx: &mut [f32]) {
    assert!(
        Some(dx.len()) == dy.len().checked_mul(area) && dy.len().is_multiple_of(channels.max(1)),
        "an output for each channel"
    );
    if dx.is_empty() {
        return;
    }
    let images = dx.par_chunks_mut(area * channels).zip(dy.par_chunks(channels));
    images.for_each(|(dx, dy)| {
        let share: Vec<f32> = dy.iter().map(|dy| dy / area as f32).collect();
        for dx in dx.chunks_exact_mut(channels) {
            match write {
                Write::Replace => dx.copy_from_slice(&share),
                Write::Add => add(&share, dx),
            }
        }
    });
}

vectorized! {
    /// What is left goes to elements that are the maximum.
    fn give(x: &[f32], y: &[f32], left: &mut [f32], dx: &mut [f32]) {
        let len = x.len();
        let (y, left, dx) = (&y[..len], &mut left[..len], &mut dx[..len]);
        for i in 0..len {
            let given = if x[i] == y[i] { left[i] } else { 0.0 };
            dx[i] += given;
            left[i] = if x[i] == y[i] { 0.0 } else { left[i] };
        }
    }

    fn add(from: &[f32], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to += *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{global_average_channels_last, max_channels_last};
    use super::*;
    use crate::conv::tests::Random;

    fn axis([input, kernel, stride, dilation, before, after]: [usize; 6]) -> Axis {
        Axis {
            input,
            kernel,
            stride,
            dilation,
            before,
            after,
            output: (input + before + after - (kernel - 1) * dilation - 1) / stride + 1,
        }
    }

    /// Goes through every window of every channel by itself.
    fn definition(backward: &MaxBackward<'_>, batch: usize) -> Vec<f64> {
        let MaxBackward { axes, channels, .. } = *backward;
        let (input, output) = planes(axes, backward.x.len(), backward.y.len());
        let (sizes, kernel): (Vec<usize>, Vec<usize>) =
            axes.iter().map(|axis| (axis.output, axis.kernel)).unzip();
        let mut dx = vec![0.0; backward.x.len()];
        for image in 0..batch {
            for channel in 0..channels {
                let mut window = vec![0; axes.len()];
                for at in 0..output {
                    let (mut tap, mut best) = (vec![0; axes.len()], None::<usize>);
                    loop {
                        if let Some(flat) = element(axes, &window, &tap) {
                            let index = (image * input + flat) * channels + channel;
                            if best.is_none_or(|best| backward.x[index] > backward.x[best]) {
                                best = Some(index);
                            }
                        }
                        if !advance(&mut tap, &kernel) {
                            break;
                        }
                    }
                    if let Some(best) = best {
                        dx[best] += f64::from(backward.dy[(image * output + at) * channels + channel]);
                    }
                    advance(&mut window, &sizes);
                }
            }
        }
        dx
    }

    #[test]
    fn maxima_give_to_their_first_element() {
        let cases: &[(usize, usize, &[[usize; 6]])] = &[
            (2, 16, &[[8, 2, 2, 1, 0, 0]; 2]),
            (3, 5, &[[9, 3, 2, 1, 1, 1]; 2]),
            (1, 33, &[[7, 3, 1, 2, 2, 2], [5, 2, 1, 1, 0, 1]]),
            (2, 4, &[[20, 5, 3, 1, 2, 2]]),
            (1, 3, &[[5, 2, 1, 1, 0, 0]; 3]),
        ];
        let mut random = Random(1);
        for &(batch, channels, sizes) in cases {
            let axes: Vec<Axis> = sizes.iter().copied().map(axis).collect();
            let count = |of: fn(&Axis) -> usize| batch * channels * axes.iter().map(of).product::<usize>();
            // Few different values: windows have several maxima.
            let x = random.values(count(|axis| axis.input));
            let x: Vec<f32> = x.iter().map(|x| (x * 3.0).round()).collect();
            let dy = random.values(count(|axis| axis.output));
            let mut y = vec![0.0; dy.len()];
            max_channels_last(&axes, channels, &x, 0.0, &mut y);
            let backward = MaxBackward {
                axes: &axes,
                channels,
                x: &x,
                y: &y,
                dy: &dy,
            };
            let expected = definition(&backward, batch);
            let before = random.values(x.len());
            let (mut dx, mut added) = (vec![f32::NAN; x.len()], before.clone());
            backward.run(Write::Replace, &mut dx);
            backward.run(Write::Add, &mut added);
            for i in 0..x.len() {
                assert!((f64::from(dx[i]) - expected[i]).abs() < 2e-6, "{sizes:?} [{i}]");
                let sum = expected[i] + f64::from(before[i]);
                assert!((f64::from(added[i]) - sum).abs() < 2e-6, "{sizes:?} [{i}] added");
            }
        }
    }

    #[test]
    fn averages_share_evenly() {
        let (batch, area, channels) = (3, 49, 20);
        let mut random = Random(2);
        let (x, dy) = (
            random.values(batch * area * channels),
            random.values(batch * channels),
        );
        let before = random.values(x.len());
        let (mut dx, mut added) = (vec![f32::NAN; x.len()], before.clone());
        global_average(area, channels, &dy, Write::Replace, &mut dx);
        global_average(area, channels, &dy, Write::Add, &mut added);
        // The average is linear: a step along x changes it by what dx says.
        let mut y = vec![0.0; dy.len()];
        global_average_channels_last(area, channels, &x, &mut y);
        let along = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        assert!((along(&dx, &x) - along(&dy, &y)).abs() < 1e-4);
        for i in 0..x.len() {
            let expected = dy[i / (area * channels) * channels + i % channels] / area as f32;
            assert_eq!(dx[i], expected);
            assert_eq!(added[i], before[i] + expected);
        }
    }
}
