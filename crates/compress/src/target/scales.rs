//! Which scales a target takes.

use bantam_tensor::{NumberFormat, QParams};

/// Which scales there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleForm {
    /// Any number above zero.
    Any,
    /// Powers of two, so that codes are rescaled by shifting.
    PowerOfTwo,
}

/// Powers of two below the one that holds the whole range that are tried too.
const FINER: i32 = 2;

impl ScaleForm {
    /// Scale and zero point of a range, as [`QParams::for_range`]. Of powers of two the smallest that holds the range, or one of
    /// the two below, whichever has the least `error`; without a distribution to measure it by, the one that holds the range.
    pub fn params(
        self,
        format: &dyn NumberFormat,
        symmetric: bool,
        (low, high): (f32, f32),
        error: Option<&dyn Fn(f32, i32) -> f64>,
    ) -> (f32, i32) {
        let exact = QParams::for_range(format, symmetric, low, high);
        if self == ScaleForm::Any {
            return exact;
        }
        let with_zero_point = |scale: f32| {
            if symmetric {
                return (scale, exact.1);
            }
            let zero =
                (f64::from(format.min_code()) - f64::from(low.min(0.0)) / f64::from(scale)).round_ties_even();
            (scale, (zero as i32).clamp(format.min_code(), format.max_code()))
        };
        let whole = self.at_least(exact.0);
        let Some(error) = error else {
            return with_zero_point(whole);
        };
        let tried =
            (0..=FINER).map(|finer| with_zero_point((whole * 2f32.powi(-finer)).max(f32::MIN_POSITIVE)));
        tried
            .min_by(|a, b| error(a.0, a.1).total_cmp(&error(b.0, b.1)))
            .expect("at least one is tried")
    }

    /// The smallest scale of this form that is not below `scale`, a number above zero.
    pub fn at_least(self, scale: f32) -> f32 {
        match self {
            ScaleForm::Any => scale,
            ScaleForm::PowerOfTwo => {
                let near = 2f32.powi(scale.log2().round().clamp(-126.0, 127.0) as i32);
                if near >= scale || near > f32::MAX / 2.0 {
                    near
                } else {
                    near * 2.0
                }
            }
        }
    }
}

/// Whether a scale is a power of two.
pub fn is_power_of_two(scale: f32) -> bool {
    scale > 0.0 && scale.is_normal() && scale.to_bits() & ((1 << 23) - 1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam_tensor::format_by_name;

    #[test]
    fn powers_of_two_hold_the_range_without_a_distribution() {
        let int8 = format_by_name("int8").unwrap();
        for high in [1e-30f32, 0.3, 1.0, 127.0, 128.0, 5e20] {
            let (scale, zero) = ScaleForm::PowerOfTwo.params(int8, true, (-high / 2.0, high), None);
            assert!(is_power_of_two(scale), "{high}: {scale}");
            assert_eq!(zero, 0);
            assert!(
                scale * 127.0 >= high * 0.999_999 && scale * 63.0 < high,
                "{high}: {scale}"
            );
        }
        let (scale, zero) = ScaleForm::PowerOfTwo.params(int8, false, (-1.0, 3.0), None);
        assert_eq!((scale, zero), (1.0 / 32.0, -96));
    }

    #[test]
    fn the_distribution_may_choose_a_finer_one() {
        let int4 = format_by_name("int4").unwrap();
        // Hundreds of small numbers and one of 1.0: clipping the one is better.
        let error = |scale: f32, _: i32| {
            let of = |x: f32| f64::from((x / scale).round().clamp(-8.0, 7.0) * scale - x).powi(2);
            (0..300).map(|index| of(index as f32 / 3000.0)).sum::<f64>() + of(1.0)
        };
        let whole = ScaleForm::PowerOfTwo.params(int4, true, (-1.0, 1.0), None).0;
        let chosen = ScaleForm::PowerOfTwo
            .params(int4, true, (-1.0, 1.0), Some(&error))
            .0;
        assert!(is_power_of_two(chosen) && chosen < whole, "{chosen} {whole}");
    }

    #[test]
    fn raising_gives_the_next_power_and_leaves_powers_alone() {
        for (scale, expected) in [
            (0.25, 0.25),
            (0.26, 0.5),
            (0.499, 0.5),
            (1.0, 1.0),
            (1.01, 2.0),
            (2e-38, 2f32.powi(-125)),
        ] {
            assert_eq!(ScaleForm::PowerOfTwo.at_least(scale), expected, "{scale}");
            assert_eq!(ScaleForm::Any.at_least(scale), scale);
        }
    }
}
