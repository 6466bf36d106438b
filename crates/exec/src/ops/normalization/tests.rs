//! The normalizations on small cases computed by hand.

use bantam_graph::ops::{LpNormalization, Lrn, MeanVarianceNormalization};

use super::*;
use crate::ops::testing::{run, run_one};

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_slice(shape, values).unwrap()
}

fn assert_close(got: &Tensor, expected: &[f32]) {
    let got = got.to_f32().unwrap();
    let close = got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(close, "{got:?}, expected {expected:?}");
}

fn batch_norm(training_mode: bool) -> BatchNormalization {
    BatchNormalization {
        epsilon: 0.0,
        momentum: 0.75,
        training_mode,
    }
}

/// x, scale, bias, mean, variance of two channels.
fn batch_inputs() -> Vec<Tensor> {
    let x = tensor(&[2, 2, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let rest = [[1.0, 2.0], [0.0, 1.0], [1.0, 2.0], [4.0, 16.0]].map(|values| tensor(&[2], &values));
    [x].into_iter().chain(rest).collect()
}

#[test]
fn batch_normalization_by_given_statistics() {
    let y = run_one(batch_norm(false), &batch_inputs());
    assert_close(&y, &[0.0, 0.5, 1.5, 2.0, 2.0, 2.5, 3.5, 4.0]);
    let mut inputs = batch_inputs();
    inputs[3] = tensor(&[3], &[0.0; 3]);
    assert!(run(batch_norm(false), &inputs).is_err());
}

#[test]
fn batch_normalization_in_training_moves_the_statistics() {
    let outputs = run(batch_norm(true), &batch_inputs()).unwrap();
    // Channel 0 holds 1, 2, 5, 6: mean 3.5, variance 4.25; channel 1 two more.
    let first = |x: f32| (x - 3.5) / 4.25f32.sqrt();
    let second = |x: f32| first(x - 2.0) * 2.0 + 1.0;
    let y = [
        first(1.0),
        first(2.0),
        second(3.0),
        second(4.0),
        first(5.0),
        first(6.0),
        second(7.0),
        second(8.0),
    ];
    assert_close(&outputs[0], &y);
    assert_close(&outputs[1], &[0.75 + 3.5 / 4.0, 1.5 + 5.5 / 4.0]);
    assert_close(&outputs[2], &[3.0 + 4.25 / 4.0, 12.0 + 4.25 / 4.0]);
}

#[test]
fn groups_of_one_channel_are_instances() {
    let x = tensor(&[1, 2, 2], &[1.0, 3.0, 10.0, 30.0]);
    let inputs = [x, tensor(&[2], &[1.0, 2.0]), tensor(&[2], &[0.0, 0.5])];
    let expected = [-1.0, 1.0, -1.5, 2.5];
    assert_close(
        &run_one(InstanceNormalization { epsilon: 0.0 }, &inputs),
        &expected,
    );
    let group = |num_groups| GroupNormalization {
        epsilon: 0.0,
        num_groups,
        stash_type: 1,
    };
    assert_close(&run_one(group(2), &inputs), &expected);
    for wrong in [0, 3, -1] {
        assert!(run(group(wrong), &inputs).is_err());
    }
}

#[test]
fn local_response_and_norms() {
    let x = tensor(&[1, 3, 1], &[1.0, 2.0, 3.0]);
    let lrn = Lrn {
        alpha: 3.0,
        beta: 1.0,
        bias: 0.0,
        size: 3,
    };
    assert_close(
        &run_one(lrn.clone(), std::slice::from_ref(&x)),
        &[0.2, 1.0 / 7.0, 3.0 / 13.0],
    );
    assert!(run(Lrn { size: 0, ..lrn }, &[x]).is_err());
    let x = tensor(&[2, 2], &[3.0, 0.0, -4.0, 0.0]);
    assert_close(
        &run_one(LpNormalization { axis: 0, p: 2 }, std::slice::from_ref(&x)),
        &[0.6, 0.0, -0.8, 0.0],
    );
    assert_close(
        &run_one(LpNormalization { axis: 0, p: 1 }, &[x]),
        &[3.0 / 7.0, 0.0, -4.0 / 7.0, 0.0],
    );
}

#[test]
fn mean_variance_over_chosen_axes() {
    let x = tensor(&[2, 2, 1], &[1.0, 10.0, 3.0, 30.0]);
    let op = |axes: &[i64]| MeanVarianceNormalization { axes: axes.to_vec() };
    assert_close(
        &run_one(op(&[0, 2]), std::slice::from_ref(&x)),
        &[-1.0, -1.0, 1.0, 1.0],
    );
    assert_close(
        &run_one(op(&[1]), std::slice::from_ref(&x)),
        &[-1.0, 1.0, -1.0, 1.0],
    );
    assert!(run(op(&[3]), &[x]).is_err());
}
