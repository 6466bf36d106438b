//! Nodes that a target cannot run.

use bantam_graph::{Graph, Node};

use super::Target;

/// What becomes of ops that are not in a target's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// The runtime runs them in float.
    Float,
    /// The processor beside the accelerator runs them in float, which takes its time to get there and back.
    Host,
    /// The runtime lacks them: a network that has one does not run.
    Missing,
}

/// A node that a target cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The node, by its first output.
    pub node: String,
    /// Its op.
    pub op: String,
}

/// Nodes that a message names.
const NAMED: usize = 5;

impl Target {
    /// Nodes that the target cannot run itself, but for those that the user keeps out of it. The graph is prepared: nothing in it
    /// would go away by itself.
    pub fn unsupported(&self, graph: &Graph, is_kept: &[bool]) -> Vec<Unsupported> {
        if self.others == Others::Float {
            return Vec::new();
        }
        let nodes = graph.nodes.iter().zip(is_kept.iter().copied());
        let lacking = nodes.filter(|(node, kept)| !kept && !self.runs(node));
        let described = lacking.map(|(node, _)| Unsupported {
            node: first_output(graph, node),
            op: node.op.name().to_owned(),
        });
        described.collect()
    }

    fn runs(&self, node: &Node) -> bool {
        // What quantization writes becomes part of the codes of the ops around it.
        const FREE: [&str; 4] = ["QuantizeLinear", "DequantizeLinear", "Identity", "Constant"];
        FREE.contains(&node.op.name()) || self.listed(&node.op).is_some()
    }
}

impl Unsupported {
    /// Some nodes in words: `a (Erf), b (Erf) and 3 more`.
    pub fn listed(nodes: &[Unsupported]) -> String {
        let named = nodes
            .iter()
            .take(NAMED)
            .map(|found| format!("`{}` ({})", found.node, found.op));
        let named = named.collect::<Vec<_>>().join(", ");
        match nodes.len().saturating_sub(NAMED) {
            0 => named,
            more => format!("{named} and {more} more"),
        }
    }
}

fn first_output(graph: &Graph, node: &Node) -> String {
    let output = node.outputs.iter().flatten().next();
    output.map_or_else(|| node.name.clone(), |output| graph.value(*output).name.clone())
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::Unary;
    use bantam_graph::{Dim, Graph};
    use bantam_tensor::DType;

    use super::*;
    use crate::target::target_by_name;

    #[test]
    fn fixed_lists_name_what_they_lack() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![Dim::Known(1), Dim::Known(4)]);
        let relu = graph.add_node("relu", Unary::Relu, &[x]);
        let erf = graph.add_node("erf", Unary::Erf, &[relu]);
        graph.outputs.push(erf);
        let name = graph.value(erf).name.clone();
        let lacking = |target: &str, kept| target_by_name(target).unwrap().unsupported(&graph, kept);
        for target in ["tflite-micro", "cortex-m", "edgetpu"] {
            let found = lacking(target, &[false, false]);
            let expected = Unsupported {
                node: name.clone(),
                op: "Erf".to_owned(),
            };
            assert_eq!(found, [expected], "{target}");
            assert_eq!(lacking(target, &[false, true]), [], "{target}: the user keeps it");
        }
        assert_eq!(lacking("onnxruntime", &[false, false]), []);
        let many = vec![lacking("edgetpu", &[false, false])[0].clone(); 7];
        assert!(Unsupported::listed(&many).ends_with("(Erf) and 2 more"));
    }
}
