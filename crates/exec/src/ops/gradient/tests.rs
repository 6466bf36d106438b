//! Ops that have no slope to compare with. Gradients are compared with differences in `tests/gradients`.

use bantam_graph::ops::{FakeQuant, FakeQuantGradient, FakeSign, FakeSignGradient, SignEstimator, SumTo};
use bantam_tensor::{DType, Tensor};

use crate::ops::testing::{run, run_one};

fn list(values: &[f64]) -> Tensor {
    Tensor::from_vec1(values)
}

#[test]
fn codes_are_rounded_clamped_and_scaled_back() {
    let op = FakeQuant {
        axis: None,
        gradient_scale: 1.0,
        high: 3,
        low: -4,
    };
    // In steps of 0.5 with zero point 1: codes -4..=3 are -2.5..=1.0.
    let x = list(&[0.0, 0.2, 0.25, 0.75, -0.3, 9.0, -9.0]);
    let y = run_one(op, &[x, Tensor::scalar(0.5f64), Tensor::scalar(1.0f64)]);
    assert_eq!(y.to_f64().unwrap(), [0.0, 0.0, 0.5, 0.5, -0.5, 1.0, -2.5]);
}

#[test]
fn parameters_along_an_axis() {
    let op = FakeQuant {
        axis: Some(1),
        gradient_scale: 1.0,
        high: 7,
        low: -8,
    };
    let x = Tensor::from_slice(&[2, 2], &[1.1f32, 1.1, 100.0, 100.0]).unwrap();
    let scales = Tensor::from_vec1(&[1.0f32, 0.25]);
    let y = run_one(
        op.clone(),
        &[x.clone(), scales.clone(), Tensor::from_vec1(&[0.0f32, 0.0])],
    );
    assert_eq!(y.to_f32().unwrap(), [1.0, 1.0, 7.0, 1.75]);
    assert!(
        run(op, &[x, scales.clone(), Tensor::scalar(0.0f32)]).is_err(),
        "a zero point for each"
    );
}

/// LSQ, equations 3 and 5: inside the slope of x is 1 and that of the scale `round(v) - v`, outside 0 and the bound; LSQ+
/// adds the zero point, whose slope is 0 inside and `-scale` outside.
#[test]
fn straight_through_gradients() {
    let op = |gradient_scale| FakeQuantGradient {
        axis: None,
        gradient_scale,
        high: 3,
        low: -4,
    };
    let inputs = [
        list(&[1.0, 10.0, 100.0, 1000.0]),
        list(&[0.3, -0.7, 5.0, -5.0]),
        Tensor::scalar(0.5f64),
        Tensor::scalar(0.25f64),
    ];
    // v = x / s + z: 0.85, -1.15, and two outside.
    let outputs = run(op(1.0), &inputs).unwrap();
    assert_eq!(outputs[0].to_f64().unwrap(), [1.0, 10.0, 0.0, 0.0]);
    let of_scale = 0.15 + 10.0 * 0.15 + 100.0 * 2.75 - 1000.0 * 4.25;
    assert!((outputs[1].to_f64().unwrap()[0] - of_scale).abs() < 1e-9);
    assert_eq!(outputs[2].to_f64().unwrap(), [-0.5 * 1100.0]);
    let half = run(op(0.5), &inputs).unwrap();
    assert!((half[1].to_f64().unwrap()[0] - of_scale / 2.0).abs() < 1e-9);
    assert_eq!(half[0], outputs[0], "only parameters are scaled");
}

#[test]
fn sums_to_shapes_that_were_repeated() {
    let x = Tensor::from_f64(
        DType::F32,
        &[2, 2, 3],
        &(0..12).map(f64::from).collect::<Vec<_>>(),
    )
    .unwrap();
    let cases: [(&[i64], &[f32]); 4] = [
        (&[2, 2, 3], &[0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11.]),
        (&[2, 1], &[24.0, 42.0]),
        (&[1, 1, 3], &[18.0, 22.0, 26.0]),
        (&[], &[66.0]),
    ];
    for (shape, expected) in cases {
        let y = run_one(SumTo {}, &[x.clone(), Tensor::from_vec1(shape)]);
        assert_eq!(y.to_f32().unwrap(), expected, "{shape:?}");
        assert_eq!(y.shape().len(), shape.len());
    }
    for shape in [&[3i64, 3][..], &[4, 2, 2, 3], &[-1]] {
        assert!(
            run(SumTo {}, &[x.clone(), Tensor::from_vec1(shape)]).is_err(),
            "{shape:?}"
        );
    }
}

/// Both signs, or three levels: half of the numbers lie on a threshold.
#[test]
fn levels_and_thresholds() {
    let x = list(&[-2.0, -0.5, 0.0, 0.5, 2.0]);
    let y = |threshold: f64| {
        let inputs = [x.clone(), Tensor::scalar(3.0f64), Tensor::scalar(threshold)];
        run_one(sign(SignEstimator::Clip, 1.0), &inputs).to_f64().unwrap()
    };
    assert_eq!(y(0.0), [-3.0, -3.0, 3.0, 3.0, 3.0]);
    assert_eq!(y(0.5), [-3.0, 0.0, 0.0, 0.0, 3.0]);
}

fn sign(estimator: SignEstimator, gradient_scale: f32) -> FakeSign {
    FakeSign {
        axis: None,
        bound: 2.0,
        estimator,
        gradient_scale,
    }
}

/// The estimators by their definitions, with a scale of 0.5 and a bound of 2: `|x|` up to 1 counts.
#[test]
fn estimators_of_a_slope() {
    let cases = [
        (SignEstimator::Identity, [1.0, 10.0, 100.0, 1000.0]),
        (SignEstimator::Clip, [1.0, 10.0, 100.0, 0.0]),
        // (2 - 2 |x|) / 2
        (SignEstimator::Polynomial, [0.75, 2.5, 0.0, 0.0]),
    ];
    for (estimator, expected) in cases {
        let op = FakeSignGradient {
            axis: None,
            bound: 2.0,
            estimator,
            gradient_scale: 0.5,
        };
        let inputs = [
            list(&[1.0, 10.0, 100.0, 1000.0]),
            list(&[0.25, -0.75, 1.0, -1.5]),
            Tensor::scalar(0.5f64),
            Tensor::scalar(0.3f64),
        ];
        let outputs = run(op, &inputs).unwrap();
        assert_eq!(outputs[0].to_f64().unwrap(), expected, "{estimator:?}");
        // The first lies under the threshold.
        assert_eq!(outputs[1].to_f64().unwrap(), [0.5 * (-10.0 + 100.0 - 1000.0)]);
        assert_eq!(outputs[2].to_f64().unwrap(), [0.0]);
    }
}
