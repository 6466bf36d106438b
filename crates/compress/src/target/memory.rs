//! What fits into a target's memory.

use bantam_graph::{Graph, Node, ValueId};
use serde::Serialize;

/// The memories of a target, in bytes; `None` where it has no limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// For constants.
    pub constants: Option<u64>,
    /// For values between nodes, of one sample.
    pub activations: Option<u64>,
    /// Bytes a second at which constants that do not fit are read at each run; `None` where such a network does not run.
    pub beyond: Option<f64>,
}

impl Memory {
    /// No limit.
    pub const ANY: Memory = Memory {
        constants: None,
        activations: None,
        beyond: None,
    };
}

/// Most elements that live at once when the nodes run in their order: values from the node that makes them to the last that reads them,
/// and the inputs. Activation functions and what only gives another shape work in place. `None` where sizes are not known.
pub fn activation_elements(graph: &Graph) -> Option<u64> {
    let places = places(graph);
    let end = graph.nodes.len();
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; graph.values.len()];
    let mut sizes = vec![0u64; graph.values.len()];
    let mut live = |value: ValueId, at: usize| -> Option<()> {
        if graph.value(value).initializer.is_some() {
            return Some(());
        }
        let shape = graph.value(value).ty.static_shape()?;
        let elements = shape
            .iter()
            .try_fold(1usize, |all, size| all.checked_mul(*size))?;
        let place = places[value.index()].index();
        let (first, last) = lives[place].unwrap_or((at, at));
        lives[place] = Some((first.min(at), last.max(at)));
        sizes[place] = sizes[place].max(elements as u64);
        Some(())
    };
    graph.inputs.iter().try_for_each(|input| live(*input, 0))?;
    for (index, node) in graph.nodes.iter().enumerate() {
        let read = node.inputs.iter().chain(&node.outputs).flatten();
        read.copied().try_for_each(|value| live(value, index))?;
    }
    graph.outputs.iter().try_for_each(|output| live(*output, end))?;
    let mut changes = vec![0i64; end + 2];
    for (life, size) in lives.iter().zip(sizes) {
        if let Some((first, last)) = life {
            changes[*first] += size as i64;
            changes[last + 1] -= size as i64;
        }
    }
    let running = changes.iter().scan(0i64, |sum, change| {
        *sum += change;
        Some(*sum)
    });
    running.max().map(|most| most.max(0) as u64)
}

/// For each value the one whose memory it uses: itself, or what the node that makes it reads.
fn places(graph: &Graph) -> Vec<ValueId> {
    let mut places: Vec<ValueId> = (0..graph.values.len()).map(ValueId::new).collect();
    let consumers = graph.consumers();
    for node in &graph.nodes {
        if let (true, Some(input), Some(output)) = (works_in_place(node), node.input(0), node.output(0))
            && consumers[input.index()].len() == 1
            && graph.value(input).initializer.is_none()
        {
            places[output.index()] = places[input.index()];
        }
    }
    places
}

fn works_in_place(node: &Node) -> bool {
    const OPS: [&str; 9] = [
        "Relu",
        "Clip",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Identity",
        "QuantizeLinear",
        "DequantizeLinear",
    ];
    OPS.contains(&node.op.name())
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{Binary, Unary};
    use bantam_graph::{Dim, InferOptions, infer_shapes};
    use bantam_tensor::DType;

    use super::*;

    /// x of 10 elements; a = exp(x), b = relu(a), c = exp(b), d = b + c.
    #[test]
    fn lives_end_with_the_last_reader() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![Dim::Known(1), Dim::Known(10)]);
        let a = graph.add_node("a", Unary::Exp, &[x]);
        let b = graph.add_node("b", Unary::Relu, &[a]);
        let c = graph.add_node("c", Unary::Exp, &[b]);
        let d = graph.add_node("d", Binary::Add, &[b, c]);
        graph.outputs.push(d);
        infer_shapes(&mut graph, &InferOptions::default()).unwrap();
        // b, c and d at the end; a and b are one.
        assert_eq!(activation_elements(&graph), Some(30));
        let mut chain = Graph::default();
        let x = chain.add_input("x", DType::F32, vec![Dim::Known(1), Dim::Known(10)]);
        let a = chain.add_node("a", Unary::Exp, &[x]);
        let b = chain.add_node("b", Unary::Relu, &[a]);
        chain.outputs.push(b);
        infer_shapes(&mut chain, &InferOptions::default()).unwrap();
        assert_eq!(activation_elements(&chain), Some(20));
    }

    #[test]
    fn unknown_sizes_give_nothing() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![Dim::Unknown, Dim::Known(10)]);
        let a = graph.add_node("a", Unary::Exp, &[x]);
        graph.outputs.push(a);
        infer_shapes(&mut graph, &InferOptions::default()).unwrap();
        assert_eq!(activation_elements(&graph), None);
    }
}
