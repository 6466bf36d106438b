//! Which candidates are tried, in which order.

use bantam_compress::search::{Allocation, allocations};

use super::budget::Minimize;
use super::candidate::{Candidate, Tried, try_one};
use super::fit::least_loss;
use super::level::{FLOAT, Level, measure, outline, prune_to, shares};
use super::trained::with_training;
use super::{CompressJob, Search};
use crate::{Error, Progress};

/// Costs that are as near as this are not told apart: samples do not do that either.
pub(super) const CLOSE: f64 = 0.98;

/// What a search came to.
pub(super) struct Found {
    /// The levels, the whole network first.
    pub(super) levels: Vec<Level>,
    /// The best within the budget.
    pub(super) best: Tried,
    /// The best that keeps all channels.
    pub(super) quantized: Option<Tried>,
    /// The best in float.
    pub(super) pruned: Option<Tried>,
}

/// A way to compress that has not been built: a level and a choice of bits.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) level: usize,
    allocation: Allocation,
    pub(super) cost: f64,
    pub(super) loss: f64,
}

/// Finds the best candidate.
///
/// # Errors
/// When none is within the budget, or something cannot be run.
pub(super) fn find(search: &Search<'_>, progress: &dyn Progress) -> Result<Found, Error> {
    if search.job.budget.minimize == Minimize::Loss {
        return least_loss(search, progress);
    }
    let whole = outline(search.job, 1000, &search.job.model)?;
    let mut levels = vec![opened(search, whole, progress)?];
    let whole = points(search, &levels);
    let quantized = best_of(search, &levels, &whole, None, progress)?;
    let pruned = fewer_channels(search, &mut levels, progress)?;
    let all = points(search, &levels);
    let joint = best_of(search, &levels, &all, quantized.as_ref(), progress)?;
    let untrained = joint.or_else(|| quantized.clone());
    let trained = match search.job.epochs {
        0 => None,
        _ => with_training(search, &mut levels, untrained.as_ref(), progress)?,
    };
    let best = trained.or(untrained).or_else(|| pruned.clone());
    let best = best.or_else(|| surest(search));
    let best = best.ok_or_else(|| nothing(search))?;
    Ok(Found {
        levels,
        best,
        quantized,
        pruned,
    })
}

/// Opens levels of ever fewer channels as long as they keep the budget in float, and one more between the last that does and the first
/// that does not; gives the best of them.
fn fewer_channels(
    search: &Search<'_>,
    levels: &mut Vec<Level>,
    progress: &dyn Progress,
) -> Result<Option<Tried>, Error> {
    let mut best: Option<Tried> = None;
    let mut lefts = shares(search.job);
    lefts.reverse();
    let (mut last, mut refined) = (1000, false);
    while let Some(left) = lefts.pop() {
        let Some(file) = prune_to(search, left, progress)?.filter(|_| !search.is_late()) else {
            break;
        };
        let level = outline(search.job, left, &file)?;
        let tried = try_one(search, &level, &Candidate::float(left), progress)?;
        // Codes take more from what they are put on.
        if !tried.verdict.is_within() {
            if refined {
                break;
            }
            lefts = vec![(last + left).div_ceil(2)];
            refined = true;
            continue;
        }
        last = left;
        levels.push(opened(search, level, progress)?);
        if better(search, &tried, best.as_ref()) {
            best = Some(tried);
        }
    }
    Ok(best)
}

/// A level with its measurements.
pub(super) fn open_level(
    search: &Search<'_>,
    left: u32,
    progress: &dyn Progress,
) -> Result<Option<Level>, Error> {
    let Some(file) = prune_to(search, left, progress)? else {
        return Ok(None);
    };
    opened(search, outline(search.job, left, &file)?, progress).map(Some)
}

/// A level with what choices need to know of it: for latency nothing but that codes keep the budget, which is tried first.
pub(super) fn opened(search: &Search<'_>, level: Level, progress: &dyn Progress) -> Result<Level, Error> {
    match search.job.budget.minimize {
        Minimize::Latency => Ok(level),
        Minimize::Size | Minimize::BitOperations | Minimize::Energy | Minimize::Loss => {
            measure(search, level, progress)
        }
    }
}

