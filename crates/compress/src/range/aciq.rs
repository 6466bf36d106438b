//! The analytic optimum for a bell-shaped distribution.

use bantam_tensor::NumberFormat;

use super::{RangeGoal, RangeMethod};
use crate::stats::{Histogram, Observed, Stat};

/// Analytical clipping for integer quantization (Banner et al. 2019, section 3): the threshold that minimizes the
/// expected squared error when the values follow a Laplace or a normal distribution, whichever describes the
/// observed mean absolute and mean squared deviation better.
#[derive(Debug)]
pub(super) struct AciqRange;

impl RangeMethod for AciqRange {
    fn name(&self) -> &'static str {
        "aciq"
    }
    fn summary(&self) -> &'static str {
        "analytic optimum for a Laplace or normal distribution"
    }
    fn stat(&self) -> Stat {
        Stat::Histogram
    }
    fn range(&self, observed: &Observed, goal: RangeGoal) -> (f32, f32) {
        let Observed::Histogram(histogram) = observed else {
            return observed.bounds();
        };
        let (low, high) = histogram.bounds();
        let one_sided = low >= 0.0 || high <= 0.0;
        let Some(shape) = Shape::of(histogram, one_sided) else {
            return (low, high);
        };
        // A one-sided distribution is half of a symmetric one with all codes on its side: one bit more.
        let bits = goal.format.bits() + u32::from(one_sided && !goal.symmetric);
        let reach = shape.best_reach(bits, goal.format);
        let centre = if one_sided || goal.symmetric {
            0.0
        } else {
            shape.mean
        };
        (
            low.max((centre - reach) as f32),
            high.min((centre + reach) as f32),
        )
    }
}

/// Mean, scale and family of a distribution.
struct Shape {
    mean: f64,
    laplace: bool,
    /// Laplace: mean absolute deviation; normal: standard deviation.
    scale: f64,
}

impl Shape {
    /// Of the elements that are not exactly zero; around zero for one-sided data.
    fn of(histogram: &Histogram, one_sided: bool) -> Option<Shape> {
        let total: f64 = histogram.bins().map(|(_, count)| count as f64).sum();
        if total == 0.0 {
            return None;
        }
        let average = |f: &dyn Fn(f64) -> f64| {
            histogram
                .bins()
                .map(|(x, count)| f(x) * count as f64)
                .sum::<f64>()
                / total
        };
        let mean = if one_sided { 0.0 } else { average(&|x| x) };
        let absolute = average(&|x| (x - mean).abs());
        let deviation = average(&|x| (x - mean) * (x - mean)).sqrt();
        // The ratio is sqrt(2 / pi) = 0.798 for a normal and 1 / sqrt(2) = 0.707 for a Laplace distribution.
        let laplace = absolute / deviation < 0.7525;
        Some(Shape {
            mean,
            laplace,
            scale: if laplace { absolute } else { deviation },
        })
    }

    /// Minimizes expected clipping plus rounding error by golden section over multiples of the scale.
    fn best_reach(&self, bits: u32, format: &dyn NumberFormat) -> f64 {
        let levels = 2f64.powi(bits.min(format.bits() + 1) as i32);
        let error = |reach: f64| {
            let rounding = reach * reach / (3.0 * levels * levels);
            let clipping = if self.laplace {
                // Banner et al., equation 10, with b = 1.
                2.0 * (-reach).exp()
            } else {
                // Equation 13, with sigma = 1.
                (1.0 + reach * reach) * erfc(reach / std::f64::consts::SQRT_2)
                    - reach * (2.0 / std::f64::consts::PI).sqrt() * (-reach * reach / 2.0).exp()
            };
            rounding + clipping
        };
        let (mut low, mut high) = (0.1, 40.0);
        let golden = (5f64.sqrt() - 1.0) / 2.0;
        while high - low > 1e-6 {
            let (a, b) = (high - golden * (high - low), low + golden * (high - low));
            if error(a) < error(b) { high = b } else { low = a }
        }
        (low + high) / 2.0 * self.scale
    }
}

/// Complementary error function, relative error below 1.2e-7 (Numerical Recipes, section 6.2, `erfcc`).
fn erfc(x: f64) -> f64 {
    let z = x.abs();
    let t = 1.0 / (1.0 + 0.5 * z);
    const C: [f64; 10] = [
        -1.26551223,
        1.00002368,
        0.37409196,
        0.09678418,
        -0.18628806,
        0.27886807,
        -1.13520398,
        1.48851587,
        -0.82215223,
        0.17087277,
    ];
    let polynomial = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let value = t * (-z * z + polynomial).exp();
    if x >= 0.0 { value } else { 2.0 - value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam_tensor::formats::INT4;

    #[test]
    fn thresholds_match_the_paper() {
        // Banner et al. 2019, section 3: 5.03 b for Laplace and 2.55 sigma for normal at 4 bits.
        let laplace = Shape {
            mean: 0.0,
            laplace: true,
            scale: 1.0,
        };
        let normal = Shape {
            mean: 0.0,
            laplace: false,
            scale: 1.0,
        };
        assert!((laplace.best_reach(4, &INT4) - 5.03).abs() < 0.01);
        assert!((normal.best_reach(4, &INT4) - 2.55).abs() < 0.02);
    }
}
