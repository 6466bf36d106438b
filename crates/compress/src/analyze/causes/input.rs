//! Causes that lie in the values that a layer reads.

use bantam_graph::Op;

use super::{Change, Subject, by_flags, in_words, largest_and_median};
use crate::analyze::Cause;
use crate::analyze::ranges::{OUTLIER, reaches};
use crate::stats::{Histogram, Observed, Stat};

/// A range so many times as long as what all but one in ten thousand values need is stretched.
const STRETCHED: f64 = 4.0;
/// A bound that such a share of the values above zero lie at is one that many want to pass.
const SATURATED: f64 = 0.01;

pub(super) fn causes(subject: &Subject<'_>, is_weight: bool) -> Vec<Cause> {
    let found = [
        few_codes(subject).filter(|_| !is_weight),
        outliers(subject),
        stretched(subject),
        one_sided(subject),
        saturated(subject),
        dead_channels(subject),
    ];
    found.into_iter().flatten().collect()
}

/// Activations of few bits.
fn few_codes(subject: &Subject<'_>) -> Option<Cause> {
    let settings = &subject.analysis.settings;
    let format = settings.quantize.activations;
    (format.bits() < 8 && !settings.float_activations).then(|| Cause {
        fact: format!(
            "what it reads and gives has the {} codes of {} only",
            1u64 << format.bits(),
            format.name()
        ),
        remedies: vec![by_flags(Change::Range), by_flags(Change::Activations)],
    })
}

/// How far each channel of the input reaches from zero.
fn channels(subject: &Subject<'_>) -> Option<Vec<f32>> {
    let (weight, stat) = (subject.weight, subject.analysis.peaks(subject.weight));
    let Observed::Peaks(peaks) = subject.stats.get(weight.input, stat)? else {
        return None;
    };
    Some(reaches(peaks.bounds()))
}

fn histogram<'a>(subject: &Subject<'a>) -> Option<&'a Histogram> {
    match subject.stats.get(subject.weight.input, Stat::Histogram)? {
        Observed::Histogram(histogram) => Some(histogram),
        _ => None,
    }
}

fn outliers(subject: &Subject<'_>) -> Option<Cause> {
    let reaches = channels(subject)?;
    let (largest, median) = largest_and_median(&reaches)?;
    (largest > OUTLIER * median).then_some(())?;
    let channel = reaches.iter().position(|reach| *reach == largest)?;
    Some(Cause {
        fact: format!(
            "channel {channel} of its input reaches {:.0} times as far as the median channel",
            largest / median
        ),
        remedies: vec![by_flags(Change::Smooth), by_flags(Change::Equalize)],
    })
}

fn stretched(subject: &Subject<'_>) -> Option<Cause> {
    let histogram = histogram(subject)?;
    let (low, high) = histogram.bounds();
    let reach = f64::from(high.max(-low));
    let usual = reach_of_most(histogram)?;
    let whole = subject.analysis.settings.quantize.range.name() == "minmax";
    (whole && reach > STRETCHED * usual).then_some(())?;
    Some(Cause {
        fact: format!(
            "its input reaches {reach:.3}, but all values but one in ten thousand stay within {usual:.3}"
        ),
        remedies: vec![by_flags(Change::Range)],
    })
}

/// The magnitude that all but one in ten thousand values that are not zero stay within.
fn reach_of_most(histogram: &Histogram) -> Option<f64> {
    let width = histogram.width();
    let mut bins: Vec<(f64, u64)> = histogram
        .bins()
        .map(|(start, count)| (start.abs().max((start + width).abs()), count))
        .collect();
    bins.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all: u64 = bins.iter().map(|(_, count)| count).sum();
    let mut above = 0;
    let mut inside = bins.into_iter().skip_while(|(_, count)| {
        above += count;
        above * 10_000 <= all
    });
    inside.next().map(|(reach, _)| reach).filter(|reach| *reach > 0.0)
}

fn one_sided(subject: &Subject<'_>) -> Option<Cause> {
    let (low, high) = subject.stats.get(subject.weight.input, Stat::MinMax)?.bounds();
    let (short, long) = (high.min(-low).max(0.0), high.max(-low));
    (subject.analysis.settings.quantize.symmetric_activations && short < long / 4.0).then_some(())?;
    Some(Cause {
        fact: format!(
            "its input lies between {low:.3} and {high:.3}, and codes are spent on both sides of zero alike"
        ),
        remedies: vec![by_flags(Change::ZeroPoint)],
    })
}

/// Values that pile up at the bound of a clamp (ReLU6): its channels cannot be rescaled.
fn saturated(subject: &Subject<'_>) -> Option<Cause> {
    let graph = subject.analysis.observed();
    let made_by = graph
        .nodes
        .iter()
        .find(|node| node.output(0) == Some(subject.weight.input))?;
    let bound = |position| {
        graph
            .constant_input(made_by, position)?
            .to_f32()
            .ok()?
            .first()
            .copied()
    };
    let top = bound(2).filter(|_| matches!(made_by.op, Op::Clip(_)) && bound(1) == Some(0.0))?;
    let histogram = histogram(subject)?;
    let at = f64::from(top) - 1.5 * histogram.width();
    let (above, all) = histogram.bins().fold((0, 0), |(above, all), (x, count)| {
        (above + if x >= at { count } else { 0 }, all + count)
    });
    let share = above as f64 / all.max(1) as f64;
    (share > SATURATED).then(|| Cause {
        fact: format!(
            "{:.1}% of its input's values above zero sit at the bound {top} of the clamp before it, whose channels cannot be rescaled",
            100.0 * share
        ),
        remedies: vec![by_flags(Change::Unbound)],
    })
}

/// Channels that are zero for all samples.
fn dead_channels(subject: &Subject<'_>) -> Option<Cause> {
    let reaches = channels(subject)?;
    let dead = reaches.iter().filter(|reach| **reach == 0.0).count();
    (dead > 0).then(|| Cause {
        fact: format!(
            "{dead} of the {} channels of its input are zero for all samples: weights for them only stretch scales",
            reaches.len()
        ),
        remedies: vec![in_words("bantam prune --structure channel".to_owned())],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_values_leave_out_one_in_ten_thousand() {
        let mut values: Vec<f32> = (1..=99_995).map(|x| x as f32 / 100_000.0).collect();
        values.extend([50.0, 60.0, -70.0]);
        let mut histogram = Histogram::default();
        histogram.add(&values);
        let reach = reach_of_most(&histogram).unwrap();
        assert!((0.9..1.1).contains(&reach), "{reach}");
    }
}
