//! How sparse a layer is.

use bantam_graph::Graph;
use serde::{Deserialize, Serialize};

use super::Sparse;
use crate::train::Parameter;

/// Zeros of a weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerSparsity {
    /// The weight's name.
    pub name: String,
    /// Its elements.
    pub elements: usize,
    /// Those that are zero.
    pub zeros: usize,
    /// Their share.
    pub sparsity: f64,
}

impl LayerSparsity {
    pub(super) fn of(name: &str, weights: &[f32]) -> LayerSparsity {
        let zeros = weights.iter().filter(|weight| **weight == 0.0).count();
        LayerSparsity {
            name: name.to_owned(),
            elements: weights.len(),
            zeros,
            sparsity: zeros as f64 / weights.len().max(1) as f64,
        }
    }
}

impl Sparse {
    /// The zeros of each masked weight of a graph.
    pub(in crate::train) fn report(&self, graph: &Graph, parameters: &[Parameter]) -> Vec<LayerSparsity> {
        let layer = |layer: &super::Layer| {
            let weights = graph.constant(parameters[layer.parameter].value)?.to_f32().ok()?;
            Some(LayerSparsity::of(&layer.name, &weights))
        };
        self.layers.iter().filter_map(layer).collect()
    }
}
