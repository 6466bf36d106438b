//! The operators that programs are made of.

use bantam_graph::{Graph, Node, Op};
use bantam_tensor::Tensor;

use crate::inputs::Inputs;
use crate::{CompileError, Context, OpError, ops};

/// The outputs of an operator, in the order of the node; those that the node leaves out may be missing.
pub(crate) type Outputs = Vec<Option<Tensor>>;

/// A node prepared to run.
pub(crate) trait Operator: Send + Sync {
    /// Computes the outputs. Argument order is the node's; captured values of subgraphs follow.
    fn run(&self, inputs: &mut Inputs<'_>, context: &Context) -> Result<Outputs, OpError>;

    /// The kernel, for people to read.
    fn kernel(&self) -> String;

    /// What is done with a constant that is input `index`.
    fn reads(&self, _index: usize) -> Reads {
        Reads::Always
    }
}

/// When an operator reads an input that is a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reads {
    /// Not at all: what it needs was taken when it was prepared.
    Never,
    /// Until it has been arranged in another form.
    AtFirst,
    /// In each run.
    Always,
}

/// What an operator knows of its node when it is prepared.
pub(crate) struct Site<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) node: &'a Node,
    /// The node's data have their channels last.
    pub(crate) channels_last: bool,
}

impl Site<'_> {
    /// The constant that input `index` stands for.
    pub(crate) fn constant(&self, index: usize) -> Option<&Tensor> {
        self.graph.constant_input(self.node, index)
    }
}

/// An op that needs no preparation: evaluated from its attributes each time.
struct Plain {
    op: Op,
    outputs: usize,
}

impl Operator for Plain {
    fn run(&self, inputs: &mut Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
        ops::evaluate(&self.op, inputs, self.outputs, context)
    }

    fn kernel(&self) -> String {
        "plain".to_owned()
    }
}

/// An operator that is one function.
struct Function<F> {
    kernel: &'static str,
    run: F,
}

impl<F> Operator for Function<F>
where
    F: Fn(&mut Inputs<'_>, &Context) -> Result<Outputs, OpError> + Send + Sync,
{
    fn run(&self, inputs: &mut Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
        (self.run)(inputs, context)
    }

    fn kernel(&self) -> String {
        self.kernel.to_owned()
    }
}

/// An operator that is one function; `kernel` is for people to read.
pub(crate) fn function(
    kernel: &'static str,
    run: impl Fn(&mut Inputs<'_>, &Context) -> Result<Outputs, OpError> + Send + Sync + 'static,
) -> Box<dyn Operator> {
    Box::new(Function { kernel, run })
}

/// Prepares a node: packed weights where they are constant, programs of subgraphs.
pub(crate) fn prepare(site: &Site<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let node = || site.graph.describe(site.node);
    if let Op::Custom(custom) = &site.node.op {
        let domain = if custom.domain.is_empty() {
            String::new()
        } else {
            format!("{}.", custom.domain)
        };
        return Err(CompileError::UnknownOp {
            node: node(),
            domain,
            op: custom.name.clone(),
        });
    }
    if let Some((attribute, _)) = site.node.extra.iter().next() {
        return Err(CompileError::UnknownAttribute {
            node: node(),
            attribute: attribute.to_owned(),
        });
    }
    if let Some(prepared) = ops::prepare(site)? {
        return Ok(prepared);
    }
    Ok(Box::new(Plain {
        op: site.node.op.clone(),
        outputs: site.node.outputs.len(),
    }))
}
