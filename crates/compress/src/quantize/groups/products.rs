//! The products whose weights can be in groups.

use bantam_graph::{Graph, Node, NodeId, Op, ValueId};

use crate::plan::{Action, Decision, Site};
use crate::quantize::layerwise::{Layout, layout};

/// A product with a constant matrix that products alone read.
pub(super) struct Product {
    pub(super) node: NodeId,
    /// Name of its output.
    pub(super) name: String,
    pub(super) input: ValueId,
    pub(super) weight: ValueId,
    pub(super) weight_name: String,
    pub(super) layout: Layout,
    /// Outputs.
    pub(super) rows: usize,
    /// Inputs.
    pub(super) depth: usize,
}

impl Product {
    /// Where its weight is read.
    pub(super) fn site(&self) -> Site {
        Site::Input {
            value: self.weight_name.clone(),
            node: self.name.clone(),
            input: 1,
        }
    }
}

/// In the order of the graph, with decisions about those products that stay in float.
pub(super) fn products(graph: &Graph, kept: &[Option<&'static str>]) -> (Vec<Product>, Vec<Decision>) {
    let consumers = graph.consumers();
    let (mut products, mut decisions) = (Vec::new(), Vec::new());
    for (id, node) in graph.node_ids() {
        let Some(layout) = layout(&node.op) else {
            continue;
        };
        let name = || {
            node.output(0)
                .map_or_else(String::new, |output| graph.value(output).name.clone())
        };
        let why = match (
            kept.get(id.index()).copied().flatten(),
            product(graph, id, node, layout),
        ) {
            (None, Ok(product)) => {
                let readers = &consumers[product.weight.index()];
                match readers.len() {
                    1 => {
                        products.push(product);
                        continue;
                    }
                    _ => "its weight has other readers too",
                }
            }
            (Some(why), _) | (None, Err(why)) => why,
        };
        decisions.push(Decision {
            site: Site::Node(name()),
            action: Action::Keep,
            why: why.to_owned(),
            sqnr_db: None,
        });
    }
    (products, decisions)
}

fn product(graph: &Graph, id: NodeId, node: &Node, layout: Layout) -> Result<Product, &'static str> {
    if matches!(node.op, Op::Conv(_)) {
        return Err("groups are for matrices");
    }
    let operands = node.input(0).zip(node.input(1)).zip(node.output(0));
    let ((input, weight), output) = operands.ok_or("an operand is missing")?;
    let tensor = graph.constant(weight).ok_or("its weight is not constant")?;
    if graph.constant(input).is_some() {
        return Err("it is constant");
    }
    let [rows, depth] = match (tensor.shape(), layout) {
        (&[rows, depth], Layout::Rows) | (&[depth, rows], Layout::Columns) => [rows, depth],
        _ => return Err("its weight is no matrix"),
    };
    if rows == 0 || depth == 0 {
        return Err("its weight is empty");
    }
    let name = |value: ValueId| graph.value(value).name.clone();
    Ok(Product {
        node: id,
        name: name(output),
        input,
        weight,
        weight_name: name(weight),
        layout,
        rows,
        depth,
    })
}
