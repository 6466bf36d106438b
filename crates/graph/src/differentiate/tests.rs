//! What differentiation refuses. The gradients themselves are tested where graphs run.

use bantam_tensor::DType;

use super::*;
use crate::Op;
use crate::ops::{Binary, Unary};

#[test]
fn ids_and_graphs_are_checked_first() {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, vec![]);
    let y = graph.add_node("y", Unary::Exp, &[x]);
    let outside = ValueId::new(99);
    assert_eq!(
        differentiate(&graph, y, &[outside]).unwrap_err(),
        DifferentiateError::NoSuchValue { index: 99 }
    );
    graph.nodes[0].inputs.clear();
    assert!(matches!(
        differentiate(&graph, y, &[x]),
        Err(DifferentiateError::Graph(_))
    ));
}

#[test]
fn integers_are_no_loss() {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::I64, vec![]);
    let y = graph.add_node("y", Binary::Add, &[x, x]);
    let error = differentiate(&graph, y, &[x]).unwrap_err().to_string();
    assert!(error.contains("`y` is i64[]"), "{error}");
}

#[test]
fn own_ops_are_known_by_their_domain() {
    assert!(Op::from(crate::ops::SumTo {}).is_own());
    assert!(!Op::from(Unary::Exp).is_own());
    let custom = crate::ops::Custom::new(crate::OWN_DOMAIN, "Unknown", crate::Attributes::new());
    assert!(!Op::Custom(custom).is_own());
}

#[test]
fn the_loss_itself_has_gradient_one() {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F64, vec![Dim::Known(1)]);
    let result = differentiate(&graph, x, &[x]).unwrap();
    let gradient = result.gradients[0]
        .and_then(|id| result.graph.constant(id))
        .unwrap();
    assert_eq!(
        (gradient.shape(), gradient.to_f64().unwrap()),
        (&[1][..], vec![1.0])
    );
}

#[test]
fn inputs_without_a_gradient_are_refused() {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, vec![Dim::Known(1), Dim::Known(1), Dim::Known(4)]);
    let scales = graph.add_input("scales", DType::F32, vec![Dim::Known(3)]);
    let resized = graph.add_value(crate::Value {
        name: "y".to_owned(),
        ..crate::Value::default()
    });
    let resize = crate::ops::Resize {
        antialias: false,
        axes: None,
        coordinate_transformation_mode: crate::ops::ResizeTransform::HalfPixel,
        cubic_coeff_a: -0.75,
        exclude_outside: false,
        extrapolation_value: 0.0,
        keep_aspect_ratio_policy: crate::ops::KeepAspectRatio::Stretch,
        mode: crate::ops::ResizeMode::Linear,
        nearest_mode: crate::ops::NearestMode::RoundPreferFloor,
    };
    let mut node = crate::Node::new("y", resize.into(), &[x, scales], &[resized]);
    node.inputs.insert(1, None);
    graph.nodes.push(node);
    let sum = crate::ops::Reduce {
        kind: crate::ops::ReduceKind::Sum,
        keepdims: false,
        noop_with_empty_axes: false,
    };
    let loss = graph.add_node("loss", sum, &[resized]);
    assert!(differentiate(&graph, loss, &[x]).is_ok());
    let error = differentiate(&graph, loss, &[x, scales]).unwrap_err().to_string();
    assert!(
        error.contains("`y` (Resize)") && error.contains("input 2") && error.contains("hint:"),
        "{error}"
    );
}
