//! AdaRound (Nagel et al. 2020, "Up or down? Adaptive rounding for post-training quantization"): learns for each weight whether it is
//! rounded up or down.
//!
//! The squared error of a layer's outputs is a quadratic form of its weights, so that its gradient for all samples comes from the
//! second moments of the inputs: no samples are drawn. The layer's inputs are those of the quantized network, its wanted outputs those
//! of the float network (equation 25, without the activation behind the layer, which the moments cannot see).

use super::rounding::Metric;
use crate::quantize::aware::Grid;

/// Steps where nothing else is asked for.
pub(super) const STEPS: usize = 2000;
/// Stretch of the sigmoid (equation 23).
const ZETA: f32 = 1.1;
const GAMMA: f32 = -0.1;
/// Weight of the regularizer, in units of the mean curvature of the error, so that the size of inputs does not matter.
const LAMBDA: f32 = 2.0;
/// Exponent of the regularizer at first and at last (equation 24), and the share of steps before it.
const BETA: (f32, f32) = (20.0, 2.0);
const WARM: f32 = 0.2;
/// Of Adam; more where steps are few, so that they lead from one end to the other.
const LEARNING_RATE: f32 = 0.01;
const WAY: f32 = 8.0;

/// Rows of weights in the order of a metric, with the levels of each.
pub(super) struct Rows<'a> {
    pub(super) metric: &'a Metric,
    pub(super) targets: &'a [f32],
    pub(super) grids: &'a [Grid],
    pub(super) scales: &'a [f32],
}

/// One weight on its way.
struct Weight {
    /// In units of the scale.
    target: f32,
    /// The level below.
    floor: f32,
    /// What the sigmoid is of, and Adam's moments of its gradient.
    v: f32,
    mean: f32,
    square: f32,
}

impl Weight {
    fn new(target: f32, grid: &Grid, scale: f32) -> Weight {
        let target = target / scale;
        let floor = (target + grid.zero_point).floor() - grid.zero_point;
        // So that at first nothing is rounded.
        let share = ((target - floor - GAMMA) / (ZETA - GAMMA)).clamp(1e-4, 1.0 - 1e-4);
        Weight {
            target,
            floor,
            v: (share / (1.0 - share)).ln(),
            mean: 0.0,
            square: 0.0,
        }
    }

    /// The sigmoid, and what is added to the level below (equation 23).
    fn up(&self) -> (f32, f32) {
        let sigmoid = 1.0 / (1.0 + (-self.v).exp());
        (sigmoid, (sigmoid * (ZETA - GAMMA) + GAMMA).clamp(0.0, 1.0))
    }

    /// One step of Adam against the slope of the error in the level, and the regularizer with this exponent.
    fn step(&mut self, slope: f32, bounds: (f32, f32), beta: Option<f32>, (at, rate): (i32, f32)) {
        let (sigmoid, up) = self.up();
        let inside = (bounds.0..=bounds.1).contains(&(self.floor + up));
        let mut gradient = if inside { slope } else { 0.0 };
        if let Some(beta) = beta {
            let side = 2.0 * up - 1.0;
            gradient -= LAMBDA * 2.0 * beta * side.abs().powf(beta - 1.0) * side.signum();
        }
        let moves = up > 0.0 && up < 1.0;
        gradient *= if moves {
            (ZETA - GAMMA) * sigmoid * (1.0 - sigmoid)
        } else {
            0.0
        };
        self.mean += 0.1 * (gradient - self.mean);
        self.square += 0.001 * (gradient * gradient - self.square);
        let (mean, square) = (
            self.mean / (1.0 - 0.9f32.powi(at)),
            self.square / (1.0 - 0.999f32.powi(at)),
        );
        self.v -= rate * mean / (square.sqrt() + 1e-8);
    }
}

impl Rows<'_> {
    /// The levels of all rows.
    pub(super) fn round(&self, steps: usize) -> Vec<f32> {
        let depth = self.metric.depth;
        let bounds = |row: usize| (self.grids[row].smallest(), self.grids[row].largest());
        let of_row = |(row, targets): (usize, &[f32])| {
            let weight = |target: &f32| Weight::new(*target, &self.grids[row], self.scales[row]);
            targets.iter().map(weight).collect::<Vec<Weight>>()
        };
        let rows = self.targets.chunks_exact(depth).enumerate();
        let mut weights: Vec<Weight> = rows.flat_map(of_row).collect();
        let level = |(at, weight): (usize, &Weight), up: f32| {
            let (low, high) = bounds(at / depth);
            (weight.floor + up).clamp(low, high)
        };
        let rate = LEARNING_RATE.max(WAY / steps.max(1) as f32);
        let mut slopes = vec![0.0; weights.len()];
        for step in 0..steps {
            let error = |(at, weight): (usize, &Weight)| weight.target - level((at, weight), weight.up().1);
            let errors: Vec<f32> = weights.iter().enumerate().map(error).collect();
            self.metric.slopes(&errors, &mut slopes);
            let beta = beta(step as f32 / steps as f32);
            for (at, weight) in weights.iter_mut().enumerate() {
                weight.step(
                    -2.0 * slopes[at],
                    bounds(at / depth),
                    beta,
                    (step as i32 + 1, rate),
                );
            }
        }
        let settled = |(at, weight): (usize, &Weight)| {
            let up = if weight.up().1 >= 0.5 { 1.0 } else { 0.0 };
            level((at, weight), up)
        };
        weights.iter().enumerate().map(settled).collect()
    }
}

/// The exponent of the regularizer after this share of the steps; `None` while there is no regularizer.
fn beta(share: f32) -> Option<f32> {
    let after = (share - WARM) / (1.0 - WARM);
    let falls = 0.5 * (1.0 + (after.max(0.0) * std::f32::consts::PI).cos());
    (after >= 0.0).then_some(BETA.1 + (BETA.0 - BETA.1) * falls)
}
