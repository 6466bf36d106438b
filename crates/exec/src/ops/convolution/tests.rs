use bantam_graph::ops::AutoPad;

use super::super::testing::{run, run_one, run_optional};
use super::*;

fn plain() -> Conv {
    Conv {
        auto_pad: AutoPad::NotSet,
        dilations: Vec::new(),
        group: 1,
        kernel_shape: Vec::new(),
        pads: Vec::new(),
        strides: Vec::new(),
    }
}

fn counting(shape: &[usize]) -> Tensor {
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
    Tensor::from_slice(shape, &values).unwrap()
}

fn cast(tensor: &Tensor, dtype: DType) -> Tensor {
    let values = tensor.to_f64().unwrap();
    match dtype {
        DType::F64 => Tensor::from_slice(tensor.shape(), &values),
        DType::F16 => {
            let values: Vec<f16> = values.iter().map(|&v| f16::from_f64(v)).collect();
            Tensor::from_slice(tensor.shape(), &values)
        }
        DType::BF16 => {
            let values: Vec<bf16> = values.iter().map(|&v| bf16::from_f64(v)).collect();
            Tensor::from_slice(tensor.shape(), &values)
        }
        _ => Ok(tensor.clone()),
    }
    .unwrap()
}

#[test]
fn every_float_type() {
    let op = Conv {
        pads: vec![1, 0, 0, 1],
        strides: vec![2, 1],
        ..plain()
    };
    let (x, w, b) = (
        counting(&[1, 1, 3, 3]),
        counting(&[1, 1, 2, 2]),
        Tensor::from_vec1(&[10f32]),
    );
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let y = run_one(op.clone(), &[cast(&x, dtype), cast(&w, dtype), cast(&b, dtype)]);
        assert_eq!((y.dtype(), y.shape()), (dtype, &[1, 1, 2, 3][..]));
        assert_eq!(
            y.to_f64().unwrap(),
            [13.0, 18.0, 14.0, 47.0, 53.0, 26.0],
            "{dtype}"
        );
    }
    assert!(
        run(op, &[cast(&x, DType::F64), w]).is_ok(),
        "weights of another width are converted"
    );
    assert!(
        run(
            plain(),
            &[
                Tensor::from_slice(&[1, 1, 1], &[1i32]).unwrap(),
                counting(&[1, 1, 1])
            ]
        )
        .is_err()
    );
}

#[test]
fn wrong_shapes_are_refused() {
    let grouped = Conv { group: 2, ..plain() };
    let cases: &[(&Conv, &[usize], &[usize])] = &[
        (&plain(), &[1, 3, 4, 4], &[2, 2, 3, 3]),
        (&plain(), &[1, 3, 4, 4], &[2, 3, 3]),
        (&plain(), &[1, 3], &[2, 3]),
        (&plain(), &[1, 3, 2, 2], &[2, 3, 3, 3]),
        (&plain(), &[1, 3, 2, 2], &[2, 3, 0, 1]),
        (&grouped, &[1, 4, 2, 2], &[3, 2, 1, 1]),
        (&Conv { group: 0, ..plain() }, &[1, 4, 2, 2], &[3, 4, 1, 1]),
        (&Conv { group: -1, ..plain() }, &[1, 4, 2, 2], &[3, 4, 1, 1]),
    ];
    for (op, x, w) in cases {
        assert!(
            run((*op).clone(), &[counting(x), counting(w)]).is_err(),
            "{x:?} by {w:?}"
        );
    }
    let bias = counting(&[3]);
    assert!(run(plain(), &[counting(&[1, 1, 2, 2]), counting(&[2, 1, 1, 1]), bias]).is_err());
}

#[test]
fn nothing_in_gives_nothing_or_the_bias() {
    let y = run_one(plain(), &[counting(&[0, 3, 4, 4]), counting(&[2, 3, 3, 3])]);
    assert_eq!(y.shape(), [0, 2, 2, 2]);
    let bias = Tensor::from_vec1(&[2f32, 3.0]);
    let y = run_one(plain(), &[counting(&[1, 0, 1, 2]), counting(&[2, 0, 1, 1]), bias]);
    assert_eq!(y.to_f32().unwrap(), [2.0, 2.0, 3.0, 3.0]);
}

