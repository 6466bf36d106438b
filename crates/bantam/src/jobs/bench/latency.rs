//! Summaries of times, and memory.

use serde::Serialize;

/// Times of a run in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the runs took no longer.
    pub median: f64,
    /// Nine in ten runs took no longer.
    pub p90: f64,
    /// The shortest.
    pub min: f64,
    /// Number of runs.
    pub runs: usize,
}

impl Latency {
    /// Of the times of some runs; zeros when there are none.
    pub(super) fn of(mut times: Vec<f64>) -> Latency {
        times.sort_by(f64::total_cmp);
        let rank = |share: f64| ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
        let at = |index: usize| times.get(index).copied().unwrap_or(0.0);
        let middle = times.len() / 2;
        let median = match times.len() % 2 {
            0 => (at(middle.saturating_sub(1)) + at(middle)) / 2.0,
            _ => at(middle),
        };
        Latency {
            median,
            p90: at(rank(0.9)),
            min: at(0),
            runs: times.len(),
        }
    }
}

/// Largest resident memory of this process so far, in bytes (`VmHWM` of Linux).
pub(super) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranks() {
        let cases: &[(&[f64], f64, f64, f64)] = &[
            (&[], 0.0, 0.0, 0.0),
            (&[3.0], 3.0, 3.0, 3.0),
            (&[4.0, 2.0], 3.0, 4.0, 2.0),
            (&[5.0, 1.0, 3.0], 3.0, 5.0, 1.0),
            (
                &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0],
                5.5,
                9.0,
                1.0,
            ),
        ];
        for &(times, median, p90, min) in cases {
            let runs = times.len();
            let expected = Latency {
                median,
                p90,
                min,
                runs,
            };
            assert_eq!(Latency::of(times.to_vec()), expected, "{times:?}");
        }
    }
}
