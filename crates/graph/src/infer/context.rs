//! What a node sees while its outputs are inferred.

use bantam_tensor::{DType, Tensor};

use super::contents::{Contents, Scalar};
use super::dims::{MAX_RANK, unknowns};
use super::error::Problem;
use crate::{Dim, Node, Value, ValueId, ValueType};

/// The types of a node's outputs, in order; those that are not given are unknown.
pub(super) type Outputs = Result<Vec<ValueType>, Problem>;

/// One output.
pub(super) fn one(dtype: Option<DType>, shape: Option<Vec<Dim>>) -> Outputs {
    Ok(vec![ValueType::Tensor { dtype, shape }])
}

/// A node and what is known of its inputs.
pub(super) struct Context<'a> {
    pub(super) node: &'a Node,
    pub(super) values: &'a [Value],
    /// The inputs of the graph, whose initializers are only defaults.
    pub(super) graph_inputs: &'a [ValueId],
    pub(super) contents: &'a [Option<Contents>],
}

impl<'a> Context<'a> {
    /// True when input `position` is present.
    pub(super) fn has(&self, position: usize) -> bool {
        self.node.input(position).is_some()
    }

    /// The type of input `position`.
    pub(super) fn ty(&self, position: usize) -> Option<&'a ValueType> {
        let id = self.node.input(position)?;
        self.values.get(id.index()).map(|value| &value.ty)
    }

    /// The element type of input `position`.
    pub(super) fn dtype(&self, position: usize) -> Option<DType> {
        self.ty(position)?.dtype()
    }

    /// The dimensions of input `position`.
    pub(super) fn shape(&self, position: usize) -> Option<&'a [Dim]> {
        self.ty(position)?.shape()
    }

    /// The dimensions of input `position`, owned.
    pub(super) fn shape_owned(&self, position: usize) -> Option<Vec<Dim>> {
        self.shape(position).map(<[Dim]>::to_vec)
    }

    /// The dimensions of input `position`, which must be `rank` if they are known.
    pub(super) fn shape_of_rank(&self, position: usize, rank: usize) -> Result<Option<&'a [Dim]>, Problem> {
        match self.shape(position) {
            Some(shape) if shape.len() != rank => Err(Problem::Rank {
                position,
                got: shape.len(),
                expected: rank.to_string(),
            }),
            shape => Ok(shape),
        }
    }

    /// The dimensions of input `position`, which must be at least `rank` if they are known.
    pub(super) fn shape_of_min_rank(
        &self,
        position: usize,
        rank: usize,
    ) -> Result<Option<&'a [Dim]>, Problem> {
        match self.shape(position) {
            Some(shape) if shape.len() < rank => Err(Problem::Rank {
                position,
                got: shape.len(),
                expected: format!("at least {rank}"),
            }),
            shape => Ok(shape),
        }
    }

    /// The length of a list at input `position`.
    pub(super) fn length(&self, position: usize) -> Option<usize> {
        match self.shape(position)? {
            [length] => length.known(),
            _ => None,
        }
    }

    /// A shape with as many dimensions as the list at input `position` has elements.
    pub(super) fn shape_of_length(&self, position: usize) -> Option<Vec<Dim>> {
        self.length(position)
            .filter(|&rank| rank <= MAX_RANK)
            .map(unknowns)
    }

    /// The elements of a small integer tensor, as far as they are known.
    pub(super) fn contents(&self, position: usize) -> Option<&'a Contents> {
        let id = self.node.input(position)?;
        self.contents.get(id.index())?.as_ref()
    }

    /// The elements of a small integer tensor, if all are known.
    pub(super) fn integers(&self, position: usize) -> Option<Vec<i64>> {
        let known = |scalar: &Scalar| match scalar {
            Scalar::Known(value) => Some(*value),
            _ => None,
        };
        self.contents(position)?.values.iter().map(known).collect()
    }

    /// A single integer, if it is known.
    pub(super) fn integer(&self, position: usize) -> Option<i64> {
        match self.integers(position)?.as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// The constant at input `position`.
    pub(super) fn constant(&self, position: usize) -> Option<&'a Tensor> {
        let id = self.node.input(position)?;
        let tensor = self.values.get(id.index())?.initializer.as_ref()?;
        (!self.graph_inputs.contains(&id)).then_some(tensor)
    }

    /// The one element type of several inputs.
    pub(super) fn same_dtype(
        &self,
        positions: impl IntoIterator<Item = usize>,
    ) -> Result<Option<DType>, Problem> {
        let mut found: Option<(usize, DType)> = None;
        for position in positions {
            let Some(dtype) = self.dtype(position) else {
                continue;
            };
            match found {
                Some((first, left)) if left != dtype => {
                    return Err(Problem::Types {
                        first,
                        second: position,
                        left,
                        right: dtype,
                    });
                }
                _ => found = Some((position, dtype)),
            }
        }
        Ok(found.map(|(_, dtype)| dtype))
    }
}
