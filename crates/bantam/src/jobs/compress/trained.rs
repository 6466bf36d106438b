//! Candidates that training brings back within the budget.

use std::time::Instant;

use super::Search;
use super::budget::Minimize;
use super::candidate::{Candidate, Tried, try_one};
use super::level::{Level, shares};
use super::plan::{all_in_codes, better, candidate, open_level, points};
use crate::{Error, Progress};

/// Goes on to levels with ever fewer channels, each trained in its cheapest form, until one is beyond the budget; what lies between that
/// one and the best is halved. For latency each level has one form only.
pub(super) fn with_training(
    search: &Search<'_>,
    levels: &mut Vec<Level>,
    untrained: Option<&Tried>,
    progress: &dyn Progress,
) -> Result<Option<Tried>, Error> {
    let (mut best, mut beyond, mut longest) = (None, 0.0, 0f64);
    let is_latency = search.job.budget.minimize == Minimize::Latency;
    let mut lefts = shares(search.job);
    if !is_latency {
        // What the levels that are there can give without training is known.
        lefts.retain(|left| levels.iter().all(|level| level.left != *left));
    }
    for left in lefts {
        // Training is not broken off: what was needed before says whether there is time for another.
        if search.is_late_for(longest) {
            return Ok(best);
        }
        let start = Instant::now();
        let Some(level) = open_level(search, left, progress)? else {
            break;
        };
        let tried = try_one(search, &level, &cheapest(search, &level), progress)?;
        longest = longest.max(start.elapsed().as_secs_f64());
        if levels.iter().all(|known| known.left != left) {
            levels.push(level);
        }
        if !tried.verdict.is_within() {
            beyond = expected_cost(search, levels, &tried);
            break;
        }
        if better(search, &tried, best.as_ref().or(untrained)) {
            best = Some(tried);
        }
    }
    if is_latency {
        return Ok(best);
    }
    let points = points(search, levels);
    let start = best
        .as_ref()
        .or(untrained)
        .map_or(f64::INFINITY, |tried| expected_cost(search, levels, tried));
    // Sums in another order may differ in their last digits.
    let mut low = points.partition_point(|point| point.cost >= start * (1.0 - 1e-9));
    let mut high = points.partition_point(|point| point.cost > beyond);
    while low < high && !search.is_late_for(longest) {
        let middle = (low + high) / 2;
        let point = &points[middle];
        let candidate = candidate(levels, point, search.job.epochs);
        let tried = try_one(search, &levels[point.level], &candidate, progress)?;
        match tried.verdict.is_within() {
            true => {
                low = middle + 1;
                if better(search, &tried, best.as_ref().or(untrained)) {
                    best = Some(tried);
                }
            }
            false => high = middle,
        }
    }
    Ok(best)
}

/// What a point that says the same as a candidate costs: without what every file holds.
pub(super) fn expected_cost(search: &Search<'_>, levels: &[Level], tried: &Tried) -> f64 {
    let (minimize, candidate) = (search.job.budget.minimize, &tried.candidate);
    let Some(level) = levels.iter().find(|level| level.left == candidate.left) else {
        return 0.0;
    };
    let layers = level.layers.iter().enumerate();
    let costs = layers.map(|(place, layer)| layer.cost(candidate.bits_of(place), minimize));
    costs.sum::<f64>() + level.fixed_cost(minimize)
}

/// The cheapest form of a level, trained.
fn cheapest(search: &Search<'_>, level: &Level) -> Candidate {
    let level = std::slice::from_ref(level);
    let epochs = search.job.epochs;
    match points(search, level).last() {
        Some(point) if search.job.budget.minimize != Minimize::Latency => candidate(level, point, epochs),
        _ => all_in_codes(&level[0], &[], epochs),
    }
}
