//! Scan.

use bantam_graph::ops;
use bantam_tensor::Tensor;

use super::repeat::Collected;
use super::slices::take;
use super::subgraph::Subgraph;
use crate::inputs::Inputs;
use crate::operator::{Operator, Outputs, Site};
use crate::ops::axes::axis as resolve;
use crate::{CompileError, Context, OpError};

/// Axis and direction of something that is scanned.
struct Way {
    axis: i64,
    backwards: bool,
}

/// Runs a graph over the slices of tensors. Its inputs are the states and one slice of each tensor; its outputs the next
/// states, and slices of the results.
struct Scan {
    body: Subgraph,
    states: usize,
    scanned: Vec<Way>,
    results: Vec<Way>,
}

/// Scan: initial states, scanned tensors.
pub(crate) fn prepare(op: &ops::Scan, site: &Site<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let fail = |source| CompileError::Node {
        node: site.graph.describe(site.node),
        source,
    };
    let counts = usize::try_from(op.num_scan_inputs).ok().and_then(|scanned| {
        let states = site.node.inputs.len().checked_sub(scanned)?;
        Some((states, scanned, op.body.outputs.len().checked_sub(states)?))
    });
    let fits =
        op.body.inputs.len() == site.node.inputs.len() && site.node.outputs.len() <= op.body.outputs.len();
    let (Some((states, scanned, results)), true) = (counts, fits) else {
        let counts = [
            op.body.inputs.len(),
            op.body.outputs.len(),
            site.node.inputs.len(),
            site.node.outputs.len(),
        ];
        return Err(fail(OpError::shape(format!(
            "the body's inputs and outputs do not fit the node's: {counts:?}"
        ))));
    };
    let scanned = ways(scanned, &op.scan_input_axes, &op.scan_input_directions).map_err(fail)?;
    let results = ways(results, &op.scan_output_axes, &op.scan_output_directions).map_err(fail)?;
    Ok(Box::new(Scan {
        body: Subgraph::compile(&op.body, site)?,
        states,
        scanned,
        results,
    }))
}

fn ways(count: usize, axes: &[i64], directions: &[i64]) -> Result<Vec<Way>, OpError> {
    for list in [axes, directions] {
        if !list.is_empty() && list.len() != count {
            return Err(OpError::value(format!(
                "{} axes or directions for {count} tensors",
                list.len()
            )));
        }
    }
    let way = |index: usize| Way {
        axis: axes.get(index).copied().unwrap_or(0),
        backwards: directions.get(index).is_some_and(|&direction| direction != 0),
    };
    Ok((0..count).map(way).collect())
}

impl Scan {
    /// The common number of slices.
    fn length(&self, tensors: &[Tensor]) -> Result<usize, OpError> {
        let mut lengths = tensors
            .iter()
            .zip(&self.scanned)
            .map(|(tensor, way)| Ok(tensor.shape()[resolve(way.axis, tensor.rank())?]))
            .collect::<Result<Vec<usize>, OpError>>()?;
        lengths.dedup();
        match lengths.as_slice() {
            [] => Ok(0),
            [length] => Ok(*length),
            _ => Err(OpError::shape(format!(
                "the scanned tensors have different lengths: {lengths:?}"
            ))),
        }
    }
}

impl Operator for Scan {
    fn run(&self, inputs: &mut Inputs<'_>, _context: &Context) -> Result<Outputs, OpError> {
        let count = self.states + self.scanned.len();
        let captured = self.body.captured(inputs, count)?;
        let mut states = (0..count)
            .map(|index| inputs.required(index).cloned())
            .collect::<Result<Vec<Tensor>, OpError>>()?;
        let tensors = states.split_off(self.states);
        let length = self.length(&tensors)?;
        let mut collected = Collected::new(self.results.len());
        for step in 0..length {
            let mut arguments = std::mem::take(&mut states);
            for (tensor, way) in tensors.iter().zip(&self.scanned) {
                let index = if way.backwards { length - 1 - step } else { step };
                arguments.push(take(tensor, way.axis, index)?);
            }
            let mut outputs = self.body.run(&arguments, &captured)?;
            collected.push(outputs.split_off(self.states))?;
            states = outputs;
        }
        let mut outputs: Outputs = states.into_iter().map(Some).collect();
        for ((index, way), runs) in self.results.iter().enumerate().zip(&mut collected.runs) {
            if way.backwards {
                runs.reverse();
            }
            outputs.push(Some(self.body.stacked(self.states + index, runs, way.axis)?));
        }
        Ok(outputs)
    }

    fn kernel(&self) -> String {
        "scan".to_owned()
    }
}
