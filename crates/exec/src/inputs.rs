//! The arguments of an operator.

use bantam_tensor::{Element, Tensor};

use crate::OpError;

/// One argument.
#[derive(Debug)]
pub(crate) enum Argument<'a> {
    /// Others still need it.
    Shared(&'a Tensor),
    /// This was its last use: the operator may write its result over it.
    Last(Tensor),
}

/// The arguments of one run of an operator.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    arguments: Vec<Option<Argument<'a>>>,
}

impl<'a> Inputs<'a> {
    pub(crate) fn new(arguments: Vec<Option<Argument<'a>>>) -> Inputs<'a> {
        Inputs { arguments }
    }

    /// Number of arguments, absent ones included.
    pub(crate) fn len(&self) -> usize {
        self.arguments.len()
    }

    /// Argument `index`, if it is present.
    pub(crate) fn optional(&self, index: usize) -> Option<&Tensor> {
        match self.arguments.get(index)?.as_ref()? {
            Argument::Shared(tensor) => Some(tensor),
            Argument::Last(tensor) => Some(tensor),
        }
    }

    /// Argument `index`.
    pub(crate) fn required(&self, index: usize) -> Result<&Tensor, OpError> {
        self.optional(index).ok_or(OpError::MissingInput { index })
    }

    /// Every argument that is present, in order.
    pub(crate) fn present(&self) -> Vec<&Tensor> {
        (0..self.len()).filter_map(|index| self.optional(index)).collect()
    }

    /// The elements of argument `index`.
    pub(crate) fn values<T: Element>(&self, index: usize) -> Result<std::borrow::Cow<'_, [T]>, OpError> {
        let tensor = self.required(index)?;
        tensor.values().map_err(|_| OpError::Type {
            index,
            got: tensor.dtype(),
        })
    }

    /// Argument `index` as integers (axes, sizes, positions), if it is present.
    pub(crate) fn integers(&self, index: usize) -> Result<Option<Vec<i64>>, OpError> {
        let Some(tensor) = self.optional(index) else {
            return Ok(None);
        };
        tensor.to_i64().map(Some).map_err(|_| OpError::Type {
            index,
            got: tensor.dtype(),
        })
    }

    /// Takes argument `index` out, to be written over, if this was its last use.
    pub(crate) fn take_last(&mut self, index: usize) -> Option<Tensor> {
        let slot = self.arguments.get_mut(index)?;
        match slot.take() {
            Some(Argument::Last(tensor)) => Some(tensor),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// As [`Inputs::take_last`], but only when nobody else shares the memory, so that writing does not copy.
    pub(crate) fn take_unique(&mut self, index: usize) -> Option<Tensor> {
        match self.arguments.get(index)? {
            Some(Argument::Last(tensor)) if tensor.is_unique() => self.take_last(index),
            _ => None,
        }
    }

    /// Argument `index` to keep: the tensor itself if this was its last use, else one that shares its memory.
    pub(crate) fn keep(&mut self, index: usize) -> Result<Tensor, OpError> {
        match self.take_last(index) {
            Some(tensor) => Ok(tensor),
            None => self.required(index).cloned(),
        }
    }

    /// What is left after the run, for reuse of its memory.
    pub(crate) fn into_last(self) -> impl Iterator<Item = Tensor> + use<'a> {
        self.arguments.into_iter().filter_map(|argument| match argument {
            Some(Argument::Last(tensor)) => Some(tensor),
            _ => None,
        })
    }
}
