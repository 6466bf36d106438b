//! What the windows of a convolution see, as rows of a matrix.

use rayon::prelude::*;

use super::Geometry;

/// Writes what a group's windows at `positions` see, zeros beyond the edges: one row of [`Geometry::taps`] numbers for each
/// position, in the order of the weights of an output channel. A position counts output elements of a channel over all
/// images; `x` is `[batch, channels, input...]`.
///
/// # Panics
/// When a slice has another length, or a position lies beyond the last image.
pub fn patches(geometry: &Geometry, x: &[f32], group: usize, positions: &[usize], rows: &mut [f32]) {
    let (plane, taps) = (geometry.output_plane(), geometry.taps());
    let input_plane = geometry.input_plane();
    assert_eq!(
        x.len(),
        geometry.batch * geometry.channels * input_plane,
        "the input"
    );
    assert_eq!(rows.len(), positions.len() * taps, "a row for each position");
    if taps == 0 {
        return;
    }
    let kernel: usize = geometry.kernel.iter().product();
    let first = group * geometry.group_channels();
    rows.par_chunks_mut(taps)
        .zip(positions)
        .for_each(|(row, &position)| {
            let image = &x[position / plane * geometry.channels * input_plane..];
            let offsets = offsets(geometry, position % plane);
            for (channel, row) in row.chunks_exact_mut(kernel).enumerate() {
                let channel = &image[(first + channel) * input_plane..][..input_plane];
                for (value, offset) in row.iter_mut().zip(&offsets) {
                    *value = offset.map_or(0.0, |offset| channel[offset]);
                }
            }
        });
}

/// Where in a channel the taps of the window at an output position lie; `None` beyond the edges.
fn offsets(geometry: &Geometry, position: usize) -> Vec<Option<usize>> {
    let mut offsets = vec![Some(0)];
    let mut before = geometry.output_plane();
    for dimension in 0..geometry.input.len() {
        before /= geometry.output[dimension];
        let start = position / before % geometry.output[dimension] * geometry.strides[dimension];
        let size = geometry.input[dimension];
        let along = (0..geometry.kernel[dimension]).map(|tap| {
            let at = (start + tap * geometry.dilations[dimension]).checked_sub(geometry.pads[dimension]);
            at.filter(|at| *at < size)
        });
        let along: Vec<Option<usize>> = along.collect();
        let next = offsets.iter().flat_map(|offset| {
            let of = |at: &Option<usize>| Some((*offset)? * size + (*at)?);
            along.iter().map(of).collect::<Vec<_>>()
        });
        offsets = next.collect();
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row times the weights of a channel is the output of the convolution's plain form.
    #[test]
    fn rows_times_weights_are_the_convolution() {
        let geometry = Geometry {
            batch: 2,
            channels: 4,
            out_channels: 6,
            groups: 2,
            input: vec![5, 7],
            kernel: vec![3, 2],
            strides: vec![2, 1],
            dilations: vec![1, 2],
            pads: vec![1, 1],
            output: vec![3, 7],
        };
        let number = |i: usize| ((i * 37 % 19) as f32 - 9.0) / 4.0;
        let x: Vec<f32> = (0..2 * 4 * 35).map(number).collect();
        let weights: Vec<f32> = (0..6 * geometry.taps()).map(|i| number(i + 5)).collect();
        let positions: Vec<usize> = (0..2 * 21).collect();
        let mut expected = vec![0.0; 2 * 6 * 21];
        crate::conv::convolve(&geometry, &x, &weights, None, &mut expected);
        for group in 0..2 {
            let mut rows = vec![0.0; positions.len() * geometry.taps()];
            patches(&geometry, &x, group, &positions, &mut rows);
            for (position, row) in rows.chunks_exact(geometry.taps()).enumerate() {
                for channel in group * 3..group * 3 + 3 {
                    let weights = &weights[channel * geometry.taps()..][..geometry.taps()];
                    let sum: f32 = row.iter().zip(weights).map(|(x, w)| x * w).sum();
                    let y = expected[(position / 21 * 6 + channel) * 21 + position % 21];
                    assert!((sum - y).abs() < 1e-4, "{sum} {y}");
                }
            }
        }
    }
}
