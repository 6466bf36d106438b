//! Whether a tensor is what a case expects.

use bantam_graph::{Graph, Model, ValueId};
use bantam_tensor::{DType, Tensor};

/// `|got - expected| <= absolute + relative * |expected|`, as NumPy's `allclose` has it.
#[derive(Clone, Copy)]
pub(crate) struct Tolerance {
    pub(crate) relative: f64,
    pub(crate) absolute: f64,
}

/// Compares dtype, shape and elements: floats within the tolerance, NaN equal to NaN; everything else exactly.
pub(crate) fn compare(got: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Result<(), String> {
    if got.dtype() != expected.dtype() {
        return Err(format!("type {} instead of {}", got.dtype(), expected.dtype()));
    }
    if got.shape() != expected.shape() {
        return Err(format!(
            "shape {:?} instead of {:?}",
            got.shape(),
            expected.shape()
        ));
    }
    if matches!(
        got.dtype(),
        DType::String | DType::Complex64 | DType::Complex128 | DType::I64 | DType::U64
    ) {
        return if got == expected {
            Ok(())
        } else {
            Err(format!("{got:?} instead of {expected:?}"))
        };
    }
    let relative = match got.dtype() {
        // Two units in the last place: the former as ONNX's own runner has it, and the latter likewise, because a chain of
        // rounded steps is compared with one step.
        DType::BF16 => tolerance.relative.max(2f64.powi(-6)),
        DType::F16 => tolerance.relative.max(2f64.powi(-9)),
        other if other.is_float() => tolerance.relative,
        _ => 0.0,
    };
    let absolute = if got.dtype().is_float() {
        tolerance.absolute
    } else {
        0.0
    };
    let (values, wanted) = (numbers(got)?, numbers(expected)?);
    let differs = |(got, want): (&f64, &f64)| {
        let same = got == want || (got.is_nan() && want.is_nan());
        let near = want.is_finite() && (got - want).abs() <= absolute + relative * want.abs();
        !same && !near
    };
    let count = values.iter().zip(&wanted).filter(|pair| differs(*pair)).count();
    match (0..values.len()).find(|&index| differs((&values[index], &wanted[index]))) {
        None => Ok(()),
        Some(index) => {
            let (first, want, of) = (values[index], wanted[index], values.len());
            Err(format!(
                "{count} of {of} elements differ, first at {index}: {first} instead of {want}"
            ))
        }
    }
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>, String> {
    tensor.to_f64().map_err(|error| error.to_string())
}

/// Compares models, apart from what saving may change: the numbers of values, the names of constants that are no
/// inputs, absent inputs at the end of a node, and the versions (constants that are no inputs need IR 4).
pub(crate) fn same_model(first: &Model, second: &Model) -> Result<(), String> {
    let plain = |model: &Model| Model {
        graph: plain_graph(&model.graph),
        ir_version: 0,
        opsets: Vec::new(),
        ..model.clone()
    };
    let (first, second) = (plain(first), plain(second));
    if first == second {
        return Ok(());
    }
    let values = first
        .graph
        .values
        .iter()
        .zip(&second.graph.values)
        .find(|(first, second)| first != second);
    let nodes = first
        .graph
        .nodes
        .iter()
        .zip(&second.graph.nodes)
        .find(|(first, second)| first != second);
    Err(match (nodes, values) {
        (Some((first, second)), _) => format!("{first:?} became {second:?}"),
        (_, Some((first, second))) => format!("{first:?} became {second:?}"),
        _ => "something besides values and nodes changed".to_owned(),
    })
}

/// The graph with its values in the order in which they appear, also inside subgraphs.
fn plain_graph(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    for node in &mut graph.nodes {
        while node.inputs.last().is_some_and(Option::is_none) {
            node.inputs.pop();
        }
        for subgraph in node.op.subgraphs_mut() {
            *subgraph = plain_graph(subgraph);
        }
    }
    let of_nodes = graph
        .nodes
        .iter()
        .flat_map(|node| node.inputs.iter().chain(&node.outputs).flatten());
    let mut numbers = vec![None; graph.values.len()];
    let mut order = Vec::new();
    let mut rest: Vec<ValueId> = (0..graph.values.len()).map(ValueId::new).collect();
    rest.sort_by(|a, b| graph.value(*a).name.cmp(&graph.value(*b).name));
    for id in graph
        .inputs
        .iter()
        .chain(of_nodes)
        .chain(&graph.outputs)
        .chain(&rest)
    {
        if numbers[id.index()].is_none() {
            numbers[id.index()] = Some(ValueId::new(order.len()));
            order.push(*id);
        }
    }
    let is_public = |id: &ValueId| graph.inputs.contains(id) || graph.outputs.contains(id);
    let named = |id: &ValueId| {
        let mut value = graph.value(*id).clone();
        if value.initializer.is_some() && !is_public(id) {
            value.name.clear();
        }
        value
    };
    graph.values = order.iter().map(named).collect();
    let renumber = |id: &mut ValueId| *id = numbers[id.index()].expect("every value has a number");
    graph
        .inputs
        .iter_mut()
        .chain(&mut graph.outputs)
        .for_each(renumber);
    for node in &mut graph.nodes {
        node.inputs
            .iter_mut()
            .chain(&mut node.outputs)
            .flatten()
            .for_each(renumber);
    }
    graph
}
