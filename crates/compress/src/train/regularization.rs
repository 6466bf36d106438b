//! Penalties that make whole channels vanish while training, so that removing them afterwards costs little.
//!
//! They act as proximal steps behind those of the optimizer: a norm that is smaller than rate times strength becomes exactly zero, which
//! gradients alone never reach.

use bantam_graph::coupling::Group;
use bantam_graph::{Graph, Op, coupling};
use bantam_tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Parameter, TrainError};
use crate::prune::channels::{UnitKind, removable};

/// What is made small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Penalty {
    /// The length of all weights that go with a channel: those that make it, its scale, and those that read it (group lasso, Yuan and Lin
    /// 2006, over groups as in Fang et al. 2023), times the root of their number.
    #[default]
    GroupLasso,
    /// The size of a channel's scale in BatchNormalization (network slimming, Liu et al. 2017).
    BatchNormalization,
}

impl Penalty {
    /// Every penalty, by the name that users write.
    pub const ALL: &[(&str, Penalty)] = &[
        ("group-lasso", Penalty::GroupLasso),
        ("batch-normalization", Penalty::BatchNormalization),
    ];

    fn name(self) -> &'static str {
        let found = Penalty::ALL.iter().find(|(_, penalty)| *penalty == self);
        found.map_or("the penalty", |(name, _)| name)
    }
}

/// A penalty on channels that can be removed, those of residual streams not among them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Regularization {
    /// What is made small.
    pub penalty: Penalty,
    /// Its factor in the loss.
    pub strength: f32,
    /// Share of the steps in which the factor grows from 0 (Wang et al. 2021 let it grow, too).
    pub growth: f32,
}

impl Default for Regularization {
    fn default() -> Regularization {
        Regularization {
            penalty: Penalty::default(),
            strength: 1e-4,
            growth: 0.5,
        }
    }
}

impl Regularization {
    /// What makes no sense.
    pub(super) fn problem(&self) -> Option<String> {
        let rules = [
            (
                self.strength > 0.0 && self.strength.is_finite(),
                "the `strength` of a regularization must be above 0",
            ),
            (
                (0.0..=1.0).contains(&self.growth),
                "the `growth` of a regularization must be from 0 to 1",
            ),
        ];
        let broken = rules.iter().find(|(holds, _)| !holds);
        broken.map(|(_, rule)| (*rule).to_owned())
    }
}

/// What belongs to a channel: runs of elements of parameters.
struct Unit {
    /// Parameter, first element, and number of elements that lie next to each other.
    runs: Vec<(usize, usize, usize)>,
    elements: usize,
}

/// The units of a network with the penalty on them.
pub(super) struct Regularizer {
    how: Regularization,
    units: Vec<Unit>,
}

impl Regularizer {
    /// Finds the channels of a graph that a penalty is for.
    ///
    /// # Errors
    /// When there is none whose weights are all trained.
    pub(super) fn new(
        graph: &Graph,
        parameters: &[Parameter],
        how: Regularization,
    ) -> Result<Regularizer, TrainError> {
        let coupling = coupling(graph);
        let removable = removable(graph, &coupling, (UnitKind::Channel, false));
        let groups = coupling
            .groups
            .iter()
            .zip(removable)
            .filter(|(_, may_go)| *may_go);
        let units = groups.flat_map(|(group, _)| units(graph, group, parameters, how.penalty));
        let units: Vec<Unit> = units.collect();
        match units.is_empty() {
            true => Err(TrainError::NoUnits {
                penalty: how.penalty.name(),
            }),
            false => Ok(Regularizer { how, units }),
        }
    }

    /// The proximal step behind one of the optimizer at this rate, `done` being the share of the steps that are made.
    pub(super) fn shrink(
        &self,
        learning_rate: f32,
        done: f64,
        weights: &mut [Tensor],
    ) -> Result<(), TrainError> {
        let grown = match self.how.growth > 0.0 {
            true => (done / f64::from(self.how.growth)).min(1.0),
            false => 1.0,
        };
        let step = f64::from(learning_rate) * f64::from(self.how.strength) * grown;
        for unit in &self.units {
            let mut squares = 0.0;
            for &(parameter, first, count) in &unit.runs {
                let values = weights[parameter].values::<f32>()?;
                let run = values[first..first + count].iter();
                squares += run.map(|value| f64::from(*value).powi(2)).sum::<f64>();
            }
            let threshold = step * (unit.elements as f64).sqrt();
            let factor = match squares.sqrt() > threshold {
                true => (1.0 - threshold / squares.sqrt()) as f32,
                false => 0.0,
            };
            for &(parameter, first, count) in &unit.runs {
                let values = weights[parameter].values_mut::<f32>()?;
                values[first..first + count]
                    .iter_mut()
                    .for_each(|value| *value *= factor);
            }
        }
        Ok(())
    }
}

/// The units of a group, if all of its weights are trained: weights of products and scales of norms, or the latter alone. No biases: what
/// they add stays when a channel is constant, and moves into the next layer's.
fn units(graph: &Graph, group: &Group, parameters: &[Parameter], penalty: Penalty) -> Vec<Unit> {
    let is_scale = |value| {
        let mut norms = graph
            .nodes
            .iter()
            .filter(|node| matches!(node.op, Op::BatchNormalization(_)));
        norms.any(|node| node.input(1) == Some(value))
    };
    let mut units: Vec<Unit> = (group.units.iter())
        .map(|_| Unit {
            runs: Vec::new(),
            elements: 0,
        })
        .collect();
    for (number, &(value, axis)) in group.axes.iter().enumerate() {
        let Some(tensor) = graph.constant(value) else {
            continue;
        };
        let wanted = match penalty {
            Penalty::GroupLasso => tensor.shape().len() > 1 || is_scale(value),
            Penalty::BatchNormalization => is_scale(value),
        };
        if !wanted {
            continue;
        }
        let Some(parameter) = parameters.iter().position(|it| it.value == value) else {
            return Vec::new();
        };
        let inner: usize = tensor.shape()[axis + 1..].iter().product();
        let outer: usize = tensor.shape()[..axis].iter().product();
        let size = tensor.shape()[axis];
        for (unit, found) in group.units.iter().zip(&mut units) {
            for position in unit.along(number) {
                let firsts = (0..outer).map(|outer| (outer * size + position) * inner);
                found.runs.extend(firsts.map(|first| (parameter, first, inner)));
                found.elements += outer * inner;
            }
        }
    }
    units.retain(|unit| unit.elements > 0);
    units
}
