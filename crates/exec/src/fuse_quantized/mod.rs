//! Integer execution of quantized graphs: float operators between DequantizeLinear and QuantizeLinear become one operator
//! on codes.
//!
//! The patterns are those of ONNX Runtime, and so are the operators on codes (QLinearConv, QGemm, ...), so that a graph
//! gives the same codes here and there. What no pattern covers stays as it is; constants that are still dequantized
//! are dequantized once, and values that go to codes and back are rounded.

mod bias;
mod rounding;
mod rules;
mod search;
mod widen;

use std::borrow::Cow;
use std::collections::HashSet;

use bantam_graph::{Graph, Node, NodeId, Op, ValueId};
use bantam_tensor::Tensor;

use crate::fold_constants;
use search::Search;

/// An input of a new node.
enum Source {
    Value(ValueId),
    Constant(Tensor),
    Absent,
}

/// An operator on codes that computes what node `last` of a pattern did.
struct Replacement {
    last: NodeId,
    name: String,
    op: Op,
    inputs: Vec<Source>,
}

/// The graph with operators on codes, values keeping their ids. Values that are observed stay.
pub(crate) fn fuse<'g>(graph: &'g Graph, observed: &HashSet<ValueId>) -> Cow<'g, Graph> {
    if !graph
        .nodes
        .iter()
        .any(|node| matches!(node.op, Op::DequantizeLinear(_)))
    {
        return Cow::Borrowed(graph);
    }
    let mut graph = graph.clone();
    widen::widen(&mut graph);
    let search = Search::new(&graph, observed);
    let mut fused = graph.clone();
    for (id, node) in graph.node_ids().filter(|(_, node)| node.extra.is_empty()) {
        match rules::replacement(&search, id, node) {
            Some(replacement) => replace(&mut fused, replacement),
            None => explain(&search, node),
        }
    }
    rounding::round(&mut fused);
    remove_unread(&mut fused, observed);
    fold_constants::fold(&mut fused, observed, |op| matches!(op, Op::DequantizeLinear(_)));
    Cow::Owned(fused)
}

/// Says of a float operator on dequantized values that no pattern covers it.
fn explain(search: &Search<'_>, node: &Node) {
    let has_codes = |index| search.dequantized(node, index).is_some();
    if !matches!(node.op, Op::DequantizeLinear(_) | Op::QuantizeLinear(_)) && has_codes(0) {
        let node = search.graph.describe(node);
        log::debug!(
            "fuse-quantized: {node} reads dequantized values, and no operator on codes does what it and the nodes after it do"
        );
    }
}

fn replace(graph: &mut Graph, replacement: Replacement) {
    let inputs: Vec<Option<ValueId>> = (replacement.inputs.into_iter())
        .map(|source| match source {
            Source::Value(id) => Some(id),
            Source::Constant(tensor) => {
                Some(graph.add_constant(&format!("{}_constant", replacement.name), tensor))
            }
            Source::Absent => None,
        })
        .collect();
    let last = &mut graph.nodes[replacement.last.index()];
    let outputs = std::mem::take(&mut last.outputs);
    *last = Node {
        inputs,
        outputs,
        ..Node::new(replacement.name, replacement.op, &[], &[])
    };
}

