//! Gradients of every op, compared with central differences in `f64`.

mod cases;
mod check;
mod graphs;
mod regions;
mod training;

use std::collections::BTreeSet;

use bantam_graph::{Differentiability, Op, differentiability};
use check::check;

#[test]
fn every_gradient_is_the_slope_of_the_loss() {
    let failures: Vec<String> = cases::all()
        .iter()
        .filter_map(|case| {
            check(case)
                .err()
                .map(|error| format!("{} ({}): {error}", case.name, case.op.name()))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "{} cases fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Ops that pass no gradient.
const STOPS: &[&str] = &[
    "BitwiseNot",
    "Ceil",
    "Floor",
    "IsNaN",
    "Not",
    "Round",
    "Sign",
    "And",
    "Or",
    "Xor",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "IsInf",
    "BitShift",
    "BitCast",
    "ArgMax",
    "ArgMin",
    "Hardmax",
    "Shape",
    "Size",
    "ConstantOfShape",
    "NonZero",
    "EyeLike",
    "Unique",
    "NonMaxSuppression",
];

/// Ops whose gradient is not written, with the reason.
const MISSING: &[(&str, &[&str])] = &[
    ("control flow", &["If", "Loop", "Scan"]),
    (
        "codes of integers",
        &[
            "QuantizeLinear",
            "DequantizeLinear",
            "DynamicQuantizeLinear",
            "QLinearAdd",
            "QLinearMul",
            "QLinearSigmoid",
            "QLinearLeakyRelu",
            "QLinearSoftmax",
            "QLinearGlobalAveragePool",
            "QLinearAveragePool",
            "QLinearConcat",
            "QGemm",
            "MatMulNBits",
            "GatherBlockQuantized",
            "MatMulIntegerToFloat",
            "DynamicQuantizeMatMul",
            "ConvInteger",
            "QLinearConv",
            "MatMulInteger",
            "QLinearMatMul",
        ],
    ),
    (
        "rare in training",
        &[
            "DeformConv",
            "Det",
            "MaxUnpool",
            "MaxRoiPool",
            "RoiAlign",
            "TensorScatter",
            "Range",
            "OneHot",
            "Compress",
            "GridSample",
            "AffineGrid",
            "Col2Im",
            "CenterCropPad",
        ],
    ),
    (
        "fused forms of ONNX Runtime, made after training",
        &["FusedConv", "FusedGemm"],
    ),
];

#[test]
fn every_op_has_a_case_or_a_reason() {
    let cases = cases::all();
    let checked: BTreeSet<(&str, &str)> = cases
        .iter()
        .map(|case| (case.op.domain(), case.op.name()))
        .collect();
    for case in &cases {
        assert_eq!(
            differentiability(&case.op),
            Differentiability::Passes,
            "{}",
            case.name
        );
    }
    let excused = |name: &str| STOPS.contains(&name) || MISSING.iter().any(|(_, ops)| ops.contains(&name));
    let second = |domain: &str, name: &str| {
        domain == bantam_graph::OWN_DOMAIN && (name.ends_with("Gradient") || name == "SumTo")
    };
    // Their straight-through gradients are no slopes; they have tests of their own.
    let apart = |name: &str| matches!(name, "FakeQuant" | "FakeSign");
    let missing: Vec<(&str, &str)> = Op::known()
        .into_iter()
        .filter(|(domain, name)| {
            !checked.contains(&(*domain, *name)) && !excused(name) && !second(domain, name) && !apart(name)
        })
        .collect();
    assert!(missing.is_empty(), "no case and no reason: {missing:?}");
    let both: Vec<&(&str, &str)> = checked.iter().filter(|(_, name)| excused(name)).collect();
    assert!(both.is_empty(), "a case and a reason for none: {both:?}");
}
