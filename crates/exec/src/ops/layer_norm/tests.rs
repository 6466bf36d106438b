//! The normalizations of rows on small cases computed by hand.

use super::*;
use crate::ops::testing::{run, run_outputs};

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_slice(shape, values).unwrap()
}

fn assert_close(got: &Tensor, expected: &[f32]) {
    let got = got.to_f32().unwrap();
    let close = got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(close, "{got:?}, expected {expected:?}");
}

const LAYER: LayerNormalization = LayerNormalization {
    axis: -1,
    epsilon: 0.0,
    stash_type: 1,
};

#[test]
fn rows_with_their_statistics() {
    let inputs = [
        tensor(&[2, 2], &[1.0, 3.0, 10.0, 30.0]),
        tensor(&[2], &[1.0, 2.0]),
        tensor(&[2], &[0.0, 0.5]),
    ];
    let outputs = run(LAYER, &inputs).unwrap();
    assert_close(&outputs[0], &[-1.0, 2.5, -1.0, 2.5]);
    assert_close(&outputs[1], &[2.0, 20.0]);
    assert_close(&outputs[2], &[1.0, 0.1]);
    assert_eq!(outputs[2].shape(), [2, 1]);
    let all = run(LayerNormalization { axis: 0, ..LAYER }, &inputs[..2]).unwrap();
    assert_eq!(all[1].shape(), [1, 1]);
}

#[test]
fn scales_broadcast() {
    let x = tensor(&[2, 2], &[1.0, 3.0, 10.0, 30.0]);
    let cases: [(&[usize], &[f32], [f32; 4]); 3] = [
        (&[1], &[2.0], [-2.0, 2.0, -2.0, 2.0]),
        (&[2, 1], &[2.0, 3.0], [-2.0, 2.0, -3.0, 3.0]),
        (&[1, 2], &[2.0, 3.0], [-2.0, 3.0, -2.0, 3.0]),
    ];
    for (shape, scale, expected) in cases {
        assert_close(
            &run(LAYER, &[x.clone(), tensor(shape, scale)]).unwrap()[0],
            &expected,
        );
    }
    for wrong in [
        tensor(&[3], &[0.0; 3]),
        tensor(&[1, 1, 2], &[0.0; 2]),
        tensor(&[0], &[]),
    ] {
        assert!(run(LAYER, &[x.clone(), wrong]).is_err());
    }
}

#[test]
fn root_mean_square_has_one_statistic() {
    let op = SimplifiedLayerNormalization {
        axis: -1,
        epsilon: 0.0,
        stash_type: 1,
    };
    let outputs = run(op, &[tensor(&[1, 2], &[3.0, 4.0]), tensor(&[2], &[1.0, 2.0])]).unwrap();
    let root = 12.5f32.sqrt();
    assert_close(&outputs[0], &[3.0 / root, 8.0 / root]);
    assert_close(&outputs[1], &[1.0 / root]);
}

#[test]
fn skip_connections_are_added_first() {
    let inputs = [
        Some(tensor(&[1, 2, 2], &[1.0, 1.0, 2.0, 4.0])),
        Some(tensor(&[2], &[0.0, 1.0])),
        Some(tensor(&[2], &[1.0, 2.0])),
        None,
        Some(tensor(&[2], &[0.0, 1.0])),
    ];
    let op = SkipLayerNormalization { epsilon: 0.0 };
    let outputs = run_outputs(op.clone(), &inputs, 4).unwrap();
    assert_close(outputs[0].as_ref().unwrap(), &[-1.0, 2.0, -1.0, 2.0]);
    assert_close(outputs[1].as_ref().unwrap(), &[2.0, 4.0]);
    assert_close(outputs[3].as_ref().unwrap(), &[1.0, 3.0, 2.0, 6.0]);
    assert_eq!(run_outputs(op.clone(), &inputs, 1).unwrap().len(), 1);
    let mut wrong = inputs;
    wrong[1] = Some(tensor(&[3], &[0.0; 3]));
    assert!(run_outputs(op, &wrong, 4).is_err());
}

#[test]
fn empty_rows_do_not_reserve_memory() {
    let x = Tensor::from_slice::<f32>(&[0, 1 << 28, 1 << 28], &[]).unwrap();
    let outputs = run_outputs(LAYER, &[Some(x.clone()), Some(tensor(&[1], &[1.0]))], 1).unwrap();
    assert_eq!(outputs[0].as_ref(), Some(&x));
}