/// Removes nodes whose outputs nobody reads.
fn remove_unread(graph: &mut Graph, observed: &HashSet<ValueId>) {
    let names = graph.names();
    let mut read: HashSet<ValueId> = graph.outputs.iter().chain(observed).copied().collect();
    let mut keep = vec![true; graph.nodes.len()];
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        keep[index] = node.outputs.iter().flatten().any(|output| read.contains(output));
        if keep[index] {
            read.extend(node.inputs.iter().flatten());
            let captured = node.op.subgraphs().into_iter().flat_map(Graph::captured_names);
            read.extend(captured.filter_map(|name| names.get(name.as_str()).copied()));
        }
    }
    let mut keep = keep.into_iter();
    graph.nodes.retain(|_| keep.next().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{
        AutoPad, Binary, Conv, DequantizeLinear, Flatten, Gemm, GlobalAveragePool, QuantizeLinear, Unary,
    };
    use bantam_tensor::DType;

    use super::*;
    use crate::{CompileOptions, Taps, compile};

    /// A quantized graph under construction.
    struct Builder {
        graph: Graph,
        /// Type of weights whose codes have 4 bits; 8 bits where there is none.
        narrow: Option<DType>,
    }

    impl Builder {
        fn constant(&mut self, tensor: Tensor) -> ValueId {
            self.graph.add_constant("constant", tensor)
        }

        fn node(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
            self.graph.add_node("node", op, inputs)
        }

        /// Quantized to bytes and back.
        fn bytes(&mut self, x: ValueId, scale: f32, zero: u8) -> ValueId {
            let parameters = [
                self.constant(Tensor::scalar(scale)),
                self.constant(Tensor::scalar(zero)),
            ];
            let quantize = QuantizeLinear {
                axis: 1,
                block_size: 0,
                output_dtype: None,
                precision: None,
                saturate: true,
            };
            let codes = self.node(quantize, &[x, parameters[0], parameters[1]]);
            self.node(dequantize(1), &[codes, parameters[0], parameters[1]])
        }

        /// A signed weight with a scale per index of axis 0.
        fn weight(&mut self, shape: &[usize]) -> ValueId {
            let count: usize = shape.iter().product();
            let codes = (0..count).map(|i| i64::from((i * 89 % 251) as u8 as i8));
            let (dtype, step) = self.narrow.map_or((DType::I8, 1), |dtype| (dtype, 16));
            let codes: Vec<i64> = codes.map(|code| code.div_euclid(step)).collect();
            let scales: Vec<f32> = (0..shape[0])
                .map(|i| (0.01 + 0.002 * i as f32) * step as f32)
                .collect();
            let codes = self.constant(Tensor::from_i64(dtype, shape, &codes).unwrap());
            let scales = self.constant(Tensor::from_vec1(&scales));
            let zeros = Tensor::from_i64(dtype, &[shape[0]], &vec![0; shape[0]]).unwrap();
            let zeros = self.constant(zeros);
            self.node(dequantize(0), &[codes, scales, zeros])
        }

        fn conv(&mut self, x: ValueId, shape: &[usize]) -> ValueId {
            let conv = Conv {
                auto_pad: AutoPad::NotSet,
                dilations: vec![],
                group: 1,
                kernel_shape: vec![],
                pads: vec![1, 1, 1, 1],
                strides: vec![],
            };
            let weight = self.weight(shape);
            let bias = self.constant(Tensor::from_vec1(&vec![0.3f32; shape[0]]));
            self.node(conv, &[x, weight, bias])
        }
    }

    fn dequantize(axis: i64) -> DequantizeLinear {
        DequantizeLinear {
            axis,
            block_size: 0,
            output_dtype: None,
        }
    }

    /// Conv, Relu, Conv, Add, pool, Gemm, with codes between them.
    fn network(relu_zero: u8, narrow: Option<DType>) -> Graph {
        let mut builder = Builder {
            graph: Graph::default(),
            narrow,
        };
        let dims = [1usize, 3, 6, 5].map(bantam_graph::Dim::Known).to_vec();
        let input = builder.graph.add_input("x", DType::F32, dims);
        let x = builder.bytes(input, 0.02, 120);
        let conv = builder.conv(x, &[4, 3, 3, 3]);
        let relu = builder.node(Unary::Relu, &[conv]);
        let a = builder.bytes(relu, 0.11, relu_zero);
        let conv = builder.conv(a, &[4, 4, 3, 3]);
        let b = builder.bytes(conv, 0.9, 131);
        let sum = builder.node(Binary::Add, &[a, b]);
        let sum = builder.bytes(sum, 1.0, 128);
        let pool = builder.node(GlobalAveragePool {}, &[sum]);
        let pool = builder.bytes(pool, 0.05, 128);
        let flat = builder.node(Flatten { axis: 1 }, &[pool]);
        let flat = builder.bytes(flat, 0.05, 128);
        let weight = builder.weight(&[7, 4]);
        let gemm = Gemm {
            alpha: 1.0,
            beta: 1.0,
            transA: false,
            transB: true,
        };
        let output = builder.node(gemm, &[flat, weight]);
        builder.graph.outputs = vec![output];
        builder.graph
    }

    fn run(graph: &Graph, observed: HashSet<ValueId>) -> (Vec<String>, Vec<f32>) {
        let program = compile(
            graph,
            &CompileOptions {
                observed,
                ..CompileOptions::default()
            },
        )
        .unwrap();
        let x: Vec<f32> = (0..90).map(|i| (i * 37 % 101) as f32 / 25.0 - 2.0).collect();
        let x = Tensor::from_slice(&[1, 3, 6, 5], &x).unwrap();
        let y = program.run(&[("x", x)], &mut Taps::none()).unwrap()[0]
            .to_f32()
            .unwrap();
        (program.steps().into_iter().map(|step| step.node).collect(), y)
    }

    fn ops(steps: &[String]) -> Vec<&str> {
        steps
            .iter()
            .map(|step| step.rsplit_once('(').unwrap().1.trim_end_matches(')'))
            .collect()
    }

    #[test]
    fn weights_of_4_bits_run_as_those_of_8() {
        let [narrow, wide] =
            [DType::I4, DType::I8].map(|dtype| run(&network(0, Some(dtype)), HashSet::new()));
        assert_eq!(ops(&narrow.0), ops(&wide.0));
        assert_eq!(narrow.1, wide.1);
    }

    #[test]
    fn a_quantized_network_runs_on_codes() {
        let graph = network(0, None);
        let (steps, fast) = run(&graph, HashSet::new());
        let expected = [
            "QuantizeLinear",
            "Transpose",
            "QLinearConv",
            "QLinearConv",
            "QLinearAdd",
            "QLinearGlobalAveragePool",
            "Transpose",
            "Flatten",
            "QGemm",
        ];
        assert_eq!(ops(&steps), expected);
        // Observing every value leaves what lies between them in float.
        let all: HashSet<ValueId> = (0..graph.values.len()).map(ValueId::new).collect();
        let (steps, slow) = run(&graph, all);
        assert!(steps.iter().all(|step| !step.contains("QLinear")));
        assert!(slow.iter().any(|y| y.abs() > 1.0), "the network gives something");
        // A code that falls on the other side of a tie moves a result by at most a weight times the last scale.
        let step = 127.0 * 0.016 * 0.05;
        for (fast, slow) in fast.iter().zip(&slow) {
            assert!(
                (fast - slow).abs() <= 2.0 * step,
                "{fast} on codes, {slow} in float"
            );
        }
    }

    #[test]
    fn a_clamp_that_codes_do_not_imply_stays() {
        // With a zero point above the smallest code, saturation does not do what Relu does.
        let (steps, _) = run(&network(10, None), HashSet::new());
        assert_eq!(ops(&steps).iter().filter(|op| **op == "QLinearConv").count(), 1);
    }

    #[test]
    fn observed_values_are_seen() {
        let graph = network(0, None);
        let relu = graph
            .nodes
            .iter()
            .find(|node| node.op == Op::Unary(Unary::Relu))
            .unwrap();
        let value = relu.output(0).unwrap();
        let program = compile(
            &graph,
            &CompileOptions {
                observed: HashSet::from([value]),
                ..CompileOptions::default()
            },
        )
        .unwrap();
        let mut seen = 0;
        let mut taps = Taps::none();
        taps.add(value, |tensor| seen += tensor.len());
        let x = Tensor::zeros(DType::F32, &[1, 3, 6, 5]).unwrap();
        program.run(&[("x", x)], &mut taps).unwrap();
        drop(taps);
        assert_eq!(seen, 4 * 6 * 5);
    }
}