#[test]
fn fused_conv_adds_and_activates() {
    let op = |activation: &str| FusedConv {
        auto_pad: AutoPad::NotSet,
        dilations: Vec::new(),
        group: 1,
        kernel_shape: Vec::new(),
        pads: Vec::new(),
        strides: Vec::new(),
        activation: activation.to_owned(),
        activation_params: if activation == "Clip" {
            vec![-1.0, 2.0]
        } else {
            vec![0.5, 0.0]
        },
    };
    let x = Tensor::from_slice(&[1, 1, 3], &[-4f32, 1.0, 5.0]).unwrap();
    let w = Tensor::from_slice(&[1, 1, 1], &[2f32]).unwrap();
    let same = Tensor::from_slice(&[1, 1, 3], &[1f32, 1.0, 1.0]).unwrap();
    for (activation, addend, expected) in [
        ("", None, [-8.0, 2.0, 10.0]),
        ("Relu", Some(same.clone()), [0.0, 3.0, 11.0]),
        ("Relu", Some(Tensor::scalar(-2f32)), [0.0, 0.0, 8.0]),
        ("Clip", Some(same.clone()), [-1.0, 2.0, 2.0]),
        ("LeakyRelu", Some(same.clone()), [-3.5, 3.0, 11.0]),
    ] {
        let inputs = [Some(x.clone()), Some(w.clone()), None, addend];
        let y = run_optional(op(activation), &inputs).unwrap();
        assert_eq!(y[0].as_ref().unwrap().to_f32().unwrap(), expected, "{activation}");
    }
    let wide = [x, w, Tensor::scalar(0.5f32), same].map(|tensor| Some(cast(&tensor, DType::F64)));
    let wide = [wide[0].clone(), wide[1].clone(), None, wide[3].clone()];
    let y = run_optional(op("Relu"), &wide).unwrap();
    assert_eq!(y[0].as_ref().unwrap().to_f64().unwrap(), [0.0, 3.0, 11.0]);
}

#[test]
fn transposed() {
    let op = |strides: &[i64], pads: &[i64], group: i64| ConvTranspose {
        auto_pad: AutoPad::NotSet,
        dilations: Vec::new(),
        group,
        kernel_shape: Vec::new(),
        pads: pads.to_vec(),
        strides: strides.to_vec(),
        output_padding: Vec::new(),
        output_shape: Vec::new(),
    };
    // By hand: every element of x spreads the weights over y.
    let x = Tensor::from_slice(&[1, 1, 3], &[1f32, 2.0, 3.0]).unwrap();
    let w = Tensor::from_slice(&[1, 1, 3], &[1f32, 10.0, 100.0]).unwrap();
    let b = Tensor::from_vec1(&[0.5f32]);
    let cases: &[(&[i64], &[i64], &[f32])] = &[
        (&[], &[], &[1.5, 12.5, 123.5, 230.5, 300.5]),
        (&[2], &[], &[1.5, 10.5, 102.5, 20.5, 203.5, 30.5, 300.5]),
        (&[2], &[1, 2], &[10.5, 102.5, 20.5, 203.5]),
        (
            &[5],
            &[0, 0],
            &[
                1.5, 10.5, 100.5, 0.5, 0.5, 2.5, 20.5, 200.5, 0.5, 0.5, 3.5, 30.5, 300.5,
            ],
        ),
    ];
    for (strides, pads, expected) in cases {
        let y = run_one(op(strides, pads, 1), &[x.clone(), w.clone(), b.clone()]);
        assert_eq!(
            y.to_f32().unwrap(),
            *expected,
            "strides {strides:?}, pads {pads:?}"
        );
    }
    // Two groups of one input and two output channels, 2-D.
    let x = Tensor::from_slice(&[1, 2, 1, 2], &[1f32, 2.0, 3.0, 4.0]).unwrap();
    let w = Tensor::from_slice(&[2, 2, 1, 1], &[1f32, 10.0, 100.0, 1000.0]).unwrap();
    let y = run_one(op(&[], &[], 2), &[x, w]);
    assert_eq!(
        y.to_f32().unwrap(),
        [1.0, 2.0, 10.0, 20.0, 300.0, 400.0, 3000.0, 4000.0]
    );
    assert!(run(op(&[], &[9, 9], 1), &[counting(&[1, 1, 3]), counting(&[1, 1, 3])]).is_err());
    assert!(run(op(&[], &[], 1), &[counting(&[1, 2, 3]), counting(&[1, 1, 3])]).is_err());
}
