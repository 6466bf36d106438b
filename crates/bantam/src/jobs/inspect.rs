//! Looking into a model.

use std::path::{Path, PathBuf};

use bantam_compress::prune::{prunable, satisfies};
use bantam_formats::onnx::PACKED_BITS;
use bantam_graph::ops::Binary;
use bantam_graph::{Graph, InferOptions, Node, Op, Value, cost, infer_shapes};
use bantam_tensor::{DType, TABLE_FORMATS, Tensor, table_values};
use serde::Serialize;

use crate::{Error, pipeline};

/// What a model is made of.
#[derive(Clone, Debug, Serialize)]
pub struct InspectReport {
    /// The file.
    pub model: PathBuf,
    /// Size of the file or files in bytes.
    pub bytes: u64,
    /// Name and version of the tool that wrote it.
    pub producer: String,
    /// Version of the standard's operators that the file names.
    pub opset: Option<i64>,
    /// Inputs, with their types.
    pub inputs: Vec<Port>,
    /// Outputs, with their types.
    pub outputs: Vec<Port>,
    /// Multiply-accumulates for the batch size asked for.
    pub macs: u64,
    /// Elements of the constants that nodes compute with.
    pub parameters: u64,
    /// Bytes of all constants.
    pub weight_bytes: u64,
    /// Share of zeros among the weights.
    pub sparsity: f64,
    /// The nodes in order.
    pub nodes: Vec<NodeReport>,
}

/// An input or an output.
#[derive(Clone, Debug, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its type, as `f32[N,3,32,32]`.
    pub r#type: String,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeReport {
    /// Its name, or that of its first output.
    pub name: String,
    /// Its op, with the domain if that is not the standard's.
    pub op: String,
    /// Type of its first output.
    pub output: String,
    /// Number format of its constant weight, if it has one.
    pub weights: Option<String>,
    /// Elements of the constants that it computes with.
    pub parameters: u64,
    /// Multiply-accumulates.
    pub macs: Option<u64>,
    /// Bytes of its constants.
    pub weight_bytes: u64,
    /// Share of zeros in its weight, if that is a constant matrix or kernel.
    pub sparsity: Option<f64>,
    /// Whether of any four neighbouring inputs of an output of its weight two at most are not zero, as sparse tensor cores want.
    pub two_of_four: Option<bool>,
}

/// Reads a model and counts what it holds; sizes that the file leaves open in the first dimension of inputs are `batch`.
pub fn inspect(path: &Path, batch: usize) -> Result<(InspectReport, Graph), Error> {
    let model = pipeline::load(path)?;
    let mut graph = pipeline::inline(&model)?.into_owned().graph;
    let typed = |graph: &Graph, ids: &[bantam_graph::ValueId]| -> Vec<Port> {
        let port = |id: &bantam_graph::ValueId| Port {
            name: graph.value(*id).name.clone(),
            r#type: graph.value(*id).ty.to_string(),
        };
        ids.iter().map(port).collect()
    };
    let (inputs, outputs) = (typed(&graph, &graph.inputs), typed(&graph, &graph.outputs));
    let options = with_batch(&graph, batch);
    infer_shapes(&mut graph, &options)?;
    let cost = cost(&graph);
    let mut nodes: Vec<NodeReport> = graph
        .nodes
        .iter()
        .zip(&cost.nodes)
        .map(|(node, cost)| node_report(&graph, node, cost))
        .collect();
    add_zeros(&graph, &mut nodes)?;
    let saved: u64 = graph
        .nodes
        .iter()
        .map(|node| saved_by_packing(&graph, node))
        .sum();
    let report = InspectReport {
        model: path.to_owned(),
        bytes: super::model_bytes(path),
        producer: format!("{} {}", model.producer_name, model.producer_version)
            .trim()
            .to_owned(),
        opset: model.opset(""),
        inputs,
        outputs,
        macs: cost.macs,
        parameters: cost.parameters,
        weight_bytes: cost.weight_bytes.saturating_sub(saved),
        sparsity: sparsity(&graph),
        nodes,
    };
    Ok((report, graph))
}

/// Tokens of a sample, where the file leaves their number open.
pub(super) const TOKENS: usize = 128;

/// Binds the first dimension of each input, where it is open, and the second of `[samples, tokens]`.
pub(super) fn with_batch(graph: &Graph, batch: usize) -> InferOptions {
    let bound = graph.inputs.iter().filter_map(|id| {
        let value = graph.value(*id);
        let dims = value.ty.shape()?;
        let open = is_tokens(value).then_some(TOKENS);
        let rest = dims.iter().skip(1).map(|dim| dim.known().or(open));
        let rest: Option<Vec<usize>> = rest.collect();
        let first = dims.first()?.known().unwrap_or(batch);
        Some((value.name.as_str(), [vec![first], rest?].concat()))
    });
    let shapes: Vec<(&str, Vec<usize>)> = bound.collect();
    InferOptions::default().with_input_shapes(&shapes)
}

/// True for token ids, `[samples, tokens]`.
pub(super) fn is_tokens(value: &Value) -> bool {
    value.ty.dtype() == Some(DType::I64) && value.ty.shape().is_some_and(|dims| dims.len() == 2)
}

