//! Versions that a file states: IR and operator sets.

use bantam_graph::{Graph, Model, OperatorSet};
use bantam_tensor::DType;

use crate::onnx::write::Header;

/// First opset of each IR version (`onnx.helper.VERSION_TABLE`). Below 4, constants would have to be inputs.
const IR_VERSIONS: &[(i64, i64)] = &[
    (0, 4),
    (10, 5),
    (11, 6),
    (12, 7),
    (15, 8),
    (19, 9),
    (21, 10),
    (23, 11),
    (24, 12),
    (25, 13),
    (28, 14),
];

/// What the file of a lowered graph states.
pub(super) fn header(model: &Model, graph: &Graph, opset: i64) -> Header {
    let mut needed = IR_VERSIONS
        .iter()
        .rev()
        .find(|(first, _)| *first <= opset)
        .map_or(4, |(_, version)| *version);
    needed = needed.max(dtype_version(graph));
    if !model.functions.is_empty() {
        needed = needed.max(8);
    }
    let mut opsets = model.opsets.clone();
    for domain in domains(graph) {
        if !opsets.iter().any(|set| set.domain == domain) {
            opsets.push(OperatorSet { domain, version: 1 });
        }
    }
    opsets
        .iter_mut()
        .filter(|set| set.domain.is_empty())
        .for_each(|set| set.version = opset);
    Header {
        ir_version: needed.max(model.ir_version),
        opsets,
    }
}

/// The IR version that brought the newest data type of a constant, here or in a subgraph.
fn dtype_version(graph: &Graph) -> i64 {
    let own = graph
        .values
        .iter()
        .filter_map(|value| value.ty.dtype())
        .map(|dtype| match dtype {
            DType::F8E4M3FN | DType::F8E4M3FNUZ | DType::F8E5M2 | DType::F8E5M2FNUZ => 9,
            DType::I4 | DType::U4 => 10,
            DType::F4E2M1 => 11,
            DType::F8E8M0 => 12,
            DType::I2 | DType::U2 => 13,
            _ => 4,
        });
    let nested = graph
        .nodes
        .iter()
        .flat_map(|node| node.op.subgraphs())
        .map(dtype_version);
    own.chain(nested).max().unwrap_or(4)
}

/// The domains of all nodes, also of subgraphs.
fn domains(graph: &Graph) -> Vec<String> {
    let mut found: Vec<String> = graph
        .nodes
        .iter()
        .map(|node| node.op.domain().to_owned())
        .collect();
    found.extend(
        graph
            .nodes
            .iter()
            .flat_map(|node| node.op.subgraphs())
            .flat_map(domains),
    );
    found.sort();
    found.dedup();
    found
}
