//! Quantization-aware training (Jacob et al. 2018, section 3): a graph that rounds while it is trained, and the quantized
//! graph that the trained one becomes.
//!
//! [`prepare`] says what to observe, [`make_aware`] puts rounding nodes into the graph at the places where `static` would
//! quantize, whoever trains changes initializers only, and [`bake`] turns the result into codes with QuantizeLinear and
//! DequantizeLinear. What is trained is what is baked: the two compute the same but for the rounding of floats.
//!
//! For widths that shrink while training, [`strip`] gives back the trained graph in float, to be prepared again for fewer
//! bits.

mod activations;
mod bake;
mod bounds;
mod branches;
mod builder;
mod decisions;
mod error;
mod evaluate;
mod grid;
mod initialize;
mod insert;
mod prepare;
mod reductions;
mod settings;
mod sites;
mod trained;
mod weights;
mod zeros;

use bantam_graph::Graph;

use crate::plan::{Plan, Site};
use crate::target::{ScaleForm, target_by_name};
use crate::train::ParameterRule;

pub use bake::{Baked, bake, round_weights, strip};
pub use error::AwareError;
pub(super) use grid::Grid;
pub use insert::make_aware;
pub use prepare::{Preparation, prepare};
pub use settings::{
    ActivationMapping, AwareSettings, BatchNormalizationMode, Edges, InitialScale, ScaleTraining,
    WeightMapping, Width,
};
pub use zeros::weights_without_zero;

/// A graph that rounds weights and activations to the levels they will have.
#[derive(Clone, Debug)]
pub struct Aware {
    /// The graph to train. Training may change its initializers, but neither names nor nodes.
    pub graph: Graph,
    /// Initializers of quantizers that are to be trained beside the network's own parameters.
    pub parameters: Vec<ScaleRule>,
    /// Initializers of quantizers that must stay as they are.
    pub fixed: Vec<String>,
    /// What is quantized and why, in the graph with BatchNormalization folded. Its scales are those of activations before training;
    /// [`bake`] gives the plan with the trained ones, and with those of weights.
    pub plan: Plan,
    pub(super) quantizers: Vec<Quantizer>,
}

impl Aware {
    /// Whether nothing is rounded.
    pub(crate) fn is_empty(&self) -> bool {
        self.quantizers.is_empty()
    }

    /// Which scales the target takes.
    pub(super) fn scale_form(&self) -> ScaleForm {
        target_by_name(&self.plan.target).map_or(ScaleForm::Any, |target| target.scales)
    }

    /// What is special about the constants of quantizers when they are trained.
    pub fn rules(&self) -> Vec<ParameterRule> {
        let learned = self.parameters.iter().map(|rule| ParameterRule {
            name: rule.name.clone(),
            decays: rule.decay,
            learning_rate_factor: rule.learning_rate_factor,
            lower_bound: rule.lower_bound,
        });
        let fixed = self.fixed.iter().map(|name| ParameterRule {
            name: name.clone(),
            decays: false,
            learning_rate_factor: 0.0,
            lower_bound: None,
        });
        learned.chain(fixed).collect()
    }
}

/// How a trainable initializer of a quantizer is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleRule {
    /// Name of the initializer.
    pub name: String,
    /// Multiplies the learning rate.
    pub learning_rate_factor: f32,
    /// Elements are raised to it after each step.
    pub lower_bound: Option<f32>,
    /// Whether weight decay applies.
    pub decay: bool,
}

/// A quantizer of the trained graph.
#[derive(Clone, Debug)]
pub(super) struct Quantizer {
    /// Name of the FakeQuant or FakeSign node.
    pub(super) node: String,
    /// Where its codes go, in the graph with BatchNormalization folded.
    sites: Vec<Site>,
    pub(super) kind: QuantizerKind,
}

#[derive(Clone, Debug)]
pub(super) enum QuantizerKind {
    /// Of a value; so many nodes lie between it and the quantizer.
    Activation { before: usize },
    /// Of the constant of this name, as nodes named by their first outputs read it.
    Weight { weight: String, axis: Option<usize> },
}
