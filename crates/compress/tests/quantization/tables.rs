//! Tables that rows are looked up in, as codes.

use bantam_compress::plan::{Plan, Site};
use bantam_compress::quantize::groups::{GroupSettings, quantize_groups};
use bantam_compress::select::Selector;
use bantam_graph::ops::{Cast, Gather, Gemm, MatMul, Reshape};
use bantam_graph::passes::{ELIMINATE_DEAD_NODES, JOIN_GROUPS, run_passes};
use bantam_graph::{Graph, InferOptions, Op, infer_shapes};
use bantam_tensor::formats::blocks::IntegerGroups;
use bantam_tensor::{DType, Tensor};

use crate::groups::settings;
use crate::support::{agreement, constant, finish, input, kept};

/// An embedding that is the head too, behind a product; tokens are the noise's whole part, all 0.
fn network() -> Graph {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[5]);
    let cast = Cast {
        saturate: true,
        to: DType::I64,
        round_mode: "up".to_owned(),
    };
    let factor = graph.add_constant("factor", Tensor::scalar(9.0f32));
    let spread = graph.add_node("spread", bantam_graph::ops::Binary::Mul, &[x, factor]);
    let tokens = graph.add_node("tokens", cast, &[spread]);
    let table = constant(&mut graph, "table", &[20, 40], 0.5);
    let rows = graph.add_node("rows", Gather { axis: 0 }, &[table, tokens]);
    let weight = constant(&mut graph, "w", &[40, 40], 0.5);
    let y = graph.add_node("product", MatMul {}, &[rows, weight]);
    let shape = graph.add_constant("shape", Tensor::from_vec1(&[-1i64, 40]));
    let flat = graph.add_node("flat", Reshape { allowzero: false }, &[y, shape]);
    let gemm = Gemm {
        alpha: 1.0,
        beta: 1.0,
        transA: false,
        transB: true,
    };
    let y = graph.add_node("head", gemm, &[flat, table]);
    finish(graph, &[y])
}

fn with_tables(bits: u32, zero_point: bool) -> GroupSettings {
    GroupSettings {
        tables: Some(IntegerGroups::new(bits, 32, zero_point, false).into()),
        ..settings("nearest", 4, false)
    }
}

fn quantized(graph: &Graph, settings: &GroupSettings) -> (Graph, Plan) {
    quantize_groups(graph, settings, None, &|_, _| ()).unwrap()
}

#[test]
fn lookups_and_head_share_the_codes() {
    let graph = network();
    let (result, plan) = quantized(&graph, &with_tables(4, true));
    let reader = |site: &Site| match site {
        Site::Input { value, node, .. } if value == "table" => Some(node.clone()),
        _ => None,
    };
    let readers: Vec<String> = plan.decisions.iter().filter_map(|it| reader(&it.site)).collect();
    assert_eq!(readers, ["rows", "head"]);
    let dequantized = result
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::DequantizeLinear(_)));
    assert_eq!(dequantized.count(), 2, "of the table and of the product's weight");
    assert!(agreement(&graph, &result) > 15.0);
    // Without being asked for, and where a reader is excluded, it stays as it is.
    let (_, plan) = quantized(&graph, &settings("nearest", 4, false));
    assert_eq!(kept(&plan, "head"), Some("its weight has other readers too"));
    let mut excluded = with_tables(4, true);
    excluded.quantize.exclude = vec![Selector::parse("name:head").unwrap()];
    let (_, plan) = quantized(&graph, &excluded);
    assert!(
        plan.decisions
            .iter()
            .all(|decision| reader(&decision.site).is_none())
    );
}

/// The ops of ONNX Runtime compute what the plain ones did.
#[test]
fn lookups_become_gather_block_quantized() {
    let graph = network();
    for (bits, zero_point) in [(4, true), (4, false), (8, true), (8, false)] {
        let (before, _) = quantized(&graph, &with_tables(bits, zero_point));
        let mut joined = before.clone();
        let reports = run_passes(&mut joined, &[JOIN_GROUPS, ELIMINATE_DEAD_NODES]).unwrap();
        assert_eq!(
            (reports[0].applied, reports[0].not_applied.as_slice()),
            (3, &[][..])
        );
        infer_shapes(&mut joined, &InferOptions::default()).unwrap();
        let lookup = joined.nodes.iter().find_map(|node| match &node.op {
            Op::GatherBlockQuantized(op) => Some((op, joined.constant_input(node, 0).unwrap())),
            _ => None,
        });
        let (op, codes) = lookup.unwrap();
        assert_eq!((op.bits, op.block_size), (i64::from(bits), 32));
        let expected = match (bits, zero_point) {
            (4, true) => DType::U4,
            (4, false) => DType::I4,
            _ => DType::U8,
        };
        assert_eq!((codes.dtype(), codes.shape()), (expected, &[20, 40][..]));
        assert!(
            joined
                .nodes
                .iter()
                .all(|node| !matches!(node.op, Op::DequantizeLinear(_)))
        );
        assert!(agreement(&before, &joined) > 100.0, "{bits}, {zero_point}");
    }
    let mut odd = with_tables(4, true);
    odd.tables = Some(IntegerGroups::new(4, 12, true, false).into());
    let (mut result, _) = quantized(&graph, &odd);
    let reports = run_passes(&mut result, &[JOIN_GROUPS]).unwrap();
    assert_eq!((reports[0].applied, reports[0].not_applied.len()), (1, 2));
}
