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
        return Err(format!("shape {:?} instead of {:?}", got.shape(), expected.shape()));
    }
    if matches!(got.dtype(), DType::String | DType::Complex64 | DType::Complex128 | DType::I64 | DType::U64) {
        return if got == expected { Ok(()) } else { Err(format!("{got:?} instead of {expected:?}")) };
    }
    // ONNX's own runner allows two units in the last place of bfloat16.
    let relative = if got.dtype() == DType::BF16 { 2f64.powi(-6) } else { tolerance.relative };
    let (relative, absolute) =
        if got.dtype().is_float() { (relative, tolerance.absolute) } else { (0.0, 0.0) };
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
            Err(format!("{count} of {of} elements differ, first at {index}: {first} instead of {want}"))
        }
    }
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>, String> {
    tensor.to_f64().map_err(|error| error.to_string())
}

/// Compares models, apart from the numbers of values and from the versions: saving may raise these to what the
/// canonical form needs (constants that are no inputs need IR 4).
pub(crate) fn same_model(first: &Model, second: &Model) -> Result<(), String> {
    let without_versions = |model: &Model| Model {
        graph: numbered_by_name(&model.graph),
        ir_version: 0,
        opsets: Vec::new(),
        ..model.clone()
    };
    let (first, second) = (without_versions(first), without_versions(second));
    if first == second {
        return Ok(());
    }
    let values = first.graph.values.iter().zip(&second.graph.values).find(|(first, second)| first != second);
    let nodes = first.graph.nodes.iter().zip(&second.graph.nodes).find(|(first, second)| first != second);
    Err(match (values, nodes) {
        (Some((first, second)), _) => format!("{first:?} became {second:?}"),
        (_, Some((first, second))) => format!("{first:?} became {second:?}"),
        _ => "something besides values and nodes changed".to_owned(),
    })
}

/// The same graph with its values sorted by name, also inside subgraphs.
fn numbered_by_name(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let mut order: Vec<usize> = (0..graph.values.len()).collect();
    order.sort_by(|&a, &b| graph.values[a].name.cmp(&graph.values[b].name));
    let mut numbers = vec![ValueId::new(0); order.len()];
    for (number, &index) in order.iter().enumerate() {
        numbers[index] = ValueId::new(number);
    }
    graph.values = order.iter().map(|&index| graph.values[index].clone()).collect();
    let renumber = |id: &mut ValueId| *id = numbers[id.index()];
    graph.inputs.iter_mut().chain(&mut graph.outputs).for_each(renumber);
    for node in &mut graph.nodes {
        node.inputs.iter_mut().chain(&mut node.outputs).flatten().for_each(renumber);
        for subgraph in node.op.subgraphs_mut() {
            *subgraph = numbered_by_name(subgraph);
        }
    }
    graph
}
