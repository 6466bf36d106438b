//! What is wrong with a layer, from what was observed of it.

mod input;
mod weight;

use super::trial::Change;
use super::{Analysis, Cause, Remedy};
use crate::prune::Weight;
use crate::stats::Stats;

/// A layer that moves answers by less, in nats, needs no cause.
const UNFELT: f64 = 1e-4;

/// A layer and what is known of it.
struct Subject<'a> {
    analysis: &'a Analysis,
    weight: &'a Weight,
    stats: &'a Stats,
}

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
    let subject = Subject {
        analysis,
        weight,
        stats,
    };
    let of_weight = weight::causes(&subject, ratio);
    let is_weight = weight_loss > loss / 2.0;
    let of_input = input::causes(&subject, is_weight);
    let (first, second) = if is_weight {
        (of_weight, of_input)
    } else {
        (of_input, of_weight)
    };
    let mut causes: Vec<Cause> = first.into_iter().chain(second).collect();
    if causes.is_empty() {
        let (what, remedy) = match is_weight {
            true => ("weight", by_flags(Change::Algorithm("least-squares"))),
            false => ("inputs or outputs", by_flags(Change::Range)),
        };
        causes.push(Cause {
            fact: format!(
                "the network minds the rounding of its {what}, which is as fine as its format allows"
            ),
            remedies: vec![remedy, in_words("--exclude the layer".to_owned())],
        });
    }
    causes
}

/// A remedy that can be tried.
fn by_flags(change: Change) -> Remedy {
    Remedy {
        words: change.words(),
        tried: None,
        change: Some(change),
    }
}

/// A remedy that cannot be tried by settings.
fn in_words(words: String) -> Remedy {
    Remedy {
        words,
        tried: None,
        change: None,
    }
}

/// The largest of these and their median.
pub(super) fn largest_and_median(values: &[f32]) -> Option<(f32, f32)> {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f32::total_cmp);
    let (largest, median) = (*sorted.last()?, sorted[sorted.len() / 2]);
    (median > 0.0).then_some((largest, median))
}
