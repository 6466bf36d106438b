//! Which candidates are tried, in which order.

use bantam_compress::search::{Allocation, allocations};

use super::Search;
use super::budget::Minimize;
use super::candidate::{Candidate, Tried, try_one};
use super::level::{Level, measure, prune_to, shares};
use crate::{Error, Progress};

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
struct Point {
    level: usize,
    allocation: Allocation,
    cost: f64,
    loss: f64,
}

/// Finds the best candidate.
///
/// # Errors
/// When none is within the budget, or something cannot be run.
pub(super) fn find(search: &Search<'_>, progress: &dyn Progress) -> Result<Found, Error> {
    let mut levels = vec![open_level(search, 1000, progress)?.expect("the network as it is")];
    let cheapest = points(search, &levels).last().map_or(0.0, |point| point.cost);
    refuse_impossible(search, cheapest)?;
    let whole = points(search, &levels);
    let quantized = best_of(search, &levels, &whole, None, progress)?;
    let mut pruned: Option<Tried> = None;
    for left in shares(search.job) {
        if search.is_late() {
            break;
        }
        let Some(level) = open_level(search, left, progress)? else {
            break;
        };
        let alone = try_one(search, &level, &Candidate::float(left), progress)?;
        levels.push(level);
        let is_within = alone.verdict.is_within();
        if is_within
            && pruned
                .as_ref()
                .is_none_or(|best| cost(search, &alone) < cost(search, best))
        {
            pruned = Some(alone);
        }
        // Fewer channels lose more; with training one more level may be brought back.
        if !is_within {
            break;
        }
    }
    let all = points(search, &levels);
    let joint = best_of(search, &levels, &all, quantized.as_ref(), progress)?;
    let untrained = joint.or_else(|| quantized.clone());
    let trained = match search.job.epochs {
        0 => None,
        _ => with_training(search, &mut levels, untrained.as_ref(), progress)?,
    };
    let best = trained.or(untrained).or_else(|| pruned.clone());
    let best = best.filter(|best| keeps_limits(search, best));
    let best = best.ok_or_else(|| nothing(search))?;
    Ok(Found {
        levels,
        best,
        quantized,
        pruned,
    })
}

/// A level with its measurements.
fn open_level(search: &Search<'_>, left: u32, progress: &dyn Progress) -> Result<Option<Level>, Error> {
    let Some(file) = prune_to(search, left, progress)? else {
        return Ok(None);
    };
    measure(search, left, &file, progress).map(Some)
}

/// What is minimized, of a candidate that was built.
pub(super) fn cost(search: &Search<'_>, tried: &Tried) -> f64 {
    match search.job.budget.minimize {
        Minimize::Latency => tried.latency_ms.unwrap_or(f64::INFINITY),
        Minimize::Size | Minimize::BitOperations => tried.bytes as f64,
    }
}

fn keeps_limits(search: &Search<'_>, tried: &Tried) -> bool {
    let budget = &search.job.budget;
    budget.max_bytes.is_none_or(|most| tried.bytes <= most)
        && budget
            .max_latency
            .is_none_or(|most| tried.latency_ms.is_none_or(|ms| ms <= most))
}

