//! Directions, layouts, lengths and errors. The kernels have their own tests.

use bantam_tensor::Tensor;

use super::*;
use crate::ops::testing::{run, run_outputs};

const RNN: fn(Direction, i64) -> graph::Rnn = |direction, layout| graph::Rnn {
    activation_alpha: vec![2.0],
    activation_beta: Vec::new(),
    activations: vec![
        "Affine".to_owned();
        if direction == Direction::Bidirectional {
            2
        } else {
            1
        }
    ],
    clip: None,
    direction,
    hidden_size: Some(1),
    layout,
};

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_slice(shape, values).unwrap()
}

/// Sequences 1, 2, 3 and 4, 5 in a cell `h = 2 (x + h)` (second direction `h = x + h`, by the default parameter).
fn inputs(directions: usize, layout: i64) -> Vec<Option<Tensor>> {
    let x = if layout == 0 {
        tensor(&[3, 2, 1], &[1.0, 4.0, 2.0, 5.0, 3.0, 9.0])
    } else {
        tensor(&[2, 3, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 9.0])
    };
    let ones = tensor(&[directions, 1, 1], &vec![1.0; directions]);
    let lengths = Tensor::from_slice(&[2], &[3i32, 2]).unwrap();
    vec![Some(x), Some(ones.clone()), Some(ones), None, Some(lengths)]
}

#[test]
fn directions_and_layouts() {
    let values = |tensor: &Option<Tensor>| tensor.as_ref().unwrap().to_f32().unwrap();
    let forward = run_outputs(RNN(Direction::Forward, 0), &inputs(1, 0), 2).unwrap();
    assert_eq!(values(&forward[0]), [2.0, 8.0, 8.0, 26.0, 22.0, 0.0]);
    assert_eq!(values(&forward[1]), [22.0, 26.0]);
    let reverse = run_outputs(RNN(Direction::Reverse, 1), &inputs(1, 1), 2).unwrap();
    assert_eq!(reverse[0].as_ref().unwrap().shape(), [2, 3, 1, 1]);
    assert_eq!(values(&reverse[0]), [34.0, 16.0, 6.0, 28.0, 10.0, 0.0]);
    assert_eq!(values(&reverse[1]), [34.0, 28.0]);
    let both = run_outputs(RNN(Direction::Bidirectional, 0), &inputs(2, 0), 2).unwrap();
    assert_eq!(both[0].as_ref().unwrap().shape(), [3, 2, 2, 1]);
    assert_eq!(
        values(&both[0]),
        [2.0, 8.0, 6.0, 9.0, 8.0, 26.0, 5.0, 5.0, 22.0, 0.0, 3.0, 0.0]
    );
    assert_eq!(values(&both[1]), [22.0, 26.0, 6.0, 9.0]);
}

#[test]
fn wrong_arguments_are_errors() {
    let check = |op: graph::Rnn, index: usize, tensor: Tensor| {
        let mut wrong = inputs(1, 0);
        wrong[index] = Some(tensor);
        assert!(run_outputs(op, &wrong, 2).is_err(), "input {index}");
    };
    check(RNN(Direction::Forward, 0), 0, tensor(&[3, 2], &[0.0; 6]));
    let endless = Tensor::from_slice::<f32>(&[0, 1 << 60, 1], &[]).unwrap();
    check(RNN(Direction::Forward, 0), 0, endless);
    check(RNN(Direction::Forward, 0), 1, tensor(&[1, 2, 1], &[0.0; 2]));
    check(RNN(Direction::Forward, 0), 2, tensor(&[1, 1, 2], &[0.0; 2]));
    check(RNN(Direction::Forward, 0), 3, tensor(&[1, 1], &[0.0]));
    check(RNN(Direction::Forward, 0), 4, Tensor::from_vec1(&[3i32, 4]));
    check(RNN(Direction::Forward, 0), 4, Tensor::from_vec1(&[3i32]));
    let plain: Vec<Tensor> = inputs(1, 0).into_iter().take(3).flatten().collect();
    assert!(
        run(
            graph::Rnn {
                hidden_size: Some(2),
                ..RNN(Direction::Forward, 0)
            },
            &plain
        )
        .is_err()
    );
    assert!(run(RNN(Direction::Forward, 2), &plain).is_err());
    let unknown = graph::Rnn {
        activations: vec!["Swish".to_owned()],
        ..RNN(Direction::Forward, 0)
    };
    assert!(run(unknown, &plain).is_err());
}
