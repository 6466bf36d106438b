//! Candidates that training brings back within the budget.

use std::time::Instant;

use super::Search;
use super::budget::Minimize;
use super::candidate::{Candidate, Tried, try_one};
use super::level::{Level, shares};
use super::plan::{CLOSE, Point, all_in_codes, better, candidate, open_level, points};
use crate::{Error, Progress};

/// What of the cost of the best is asked of the next, until one is beyond the budget.
const STEP: f64 = 0.8;

/// Finds the cheapest candidate that training brings back.
pub(super) fn with_training(
    search: &Search<'_>,
    levels: &mut Vec<Level>,
    untrained: Option<&Tried>,
    progress: &dyn Progress,
) -> Result<Option<Tried>, Error> {
    let mut trained = Trained {
        search,
        levels,
        untrained,
        best: None,
        longest: 0.0,
    };
    match search.job.budget.minimize {
        Minimize::Latency => trained.by_levels(progress)?,
        _ => trained.by_cost(progress)?,
    }
    Ok(trained.best)
}

struct Trained<'a, 'b> {
    search: &'a Search<'b>,
    levels: &'a mut Vec<Level>,
    untrained: Option<&'a Tried>,
    best: Option<Tried>,
    /// Seconds that the longest took.
    longest: f64,
}

impl Trained<'_, '_> {
    /// For latency: all layers in codes of 8 bits, and ever fewer channels until that is beyond the budget.
    fn by_levels(&mut self, progress: &dyn Progress) -> Result<(), Error> {
        for left in shares(self.search.job) {
            // Training is not broken off: what was needed before says whether there is time for another.
            if self.search.is_late_for(self.longest) {
                break;
            }
            let Some(place) = self.level(left, progress)? else {
                break;
            };
            let candidate = all_in_codes(&self.levels[place], &[], self.search.job.epochs);
            if !self.keeps_budget(place, &candidate, progress)? {
                break;
            }
        }
        Ok(())
    }

    /// Ever cheaper candidates until one is beyond the budget, then between that one and the best.
    fn by_cost(&mut self, progress: &dyn Progress) -> Result<(), Error> {
        let begun = self
            .untrained
            .map(|tried| (self.expected_cost(tried), tried.candidate.left));
        let whole = points(self.search, &self.levels[..1]);
        let dearest = whole.first().map_or(0.0, |point| point.cost);
        let (from, left) = begun.unwrap_or((dearest, 1000));
        let (mut high, mut beyond) = (from, 0.0);
        while beyond < high * CLOSE && !self.search.is_late_for(self.longest) {
            let goal = if beyond > 0.0 {
                f64::sqrt(beyond * high)
            } else {
                STEP * high
            };
            // With the bits of where it began, this share would do.
            self.open_to(f64::from(left) * goal / from, progress)?;
            let Some(point) = self.dearest_below(goal).filter(|point| point.cost > beyond) else {
                break;
            };
            let candidate = candidate(self.levels, &point, self.search.job.epochs);
            match self.keeps_budget(point.level, &candidate, progress)? {
                true => high = point.cost,
                false => beyond = point.cost,
            }
        }
        Ok(())
    }

    /// The most costly point of those that cost no more than this.
    fn dearest_below(&self, cost: f64) -> Option<Point> {
        let points = points(self.search, self.levels);
        let below = points.into_iter().filter(|point| point.cost <= cost);
        below.max_by(|a, b| a.cost.total_cmp(&b.cost))
    }

    /// Opens levels down to a share, in thousandths.
    fn open_to(&mut self, share: f64, progress: &dyn Progress) -> Result<(), Error> {
        for left in shares(self.search.job) {
            let lowest = self.levels.iter().map(|level| level.left).min();
            if lowest.is_some_and(|lowest| f64::from(lowest) <= share)
                || self.level(left, progress)?.is_none()
            {
                break;
            }
        }
        Ok(())
    }

    /// The place of the level with this share.
    fn level(&mut self, left: u32, progress: &dyn Progress) -> Result<Option<usize>, Error> {
        let known = self.levels.iter().position(|level| level.left == left);
        if known.is_some() {
            return Ok(known);
        }
        let opened = open_level(self.search, left, progress)?;
        Ok(opened.map(|level| {
            self.levels.push(level);
            self.levels.len() - 1
        }))
    }

    fn keeps_budget(
        &mut self,
        place: usize,
        candidate: &Candidate,
        progress: &dyn Progress,
    ) -> Result<bool, Error> {
        let start = Instant::now();
        let tried = try_one(self.search, &self.levels[place], candidate, progress)?;
        self.longest = self.longest.max(start.elapsed().as_secs_f64());
        let is_within = tried.verdict.is_within();
        if is_within && better(self.search, &tried, self.best.as_ref().or(self.untrained)) {
            self.best = Some(tried);
        }
        Ok(is_within)
    }

    fn expected_cost(&self, tried: &Tried) -> f64 {
        expected_cost(self.search, self.levels, tried)
    }
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
