//! The operators, by family.

mod broadcast;
mod elementwise;

use bantam_graph::Op;

use crate::inputs::Inputs;
use crate::operator::{Operator, Outputs, Site};
use crate::{CompileError, Context, OpError};

/// Operators that are prepared for the constants among their inputs; `None` for those that need none.
pub(crate) fn prepare(site: &Site<'_>) -> Result<Option<Box<dyn Operator>>, CompileError> {
    let _ = site;
    Ok(None)
}

/// Computes an op from its attributes; `outputs` is how many outputs the node names.
pub(crate) fn evaluate(
    op: &Op,
    inputs: &mut Inputs<'_>,
    outputs: usize,
    context: &Context,
) -> Result<Outputs, OpError> {
    let _ = outputs;
    let one = |result: Result<bantam_tensor::Tensor, OpError>| result.map(|tensor| vec![Some(tensor)]);
    match op {
        Op::Unary(op) => one(elementwise::unary(*op, inputs, context)),
        _ => Err(OpError::Unsupported(format!("the op {}", op.name()))),
    }
}
