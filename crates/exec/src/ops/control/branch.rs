//! If.

use bantam_graph::ops;

use super::subgraph::Subgraph;
use crate::inputs::Inputs;
use crate::operator::{Operator, Outputs, Site};
use crate::{CompileError, Context, OpError};

/// Runs one of two graphs.
struct If {
    then: Subgraph,
    otherwise: Subgraph,
}

/// If: the condition.
pub(crate) fn prepare(op: &ops::If, site: &Site<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let then = Subgraph::compile(&op.then_branch, site)?;
    let otherwise = Subgraph::compile(&op.else_branch, site)?;
    Ok(Box::new(If { then, otherwise }))
}

impl Operator for If {
    fn run(&self, inputs: &mut Inputs<'_>, _context: &Context) -> Result<Outputs, OpError> {
        let (branch, first) = match condition(inputs, 0)? {
            Some(true) => (&self.then, 1),
            Some(false) => (&self.otherwise, 1 + self.then.captures()),
            None => return Err(OpError::MissingInput { index: 0 }),
        };
        let captured = branch.captured(inputs, first)?;
        Ok(branch.run(&[], &captured)?.into_iter().map(Some).collect())
    }

    fn kernel(&self) -> String {
        "branch".to_owned()
    }
}

/// The single boolean in input `index`, if it is given.
pub(super) fn condition(inputs: &Inputs<'_>, index: usize) -> Result<Option<bool>, OpError> {
    let Some(tensor) = inputs.optional(index) else {
        return Ok(None);
    };
    match tensor.bools().map_err(|_| OpError::Type {
        index,
        got: tensor.dtype(),
    })? {
        [value] => Ok(Some(*value != 0)),
        many => Err(OpError::shape(format!(
            "the condition must be one boolean, got {}",
            many.len()
        ))),
    }
}
