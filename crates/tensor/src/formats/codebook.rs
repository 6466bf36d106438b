//! Formats whose codes are indices into a table of values: fixed tables, and tables learned from values.

use std::borrow::Cow;

use super::kmeans::cluster_centres;
use super::{FormatKind, NumberFormat};
use crate::DType;

/// A table of values in rising order; a code is an index. Of two values as near, the lower is taken; NaN becomes the
/// value nearest to 0. Codes past the end stand for the last value.
#[derive(Debug, Clone)]
pub struct Codebook {
    name: &'static str,
    summary: &'static str,
    values: Cow<'static, [f32]>,
}

/// The quantiles of a normal distribution, scaled to -1..1, with an exact zero (Dettmers et al. 2023, QLoRA, appendix E;
/// the table of bitsandbytes).
pub static NF4: Codebook = Codebook::fixed(
    "nf4",
    "4-bit codes for 16 quantiles of a normal distribution",
    &[
        -1.0,
        -0.696_192_8,
        -0.525_073_05,
        -0.394_917_5,
        -0.284_441_38,
        -0.184_773_43,
        -0.091_050_036,
        0.0,
        0.079_580_3,
        0.160_930_2,
        0.246_112_3,
        0.337_915_24,
        0.440_709_83,
        0.562_617,
        0.722_956_84,
        1.0,
    ],
);

/// -1, 0, 1 (Li and Liu 2016, ternary weight networks). Codes take 2 bits.
pub static TERNARY: Codebook = Codebook::fixed("ternary", "-1, 0 and 1 in 2 bits", &[-1.0, 0.0, 1.0]);

/// -1, 1 (Rastegari et al. 2016, XNOR-Net).
pub static BINARY: Codebook = Codebook::fixed("binary", "-1 and 1 in 1 bit", &[-1.0, 1.0]);

impl Codebook {
    /// A table that is known beforehand.
    pub(super) const fn fixed(name: &'static str, summary: &'static str, values: &'static [f32]) -> Codebook {
        Codebook {
            name,
            summary,
            values: Cow::Borrowed(values),
        }
    }

    /// A table of these values, which rise.
    ///
    /// # Panics
    /// When there are none, or more than 256, or they do not rise.
    pub fn of_values(name: &'static str, values: Vec<f32>) -> Codebook {
        assert!((1..=256).contains(&values.len()), "a code has at most 8 bits");
        assert!(values.is_sorted_by(|a, b| a < b), "values rise");
        Codebook {
            name,
            summary: "codes for values of a table",
            values: Cow::Owned(values),
        }
    }

    /// At most `entries` (1 to 256) values that stand for `values` with a small (weighted) squared error: k-means, seeded
    /// with `seed`. Values that are not finite are passed over; of none, 0 is the table.
    ///
    /// # Panics
    /// When `entries` is not from 1 to 256, or there are not as many weights as values.
    pub fn learned(values: &[f32], weights: Option<&[f32]>, entries: usize, seed: u64) -> Codebook {
        assert!((1..=256).contains(&entries), "a code has at most 8 bits");
        let values = cluster_centres(values, weights, entries, seed);
        Codebook {
            name: "codebook",
            summary: "codes for values that were learned",
            values: Cow::Owned(values),
        }
    }

    /// The values, rising.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl NumberFormat for Codebook {
    fn name(&self) -> &'static str {
        self.name
    }
    fn summary(&self) -> &'static str {
        self.summary
    }
    fn kind(&self) -> FormatKind {
        FormatKind::Codebook
    }
    fn bits(&self) -> u32 {
        self.values.len().next_power_of_two().trailing_zeros().max(1)
    }
    fn storage(&self) -> DType {
        match self.bits() {
            1 | 2 => DType::U2,
            3 | 4 => DType::U4,
            _ => DType::U8,
        }
    }
    fn min_code(&self) -> i32 {
        0
    }
    fn max_code(&self) -> i32 {
        0
    }
    fn max_value(&self) -> f32 {
        self.values.iter().fold(0.0, |best, value| value.abs().max(best))
    }
    fn encode(&self, value: f32) -> u16 {
        let value = if value.is_nan() { 0.0 } else { value };
        let middles = self
            .values
            .windows(2)
            .map(|pair| pair[0] + (pair[1] - pair[0]) * 0.5);
        middles.take_while(|&middle| value > middle).count() as u16
    }
    fn decode(&self, code: u16) -> f32 {
        self.values[usize::from(code).min(self.values.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;

    #[test]
    fn learned_values_stand_for_their_clusters() {
        let values: Vec<f32> = (0..60)
            .map(|i| [1.0, -3.0, 10.0][i % 3] + (i / 3 % 5) as f32 * 0.01)
            .collect();
        let book = Codebook::learned(&values, None, 3, 1);
        for (value, expected) in book.values().iter().zip([-2.98, 1.02, 10.02]) {
            assert!((value - expected).abs() < 1e-5, "{:?}", book.values());
        }
        assert_eq!(
            (book.bits(), book.encode(9.0), book.decode(3)),
            (2, 2, book.values()[2])
        );
    }

    #[test]
    fn learned_values_beat_even_ones_and_repeat() {
        let mut random = SplitMix64::new(9);
        let values: Vec<f32> = (0..5000)
            .map(|_| (0..12).map(|_| random.unit()).sum::<f32>() - 6.0)
            .collect();
        let error = |book: &Codebook| -> f64 {
            values
                .iter()
                .map(|&v| f64::from(book.decode(book.encode(v)) - v).powi(2))
                .sum()
        };
        let even: Vec<f32> = (0..16).map(|i| -3.5 + i as f32 * 7.0 / 15.0).collect();
        let even = Codebook {
            name: "even",
            summary: "",
            values: Cow::Owned(even),
        };
        let learned = Codebook::learned(&values, None, 16, 5);
        assert!(
            error(&learned) < 0.6 * error(&even),
            "{} {}",
            error(&learned),
            error(&even)
        );
        assert_eq!(learned.values(), Codebook::learned(&values, None, 16, 5).values());
    }

    #[test]
    fn weights_pull_the_values() {
        let values = [0.0, 1.0, 10.0];
        let book = Codebook::learned(&values, Some(&[1.0, 3.0, 1e-9]), 1, 0);
        assert!((book.values()[0] - 0.75).abs() < 1e-5);
        assert_eq!(Codebook::learned(&[], None, 4, 0).values(), [0.0]);
        assert_eq!(
            Codebook::learned(&[f32::NAN, 2.0, 2.0], None, 4, 0).values(),
            [2.0]
        );
    }
}