fn node_report(graph: &Graph, node: &Node, cost: &cost::NodeCost) -> NodeReport {
    let output = node.outputs.iter().flatten().next().map(|id| graph.value(*id));
    let domain = node.op.domain();
    let weight = node
        .inputs
        .iter()
        .skip(1)
        .flatten()
        .find_map(|id| weight_format(graph, *id));
    NodeReport {
        name: if node.name.is_empty() {
            output.map_or(String::new(), |v| v.name.clone())
        } else {
            node.name.clone()
        },
        op: if domain.is_empty() {
            node.op.name().to_owned()
        } else {
            format!("{domain}.{}", node.op.name())
        },
        output: output.map_or(String::new(), |value| value.ty.to_string()),
        weights: weight,
        parameters: cost.parameters,
        macs: cost.macs,
        weight_bytes: cost.weight_bytes - saved_by_packing(graph, node).min(cost.weight_bytes),
        sparsity: None,
        two_of_four: None,
    }
}

/// Says how many zeros the weights that can be pruned have.
fn add_zeros(graph: &Graph, nodes: &mut [NodeReport]) -> Result<(), Error> {
    let (weights, _) = prunable(graph, &vec![None; graph.nodes.len()]);
    for weight in weights {
        let Some(tensor) = graph.constant(weight.value) else {
            continue;
        };
        let values = tensor.to_f32()?;
        let zeros = values.iter().filter(|value| **value == 0.0).count();
        let node = &mut nodes[weight.node.index()];
        node.sparsity = Some(zeros as f64 / values.len().max(1) as f64);
        node.two_of_four = Some(satisfies(&weight, &values, 2, 4));
    }
    Ok(())
}

/// The dtype in which a constant of rank 2 or more is stored, also behind DequantizeLinear, with the bits that its codes are packed in; the name of
/// the table that its codes are looked up in.
fn weight_format(graph: &Graph, id: bantam_graph::ValueId) -> Option<String> {
    let stored = |id| {
        let tensor = graph.constant(id).filter(|tensor| tensor.rank() >= 2)?;
        Some(match packed_bits(graph.value(id)) {
            Some(bits) if bits != tensor.dtype().bits() => format!("{} in {bits} bits", tensor.dtype()),
            _ => tensor.dtype().to_string(),
        })
    };
    let behind = || {
        let node = made_by(graph, id)?;
        (node.op.name() == "DequantizeLinear")
            .then(|| stored(node.input(0)?))
            .flatten()
    };
    stored(id).or_else(behind).or_else(|| table_of(graph, id))
}

fn made_by(graph: &Graph, id: bantam_graph::ValueId) -> Option<&Node> {
    graph.nodes.iter().find(|node| node.output(0) == Some(id))
}

/// The format whose values a constant's codes are looked up among, before they are multiplied by scales.
pub(super) fn table_of(graph: &Graph, id: bantam_graph::ValueId) -> Option<String> {
    let product = made_by(graph, id).filter(|node| matches!(node.op, Op::Binary(Binary::Mul)))?;
    let lookup = made_by(graph, product.input(0)?).filter(|node| matches!(node.op, Op::Gather(_)))?;
    let codes = made_by(graph, lookup.input(1)?).filter(|node| matches!(node.op, Op::Cast(_)))?;
    graph.constant_input(codes, 0)?;
    let table = graph.constant_input(lookup, 0)?;
    let values = (table.rank() == 1 && table.len() <= 256).then(|| table.to_f32().ok())??;
    let known = TABLE_FORMATS
        .iter()
        .find(|format| table_values(**format) == values);
    Some(known.map_or_else(
        || format!("codebook of {}", values.len()),
        |format| format.name().to_owned(),
    ))
}

/// Bits that each code of a constant takes in the file, where they are packed there.
fn packed_bits(value: &Value) -> Option<usize> {
    let noted = value.metadata.iter().find(|(key, _)| key == PACKED_BITS);
    noted.and_then(|(_, bits)| bits.parse().ok())
}

/// Bytes that packing saves of what the constants of a node take.
fn saved_by_packing(graph: &Graph, node: &Node) -> u64 {
    let values = node.inputs.iter().flatten().map(|id| graph.value(*id));
    let saved = values.filter_map(|value| {
        let tensor = value.initializer.as_ref()?;
        let bits = tensor.dtype().bits().checked_sub(packed_bits(value)?)?;
        Some((tensor.len() * bits / 8) as u64)
    });
    saved.sum()
}

/// Share of zeros among constants of rank 2 or more.
fn sparsity(graph: &Graph) -> f64 {
    let weights = graph
        .values
        .iter()
        .filter_map(|value| value.initializer.as_ref())
        .filter(|tensor| tensor.rank() >= 2);
    let (mut zeros, mut elements) = (0, 0);
    for (weight, count) in weights.filter_map(|weight| Some((weight, zeros_in(weight)?))) {
        zeros += count;
        elements += weight.len();
    }
    zeros as f64 / elements.max(1) as f64
}

/// Number of zeros in a numeric tensor. It is looked at in parts, as it may be larger than the memory.
fn zeros_in(tensor: &Tensor) -> Option<usize> {
    const PART: usize = 1 << 16;
    let count = |part: &Tensor| Some(part.to_f64().ok()?.iter().filter(|value| **value == 0.0).count());
    if tensor.dtype().bits() < 8 {
        // Parts have to start on a byte.
        return count(tensor);
    }
    let flat = tensor.reshape(&[tensor.len()]).ok()?;
    let parts = (0..flat.len()).step_by(PART);
    parts
        .map(|start| count(&flat.rows(start, PART.min(flat.len() - start)).ok()?))
        .sum()
}
