//! Values that products and others read.

use bantam_graph::ops::Unary;
use bantam_graph::{Graph, GraphError, Node, Patch, Value, ValueId};

use super::AwareSettings;
use crate::target::OpRole;

/// Gives products a value of their own where others read it too: what becomes codes for products stays as it is for the others, as the
/// sums of residual networks. Where the target multiplies such codes in integers, all readers have to get them.
pub(super) fn branch_off(graph: &mut Graph, settings: &AwareSettings) -> Result<(), GraphError> {
    if settings.float_activations || settings.runs_in_integers() {
        return Ok(());
    }
    let target = settings.quantize.target;
    let is_operand = |node: &Node, position: usize| {
        position < 2 && matches!(target.role(&node.op), OpRole::Product { .. })
    };
    let mut patch = Patch::new(graph);
    for (index, readers) in graph.consumers().into_iter().enumerate() {
        let value = ValueId::new(index);
        let (products, others): (Vec<_>, Vec<_>) =
            (readers.into_iter()).partition(|(id, position)| is_operand(graph.node(*id), *position));
        let alone = others.is_empty() && !graph.outputs.contains(&value);
        if products.is_empty() || alone || graph.constant(value).is_some() {
            continue;
        }
        let own = patch.add_value(Value {
            name: format!("{}_factor", graph.value(value).name),
            ty: graph.value(value).ty.clone(),
            ..Default::default()
        });
        patch.add_node(Node::new("", Unary::Identity.into(), &[value], &[own]));
        for (node, input) in products {
            patch.set_input(node, input, Some(own));
        }
    }
    patch.apply(graph)
}
