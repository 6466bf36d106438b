//! The weights of a graph that can be pruned.

use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_tensor::DType;

use crate::plan::{Action, Decision, Site};
use crate::quantize::layerwise::{Layout, layout, rows_of_matrix, transposed};

/// The weight of a convolution or product. Elements are looked at by rows: one for each output, with all that it is computed
/// from; inputs of a convolution follow one another, each with all its places in the window.
#[derive(Clone, Debug)]
pub struct Weight {
    /// The value that holds it.
    pub value: ValueId,
    /// The node that reads it.
    pub node: NodeId,
    /// The value's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Outputs.
    pub rows: usize,
    /// Elements of a row.
    pub depth: usize,
    /// Places in the window of a convolution; 1 for matrices.
    pub places: usize,
    /// Groups of outputs that read inputs of their own.
    pub groups: usize,
    pub(crate) input: ValueId,
    pub(crate) layout: Layout,
}

impl Weight {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.rows * self.depth
    }

    /// Never true: such weights are not listed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Elements in the order of the tensor, by rows.
    pub(crate) fn by_rows(&self, values: Vec<f32>) -> Vec<f32> {
        rows_of_matrix(self.layout, values, self.depth)
    }

    /// Rows, in the order of the tensor.
    pub(crate) fn as_stored<T: Copy>(&self, rows: Vec<T>) -> Vec<T> {
        match self.layout {
            Layout::Rows => rows,
            Layout::Columns => transposed(&rows, self.rows, self.depth),
        }
    }
}

/// The weights in the order of the graph, with decisions about the products that stay as they are: those that `kept` gives a
/// reason for, by node, and those that have no weight of their own.
pub fn prunable(graph: &Graph, kept: &[Option<&'static str>]) -> (Vec<Weight>, Vec<(NodeId, Decision)>) {
    let consumers = graph.consumers();
    let (mut weights, mut decisions) = (Vec::new(), Vec::new());
    for (id, node) in graph.node_ids() {
        if !matches!(node.op.name(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul") {
            continue;
        }
        let found = match kept.get(id.index()).copied().flatten() {
            Some(why) => Err(why),
            None => weight(graph, id, node, &consumers),
        };
        match found {
            Ok(weight) => weights.push(weight),
            Err(why) => decisions.push((id, keep(graph, node, why))),
        }
    }
    (weights, decisions)
}

fn keep(graph: &Graph, node: &Node, why: &str) -> Decision {
    let output = node.output(0);
    Decision {
        site: Site::Node(output.map_or_else(String::new, |output| graph.value(output).name.clone())),
        action: Action::Keep,
        why: why.to_owned(),
        sqnr_db: None,
    }
}

fn weight(
    graph: &Graph,
    id: NodeId,
    node: &Node,
    consumers: &[Vec<(NodeId, usize)>],
) -> Result<Weight, &'static str> {
    let layout = layout(&node.op).ok_or("weights of this op in this form are not pruned")?;
    let (input, value) = node.input(0).zip(node.input(1)).ok_or("an operand is missing")?;
    let tensor = graph.constant(value).ok_or("its weight is not constant")?;
    if graph.constant(input).is_some() {
        return Err("it is constant");
    }
    if consumers[value.index()].len() != 1 {
        return Err("its weight has other readers too");
    }
    if tensor.dtype() != DType::F32 {
        return Err("its weight is not in 32-bit floats");
    }
    let (rows, depth, places) = match (tensor.shape(), &node.op, layout) {
        (&[rows, inputs, ref window @ ..], Op::Conv(_), _) if !window.is_empty() => {
            let places = window.iter().product();
            (rows, inputs * places, places)
        }
        (&[rows, depth], Op::Gemm(_) | Op::MatMul(_), Layout::Rows)
        | (&[depth, rows], Op::Gemm(_) | Op::MatMul(_), Layout::Columns) => (rows, depth, 1),
        _ => return Err("its weight is no matrix"),
    };
    let groups = match &node.op {
        Op::Conv(conv) => usize::try_from(conv.group).unwrap_or(1).max(1),
        _ => 1,
    };
    if rows * depth == 0 || !rows.is_multiple_of(groups) {
        return Err("its weight is empty");
    }
    Ok(Weight {
        value,
        node: id,
        name: graph.value(value).name.clone(),
        shape: tensor.shape().to_vec(),
        rows,
        depth,
        places,
        groups,
        input,
        layout,
    })
}
