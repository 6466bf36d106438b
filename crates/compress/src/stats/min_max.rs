//! Smallest and largest elements.

use rayon::prelude::*;

/// Elements that one task looks at; fixed, so that results do not depend on the number of threads.
const CHUNK: usize = 1 << 16;

/// Smallest and largest finite element.
#[derive(Clone, Debug)]
pub struct MinMax {
    low: f32,
    high: f32,
    pub(super) non_finite: bool,
}

impl Default for MinMax {
    fn default() -> MinMax {
        MinMax {
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
            non_finite: false,
        }
    }
}

impl MinMax {
    /// Adds elements.
    pub fn add(&mut self, values: &[f32]) {
        if values.len() <= CHUNK {
            self.merge(&MinMax::of(values));
        } else {
            let parts: Vec<MinMax> = values.par_chunks(CHUNK).map(MinMax::of).collect();
            parts.iter().for_each(|part| self.merge(part));
        }
    }

    /// Of one slice.
    pub fn of(values: &[f32]) -> MinMax {
        // Lanes let the compiler use vector instructions; `x - x` is zero exactly for finite numbers.
        const LANES: usize = 32;
        let (mut low, mut high, mut odd) =
            ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES], [0f32; LANES]);
        let chunks = values.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for lane in 0..LANES {
                let x = chunk[lane];
                low[lane] = if x < low[lane] { x } else { low[lane] };
                high[lane] = if x > high[lane] { x } else { high[lane] };
                odd[lane] += x * 0.0;
            }
        }
        for &x in rest {
            low[0] = if x < low[0] { x } else { low[0] };
            high[0] = if x > high[0] { x } else { high[0] };
            odd[0] += x * 0.0;
        }
        if odd.iter().any(|x| *x != 0.0) {
            return MinMax::of_finite(values);
        }
        let low = low.into_iter().fold(f32::INFINITY, f32::min);
        MinMax {
            low,
            high: high.into_iter().fold(f32::NEG_INFINITY, f32::max),
            non_finite: false,
        }
    }

    /// Of the finite elements of a slice that has others.
    fn of_finite(values: &[f32]) -> MinMax {
        let finite = values.iter().copied().filter(|x| x.is_finite());
        let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), x| {
            (low.min(x), high.max(x))
        });
        MinMax {
            low,
            high,
            non_finite: true,
        }
    }

    /// Adds what another one saw.
    pub fn merge(&mut self, other: &MinMax) {
        self.low = self.low.min(other.low);
        self.high = self.high.max(other.high);
        self.non_finite |= other.non_finite;
    }

    /// The bounds; zeros when nothing finite was seen.
    pub fn bounds(&self) -> (f32, f32) {
        if self.low > self.high {
            (0.0, 0.0)
        } else {
            (self.low, self.high)
        }
    }
}

/// Exponential moving average of batch bounds (Jacob et al. 2018, section 3.1).
#[derive(Clone, Debug, Default)]
pub struct MovingMinMax {
    average: Option<(f32, f32)>,
    pub(super) non_finite: bool,
}

impl MovingMinMax {
    /// Weight of a new batch.
    const RATE: f32 = 0.1;

    /// Adds one batch.
    pub fn add(&mut self, batch: &[f32]) {
        let mut of_batch = MinMax::default();
        of_batch.add(batch);
        self.append(&MovingMinMax {
            average: Some(of_batch.bounds()),
            non_finite: of_batch.non_finite,
        });
    }

    /// Adds the bounds of the next batch.
    pub(super) fn append(&mut self, batch: &MovingMinMax) {
        self.non_finite |= batch.non_finite;
        let (low, high) = batch.bounds();
        self.average = Some(match self.average {
            None => (low, high),
            Some((l, h)) => (l + Self::RATE * (low - l), h + Self::RATE * (high - h)),
        });
    }

    /// Widens to hold what another one saw.
    pub fn merge(&mut self, other: &MovingMinMax) {
        let (low, high) = other.bounds();
        let (l, h) = self.bounds();
        self.average = Some((l.min(low), h.max(high)));
        self.non_finite |= other.non_finite;
    }

    /// The averages; zeros when nothing was seen.
    pub fn bounds(&self) -> (f32, f32) {
        self.average.unwrap_or((0.0, 0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_bounds_whatever_the_length() {
        for length in [0usize, 1, 31, 32, 33, 200_000] {
            let values: Vec<f32> = (0..length).map(|i| ((i * 7919) % 1000) as f32 - 500.0).collect();
            let mut got = MinMax::default();
            got.add(&values);
            let expected = values.iter().fold(None, |acc: Option<(f32, f32)>, &x| {
                Some(acc.map_or((x, x), |(l, h)| (l.min(x), h.max(x))))
            });
            assert_eq!(got.bounds(), expected.unwrap_or((0.0, 0.0)), "length {length}");
            assert!(!got.non_finite);
        }
    }

    #[test]
    fn ignores_and_reports_what_is_not_finite() {
        let mut values = vec![1.0; 100];
        values[50] = f32::NAN;
        values[51] = f32::INFINITY;
        values[52] = -3.0;
        let got = MinMax::of(&values);
        assert_eq!((got.bounds(), got.non_finite), ((-3.0, 1.0), true));
    }

    #[test]
    fn moving_average_follows_batches() {
        let mut moving = MovingMinMax::default();
        moving.add(&[0.0, 1.0]);
        moving.add(&[0.0, 11.0]);
        assert_eq!(moving.bounds(), (0.0, 2.0));
    }
}
