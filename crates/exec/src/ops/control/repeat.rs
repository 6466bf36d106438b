//! Loop.

use bantam_graph::ops;
use bantam_tensor::Tensor;

use super::branch::condition;
use super::subgraph::Subgraph;
use crate::inputs::Inputs;
use crate::operator::{Operator, Outputs, Site};
use crate::{CompileError, Context, OpError};

/// Most bytes of outputs that are collected over the runs of a body (64 GiB): beyond that it is a mistake or an attack.
pub(super) const LARGEST: usize = 1 << 36;

/// Runs a graph again and again. Its inputs are the iteration, the condition and the carried values; its outputs the
/// next condition, the next carried values, and values that are collected.
struct Loop {
    body: Subgraph,
    carried: usize,
    collected: usize,
}

/// Loop: optional trip count, optional condition, carried values.
pub(crate) fn prepare(op: &ops::Loop, site: &Site<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let carried = site.node.inputs.len().saturating_sub(2);
    let collected = op.body.outputs.len().checked_sub(carried + 1);
    let fits = op.body.inputs.len() == carried + 2
        && site.node.outputs.len() <= op.body.outputs.len().saturating_sub(1);
    let (Some(collected), true) = (collected, fits) else {
        let source = OpError::shape(format!(
            "the body takes {} values and gives {}, which does not fit {carried} carried values and {} outputs",
            op.body.inputs.len(),
            op.body.outputs.len(),
            site.node.outputs.len(),
        ));
        return Err(CompileError::Node {
            node: site.graph.describe(site.node),
            source,
        });
    };
    Ok(Box::new(Loop {
        body: Subgraph::compile(&op.body, site)?,
        carried,
        collected,
    }))
}

impl Operator for Loop {
    fn run(&self, inputs: &mut Inputs<'_>, _context: &Context) -> Result<Outputs, OpError> {
        let trips = match inputs.integers(0)?.as_deref() {
            None => i64::MAX,
            Some([trips]) => *trips,
            Some(many) => {
                return Err(OpError::shape(format!(
                    "the trip count must be one number, got {}",
                    many.len()
                )));
            }
        };
        let mut proceed = condition(inputs, 1)?.unwrap_or(true);
        let captured = self.body.captured(inputs, 2 + self.carried)?;
        let mut carried = (2..2 + self.carried)
            .map(|index| inputs.required(index).cloned())
            .collect::<Result<Vec<Tensor>, OpError>>()?;
        let mut collected = Collected::new(self.collected);
        let mut iteration = 0;
        while iteration < trips && proceed {
            let mut arguments = vec![Tensor::scalar(iteration), Tensor::from_bools(&[], &[proceed])?];
            arguments.append(&mut carried);
            let mut outputs = self.body.run(&arguments, &captured)?;
            drop(arguments);
            collected.push(outputs.split_off(1 + self.carried))?;
            carried = outputs.split_off(1);
            proceed = matches!(outputs[0].bools(), Ok([value]) if *value != 0);
            iteration += 1;
        }
        let mut results: Outputs = carried.into_iter().map(Some).collect();
        for (index, runs) in collected.runs.iter().enumerate() {
            results.push(Some(self.body.stacked(1 + self.carried + index, runs, 0)?));
        }
        Ok(results)
    }

    fn kernel(&self) -> String {
        "loop".to_owned()
    }
}

/// Outputs of a body over its runs.
pub(super) struct Collected {
    /// For each output, its value of every run.
    pub(super) runs: Vec<Vec<Tensor>>,
    bytes: usize,
}

impl Collected {
    pub(super) fn new(outputs: usize) -> Collected {
        Collected {
            runs: vec![Vec::new(); outputs],
            bytes: 0,
        }
    }

    /// Adds the outputs of one run.
    pub(super) fn push(&mut self, outputs: Vec<Tensor>) -> Result<(), OpError> {
        for (runs, output) in self.runs.iter_mut().zip(outputs) {
            // A tensor takes some memory even when it is empty.
            self.bytes = self
                .bytes
                .saturating_add(output.as_bytes().len() + size_of::<Tensor>());
            runs.push(output);
        }
        if self.bytes > LARGEST {
            return Err(OpError::value(format!(
                "the collected outputs exceed {} GiB",
                LARGEST >> 30
            )));
        }
        Ok(())
    }
}