/// What is minimized, of a candidate that was built.
pub(super) fn cost(search: &Search<'_>, tried: &Tried) -> f64 {
    match search.job.budget.minimize {
        Minimize::Latency => tried.latency_ms.unwrap_or(f64::INFINITY),
        Minimize::Size => tried.bytes as f64,
        Minimize::BitOperations | Minimize::Energy => tried.cost,
        Minimize::Loss => tried.loss,
    }
}

fn keeps_limits(search: &Search<'_>, tried: &Tried) -> bool {
    let most = search.job.budget.max_bytes;
    let fits = match (search.job.budget.max_activation_bytes, tried.activation_bytes) {
        (Some(most), Some(bytes)) => bytes <= most,
        _ => true,
    };
    fits && most.is_none_or(|most| tried.bytes <= most) && is_fast_enough(search, tried)
}

/// Where samples are too few to be as sure as asked of any candidate: of those that keep the budget by their mean the one that is most likely to.
fn surest(search: &Search<'_>) -> Option<Tried> {
    let tried = search.tried.borrow();
    let keeps = |one: &&Tried| one.loss <= search.limit && keeps_limits(search, one);
    let margin = |one: &Tried| (search.limit - one.loss) / one.half.max(f64::MIN_POSITIVE);
    let coded = tried.iter().filter(|one| one.candidate.bits.is_some());
    let surest = coded
        .filter(keeps)
        .max_by(|a, b| margin(a).total_cmp(&margin(b)))?;
    search.warnings.borrow_mut().push(format!(
        "of no network can {} samples say with {}% confidence that it keeps the budget; the one that is most likely to was taken: more --validation-samples find smaller ones",
        surest.samples,
        (1000.0 * search.job.budget.confidence).round() / 10.0,
    ));
    Some(surest.clone())
}

fn is_fast_enough(search: &Search<'_>, tried: &Tried) -> bool {
    let most = search.job.budget.max_latency;
    most.is_none_or(|most| tried.latency_ms.is_some_and(|ms| ms <= most))
}

/// Ways to compress, from the most costly to the cheapest: for each cost those that are expected to lose least.
pub(super) fn points(search: &Search<'_>, levels: &[Level]) -> Vec<Point> {
    let minimize = search.job.budget.minimize;
    let mut points: Vec<Point> = Vec::new();
    for (index, level) in levels.iter().enumerate() {
        let choices = level.layers.iter().map(|layer| layer.choices(minimize));
        let other = level.fixed_cost(minimize);
        points.extend(
            allocations(&Vec::from_iter(choices))
                .into_iter()
                .map(|allocation| Point {
                    level: index,
                    cost: allocation.cost + other,
                    loss: allocation.loss + level.loss,
                    allocation,
                }),
        );
    }
    points.sort_by(|a, b| a.loss.total_cmp(&b.loss).then(a.cost.total_cmp(&b.cost)));
    let mut cheapest = f64::INFINITY;
    points.retain(|point| {
        let better = point.cost < cheapest;
        cheapest = cheapest.min(point.cost);
        better
    });
    points
}

/// The candidate at a point.
pub(super) fn candidate(levels: &[Level], point: &Point, epochs: usize) -> Candidate {
    let level = &levels[point.level];
    let chosen = level.layers.iter().zip(&point.allocation.choices);
    Candidate {
        left: level.left,
        bits: Some(chosen.map(|(layer, choice)| layer.bits(*choice)).collect()),
        float: Vec::new(),
        epochs,
    }
}

/// The cheapest point within the budget, if it is cheaper than `than`. Points lose more the cheaper they are: the last one that keeps the budget
/// is found by halving.
fn best_of(
    search: &Search<'_>,
    levels: &[Level],
    points: &[Point],
    than: Option<&Tried>,
    progress: &dyn Progress,
) -> Result<Option<Tried>, Error> {
    if search.job.budget.minimize == Minimize::Latency {
        return fastest(search, levels, than, progress);
    }
    let mut best = than.cloned();
    let new = points.iter().filter(|point| than.is_none() || point.level > 0);
    let points: Vec<&Point> = new.collect();
    let (mut low, mut high) = (0, points.len());
    // From the last that kept the budget to the cheapest that may.
    let told_apart = |low: usize, high: usize| {
        low < high && (low == 0 || points[high - 1].cost < CLOSE * points[low - 1].cost)
    };
    while told_apart(low, high) && !(search.is_late() && best.is_some()) {
        let middle = if low == 0 && high == points.len() {
            high - 1
        } else {
            (low + high) / 2
        };
        let point = points[middle];
        let tried = try_one(
            search,
            &levels[point.level],
            &candidate(levels, point, 0),
            progress,
        )?;
        // More bits take less time: they need not be unpacked.
        match tried.verdict.is_within() && is_fast_enough(search, &tried) {
            true => {
                low = middle + 1;
                if better(search, &tried, best.as_ref()) {
                    best = Some(tried);
                }
            }
            false => high = middle,
        }
    }
    Ok(best)
}

