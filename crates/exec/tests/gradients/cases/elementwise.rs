//! Element-wise ops.

use bantam_graph::ops::*;
use bantam_tensor::{DType, Tensor};

use crate::check::{Case, Input, apart, case, integers, number, positive, within, x};

pub(crate) fn cases() -> Vec<Case> {
    [unary(), activations(), binary(), others()]
        .into_iter()
        .flatten()
        .collect()
}

fn unary() -> Vec<Case> {
    let of = |op: Unary, input: Input| case(op.name(), op, vec![input]);
    let mut cases: Vec<Case> = [
        Unary::Identity,
        Unary::Neg,
        Unary::Exp,
        Unary::Erf,
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::Mish,
        Unary::Softplus,
        Unary::Sin,
        Unary::Cos,
        Unary::Sinh,
        Unary::Cosh,
        Unary::Asinh,
        Unary::Atan,
    ]
    .into_iter()
    .map(|op| of(op, x(&[2, 3])))
    .collect();
    cases.extend([Unary::Log, Unary::Sqrt, Unary::Reciprocal].map(|op| of(op, positive(&[2, 3]))));
    cases.extend(
        [Unary::Asin, Unary::Acos, Unary::Atanh, Unary::Tan].map(|op| of(op, within(&[2, 3], -0.8, 0.8))),
    );
    cases.push(of(Unary::Acosh, within(&[2, 3], 1.5, 3.0)));
    cases.extend([Unary::Abs, Unary::Relu, Unary::Softsign].map(|op| of(op, apart(&[4, 5]))));
    cases.push(of(Unary::HardSwish, within(&[40], -4.5, 4.5)));
    cases
}

fn activations() -> Vec<Case> {
    let of = |name, op: bantam_graph::Op| case(name, op, vec![apart(&[60])]);
    let none = GeluApproximation::None;
    let tanh = GeluApproximation::Tanh;
    vec![
        of("elu", Elu { alpha: 1.5 }.into()),
        of(
            "selu",
            Selu {
                alpha: 1.6,
                gamma: 1.1,
            }
            .into(),
        ),
        of("celu", Celu { alpha: 0.7 }.into()),
        of("leaky relu", LeakyRelu { alpha: 0.1 }.into()),
        of(
            "hard sigmoid",
            HardSigmoid {
                alpha: 0.6,
                beta: 0.5,
            }
            .into(),
        ),
        of("thresholded relu", ThresholdedRelu { alpha: 0.5 }.into()),
        of(
            "shrink",
            Shrink {
                bias: 0.2,
                lambd: 0.5,
            }
            .into(),
        ),
        of("gelu", Gelu { approximate: none }.into()),
        of("gelu by tanh", Gelu { approximate: tanh }.into()),
        of("swish", Swish { alpha: 1.5 }.into()),
        of("gelu of ONNX Runtime", MsGelu {}.into()),
        of("quick gelu", QuickGelu { alpha: 1.702 }.into()),
        case("biased gelu", BiasGelu {}, vec![x(&[2, 3, 4]), x(&[4])]),
        case("fast gelu", FastGelu {}, vec![x(&[2, 3]), x(&[3])]),
        case("fast gelu without bias", FastGelu {}, vec![x(&[2, 3])]),
        case("clip", Clip {}, vec![apart(&[4, 6]), number(-0.2), number(0.3)]),
        case("clip from below", Clip {}, vec![apart(&[4, 6]), number(-0.2)]),
        case(
            "clip by values that learn",
            Clip {},
            vec![apart(&[4, 6]), within(&[], -0.21, -0.2), within(&[], 0.25, 0.26)],
        ),
    ]
}

fn binary() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Pow] {
        cases.push(case(op.name(), op, vec![positive(&[2, 3]), positive(&[2, 3])]));
        cases.push(case(
            "left repeated",
            op,
            vec![positive(&[3, 1]), positive(&[2, 1, 4])],
        ));
        cases.push(case(
            "right repeated",
            op,
            vec![positive(&[2, 3, 4]), positive(&[3, 1])],
        ));
        cases.push(case("a scalar", op, vec![positive(&[2, 3]), positive(&[])]));
    }
    cases.extend([
        case("square", Binary::Pow, vec![x(&[2, 3]), number(2.0)]),
        case("cube", Binary::Pow, vec![x(&[2, 3]), number(3.0)]),
        case(
            "power of another type",
            Binary::Pow,
            vec![positive(&[2, 3]), integers(&[3], &[1, 2, 3])],
        ),
        case(
            "slope of channels",
            Binary::PRelu,
            vec![apart(&[2, 3, 4]), x(&[3, 1])],
        ),
        case(
            "slope of elements",
            Binary::PRelu,
            vec![apart(&[2, 3]), x(&[2, 3])],
        ),
    ]);
    cases
}

fn others() -> Vec<Case> {
    let truths = || Input::Given(Tensor::from_bools(&[3, 1], &[true, false, true]).unwrap());
    let to_double = Cast {
        saturate: true,
        to: DType::F64,
        round_mode: "up".to_owned(),
    };
    let like = CastLike {
        saturate: true,
        round_mode: "up".to_owned(),
    };
    let mut cases = vec![
        case("choice", Where {}, vec![truths(), x(&[2, 1, 4]), x(&[3, 4])]),
        case("choice of one", Where {}, vec![truths(), x(&[3, 4]), number(1.0)]),
        case(
            "remainder",
            Mod { fmod: true },
            vec![within(&[6], 2.1, 2.9), within(&[6], 0.95, 1.05)],
        ),
        case("cast", to_double, vec![x(&[2, 3])]),
        case("cast like", like, vec![x(&[2, 3]), number(1.0)]),
        case("dropout at inference", Dropout { seed: None }, vec![x(&[2, 3])]),
        case(
            "dropout",
            DropoutTraining { seed: 5 },
            vec![x(&[4, 5]), number(0.4), integers(&[], &[3])],
        ),
    ];
    for op in [Variadic::Sum, Variadic::Mean, Variadic::Max, Variadic::Min] {
        cases.push(case(op.name(), op, vec![x(&[2, 3]), x(&[4, 2, 1]), x(&[3])]));
        cases.push(case("of one", op, vec![x(&[2, 3])]));
    }
    cases
}
