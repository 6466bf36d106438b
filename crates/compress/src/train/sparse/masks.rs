//! Masks of a whole graph, apart from training.

use bantam_graph::Graph;

use super::{LayerSparsity, Sparse, SparseMethod, SparsitySchedule, SparsitySettings};
use crate::train::state::State;
use crate::train::{TrainError, TrainSettings, parameters};

/// Which weights of a graph stay, by the names of the constants that hold them.
#[derive(Clone, Debug, PartialEq)]
pub struct Masks(Vec<(String, Vec<bool>)>);

impl Masks {
    /// Masks of the largest weights: as many zeros as `settings` say in the end, counted over what they say.
    /// What is zero stays so.
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

    /// Masks of the weights that are not zero.
    ///
    /// # Errors
    /// When there are no weights of products.
    pub fn of_zeros(graph: &Graph, settings: &SparsitySettings) -> Result<Masks, TrainError> {
        let settings = SparsitySettings {
            exclude: settings.exclude.clone(),
            ..SparsitySettings::default()
        };
        let sparse = Sparse::new(graph, &parameters(graph, &[], &[])?, &settings, (1, 0))?;
        let names = sparse.layers.iter().map(|layer| layer.name.clone());
        Ok(Masks(names.zip(sparse.masks).collect()))
    }

    /// The zeros of a graph with the same constants.
    ///
    /// # Errors
    /// When a constant is missing or holds no numbers.
    pub fn report(&self, graph: &Graph) -> Result<Vec<LayerSparsity>, TrainError> {
        let layer = |(name, _): &(String, Vec<bool>)| {
            let tensor = graph.value_by_name(name).and_then(|value| graph.constant(value));
            Ok(LayerSparsity::of(
                name,
                &tensor.ok_or_else(|| missing(name))?.to_f32()?,
            ))
        };
        self.0.iter().map(layer).collect()
    }

    /// Sets the weights of a graph with the same constants that do not stay to zero.
    ///
    /// # Errors
    /// When a constant is missing or has another size.
    pub fn apply(&self, graph: &mut Graph) -> Result<(), TrainError> {
        for (name, mask) in &self.0 {
            let value = graph.value_by_name(name).ok_or_else(|| missing(name))?;
            let tensor = graph
                .value_mut(value)
                .initializer
                .as_mut()
                .ok_or_else(|| missing(name))?;
            let weights = tensor.values_mut::<f32>()?;
            if weights.len() != mask.len() {
                return Err(missing(name));
            }
            super::clear(weights, mask, 0.0);
        }
        Ok(())
    }
}

fn missing(name: &str) -> TrainError {
    TrainError::Settings(format!(
        "the graph has no weight `{name}` of this size\nhint: masks are for the network that they were made of"
    ))
}
