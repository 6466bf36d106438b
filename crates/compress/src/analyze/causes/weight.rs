//! Causes that lie in the weight or the bias.

use bantam_tensor::Granularity;

use super::{Change, Subject, by_flags, in_words, largest_and_median};
use crate::analyze::ranges::{OUTLIER, reaches, rows};
use crate::analyze::{Cause, Remedy};

/// Weights with less signal to noise have too few codes.
const FEW_CODES: f64 = 20.0;
/// The shorter side of zero, as a share of the longer, below which codes around zero are spent in vain.
const ONE_SIDED: f32 = 0.25;
/// What biases may reach in steps of the products: half of 32 bits, so that the sums of products still fit.
const LARGEST_BIAS: f64 = (i32::MAX / 2) as f64;

pub(super) fn causes(subject: &Subject<'_>, ratio: Option<f64>) -> Vec<Cause> {
    let found = [
        uneven_rows(subject),
        few_codes(subject, ratio),
        depthwise(subject),
        skewed(subject),
        bias(subject),
        dead_rows(subject),
    ];
    found.into_iter().flatten().collect()
}

/// Output channels of very different size with one scale for all.
fn uneven_rows(subject: &Subject<'_>) -> Option<Cause> {
    if subject.analysis.settings.quantize.granularity != Granularity::Tensor {
        return None;
    }
    let reaches = reaches(&rows(subject.analysis, subject.weight)?);
    let (largest, median) = largest_and_median(&reaches)?;
    (largest > OUTLIER / 2.0 * median).then_some(())?;
    Some(Cause {
        fact: format!(
            "one output channel of its weight is {:.0} times as large as the median, and all share a scale",
            largest / median
        ),
        remedies: vec![by_flags(Change::Channels), by_flags(Change::Equalize)],
    })
}

fn few_codes(subject: &Subject<'_>, ratio: Option<f64>) -> Option<Cause> {
    let ratio = ratio.filter(|ratio| *ratio < FEW_CODES)?;
    let fact = format!("its weight has too few codes: {ratio:.1} dB of signal to noise");
    let mut remedies = vec![by_flags(Change::Algorithm("least-squares"))];
    if subject.analysis.settings.quantize.weights.bits() < 8 {
        remedies.push(Remedy {
            words: format!("--width '{}=int8'", name(subject)),
            ..by_flags(Change::Width)
        });
    }
    Some(Cause { fact, remedies })
}

/// The name that selectors know a layer by.
fn name(subject: &Subject<'_>) -> String {
    let graph = subject.analysis.observed();
    let output = graph.node(subject.weight.node).output(0);
    output.map_or(String::new(), |output| graph.value(output).name.clone())
}

/// Filters of one channel each: few products, and often of very different size.
fn depthwise(subject: &Subject<'_>) -> Option<Cause> {
    let weight = subject.weight;
    (weight.groups > 1 && weight.depth <= 32).then_some(())?;
    let reaches = reaches(&rows(subject.analysis, weight)?);
    let uneven = largest_and_median(&reaches).map_or(String::new(), |(largest, median)| {
        format!(
            " (the largest of its {} filters is {:.1} times the median)",
            reaches.len(),
            largest / median
        )
    });
    Some(Cause {
        fact: format!(
            "each output sums {} products only, so that rounding errors do not average out{uneven}",
            weight.depth
        ),
        remedies: vec![
            by_flags(Change::Algorithm("adaround")),
            by_flags(Change::Equalize),
        ],
    })
}

/// Weights on one side of zero with codes on both.
fn skewed(subject: &Subject<'_>) -> Option<Cause> {
    let settings = &subject.analysis.settings.quantize;
    let ranges = rows(subject.analysis, subject.weight)?;
    let one_sided = |[low, high]: &&[f32; 2]| {
        let (short, long) = (high.min(-low).max(0.0), high.max(-low));
        long > 0.0 && short < ONE_SIDED * long
    };
    let count = ranges.iter().filter(one_sided).count();
    (settings.symmetric_weights && 2 * count > ranges.len()).then_some(())?;
    Some(Cause {
        fact: format!(
            "the weights of {count} of its {} output channels lie on one side of zero, and codes are spent on both sides alike",
            ranges.len()
        ),
        remedies: vec![by_flags(Change::WeightZeroPoint)],
    })
}

/// Biases of more than 32 bits in steps of the products, which stretch the scale of their channel.
fn bias(subject: &Subject<'_>) -> Option<Cause> {
    let (analysis, weight) = (subject.analysis, subject.weight);
    let bias = analysis
        .observed()
        .constant_input(analysis.observed().node(weight.node), 2)?;
    let (low, high) = subject
        .stats
        .get(weight.input, crate::stats::Stat::MinMax)?
        .bounds();
    let settings = &analysis.settings.quantize;
    let codes = |bits: u32| 2f64.powi(bits as i32) - 1.0;
    let of_input = f64::from(high.max(0.0) - low.min(0.0)) / codes(settings.activations.bits());
    let beyond = |(bias, reach): &(f32, f32)| {
        let step = of_input * 2.0 * f64::from(*reach) / codes(settings.weights.bits());
        f64::from(bias.abs()) > LARGEST_BIAS * step
    };
    let reaches = reaches(&rows(analysis, weight)?);
    let pairs = bias.to_f32().ok()?.into_iter().zip(reaches);
    let count = pairs.filter(beyond).count();
    (count > 0 && !analysis.settings.float_activations).then_some(())?;
    Some(Cause {
        fact: format!(
            "{count} of its biases do not fit into 32 bits beside weights and inputs so small, which stretches the scale of their channels"
        ),
        remedies: vec![
            by_flags(Change::Equalize),
            in_words("--exclude the layer".to_owned()),
        ],
    })
}

/// Output channels without weights.
fn dead_rows(subject: &Subject<'_>) -> Option<Cause> {
    let reaches = reaches(&rows(subject.analysis, subject.weight)?);
    let dead = reaches.iter().filter(|reach| **reach == 0.0).count();
    (dead > 0).then(|| Cause {
        fact: format!(
            "all weights of {dead} of its {} output channels are zero: they give their bias alone",
            reaches.len()
        ),
        remedies: vec![in_words("bantam prune --structure channel".to_owned())],
    })
}
