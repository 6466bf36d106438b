//! From training to a checkpoint and back.

use std::collections::BTreeMap;

use bantam_graph::{Graph, Op};
use bantam_tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::checkpoint::mark;
use super::state::State;
use super::trainer::Trainer;
use super::{Checkpoint, EpochReport, TrainError};

/// How far training is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) step: u64,
    pub(super) epoch: usize,
    /// Steps of this epoch.
    pub(super) epoch_step: usize,
    /// Bits of the sum of losses.
    pub(super) loss_bits: u64,
    pub(super) right: u64,
    /// Bits of the best validation score.
    pub(super) best_bits: Option<u64>,
    pub(super) since_best: usize,
    pub(super) history: Vec<EpochReport>,
}

impl Checkpoint {
    /// Steps and whole epochs that are behind.
    ///
    /// # Errors
    /// When the checkpoint does not say so.
    pub fn done(&self) -> Result<(u64, usize), TrainError> {
        let progress = self.read_progress()?;
        Ok((progress.step, progress.epoch))
    }

    /// A graph with the weights and running statistics that training had come to.
    ///
    /// # Errors
    /// When the graph lacks one of them.
    pub fn weights_in(&self, graph: &Graph) -> Result<Graph, TrainError> {
        let mut graph = graph.clone();
        for (name, tensor) in &self.tensors {
            let place = name
                .strip_prefix("weights/")
                .or_else(|| name.strip_prefix("statistics/"));
            let Some(place) = place else { continue };
            let value = graph.value_by_name(place).ok_or_else(|| TrainError::Checkpoint {
                problem: format!("has weights of `{place}`, which the model lacks"),
            })?;
            graph.value_mut(value).initializer = Some(tensor.clone());
        }
        Ok(graph)
    }

    fn read_progress(&self) -> Result<Progress, TrainError> {
        serde_json::from_str(&self.progress).map_err(|error| TrainError::Checkpoint {
            problem: format!("does not say how far training is: {error}"),
        })
    }
}

impl Trainer<'_> {
    fn identity(&self) -> String {
        let settings = serde_json::to_string(self.settings).unwrap_or_default();
        let shapes = self
            .parameters
            .iter()
            .map(|it| format!("{}{:?}", it.name, it.tensor.shape()));
        let parameters: Vec<String> = shapes.collect();
        let ops: Vec<&Op> = self.graph.node_ids().map(|(_, node)| &node.op).collect();
        mark(&format!("{settings}{parameters:?}{ops:?}{}", self.samples.len()))
    }

    pub(super) fn checkpoint(&self) -> Checkpoint {
        let mut tensors = BTreeMap::new();
        let mut put = |prefix: &str, state: &State| {
            for (parameter, tensor) in self.parameters.iter().zip(&state.weights) {
                tensors.insert(format!("{prefix}weights/{}", parameter.name), tensor.clone());
            }
            for (value, tensor) in self.statistics.iter().zip(&state.statistics) {
                tensors.insert(
                    format!("{prefix}statistics/{}", self.graph.value(*value).name),
                    tensor.clone(),
                );
            }
        };
        put("", &self.state);
        if let Some(best) = &self.best {
            put("best/", best);
        }
        for (index, parameter) in self.parameters.iter().enumerate() {
            for (list, memory) in self.state.memory[index].iter().enumerate() {
                tensors.insert(
                    format!("memory{list}/{}", parameter.name),
                    Tensor::from_vec1(memory),
                );
            }
            if let Some(averages) = &self.state.averages {
                tensors.insert(format!("average/{}", parameter.name), averages[index].clone());
            }
        }
        if let Some(sparse) = &self.sparse {
            sparse.put(&mut |name, tensor| drop(tensors.insert(name, tensor)));
        }
        Checkpoint {
            identity: self.identity(),
            progress: serde_json::to_string(&self.progress).unwrap_or_default(),
            tensors,
        }
    }

    pub(super) fn restore(&mut self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        if checkpoint.identity != self.identity() {
            return Err(TrainError::Checkpoint {
                problem: "is of another model, other settings or other data".to_owned(),
            });
        }
        self.progress = checkpoint.read_progress()?;
        let mut state = self.state.clone();
        self.fill("", checkpoint, &mut state)?;
        for (index, parameter) in self.parameters.iter().enumerate() {
            let len = parameter.tensor.len();
            for (list, memory) in state.memory[index].iter_mut().enumerate() {
                *memory = checkpoint
                    .tensor(&format!("memory{list}/{}", parameter.name), &[len])?
                    .to_f32()?;
            }
            if let Some(averages) = &mut state.averages {
                averages[index] =
                    checkpoint.tensor(&format!("average/{}", parameter.name), parameter.tensor.shape())?;
            }
        }
        if self.progress.best_bits.is_some() {
            let mut best = state.deployed();
            self.fill("best/", checkpoint, &mut best)?;
            self.best = Some(best);
        }
        self.state = state;
        if let Some(sparse) = &mut self.sparse {
            sparse.restore(checkpoint, self.progress.step)?;
        }
        Ok(())
    }

    /// Takes weights and statistics from a checkpoint.
    fn fill(&self, prefix: &str, checkpoint: &Checkpoint, state: &mut State) -> Result<(), TrainError> {
        for (parameter, weights) in self.parameters.iter().zip(&mut state.weights) {
            let name = format!("{prefix}weights/{}", parameter.name);
            *weights = checkpoint.tensor(&name, parameter.tensor.shape())?;
        }
        for (value, tensor) in self.statistics.iter().zip(&mut state.statistics) {
            let name = format!("{prefix}statistics/{}", self.graph.value(*value).name);
            *tensor = checkpoint.tensor(&name, tensor.shape())?;
        }
        Ok(())
    }
}
