//! Activations quantized at run time.

use bantam_compress::quantize::QuantizeError;
use bantam_compress::select::Selector;
use bantam_compress::target::{TARGETS, Target};
use bantam_graph::Graph;
use bantam_graph::ops::{Cast, Gather, MatMul, Unary};
use bantam_tensor::{DType, format_by_name};

use crate::branches;
use crate::support::{agreement, constant, finish, input, quantized};

fn target() -> &'static Target {
    TARGETS[0]
}

#[test]
fn convolutions_are_dynamic_where_the_user_asks() {
    let graph = branches();
    let refused = quantized(&graph, "dynamic", target(), |_| ()).err();
    assert!(
        matches!(refused, Some(QuantizeError::Nothing { .. })),
        "{refused:?}"
    );
    for (weights, symmetric) in [("int8", true), ("uint8", true), ("int8", false), ("uint8", false)] {
        let (_, result) = quantized(&graph, "dynamic", target(), |settings| {
            settings.include = vec![Selector::parse("op:Conv").unwrap()];
            settings.weights = format_by_name(weights).unwrap();
            settings.symmetric_weights = symmetric;
        })
        .unwrap();
        let integers = result.nodes.iter().filter(|node| node.op.name() == "ConvInteger");
        assert_eq!(integers.count(), 4);
        let db = agreement(&graph, &result);
        assert!(db > 30.0, "{weights} symmetric {symmetric}: {db:.1} dB");
    }
}

#[test]
fn tables_are_stored_as_codes() {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[5]);
    let high = graph.add_node("high", Unary::Ceil, &[x]);
    let cast = Cast {
        saturate: true,
        to: DType::I64,
        round_mode: "up".to_owned(),
    };
    let rows = graph.add_node("rows", cast, &[high]);
    let table = constant(&mut graph, "table", &[2, 8], 1.0);
    let found = graph.add_node("found", Gather { axis: 0 }, &[table, rows]);
    let w = constant(&mut graph, "w", &[8, 4], 0.5);
    let y = graph.add_node("y", MatMul {}, &[found, w]);
    let graph = finish(graph, &[y]);
    let (_, result) = quantized(&graph, "dynamic", target(), |_| ()).unwrap();
    let gather = result
        .nodes
        .iter()
        .find(|node| node.op.name() == "Gather")
        .unwrap();
    assert_eq!(result.constant_input(gather, 0).unwrap().dtype(), DType::I8);
    let floats = result
        .values
        .iter()
        .filter_map(|value| value.initializer.as_ref());
    let largest = floats
        .filter(|tensor| tensor.dtype() == DType::F32)
        .map(|tensor| tensor.len())
        .max();
    assert!(largest < Some(16), "no table and no matrix is left in float");
    assert!(agreement(&graph, &result) > 30.0);
}

#[test]
fn weights_of_16_bits_are_refused() {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[4]);
    let w = constant(&mut graph, "w", &[4, 4], 0.5);
    let y = graph.add_node("y", MatMul {}, &[x, w]);
    let graph = finish(graph, &[y]);
    let refused = quantized(&graph, "dynamic", target(), |settings| {
        settings.weights = format_by_name("int16").unwrap();
    });
    let message = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(
        message.contains("`int16`") && message.contains("hint:"),
        "{message}"
    );
}
