//! Powers of two and sums of two of them, scaled to -1..1: products are shifts and additions.

use super::Codebook;

/// The table of `positive` rising values, their negatives and 0.
const fn mirrored<const HALF: usize, const ALL: usize>(positive: [f32; HALF]) -> [f32; ALL] {
    let mut values = [0.0; ALL];
    let mut index = 0;
    while index < HALF {
        values[HALF + 1 + index] = positive[index];
        values[HALF - 1 - index] = -positive[index];
        index += 1;
    }
    values
}

/// `numerators / denominator`.
const fn fractions<const N: usize>(numerators: [u8; N], denominator: u8) -> [f32; N] {
    let mut values = [0.0; N];
    let mut index = 0;
    while index < N {
        values[index] = numerators[index] as f32 / denominator as f32;
        index += 1;
    }
    values
}

/// 0 and the powers of two from 1/4 to 1 (Zhou et al. 2017, incremental network quantization).
pub static LOG3: Codebook = Codebook::fixed(
    "log3",
    "3-bit powers of two, 0 and 1/4..1",
    &mirrored::<3, 7>([0.25, 0.5, 1.0]),
);

/// 0 and the powers of two from 1/64 to 1.
pub static LOG4: Codebook = Codebook::fixed(
    "log4",
    "4-bit powers of two, 0 and 1/64..1",
    &mirrored::<7, 15>(fractions([1, 2, 4, 8, 16, 32, 64], 64)),
);

/// Additive powers of two (Li et al. 2020, equation 5), 3 bits with sign: one term from 0, 1/2, 1/4, 1/8.
pub static APOT3: Codebook = Codebook::fixed(
    "apot3",
    "3-bit additive powers of two",
    &mirrored::<3, 7>(fractions([1, 2, 4], 4)),
);

/// 4 bits with sign: a term from 0, 1/2, 1/4, 1/16 and one from 0, 1/8.
pub static APOT4: Codebook = Codebook::fixed(
    "apot4",
    "4-bit sums of two powers of two",
    &mirrored::<7, 15>(fractions([1, 2, 3, 4, 6, 8, 10], 10)),
);

/// 5 bits with sign: a term from 0, 1/2, 1/8, 1/32 and one from 0, 1/4, 1/16, 1/64.
pub static APOT5: Codebook = Codebook::fixed(
    "apot5",
    "5-bit sums of two powers of two",
    &mirrored::<15, 31>(fractions(
        [1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 33, 36, 48],
        48,
    )),
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sum of one of each, over the largest sum.
    fn sums(first: &[f32], second: &[f32]) -> Vec<f32> {
        let mut sums: Vec<f32> = first
            .iter()
            .flat_map(|a| second.iter().flat_map(move |b| [a + b, -(a + b)]))
            .collect();
        sums.sort_by(f32::total_cmp);
        let largest = sums[sums.len() - 1];
        sums.dedup();
        sums.iter().map(|sum| sum / largest).collect()
    }

    #[test]
    fn tables_are_the_sums_of_their_terms() {
        let cases: [(&Codebook, &[f32], &[f32]); 3] = [
            (&APOT3, &[0.0, 0.5, 0.25, 0.125], &[0.0]),
            (&APOT4, &[0.0, 0.5, 0.25, 0.0625], &[0.0, 0.125]),
            (
                &APOT5,
                &[0.0, 0.5, 0.125, 0.03125],
                &[0.0, 0.25, 0.0625, 0.015625],
            ),
        ];
        for (book, first, second) in cases {
            let expected = sums(first, second);
            assert_eq!(book.values().len(), expected.len());
            for (value, expected) in book.values().iter().zip(expected) {
                assert!((value - expected).abs() <= f32::EPSILON, "{value} {expected}");
            }
        }
    }
}