/// The fastest of all levels with codes of 8 bits everywhere, or in float where layers mind.
fn fastest(
    search: &Search<'_>,
    levels: &[Level],
    than: Option<&Tried>,
    progress: &dyn Progress,
) -> Result<Option<Tried>, Error> {
    let mut best = than.cloned();
    for level in levels
        .iter()
        .rev()
        .filter(|level| than.is_none() || level.left < 1000)
    {
        let Some(tried) = in_codes(search, level, progress)? else {
            continue;
        };
        if better(search, &tried, best.as_ref()) {
            best = Some(tried);
        }
    }
    Ok(best)
}

/// A level in codes of 8 bits, as many layers in float as it takes to keep the budget: none, then ever more of those that mind most.
fn in_codes(search: &Search<'_>, level: &Level, progress: &dyn Progress) -> Result<Option<Tried>, Error> {
    let tried = try_one(search, level, &all_in_codes(level, &[], 0), progress)?;
    if tried.verdict.is_within() {
        return Ok(Some(tried));
    }
    let measured = measure(search, level.clone(), progress)?;
    let minds = |place: &usize| {
        measured.layers[*place]
            .formats
            .iter()
            .map(|format| format.loss)
            .sum::<f64>()
    };
    let mut order: Vec<usize> = (0..measured.layers.len()).collect();
    order.sort_by(|a, b| minds(b).total_cmp(&minds(a)));
    let counts = std::iter::successors(Some(1), |count| Some(count * 2));
    for count in counts.take_while(|count| *count <= order.len() / 4) {
        if search.is_late() {
            break;
        }
        let tried = try_one(search, level, &all_in_codes(level, &order[..count], 0), progress)?;
        if tried.verdict.is_within() {
            return Ok(Some(tried));
        }
    }
    Ok(None)
}

/// All layers but these in codes of 8 bits.
pub(super) fn all_in_codes(level: &Level, float: &[usize], epochs: usize) -> Candidate {
    let mut float = float.to_vec();
    float.sort_unstable();
    Candidate {
        left: level.left,
        bits: Some(vec![8; level.layers.len()]),
        float,
        epochs,
    }
}

/// Whether a candidate keeps the limits of bytes and time, and is the better of the two.
pub(super) fn better(search: &Search<'_>, tried: &Tried, than: Option<&Tried>) -> bool {
    keeps_limits(search, tried) && than.is_none_or(|than| cost(search, tried) < cost(search, than))
}

/// Says so before long work when no choice of bits and channels comes near a limit of bytes.
pub(super) fn refuse_impossible(job: &CompressJob) -> Result<(), Error> {
    let Some(most) = job.budget.max_bytes else {
        return Ok(());
    };
    let whole = outline(job, 1000, &job.model)?;
    let bits = job.bits().into_iter().min().unwrap_or(FLOAT);
    let least = job.keep.iter().copied().fold(1.0, f64::min);
    let floor = least
        * whole
            .layers
            .iter()
            .map(|layer| (layer.elements * u64::from(bits)) as f64 / 8.0)
            .sum::<f64>();
    if floor <= most as f64 {
        return Ok(());
    }
    Err(Error::Usage {
        message: format!(
            "{most} bytes cannot be reached: weights of {bits} bits take {floor:.0} with {:.0}% of them left, the least that may be chosen",
            100.0 * least
        ),
        hint: "raise --max-bytes, or allow smaller --widths and --keep".to_owned(),
    })
}

pub(super) fn nothing(search: &Search<'_>) -> Error {
    let tried = search.tried.borrow();
    let nearest = tried.iter().min_by(|a, b| a.loss.total_cmp(&b.loss));
    let nearest = nearest.map_or(String::new(), |nearest| {
        format!("; the nearest: {}", search.describe(nearest))
    });
    Error::Usage {
        message: format!("no network within the budget was found{nearest}"),
        hint: "allow a larger --max-drop or --max-bytes, less --confidence, more --validation-samples, or training with --epochs 5".to_owned(),
    }
}
