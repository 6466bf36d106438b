//! How the codes of a layer's channels are chosen.

use rayon::prelude::*;

use super::adaround;
use super::greedy::{self, greedy};
use super::rounding::{Even, Metric};
use super::sign_round::{self, Ranges, Signed, Slope, Span, sign_round};
use crate::quantize::aware::Grid;
use crate::target::ScaleForm;

/// How codes are chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// One weight after another.
    InOrder,
    /// Learned, of the two nearest.
    UpOrDown,
    /// As in order, then improved together with scales.
    LeastSquares,
    /// The weight next whose rounding costs least.
    Greedy,
    /// By signs of gradients.
    Signed,
}

impl Choice {
    /// Whether weights, and biases, also make up for what changed before the layer.
    pub(super) fn follows_float(self) -> bool {
        !matches!(self, Choice::InOrder | Choice::Greedy)
    }
}

/// Scales that are tried, as factors of the one that is there: from half to a little more than it.
const SCALES: usize = 28;
/// Rounds of changing codes and scales in turn.
const ROUNDS: usize = 8;

/// Output channels with the same inputs.
pub(super) struct Group {
    pub(super) metric: Metric,
    /// What the weights should be, in the order of the metric.
    pub(super) targets: Vec<Vec<f32>>,
    /// Of each channel.
    pub(super) grids: Vec<Grid>,
    pub(super) scales: Vec<f32>,
    /// Whether scales may differ.
    pub(super) per_channel: bool,
    /// What scales there are.
    pub(super) form: ScaleForm,
}

impl Group {
    /// Rounds all channels; `None` where moments cannot be inverted.
    pub(super) fn rounded(&self, choice: Choice, steps: Option<usize>) -> Option<Vec<Channel>> {
        let channels = 0..self.targets.len();
        Some(match choice {
            Choice::UpOrDown => self.up_or_down(steps.unwrap_or(adaround::STEPS)),
            Choice::Signed => self.signed(steps.unwrap_or(sign_round::STEPS)),
            Choice::Greedy => self.greedy()?,
            Choice::LeastSquares => channels
                .into_par_iter()
                .map(|channel| self.least_squares(channel))
                .collect(),
            Choice::InOrder => channels
                .into_par_iter()
                .map(|channel| {
                    let to = self.even(channel);
                    let rounded = self.metric.round(&self.targets[channel], &to);
                    Channel::of(&self.metric, &rounded.levels, to.scale)
                })
                .collect(),
        })
    }

    /// Up or down, learned.
    fn up_or_down(&self, steps: usize) -> Vec<Channel> {
        let rows = adaround::Rows {
            metric: &self.metric,
            targets: &self.targets.concat(),
            grids: &self.grids,
            scales: &self.scales,
        };
        let levels = rows.round(steps);
        let channel = |(levels, scale): (&[f32], &f32)| Channel::of(&self.metric, levels, *scale);
        let rows = levels.chunks_exact(self.metric.depth.max(1));
        rows.zip(&self.scales).map(channel).collect()
    }

    /// By signs of gradients; scales move where each channel has its own.
    fn signed(&self, steps: usize) -> Vec<Channel> {
        let range = |(grid, scale): (&Grid, &f32)| OneRange {
            grid: *grid,
            scale: *scale,
            moves: self.scales_move(),
        };
        let ranges: Vec<OneRange> = self.grids.iter().zip(&self.scales).map(range).collect();
        let signed = sign_round(&self.metric, &self.targets, &ranges, steps);
        let channel = |(signed, range): (Signed, &OneRange)| {
            let scale = range.span(0, signed.factors[0]).scale;
            Channel::of(&self.metric, &signed.levels, scale)
        };
        signed.into_iter().zip(&ranges).map(channel).collect()
    }

    /// In greedy order; `None` where the inverse does not exist.
    fn greedy(&self) -> Option<Vec<Channel>> {
        let inverse = greedy::inverse(&self.metric)?;
        let row = |(channel, target): (usize, &Vec<f32>)| {
            let to = self.even(channel);
            Channel::of(&self.metric, &greedy(&inverse, target, &to), to.scale)
        };
        Some(self.targets.par_iter().enumerate().map(row).collect())
    }

    fn even(&self, channel: usize) -> Even<'_> {
        Even {
            grid: &self.grids[channel],
            scale: self.scales[channel],
        }
    }

    /// One weight after another, then scales and codes in turn.
    fn least_squares(&self, channel: usize) -> Channel {
        let target = &self.targets[channel];
        let mut to = self.even(channel);
        let mut best = self.metric.round(target, &to);
        for scale in self.other_scales(self.scales[channel]) {
            let other = Even {
                scale,
                ..self.even(channel)
            };
            let rounded = self.metric.round(target, &other);
            if rounded.error < best.error {
                (best, to) = (rounded, other);
            }
        }
        self.metric
            .descend(target, &mut to, &mut best, (ROUNDS, self.scales_move()));
        Channel::of(&self.metric, &best.levels, to.scale)
    }

    /// Whether scales may have any value, each its own.
    fn scales_move(&self) -> bool {
        self.per_channel && self.form == ScaleForm::Any
    }

    /// Scales of a channel that are tried beside the one it has.
    fn other_scales(&self, scale: f32) -> Vec<f32> {
        match self.form {
            _ if !self.per_channel => Vec::new(),
            ScaleForm::Any => (1..SCALES)
                .map(|step| scale * (0.5 + 0.7 * step as f32 / SCALES as f32))
                .collect(),
            ScaleForm::PowerOfTwo => vec![scale * 0.5, scale * 2.0],
        }
    }
}

/// The range of a channel: as far as its scale reaches.
struct OneRange {
    grid: Grid,
    scale: f32,
    /// Whether it may become narrower.
    moves: bool,
}

impl Ranges for OneRange {
    fn groups(&self) -> usize {
        1
    }

    fn group(&self, _: usize) -> usize {
        0
    }

    fn span(&self, _: usize, [_, factor]: [f32; 2]) -> Span {
        Span {
            scale: if self.moves {
                self.scale * factor
            } else {
                self.scale
            },
            zero_point: self.grid.zero_point,
            bounds: [self.grid.smallest(), self.grid.largest()],
        }
    }

    fn slopes(&self, _: usize, _: [f32; 2]) -> [Slope; 2] {
        let scale = if self.moves { self.scale } else { 0.0 };
        let upper = Slope {
            scale,
            zero_point: 0.0,
        };
        [Slope::default(), upper]
    }
}

/// A rounded output channel.
pub(super) struct Channel {
    pub(super) values: Vec<f32>,
    pub(super) scale: f32,
}

impl Channel {
    /// From levels in the order of the metric.
    fn of(metric: &Metric, levels: &[f32], scale: f32) -> Channel {
        let values: Vec<f32> = levels.iter().map(|level| level * scale).collect();
        Channel {
            values: metric.restored(&values),
            scale,
        }
    }
}