/// Ways to compress, from the most costly to the cheapest: for each cost those that are expected to lose least.
fn points(search: &Search<'_>, levels: &[Level]) -> Vec<Point> {
    let minimize = search.job.budget.minimize;
    let mut points: Vec<Point> = Vec::new();
    for (index, level) in levels.iter().enumerate() {
        let choices = level.layers.iter().map(|layer| {
            let formats = layer.formats.iter();
            formats
                .map(|format| layer.choice(format, minimize, 8))
                .collect::<Vec<_>>()
        });
        let other = match minimize {
            Minimize::BitOperations => 0.0,
            Minimize::Size | Minimize::Latency => level.other_bytes as f64,
        };
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
fn candidate(levels: &[Level], point: &Point, epochs: usize) -> Candidate {
    let level = &levels[point.level];
    let chosen = level.layers.iter().zip(&point.allocation.choices);
    Candidate {
        left: level.left,
        bits: Some(
            chosen
                .map(|(layer, choice)| layer.formats[*choice].bits)
                .collect(),
        ),
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
    while low < high && !(search.is_late() && best.is_some()) {
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
        match tried.verdict.is_within() {
            true => {
                low = middle + 1;
                if best
                    .as_ref()
                    .is_none_or(|best| cost(search, &tried) < cost(search, best))
                {
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
        if best
            .as_ref()
            .is_none_or(|best| cost(search, &tried) < cost(search, best))
        {
            best = Some(tried);
        }
    }
    Ok(best)
}

/// A level in codes of 8 bits, as many layers in float as it takes to keep the budget: none, then ever more of those that mind most.
fn in_codes(search: &Search<'_>, level: &Level, progress: &dyn Progress) -> Result<Option<Tried>, Error> {
    let mut order: Vec<usize> = (0..level.layers.len()).collect();
    let minds = |place: &usize| {
        level.layers[*place]
            .formats
            .iter()
            .map(|format| format.loss)
            .sum::<f64>()
    };
    order.sort_by(|a, b| minds(b).total_cmp(&minds(a)));
    let mut count = 0;
    while count <= order.len() / 4 {
        let mut float = order[..count].to_vec();
        float.sort_unstable();
        let candidate = Candidate {
            left: level.left,
            bits: Some(vec![8; level.layers.len()]),
            float,
            epochs: 0,
        };
        let tried = try_one(search, level, &candidate, progress)?;
        if tried.verdict.is_within() {
            return Ok(Some(tried));
        }
        if search.is_late() {
            break;
        }
        count = if count == 0 { 1 } else { count * 2 };
    }
    Ok(None)
}

/// Goes on to cheaper candidates, each of which is trained: steps grow as long as the budget is kept, and shrink when it is not.
fn with_training(
    search: &Search<'_>,
    levels: &mut Vec<Level>,
    untrained: Option<&Tried>,
    progress: &dyn Progress,
) -> Result<Option<Tried>, Error> {
    let mut best: Option<Tried> = None;
    let mut rest = shares(search.job);
    rest.retain(|left| levels.iter().all(|level| level.left != *left));
    let epochs = search.job.epochs;
    if search.job.budget.minimize == Minimize::Latency {
        let mut measured: Vec<u32> = levels.iter().skip(1).map(|level| level.left).collect();
        measured.extend(rest);
        for left in measured {
            if search.is_late() {
                break;
            }
            let Some(level) = open_level(search, left, progress)? else {
                break;
            };
            let candidate = Candidate {
                left,
                bits: Some(vec![8; level.layers.len()]),
                float: Vec::new(),
                epochs,
            };
            let tried = try_one(search, &level, &candidate, progress)?;
            levels.push(level);
            if !tried.verdict.is_within() {
                break;
            }
            if better(search, &tried, best.as_ref().or(untrained)) {
                best = Some(tried);
            }
        }
        return Ok(best);
    }
    for left in rest {
        match open_level(search, left, progress)? {
            Some(level) if !search.is_late() => levels.push(level),
            _ => break,
        }
    }
    let points = points(search, levels);
    let start = untrained.map_or(f64::INFINITY, |tried| cost(search, tried));
    let (mut low, mut high) = (points.partition_point(|point| point.cost >= start), points.len());
    while low < high && !search.is_late() {
        let middle = (low + high) / 2;
        let point = &points[middle];
        let tried = try_one(
            search,
            &levels[point.level],
            &candidate(levels, point, epochs),
            progress,
        )?;
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

fn better(search: &Search<'_>, tried: &Tried, than: Option<&Tried>) -> bool {
    than.is_none_or(|than| cost(search, tried) < cost(search, than))
}

/// Says so before long work when no choice of bits and channels comes near a limit of bytes.
fn refuse_impossible(search: &Search<'_>, cheapest: f64) -> Result<(), Error> {
    let least = search.job.keep.iter().copied().fold(1.0, f64::min);
    let floor = cheapest * least;
    match search.job.budget.max_bytes {
        Some(most) if search.job.budget.minimize == Minimize::Size && floor > most as f64 => {
            Err(Error::Usage {
                message: format!(
                    "{most} bytes cannot be reached: with the fewest bits and channels that may be chosen about {floor:.0} are left"
                ),
                hint: "raise --max-bytes, or allow fewer --widths and --keep".to_owned(),
            })
        }
        _ => Ok(()),
    }
}

fn nothing(search: &Search<'_>) -> Error {
    let tried = search.tried.borrow();
    let nearest = tried.iter().min_by(|a, b| a.loss.total_cmp(&b.loss));
    let nearest = nearest.map_or(String::new(), |nearest| {
        format!("; the nearest: {}", search.describe(nearest))
    });
    Error::Usage {
        message: format!("no network within the budget was found{nearest}"),
        hint: "allow a larger --max-drop or --max-bytes, or training with --epochs 5".to_owned(),
    }
}
