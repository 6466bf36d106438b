//! The most accurate network of a given size.

use std::time::Instant;

use super::Search;
use super::candidate::{Tried, try_one};
use super::level::{Level, outline, shares};
use super::plan::{Found, Point, all_in_codes, better, candidate, nothing, open_level, opened, points};
use super::trained::expected_cost;
use crate::{Error, Progress};

/// Levels that are built without training, those first that are expected to lose least.
const BUILT: usize = 4;

/// Finds what loses least of all networks that have at most so many bytes: for each share of the channels the bits that fit and hurt least, of these the
/// best by real evaluation, and with training its neighbours too.
pub(super) fn least_loss(search: &Search<'_>, progress: &dyn Progress) -> Result<Found, Error> {
    let mut fit = Fit::open(search, progress)?;
    let mut order: Vec<usize> = (0..fit.levels.len()).collect();
    if order.iter().all(|&place| fit.point(place).is_none()) {
        return Err(fit.too_small());
    }
    order.sort_by(|&a, &b| fit.expected_loss(a).total_cmp(&fit.expected_loss(b)));
    let (mut best, mut start): (Option<Tried>, usize) = (None, order[0]);
    let mut quantized = None;
    for place in order.into_iter().take(BUILT) {
        if search.is_late() && best.is_some() {
            break;
        }
        let Some(tried) = fit.build(place, 0, progress)? else {
            continue;
        };
        if place == 0 {
            quantized = Some(tried.clone());
        }
        if tried.verdict.is_within() && better(search, &tried, best.as_ref()) {
            (best, start) = (Some(tried), place);
        }
    }
    if search.job.epochs > 0 {
        fit.train(start, &mut best, progress)?;
    }
    Ok(Found {
        best: best.ok_or_else(|| nothing(search))?,
        levels: fit.levels,
        quantized,
        pruned: None,
    })
}

/// What may be chosen at a size.
struct Fit<'a, 'b> {
    search: &'a Search<'b>,
    levels: Vec<Level>,
    /// For each level its choices of bits, from the most costly on.
    points: Vec<Vec<Point>>,
    /// Bytes that a file has besides what choices count: nodes, names, scales of activations. Those of what was built last.
    around: f64,
}

impl<'a, 'b> Fit<'a, 'b> {
    /// Measures levels of ever fewer channels, down to the first that loses more in float than another does with codes, or of which all is widest:
    /// with still fewer nothing is won.
    fn open(search: &'a Search<'b>, progress: &dyn Progress) -> Result<Self, Error> {
        let whole = opened(search, outline(search.job, 1000, &search.job.model)?, progress)?;
        let widest = try_one(search, &whole, &all_in_codes(&whole, &[], 0), progress)?;
        let mut fit = Fit {
            search,
            levels: Vec::new(),
            points: Vec::new(),
            around: 0.0,
        };
        fit.push(whole);
        fit.learn(&widest);
        for left in shares(search.job) {
            let level = open_level(search, left, progress)?;
            let Some(level) = level.filter(|_| !search.is_late()) else {
                break;
            };
            let in_float = level.loss;
            fit.push(level);
            let places = 0..fit.levels.len();
            let least = places.map(|place| fit.expected_loss(place));
            let all_fit = fit.points[fit.points.len() - 1]
                .first()
                .is_some_and(|point| fit.fits(point));
            if all_fit || in_float > least.fold(f64::INFINITY, f64::min) {
                break;
            }
        }
        Ok(fit)
    }

    fn push(&mut self, level: Level) {
        self.points
            .push(points(self.search, std::slice::from_ref(&level)));
        self.levels.push(level);
    }

    fn fits(&self, point: &Point) -> bool {
        let most = self.search.job.budget.max_bytes.unwrap_or(u64::MAX);
        point.cost + self.around <= most as f64
    }

    /// The choice of a level that loses least of those that fit: the most costly.
    fn point(&self, place: usize) -> Option<&Point> {
        self.points.get(place)?.iter().find(|point| self.fits(point))
    }

    fn expected_loss(&self, place: usize) -> f64 {
        self.point(place).map_or(f64::INFINITY, |point| point.loss)
    }

    fn too_small(&self) -> Error {
        let least = self.points.iter().flatten().map(|point| point.cost);
        let least = least.fold(f64::INFINITY, f64::min) + self.around;
        Error::Usage {
            message: format!(
                "{} bytes cannot be reached: the smallest network to choose from takes about {least:.0}",
                self.search.job.budget.max_bytes.unwrap_or(0)
            ),
            hint: "raise --max-bytes, or allow smaller --keep and --widths".to_owned(),
        }
    }

    fn learn(&mut self, tried: &Tried) {
        self.around = tried.bytes as f64 - expected_cost(self.search, &self.levels, tried);
    }

    /// The candidate of a level, if one fits. What it really takes says what else fits.
    fn build(
        &mut self,
        place: usize,
        epochs: usize,
        progress: &dyn Progress,
    ) -> Result<Option<Tried>, Error> {
        let mut built = None;
        for _ in 0..3 {
            let Some(point) = self.point(place) else {
                break;
            };
            let level = std::slice::from_ref(&self.levels[place]);
            let candidate = candidate(level, point, epochs);
            if built
                .as_ref()
                .is_some_and(|tried: &Tried| tried.candidate == candidate)
            {
                break;
            }
            let tried = try_one(self.search, &level[0], &candidate, progress)?;
            self.learn(&tried);
            built = Some(tried);
            // Training is not repeated for a few bytes.
            if epochs > 0 {
                break;
            }
        }
        Ok(built)
    }

    /// Trains the candidate of a level, then those of its neighbours on either side as long as these are better.
    fn train(
        &mut self,
        start: usize,
        best: &mut Option<Tried>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let mut longest = 0.0;
        self.trained_is_better(start, best, &mut longest, progress)?;
        let mut place = start + 1;
        while self.trained_is_better(place, best, &mut longest, progress)? {
            place += 1;
        }
        if place > start + 1 {
            return Ok(());
        }
        let mut place = start;
        while place > 0 && self.trained_is_better(place - 1, best, &mut longest, progress)? {
            place -= 1;
        }
        Ok(())
    }

    /// Whether the candidate of a level is better than the best once it is trained; `longest` is what training took at most so far.
    fn trained_is_better(
        &mut self,
        place: usize,
        best: &mut Option<Tried>,
        longest: &mut f64,
        progress: &dyn Progress,
    ) -> Result<bool, Error> {
        let search = self.search;
        let begun = Instant::now();
        if search.is_late_for(*longest) {
            return Ok(false);
        }
        let Some(tried) = self.build(place, search.job.epochs, progress)? else {
            return Ok(false);
        };
        *longest = longest.max(begun.elapsed().as_secs_f64());
        let is_better = tried.verdict.is_within() && better(search, &tried, best.as_ref());
        if is_better {
            *best = Some(tried);
        }
        Ok(is_better)
    }
}
