//! Running single ops in tests.

use bantam_graph::Op;
use bantam_tensor::Tensor;

use crate::inputs::{Argument, Inputs};
use crate::operator::Outputs;
use crate::{Context, OpError};

/// Runs an op on inputs that all are present. Runs it twice, with inputs that it may and that it may not write over,
/// and checks that the results agree and that shared inputs stay as they were.
pub(crate) fn run(op: impl Into<Op>, inputs: &[Tensor]) -> Result<Vec<Tensor>, OpError> {
    let inputs: Vec<Option<Tensor>> = inputs.iter().cloned().map(Some).collect();
    Ok(run_optional(op, &inputs)?.into_iter().flatten().collect())
}

/// As [`run`], for an op with one output that must not fail.
pub(crate) fn run_one(op: impl Into<Op>, inputs: &[Tensor]) -> Tensor {
    run(op, inputs).unwrap().swap_remove(0)
}

/// As [`run`], for inputs that may be left out and any number of outputs.
pub(crate) fn run_optional(op: impl Into<Op>, inputs: &[Option<Tensor>]) -> Result<Outputs, OpError> {
    run_outputs(op, inputs, 8)
}

/// As [`run_optional`], for a node that names `outputs` outputs.
pub(crate) fn run_outputs(
    op: impl Into<Op>,
    inputs: &[Option<Tensor>],
    outputs: usize,
) -> Result<Outputs, OpError> {
    let (op, context) = (op.into(), Context::default());
    let before: Vec<Option<Tensor>> = inputs.iter().map(|input| input.as_ref().map(copy)).collect();
    let shared = inputs
        .iter()
        .map(|input| input.as_ref().map(Argument::Shared))
        .collect();
    let result = super::evaluate(&op, &mut Inputs::new(shared), outputs, &context);
    assert_eq!(inputs, before, "{} changed an input", op.name());
    let last = inputs
        .iter()
        .map(|input| input.as_ref().map(copy).map(Argument::Last))
        .collect();
    let in_place = super::evaluate(&op, &mut Inputs::new(last), outputs, &context);
    assert_eq!(result, in_place, "{} differs in place", op.name());
    result
}

/// A tensor with memory of its own.
fn copy(tensor: &Tensor) -> Tensor {
    match tensor.strings() {
        Ok(strings) => Tensor::from_strings(tensor.shape(), strings.to_vec()).unwrap(),
        Err(_) => Tensor::from_raw(tensor.dtype(), tensor.shape(), tensor.as_bytes()).unwrap(),
    }
}
