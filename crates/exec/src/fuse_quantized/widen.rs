//! Codes of 4 bits as codes of 8, which operators on codes take.

use std::collections::HashMap;

use bantam_graph::{Graph, NodeId, Op, ValueId};

/// Gives DequantizeLinear of constant codes of 4 bits codes of 8, with their zero points; those of groups have kernels of their own.
pub(super) fn widen(graph: &mut Graph) {
    let mut widened: HashMap<ValueId, ValueId> = HashMap::new();
    for index in 0..graph.nodes.len() {
        let node = graph.node(NodeId::new(index));
        let plain = matches!(&node.op, Op::DequantizeLinear(op) if op.block_size == 0);
        let of = |position: usize| {
            let tensor = graph.constant_input(node, position)?;
            Some((position, node.input(position)?, tensor.in_bytes()?))
        };
        let Some(codes) = of(0).filter(|_| plain) else {
            continue;
        };
        let zero_point = of(2);
        if node.input(2).is_some() && zero_point.is_none() {
            continue;
        }
        for (position, value, tensor) in std::iter::once(codes).chain(zero_point) {
            let name = format!("{}_of_8_bits", graph.value(value).name);
            let value = *widened
                .entry(value)
                .or_insert_with(|| graph.add_constant(&name, tensor));
            graph.nodes[index].inputs[position] = Some(value);
        }
    }
}
