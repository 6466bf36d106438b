//! From saliencies and a target to the units that go.

use bantam_graph::Graph;

use super::units::Units;
use super::{ChannelScope, ChannelSettings, Target};
use crate::prune::PruneError;

/// The units that go, by group and number, so that the share `left` of the target stays, or less. `saliency` and `gone` are by the
/// places of groups; those that are gone already go again.
pub(super) fn choose(
    sized: &Graph,
    units: &Units<'_>,
    saliency: &[Vec<f64>],
    gone: &[Vec<bool>],
    settings: &ChannelSettings,
    left: f64,
) -> Result<Vec<Vec<bool>>, PruneError> {
    let order = order(units, saliency, gone, settings);
    let whole = settings.target.measure(sized).max(1) as f64;
    let share = |chosen: &[Vec<bool>]| -> Result<f64, PruneError> {
        let removed: Vec<(usize, usize)> = numbers(units, chosen);
        if settings.target == Target::Units {
            let all: usize = (0..units.groups.len()).map(|place| units.count(place)).sum();
            return Ok(1.0 - removed.len() as f64 / all.max(1) as f64);
        }
        let smaller = units.coupling.remove(sized, &removed)?;
        Ok(settings.target.measure(&smaller) as f64 / whole)
    };
    // The fewest units, in this order, that are enough.
    let (mut few, mut many) = (0, order.len());
    let most = cut(units, &order, many, settings);
    let least = share(&most)?;
    if least > left {
        return Err(PruneError::Target {
            what: settings.target.name(),
            wanted: left * 100.0,
            least: least * 100.0,
        });
    }
    while few < many {
        let middle = few.midpoint(many);
        match share(&cut(units, &order, middle, settings))? <= left {
            true => many = middle,
            false => few = middle + 1,
        }
    }
    Ok(cut(units, &order, many, settings))
}

/// Units by group and number.
pub(super) fn numbers(units: &Units<'_>, chosen: &[Vec<bool>]) -> Vec<(usize, usize)> {
    let of_group = |(place, chosen): (usize, &Vec<bool>)| {
        let group = units.groups[place];
        let gone = chosen.iter().enumerate().filter(|(_, gone)| **gone);
        gone.map(|(unit, _)| (group, unit)).collect::<Vec<_>>()
    };
    chosen.iter().enumerate().flat_map(of_group).collect()
}

/// All units that may go, the least first.
fn order(
    units: &Units<'_>,
    saliency: &[Vec<f64>],
    gone: &[Vec<bool>],
    settings: &ChannelSettings,
) -> Vec<(usize, usize)> {
    let mut order = Vec::new();
    for (place, saliency) in saliency.iter().enumerate() {
        let price = units.savings[place]
            .max(f64::MIN_POSITIVE)
            .powf(settings.savings_power);
        let mut own: Vec<(f64, usize)> = (saliency.iter().enumerate())
            .map(|(unit, saliency)| {
                let score = if gone[place][unit] {
                    f64::NEG_INFINITY
                } else {
                    saliency / price
                };
                (score, unit)
            })
            .collect();
        own.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        own.truncate(own.len() - floor(own.len(), settings));
        let count = units.count(place) as f64;
        order.extend(own.into_iter().enumerate().map(|(rank, (score, unit))| {
            let key = match (settings.scope, score == f64::NEG_INFINITY) {
                (ChannelScope::Group, false) => rank as f64 / count,
                _ => score,
            };
            (key, place, unit)
        }));
    }
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    order.into_iter().map(|(_, place, unit)| (place, unit)).collect()
}

/// Units of a group that stay whatever they matter.
fn floor(count: usize, settings: &ChannelSettings) -> usize {
    let least = ((count as f64 * settings.least).ceil() as usize).max(1);
    least.next_multiple_of(settings.multiple.max(1)).min(count)
}

/// The first `count` of the order; of each group the last ones come back until a multiple stays.
fn cut(
    units: &Units<'_>,
    order: &[(usize, usize)],
    count: usize,
    settings: &ChannelSettings,
) -> Vec<Vec<bool>> {
    let mut chosen: Vec<Vec<bool>> = (0..units.groups.len())
        .map(|place| vec![false; units.count(place)])
        .collect();
    let mut removed = vec![0; units.groups.len()];
    for (place, unit) in &order[..count] {
        chosen[*place][*unit] = true;
        removed[*place] += 1;
    }
    let mut back: Vec<usize> = (removed.iter().enumerate())
        .map(|(place, removed)| {
            let all = units.count(place);
            let left = (all - removed)
                .next_multiple_of(settings.multiple.max(1))
                .min(all);
            left - (all - removed)
        })
        .collect();
    for (place, unit) in order[..count].iter().rev() {
        if back[*place] > 0 {
            back[*place] -= 1;
            chosen[*place][*unit] = false;
        }
    }
    chosen
}
