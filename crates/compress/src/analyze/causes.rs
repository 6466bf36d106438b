//! What is wrong with a layer, from what was observed of it.

use bantam_tensor::Granularity;

use super::{Analysis, Cause, Change};
use crate::prune::Weight;
use crate::stats::{Histogram, Observed, Stat, Stats};

/// A channel with so many times the median's largest magnitude is an outlier.
const OUTLIER: f32 = 8.0;
/// A range so many times as long as what all but one in ten thousand values need is stretched.
const STRETCHED: f64 = 4.0;
/// Weights with less signal to noise have too few codes.
const FEW_CODES: f64 = 20.0;
/// A layer that moves answers by less, in nats, needs no cause.
const UNFELT: f64 = 1e-4;

/// The causes, the likeliest first; none for layers that hardly move the answers.
pub(super) fn causes(
    analysis: &Analysis,
    weight: &Weight,
    stats: &Stats,
    (ratio, loss, weight_loss): (Option<f64>, f64, f64),
) -> Vec<Cause> {
    if loss < UNFELT {
        return Vec::new();
    }
    let of_weight = [
        rows(analysis, weight),
        few_codes(analysis, weight, ratio),
        depthwise(weight),
    ];
    let of_input = [
        outliers(analysis, weight, stats),
        stretched(analysis, weight, stats),
        one_sided(analysis, weight, stats),
    ];
    let is_weight = weight_loss > loss / 2.0;
    let (first, second) = if is_weight {
        (of_weight, of_input)
    } else {
        (of_input, of_weight)
    };
    let mut causes: Vec<Cause> = first.into_iter().chain(second).flatten().collect();
    if causes.is_empty() {
        let what = if is_weight { "weight" } else { "inputs or outputs" };
        causes.push(Cause {
            fact: format!(
                "the network minds the rounding of its {what}, which is as fine as its format allows"
            ),
            remedy: "--exclude the layer, or --algorithm least-squares".to_owned(),
            tried: None,
            change: None,
        });
    }
    causes
}

fn cause(fact: String, remedy: &str, change: Option<Change>) -> Option<Cause> {
    Some(Cause {
        fact,
        remedy: remedy.to_owned(),
        tried: None,
        change,
    })
}

/// The largest of these and their median.
fn largest_and_median(values: &[f32]) -> Option<(f32, f32)> {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f32::total_cmp);
    let (largest, median) = (*sorted.last()?, sorted[sorted.len() / 2]);
    (median > 0.0).then_some((largest, median))
}

/// Output channels of very different size with one scale for all.
fn rows(analysis: &Analysis, weight: &Weight) -> Option<Cause> {
    if analysis.settings.quantize.granularity != Granularity::Tensor {
        return None;
    }
    let values = analysis.observed().constant(weight.value)?.to_f32().ok()?;
    let rows = weight.by_rows(values);
    let peaks = rows
        .chunks_exact(weight.depth.max(1))
        .map(|row| row.iter().fold(0f32, |peak, x| peak.max(x.abs())));
    let (largest, median) = largest_and_median(&peaks.collect::<Vec<_>>())?;
    (largest > OUTLIER / 2.0 * median).then_some(())?;
    let fact = format!(
        "one output channel of its weight is {:.0} times as large as the median, and all share a scale",
        largest / median
    );
    cause(
        fact,
        "--granularity channel, or --equalize",
        Some(Change::Channels),
    )
}

fn few_codes(analysis: &Analysis, weight: &Weight, ratio: Option<f64>) -> Option<Cause> {
    let ratio = ratio.filter(|ratio| *ratio < FEW_CODES)?;
    let fact = format!("its weight has too few codes: {ratio:.1} dB of signal to noise");
    let is_narrow = analysis.settings.quantize.weights.bits() < 8;
    let name = weight_node(analysis, weight);
    let remedy = format!("--algorithm least-squares, or --width '{name}=int8'");
    cause(fact, &remedy, is_narrow.then_some(Change::Width))
}

fn weight_node(analysis: &Analysis, weight: &Weight) -> String {
    let graph = analysis.observed();
    let output = graph.node(weight.node).output(0);
    output.map_or(String::new(), |output| graph.value(output).name.clone())
}

fn depthwise(weight: &Weight) -> Option<Cause> {
    (weight.groups > 1 && weight.depth <= 32).then_some(())?;
    let fact = format!(
        "each output sums {} products only, so that rounding errors do not average out",
        weight.depth
    );
    cause(fact, "--algorithm adaround, or --equalize", None)
}

fn outliers(analysis: &Analysis, weight: &Weight, stats: &Stats) -> Option<Cause> {
    let Observed::Peaks(peaks) = stats.get(weight.input, analysis.peaks(weight))? else {
        return None;
    };
    let (largest, median) = largest_and_median(peaks.peaks())?;
    (largest > OUTLIER * median).then_some(())?;
    let channel = peaks.peaks().iter().position(|peak| *peak == largest)?;
    let fact = format!(
        "channel {channel} of its input reaches {:.0} times as far as the median channel",
        largest / median
    );
    cause(fact, "--smooth 0.5, or --equalize", None)
}

fn stretched(analysis: &Analysis, weight: &Weight, stats: &Stats) -> Option<Cause> {
    let Observed::Histogram(histogram) = stats.get(weight.input, Stat::Histogram)? else {
        return None;
    };
    let (low, high) = histogram.bounds();
    let reach = f64::from(high.max(-low));
    let usual = reach_of_most(histogram)?;
    (analysis.settings.quantize.range.name() == "minmax" && reach > STRETCHED * usual).then_some(())?;
    let fact = format!(
        "its input reaches {reach:.3}, but all values but one in ten thousand stay within {usual:.3}"
    );
    cause(fact, "--range mse", Some(Change::Range))
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

fn one_sided(analysis: &Analysis, weight: &Weight, stats: &Stats) -> Option<Cause> {
    let (low, high) = stats.get(weight.input, Stat::MinMax)?.bounds();
    let (short, long) = (high.min(-low).max(0.0), high.max(-low));
    (analysis.settings.quantize.symmetric_activations && short < long / 4.0).then_some(())?;
    let fact = format!(
        "its input lies between {low:.3} and {high:.3}, and codes are spent on both sides of zero alike"
    );
    cause(fact, "--symmetric-activations=false", Some(Change::ZeroPoint))
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
