//! [`Step`]: what a program does one after the other.

use bantam_graph::{Dim, Graph, ValueId, ValueType};

use crate::operator::{Operator, Reads};

/// One operator with the values it reads and writes.
pub(crate) struct Step {
    pub(crate) node: String,
    pub(crate) operator: Box<dyn Operator>,
    pub(crate) inputs: Vec<Option<ValueId>>,
    pub(crate) outputs: Vec<Option<ValueId>>,
    /// For each input, whether this is the last step that reads it.
    pub(crate) last_uses: Vec<bool>,
    pub(crate) facts: Facts,
}

/// What is known of a step's data before it runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    output: String,
    constant_bytes: u64,
    sample_bytes: Option<u64>,
}

/// What a step of a program is, for people to read.
#[derive(Clone, Debug)]
pub struct StepInfo {
    /// The node.
    pub node: String,
    /// The kernel that was chosen.
    pub kernel: String,
    /// Type of the first output.
    pub output: String,
    /// Bytes of the constants that it computes with.
    pub constant_bytes: u64,
    /// Bytes that it reads and writes besides, for one sample; `None` where sizes other than the first are not known.
    pub sample_bytes: Option<u64>,
}

impl Step {
    /// A step whose facts and last uses are found out later.
    pub(crate) fn new(
        node: String,
        operator: Box<dyn Operator>,
        inputs: Vec<Option<ValueId>>,
        outputs: Vec<Option<ValueId>>,
    ) -> Step {
        Step {
            node,
            operator,
            inputs,
            outputs,
            last_uses: Vec::new(),
            facts: Facts::default(),
        }
    }

    pub(crate) fn info(&self) -> StepInfo {
        StepInfo {
            node: self.node.clone(),
            kernel: self.operator.kernel(),
            output: self.facts.output.clone(),
            constant_bytes: self.facts.constant_bytes,
            sample_bytes: self.facts.sample_bytes,
        }
    }

    /// When the step reads its input `index`, a constant.
    pub(crate) fn reads(&self, index: usize) -> Reads {
        self.operator.reads(index)
    }

    /// Finds out what is known of the data.
    pub(crate) fn note_facts(&mut self, graph: &Graph) {
        let constants = self.inputs.iter().flatten().filter_map(|id| graph.constant(*id));
        let data = self.inputs.iter().chain(&self.outputs).flatten();
        let data = data.filter(|id| graph.constant(**id).is_none());
        self.facts = Facts {
            output: (self.outputs.iter().flatten().next())
                .map_or(String::new(), |id| graph.value(*id).ty.to_string()),
            constant_bytes: constants.map(|constant| constant.as_bytes().len() as u64).sum(),
            sample_bytes: data.map(|id| sample_bytes(&graph.value(*id).ty)).sum(),
        };
    }
}

/// Bytes of one sample, or of all where the first dimension is known.
fn sample_bytes(ty: &ValueType) -> Option<u64> {
    let dims = ty.shape()?;
    let sizes = dims.iter().enumerate().map(|(axis, dim)| match axis {
        0 => Some(dim.known().unwrap_or(1)),
        _ => Dim::known(dim),
    });
    let elements = sizes
        .into_iter()
        .try_fold(1usize, |count, size| count.checked_mul(size?))?;
    ty.dtype()?.bytes_for(elements).map(|bytes| bytes as u64)
}
