//! Counting elements in bins of equal width, and the error of codes over such counts.

use crate::quantize::round_even;
use crate::vectorize::vectorized;

/// Elements whose bins are found before they are counted.
const BLOCK: usize = 512;

/// Places that zeros are counted in by turns, so that one increment does not wait for the one before.
const LANES: usize = 16;

/// Room for the counts and for the places of zeros and of what is not finite; a power of two, so that a mask keeps
/// indices inside.
const ROOM: usize = 8192;

/// Most bins that [`count_bins`] counts in.
pub const MOST_BINS: usize = ROOM - 2 * LANES;

vectorized! {
    /// Where each element is counted.
    fn find_bins(values: &[f32], scale: f32, first: i32, bins: u32, places: &mut [u32]) {
        for (index, (place, &x)) in places.iter_mut().zip(values).enumerate() {
            let zero_place = bins + (index % LANES) as u32;
            // Without meaning where `x` is not finite, which is put aside below.
            let bin = round_even((x * scale).floor());
            let bin = (bin.wrapping_sub(first) as u32).min(bins - 1);
            let bin = if x.abs() < f32::INFINITY { bin } else { zero_place + LANES as u32 };
            *place = if x == 0.0 { zero_place } else { bin };
        }
    }

    /// Sum over `centres` of the squared error of their codes, each as often as `counts` says.
    pub fn weighted_squared_error(centres: &[f32], counts: &[f32], grid: &crate::quantize::Grid) -> f64 {
        const LANES: usize = 16;
        let (low, high) = ((grid.min - grid.zero_point) as f32, (grid.max - grid.zero_point) as f32);
        let inverse = 1.0 / grid.scale;
        let error = |x: f32, count: f32| {
            let code = (x * inverse).round_ties_even();
            let above = if code > low { code } else { low };
            let difference = (if above < high { above } else { high }) * grid.scale - x;
            f64::from(difference * difference * count)
        };
        let mut sums = [0f64; LANES];
        let (centre_blocks, count_blocks) = (centres.chunks_exact(LANES), counts.chunks_exact(LANES));
        let rest: f64 = (centre_blocks.remainder().iter().zip(count_blocks.remainder()))
            .map(|(&x, &count)| error(x, count))
            .sum();
        for (centres, counts) in centre_blocks.zip(count_blocks) {
            for lane in 0..LANES {
                sums[lane] += error(centres[lane], counts[lane]);
            }
        }
        rest + sums.iter().sum::<f64>()
    }
}

/// Adds to `counts[k]` how many elements other than zero have `floor(x * scale) = first + k`; those outside count in
/// the bin that is nearest by index. Gives the number of zeros; elements that are not finite are left out.
///
/// # Panics
/// When there are no bins or more than [`MOST_BINS`].
pub fn count_bins(values: &[f32], scale: f32, first: i32, counts: &mut [u64]) -> u64 {
    let bins = counts.len();
    assert!((1..=MOST_BINS).contains(&bins), "{bins} bins");
    let mut room = [0u32; ROOM];
    let mut places = [0u32; BLOCK];
    for block in values.chunks(BLOCK) {
        find_bins(block, scale, first, bins as u32, &mut places);
        for &place in &places[..block.len()] {
            room[place as usize % ROOM] += 1;
        }
    }
    for (sum, count) in counts.iter_mut().zip(room) {
        *sum += u64::from(count);
    }
    room[bins..bins + LANES]
        .iter()
        .map(|&count| u64::from(count))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::Grid;

    /// The definition, element by element.
    fn oracle(values: &[f32], scale: f32, first: i32, bins: usize) -> (Vec<u64>, u64) {
        let (mut counts, mut zeros) = (vec![0; bins], 0);
        for &x in values.iter().filter(|x| x.is_finite()) {
            if x == 0.0 {
                zeros += 1;
            } else {
                counts[((x * scale).floor() as i32 - first) as usize] += 1;
            }
        }
        (counts, zeros)
    }

    #[test]
    fn counts_agree_with_the_definition() {
        for length in [0usize, 1, 15, 511, 512, 513, 5000] {
            let mut values: Vec<f32> = (0..length)
                .map(|i| ((i as f32 * 0.618_034).fract() - 0.25) * 64.0)
                .map(|x| if x < -8.0 { 0.0 } else { x })
                .collect();
            for (index, odd) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0]
                .into_iter()
                .enumerate()
            {
                if let Some(value) = values.get_mut(index * 97) {
                    *value = odd;
                }
            }
            let (expected, zeros) = oracle(&values, 16.0, -300, 1200);
            let mut counts = vec![0; 1200];
            assert_eq!(
                count_bins(&values, 16.0, -300, &mut counts),
                zeros,
                "length {length}"
            );
            assert_eq!(counts, expected, "length {length}");
        }
    }

    #[test]
    fn errors_agree_with_the_definition() {
        let grid = Grid {
            scale: 0.25,
            zero_point: 3,
            min: 0,
            max: 15,
        };
        let centres: Vec<f32> = (0..61).map(|i| i as f32 * 0.11 - 2.0).collect();
        let counts: Vec<f32> = (0..61).map(|i| (i * i % 7) as f32).collect();
        let error = |(x, count): (&f32, &f32)| {
            let code = ((x / 0.25).round_ties_even() + 3.0).clamp(0.0, 15.0);
            f64::from((code - 3.0) * 0.25 - x).powi(2) * f64::from(*count)
        };
        let expected: f64 = centres.iter().zip(&counts).map(error).sum();
        let got = weighted_squared_error(&centres, &counts, &grid);
        assert!(
            (got - expected).abs() < 1e-5 * expected,
            "{got} against {expected}"
        );
    }
}
