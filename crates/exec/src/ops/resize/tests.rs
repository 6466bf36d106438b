//! Values from the ONNX reference implementation (onnx 1.23.2, `onnx.reference.ops.op_resize`).

use bantam_graph::ops::NearestMode;

use super::*;
use crate::ops::testing::run_optional;

fn op(mode: ResizeMode) -> Resize {
    Resize {
        antialias: false,
        axes: None,
        coordinate_transformation_mode: ResizeTransform::HalfPixel,
        cubic_coeff_a: -0.75,
        exclude_outside: false,
        extrapolation_value: 0.0,
        keep_aspect_ratio_policy: KeepAspectRatio::Stretch,
        mode,
        nearest_mode: NearestMode::RoundPreferFloor,
    }
}

/// 1 to 16 in a square.
fn square() -> Tensor {
    let values: Vec<f32> = (1..=16u8).map(f32::from).collect();
    Tensor::from_slice(&[1, 1, 4, 4], &values).unwrap()
}

fn scales(values: &[f32]) -> [Option<Tensor>; 2] {
    [None, Some(Tensor::from_vec1(values))]
}

fn sizes(values: &[i64]) -> [Option<Tensor>; 3] {
    [None, None, Some(Tensor::from_vec1(values))]
}

fn check(op: &Resize, x: Tensor, rest: &[Option<Tensor>], shape: &[usize], expected: &[f32]) {
    let inputs: Vec<Option<Tensor>> = [Some(x)].into_iter().chain(rest.iter().cloned()).collect();
    let y = run_optional(op.clone(), &inputs).unwrap().swap_remove(0).unwrap();
    assert_eq!(y.shape(), shape);
    let close = y
        .to_f32()
        .unwrap()
        .iter()
        .zip(expected)
        .all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(close, "{:?}, expected {expected:?}", y.to_f32());
}

#[test]
fn interpolation_matches_the_reference() {
    check(
        &op(ResizeMode::Linear),
        square(),
        &scales(&[1.0, 1.0, 0.6, 0.6]),
        &[1, 1, 2, 2],
        &[2.6666665, 4.3333335, 9.333333, 11.0],
    );
    check(
        &op(ResizeMode::Cubic),
        square(),
        &scales(&[1.0, 1.0, 0.8, 0.8]),
        &[1, 1, 3, 3],
        &[
            1.47119, 2.78125, 4.08252, 6.71143, 8.02148, 9.32275, 11.9165, 13.22656, 14.52783,
        ],
    );
    check(
        &Resize {
            antialias: true,
            ..op(ResizeMode::Linear)
        },
        square(),
        &sizes(&[1, 1, 2, 3]),
        &[1, 1, 2, 3],
        &[3.772727, 5.0, 6.227273, 10.772727, 12.0, 13.227273],
    );
}

#[test]
fn nearest_keeps_any_type() {
    let run = |x: Tensor, op: Resize| {
        let rest = [Some(x), None, Some(Tensor::from_vec1(&[1.5f32]))];
        run_optional(op, &rest).unwrap().swap_remove(0).unwrap()
    };
    let strings = ["a", "b"].map(|text| text.as_bytes().to_vec());
    let y = run(
        Tensor::from_strings(&[2], strings.to_vec()).unwrap(),
        op(ResizeMode::Nearest),
    );
    assert_eq!(y.strings().unwrap(), [b"a", b"a", b"b"]);
    let floor = Resize {
        nearest_mode: NearestMode::Ceil,
        ..op(ResizeMode::Nearest)
    };
    let y = run(Tensor::from_bools(&[2], &[true, false]).unwrap(), floor);
    assert_eq!(y.bools().unwrap(), [1, 0, 0]);
}

#[test]
fn integers_are_rounded_and_saturated() {
    let x = Tensor::from_vec1(&[0u8, 255, 255, 0]);
    let cubic = Resize {
        coordinate_transformation_mode: ResizeTransform::Asymmetric,
        ..op(ResizeMode::Cubic)
    };
    let inputs = [Some(x), None, Some(Tensor::from_vec1(&[2.0f32]))];
    let y = run_optional(cubic, &inputs).unwrap().swap_remove(0).unwrap();
    // The cubic overshoots between the two large values: 1.1875 * 255.
    assert_eq!(y.values::<u8>().unwrap()[..5], [0, 128, 255, 255, 255]);
}

#[test]
fn regions_crop_and_extrapolate() {
    let op = Resize {
        coordinate_transformation_mode: ResizeTransform::TfCropAndResize,
        extrapolation_value: -1.0,
        axes: Some(vec![-1]),
        ..op(ResizeMode::Linear)
    };
    let rest = [
        Some(Tensor::from_vec1(&[0.5f32, 1.5])),
        None,
        Some(Tensor::from_vec1(&[3i64])),
    ];
    let x = Tensor::from_slice(&[1, 3], &[1.0f32, 2.0, 3.0]).unwrap();
    check(&op, x.clone(), &rest, &[1, 3], &[2.0, 3.0, -1.0]);
    let nearest = Resize {
        mode: ResizeMode::Nearest,
        ..op
    };
    check(&nearest, x, &rest, &[1, 3], &[2.0, 3.0, -1.0]);
}

#[test]
fn aspect_ratios_are_kept() {
    for (policy, expected) in [
        (KeepAspectRatio::NotLarger, [1, 1, 7, 7]),
        (KeepAspectRatio::NotSmaller, [1, 1, 8, 8]),
    ] {
        let op = Resize {
            keep_aspect_ratio_policy: policy,
            axes: Some(vec![2, 3]),
            ..op(ResizeMode::Nearest)
        };
        let inputs = [Some(square()), None, None, Some(Tensor::from_vec1(&[7i64, 8]))];
        let y = run_optional(op, &inputs).unwrap().swap_remove(0).unwrap();
        assert_eq!(y.shape(), expected);
    }
}

#[test]
fn wrong_arguments_are_errors() {
    let run = |op: Resize, rest: &[Option<Tensor>]| {
        let inputs: Vec<Option<Tensor>> = [Some(square())].into_iter().chain(rest.iter().cloned()).collect();
        run_optional(op, &inputs)
    };
    for wrong in [
        &[1.0, 1.0, 2.0][..],
        &[1.0, 1.0, -2.0, 1.0],
        &[1.0, 1.0, f32::NAN, 1.0],
        &[1.0, 1.0, 1e30, 1.0],
    ] {
        assert!(run(op(ResizeMode::Nearest), &scales(wrong)).is_err(), "{wrong:?}");
    }
    assert!(run(op(ResizeMode::Nearest), &sizes(&[1, 1, -2, 4])).is_err());
    assert!(run(op(ResizeMode::Nearest), &[]).is_err());
    assert!(
        run(
            Resize {
                axes: Some(vec![3, -1]),
                ..op(ResizeMode::Linear)
            },
            &scales(&[2.0, 2.0])
        )
        .is_err()
    );
    assert!(
        run(
            Resize {
                antialias: true,
                ..op(ResizeMode::Nearest)
            },
            &sizes(&[1, 1, 2, 2])
        )
        .is_err()
    );
}
