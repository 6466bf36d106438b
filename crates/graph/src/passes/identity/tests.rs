use super::*;
use crate::ops::{Cast, Concat, Dropout, Expand, Flatten, Pad, PadMode, Slice, Unary};
use crate::passes::{ELIMINATE_IDENTITY, run_passes};
use bantam_tensor::{DType, Tensor};

/// Whether the pass removes `op` applied to x `[N, 3, 4]` and these constants.
fn removed(op: impl Into<Op>, constants: &[&[i64]]) -> bool {
    let mut graph = Graph::default();
    let x = graph.add_input(
        "x",
        DType::F32,
        vec![Dim::Symbol("N".into()), Dim::Known(3), Dim::Known(4)],
    );
    let constants = constants
        .iter()
        .map(|values| graph.add_constant("c", Tensor::from_vec1(values)));
    let inputs: Vec<ValueId> = [x].into_iter().chain(constants.collect::<Vec<_>>()).collect();
    let y = graph.add_node("y", op, &inputs);
    let z = graph.add_node("z", Unary::Relu, &[y]);
    graph.outputs.push(z);
    let report = run_passes(&mut graph, &[ELIMINATE_IDENTITY]).unwrap().remove(0);
    assert_eq!(graph.nodes.len(), 2 - report.applied);
    assert!(report.not_applied.is_empty());
    report.applied == 1
}

#[test]
fn what_returns_its_input() {
    let transpose = |perm: &[i64]| Transpose {
        perm: Some(perm.to_vec()),
    };
    let cast = |to| Cast {
        saturate: true,
        to,
        round_mode: "up".to_owned(),
    };
    let pad = Pad {
        mode: PadMode::Constant,
    };
    let reshape = |allowzero| Reshape { allowzero };
    let cases: Vec<(&str, bool, bool)> = vec![
        ("identity", removed(Unary::Identity, &[]), true),
        ("dropout", removed(Op::Dropout(Dropout { seed: None }), &[]), true),
        (
            "training dropout",
            removed(Op::Dropout(Dropout { seed: None }), &[&[1], &[1]]),
            false,
        ),
        (
            "concat of one",
            removed(Op::Concat(Concat { axis: 0 }), &[]),
            true,
        ),
        ("cast to its type", removed(cast(DType::F32), &[]), true),
        ("cast to another", removed(cast(DType::F16), &[]), false),
        ("transpose", removed(transpose(&[0, 1, 2]), &[]), true),
        ("real transpose", removed(transpose(&[0, 2, 1]), &[]), false),
        ("no pads", removed(pad.clone(), &[&[0; 6]]), true),
        ("pads", removed(pad, &[&[0, 0, 1, 0, 0, 0]]), false),
        ("flatten of rank 3", removed(Flatten { axis: 1 }, &[]), false),
        ("expand to itself", removed(Expand {}, &[&[1, 1]]), true),
        (
            "expand to a higher rank",
            removed(Expand {}, &[&[1, 1, 1, 1]]),
            false,
        ),
        ("reshape to itself", removed(reshape(false), &[&[0, 3, 4]]), true),
        (
            "reshape with an open size",
            removed(reshape(false), &[&[-1, 3, 4]]),
            true,
        ),
        ("reshape to zero", removed(reshape(true), &[&[0, 3, 4]]), false),
        (
            "reshape with two unknowns",
            removed(reshape(false), &[&[2, 3, 4]]),
            false,
        ),
        ("reshape", removed(reshape(false), &[&[0, 4, 3]]), false),
        (
            "slice of all",
            removed(Slice {}, &[&[0, 0], &[i64::MAX, 4], &[0, -1]]),
            true,
        ),
        ("slice of a part", removed(Slice {}, &[&[0], &[3], &[2]]), false),
        (
            "slice to an unknown end",
            removed(Slice {}, &[&[0], &[3], &[0]]),
            false,
        ),
        (
            "reversing slice",
            removed(Slice {}, &[&[0], &[9], &[2], &[-1]]),
            false,
        ),
    ];
    for (case, got, expected) in cases {
        assert_eq!(got, expected, "{case}");
    }
}

#[test]
fn the_interface_keeps_its_names() {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, vec![Dim::Known(2)]);
    let through = graph.add_node("through", Unary::Identity, &[x]);
    let y = graph.add_node("y", Unary::Relu, &[through]);
    let first = graph.add_node("first", Unary::Identity, &[y]);
    let second = graph.add_node("second", Unary::Identity, &[first]);
    graph.outputs = vec![through, first, second];
    let report = run_passes(&mut graph, &[ELIMINATE_IDENTITY]).unwrap().remove(0);
    let names: Vec<&str> = graph
        .outputs
        .iter()
        .map(|id| graph.value(*id).name.as_str())
        .collect();
    assert_eq!(names, ["through", "first", "second"]);
    let nodes: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(nodes, ["through", "y", "second"]);
    assert_eq!(report.not_applied.len(), 2);
    assert!(
        report
            .not_applied
            .iter()
            .all(|place| place.reason == Reason::NamesBothEnds)
    );
}

#[test]
fn chains_vanish_in_one_round() {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, vec![Dim::Known(2)]);
    let mut value = graph.add_node("start", Unary::Relu, &[x]);
    for _ in 0..50 {
        value = graph.add_node("copy", Unary::Identity, &[value]);
    }
    graph.outputs.push(value);
    let report = run_passes(&mut graph, &[ELIMINATE_IDENTITY]).unwrap().remove(0);
    assert_eq!((report.applied, report.rounds, graph.nodes.len()), (50, 2, 1));
}
