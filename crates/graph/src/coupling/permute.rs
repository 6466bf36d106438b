//! Units that change places.

use bantam_tensor::Tensor;

use super::remove::runs;
use super::{Coupling, Group, RemoveError};
use crate::Graph;

impl Group {
    /// Whether units can change places: each is at one position of each axis, so that it is known what goes where. Where units have
    /// several, which of them meet along the way is not.
    pub fn is_permutable(&self) -> bool {
        let alone = |unit: &super::Unit| {
            let axes = unit.positions.iter().map(|(axis, _)| *axis as usize);
            axes.eq(0..self.axes.len())
        };
        self.units.iter().all(alone)
    }
}

impl Coupling {
    /// The graph with the units of a group in another order, which computes the same: unit `order[i]` comes to the place of unit `i`. The
    /// graph is that which the coupling was found in, or one that was made of it in this way.
    ///
    /// # Errors
    /// When `order` does not have each unit once, or the units cannot change places.
    pub fn permute(&self, graph: &Graph, group: usize, order: &[usize]) -> Result<Graph, RemoveError> {
        let of = self.groups.get(group).ok_or(RemoveError::Order { group })?;
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !of.is_permutable() || !sorted.into_iter().eq(0..of.units.len()) {
            return Err(RemoveError::Order { group });
        }
        let mut permuted = graph.clone();
        for (number, (value, axis)) in of.axes.iter().enumerate() {
            let facts = permuted.value_mut(*value);
            let Some(tensor) = &facts.initializer else {
                continue;
            };
            if tensor.dtype().is_sub_byte() {
                let value = facts.name.clone();
                return Err(RemoveError::SubByte { value });
            }
            let positions: Vec<usize> = of.units.iter().flat_map(|unit| unit.along(number)).collect();
            let moves = order
                .iter()
                .zip(&positions)
                .map(|(from, to)| (positions[*from], *to));
            facts.initializer = Some(moved(tensor, *axis, moves)?);
        }
        Ok(permuted)
    }
}

/// A tensor with what is at some positions along an axis at others.
fn moved(
    tensor: &Tensor,
    axis: usize,
    moves: impl Iterator<Item = (usize, usize)> + Clone,
) -> Result<Tensor, bantam_tensor::TensorError> {
    let [outer, count, inner] = runs(tensor, axis);
    let before = tensor.as_bytes();
    let mut after = before.to_vec();
    for row in 0..outer {
        for (from, to) in moves.clone() {
            let (from, to) = ((row * count + from) * inner, (row * count + to) * inner);
            after[to..to + inner].copy_from_slice(&before[from..from + inner]);
        }
    }
    Tensor::from_raw(tensor.dtype(), tensor.shape(), &after)
}
