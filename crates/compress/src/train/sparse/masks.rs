//! Masks of a whole graph, apart from training.

use bantam_graph::Graph;

use super::{Sparse, SparseMethod, SparsitySchedule, SparsitySettings};
use crate::train::state::State;
use crate::train::{TrainError, TrainSettings, parameters};

/// Which weights of a graph stay, by the names of the constants that hold them.
#[derive(Clone, Debug, PartialEq)]
pub struct Masks(Vec<(String, Vec<bool>)>);

impl Masks {
    /// Masks of the largest weights: as many zeros as `settings` say in the end, counted over what they say. What is zero stays so.
    ///
    /// # Errors
    /// When the settings make no sense or do not fit the weights.
    pub fn by_magnitude(graph: &Graph, settings: &SparsitySettings) -> Result<Masks, TrainError> {
        let settings = SparsitySettings {
            method: SparseMethod::Gradual,
            schedule: Some(SparsitySchedule::OneShot),
            ..settings.clone()
        };
        let parameters = parameters(graph, &[], &[])?;
        let mut state = State::new(&parameters, Vec::new(), &TrainSettings::default());
        let mut sparse = Sparse::new(graph, &parameters, &settings, (1, 0))?;
        sparse.begin(0, &mut state)?;
        let names = sparse.layers.iter().map(|layer| layer.name.clone());
        Ok(Masks(names.zip(sparse.masks).collect()))
    }

    /// Sets the weights of a graph with the same constants that do not stay to zero.
    ///
    /// # Errors
    /// When a constant is missing or has another size.
    pub fn apply(&self, graph: &mut Graph) -> Result<(), TrainError> {
        for (name, mask) in &self.0 {
            let missing = || TrainError::Settings(format!("the graph has no weight `{name}` of this size"));
            let value = graph.value_by_name(name).ok_or_else(missing)?;
            let tensor = graph.value_mut(value).initializer.as_mut().ok_or_else(missing)?;
            let weights = tensor.values_mut::<f32>()?;
            if weights.len() != mask.len() {
                return Err(missing());
            }
            super::clear(weights, mask, 0.0);
        }
        Ok(())
    }
}
