//! Cutting units out of a graph.

use std::collections::HashMap;

use bantam_tensor::{Tensor, TensorError};

use super::{Axis, Coupling, adapt};
use crate::{Dim, Graph, GraphError, InferError, InferOptions, Patch, ValueId, ValueType, infer_shapes};

/// Why units cannot be removed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum RemoveError {
    #[error("nothing would be left of axis {axis} of `{value}`\nhint: keep at least one unit of each group")]
    Empty { value: String, axis: usize },
    #[error("there is no unit {unit} of group {group}\nhint: the coupling is of another graph")]
    Unknown { group: usize, unit: usize },
    #[error(
        "the units of group {group} cannot be put in this order\nhint: each unit once, of a group whose units are at one position of each axis"
    )]
    Order { group: usize },
    #[error("{node} cannot say its new sizes\nhint: leave alone what it is coupled with")]
    Sizes { node: String },
    #[error("`{value}` holds elements of less than a byte, which are not cut\nhint: prune before quantizing")]
    SubByte { value: String },
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Infer(#[from] InferError),
}

/// Which positions of axes stay; axes of which all do are not listed.
#[derive(Default)]
pub(super) struct Kept {
    axes: HashMap<Axis, Vec<bool>>,
    values: HashMap<ValueId, usize>,
}

impl Kept {
    /// Which positions stay, where not all do.
    pub(super) fn of(&self, axis: Axis) -> Option<&[bool]> {
        self.axes.get(&axis).map(Vec::as_slice)
    }

    /// Whether positions of a value go.
    pub(super) fn touches(&self, value: ValueId) -> bool {
        self.values.contains_key(&value)
    }

    /// Positions of an axis, before and after.
    pub(super) fn sizes(&self, graph: &Graph, axis: Axis) -> Option<(usize, usize)> {
        let before = graph.value(axis.0).ty.shape()?.get(axis.1)?.known()?;
        let after = self
            .of(axis)
            .map_or(before, |kept| kept.iter().filter(|kept| **kept).count());
        Some((before, after))
    }

    fn remove(&mut self, graph: &Graph, axis: Axis, position: usize) {
        let size = || {
            graph
                .value(axis.0)
                .ty
                .shape()
                .and_then(|dims| dims.get(axis.1)?.known())
        };
        let kept = self
            .axes
            .entry(axis)
            .or_insert_with(|| vec![true; size().unwrap_or(0)]);
        if let Some(kept) = kept.get_mut(position) {
            *kept = false;
            self.values.insert(axis.0, axis.1);
        }
    }
}

impl Coupling {
    /// The graph without some units, given by the numbers of their group and of the unit in it; the graph is that which the coupling
    /// was found in.
    ///
    /// # Errors
    /// When nothing would be left of an axis, or when the coupling is of another graph.
    pub fn remove(&self, graph: &Graph, units: &[(usize, usize)]) -> Result<Graph, RemoveError> {
        let mut kept = Kept::default();
        for &(group, unit) in units {
            let unknown = || RemoveError::Unknown { group, unit };
            let of = self.groups.get(group).ok_or_else(unknown)?;
            for &(axis, position) in &of.units.get(unit).ok_or_else(unknown)?.positions {
                let axis = of.axes.get(axis as usize).ok_or_else(unknown)?;
                kept.remove(graph, *axis, position as usize);
            }
        }
        let mut smaller = graph.clone();
        let mut patch = Patch::new(graph);
        for (&(value, axis), positions) in &kept.axes {
            if !positions.contains(&true) {
                let value = graph.value(value).name.clone();
                return Err(RemoveError::Empty { value, axis });
            }
            shrink(&mut smaller, (value, axis), positions)?;
        }
        for (id, node) in graph.node_ids() {
            adapt::adapt(graph, id, &kept, &mut patch).ok_or_else(|| RemoveError::Sizes {
                node: graph.describe(node),
            })?;
        }
        patch.apply(&mut smaller)?;
        infer_shapes(&mut smaller, &InferOptions::default())?;
        Ok(smaller)
    }

    /// The graph with the weights of some units set to zero, in the form and with the sizes that it had.
    ///
    /// # Errors
    /// When the coupling is of another graph.
    pub fn mask(&self, graph: &Graph, units: &[(usize, usize)]) -> Result<Graph, RemoveError> {
        let mut masked = graph.clone();
        for &(group, unit) in units {
            let unknown = || RemoveError::Unknown { group, unit };
            let of = self.groups.get(group).ok_or_else(unknown)?;
            for &(axis, position) in &of.units.get(unit).ok_or_else(unknown)?.positions {
                let (value, axis) = *of.axes.get(axis as usize).ok_or_else(unknown)?;
                let weight = graph.constant(value).filter(|tensor| tensor.dtype().is_float());
                if let (Some(weight), Some(tensor)) = (weight, masked.value_mut(value).initializer.as_mut()) {
                    let [outer, count, inner] = runs(weight, axis);
                    let bytes = tensor.bytes_mut();
                    for row in 0..outer {
                        let start = (row * count + position as usize) * inner;
                        bytes[start..start + inner].fill(0);
                    }
                }
            }
        }
        Ok(masked)
    }
}

/// Rows before an axis, its size, and bytes of one of its positions.
pub(super) fn runs(tensor: &Tensor, axis: usize) -> [usize; 3] {
    let shape = tensor.shape();
    let inner: usize = shape[axis + 1..].iter().product();
    [
        shape[..axis].iter().product(),
        shape[axis],
        inner * tensor.dtype().bits() / 8,
    ]
}

/// Leaves some positions of a value's axis, in its type and its constant.
fn shrink(graph: &mut Graph, (value, axis): Axis, kept: &[bool]) -> Result<(), RemoveError> {
    let value = graph.value_mut(value);
    if let Some(tensor) = &value.initializer {
        if tensor.dtype().is_sub_byte() || tensor.shape().get(axis) != Some(&kept.len()) {
            return Err(RemoveError::SubByte {
                value: value.name.clone(),
            });
        }
        value.initializer = Some(cut(tensor, axis, kept)?);
    }
    if let ValueType::Tensor {
        shape: Some(dims), ..
    } = &mut value.ty
        && let Some(dim) = dims.get_mut(axis)
    {
        *dim = Dim::Known(kept.iter().filter(|kept| **kept).count());
    }
    Ok(())
}

/// Some positions along an axis.
fn cut(tensor: &Tensor, axis: usize, kept: &[bool]) -> Result<Tensor, TensorError> {
    let [outer, count, inner] = runs(tensor, axis);
    let bytes = tensor.as_bytes();
    let mut left = Vec::with_capacity(bytes.len());
    for row in 0..outer {
        for (position, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
            let start = (row * count + position) * inner;
            left.extend_from_slice(&bytes[start..start + inner]);
        }
    }
    let mut shape = tensor.shape().to_vec();
    shape[axis] = kept.iter().filter(|kept| **kept).count();
    Tensor::from_raw(tensor.dtype(), &shape, &left)
}
