//! Attention on small cases: layouts, caches, masks, errors. The kernel has its own tests.

use bantam_tensor::Tensor;

use super::*;
use crate::ops::testing::{run_optional, run_outputs};

fn numbers(shape: &[usize], seed: usize) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|i| ((i * 37 + seed * 17) % 23) as f32 / 11.0 - 1.0)
        .collect();
    Tensor::from_slice(shape, &values).unwrap()
}

fn op(heads: Option<(i64, i64)>) -> Attention {
    Attention {
        is_causal: false,
        kv_num_heads: heads.map(|(_, kv)| kv),
        left_window_size: -1,
        q_num_heads: heads.map(|(q, _)| q),
        qk_matmul_output_mode: 0,
        right_window_size: -1,
        scale: None,
        softcap: 0.0,
        softmax_precision: None,
    }
}

/// `[batch, heads, rows, width]` as `[batch, rows, heads * width]`.
fn joined(tensor: &Tensor) -> Tensor {
    let &[batch, heads, rows, width] = tensor.shape() else {
        panic!("not four dimensions")
    };
    let values = tensor.to_f32().unwrap();
    let mut out = vec![0.0f32; values.len()];
    for (index, from) in values.chunks_exact(width).enumerate() {
        let (sample, head, row) = (index / rows / heads, index / rows % heads, index % rows);
        out[((sample * rows + row) * heads + head) * width..][..width].copy_from_slice(from);
    }
    Tensor::from_slice(&[batch, rows, heads * width], &out).unwrap()
}

fn assert_close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.shape(), b.shape());
    let (a, b) = (a.to_f32().unwrap(), b.to_f32().unwrap());
    assert!(
        a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5),
        "{a:?}, expected {b:?}"
    );
}

#[test]
fn joined_heads_give_the_joined_result() {
    let (q, k, v) = (
        numbers(&[2, 4, 3, 2], 1),
        numbers(&[2, 2, 5, 2], 2),
        numbers(&[2, 2, 5, 3], 3),
    );
    let by_heads = run_outputs(op(None), &[q.clone(), k.clone(), v.clone()].map(Some), 4).unwrap();
    let inputs = [joined(&q), joined(&k), joined(&v)].map(Some);
    let together = run_outputs(op(Some((4, 2))), &inputs, 4).unwrap();
    assert_close(
        together[0].as_ref().unwrap(),
        &joined(by_heads[0].as_ref().unwrap()),
    );
    assert_eq!(together[1..], by_heads[1..]);
    assert_eq!(by_heads[1].as_ref(), Some(&k));
}

#[test]
fn the_past_comes_first() {
    let (k, v) = (numbers(&[1, 2, 5, 2], 2), numbers(&[1, 2, 5, 3], 3));
    let part = |tensor: &Tensor, rows: std::ops::Range<usize>| {
        let width = tensor.shape()[3];
        let values = tensor.to_f32().unwrap();
        let heads = values.chunks_exact(5 * width);
        let kept: Vec<f32> = heads
            .flat_map(|head| head[rows.start * width..rows.end * width].to_vec())
            .collect();
        Tensor::from_slice(&[1, 2, rows.len(), width], &kept).unwrap()
    };
    let q = numbers(&[1, 2, 2, 2], 1);
    let causal = Attention {
        is_causal: true,
        ..op(None)
    };
    let inputs = [
        Some(q.clone()),
        Some(part(&k, 3..5)),
        Some(part(&v, 3..5)),
        None,
        Some(part(&k, 0..3)),
        Some(part(&v, 0..3)),
    ];
    let outputs = run_optional(causal, &inputs).unwrap();
    assert_eq!((outputs[1].as_ref(), outputs[2].as_ref()), (Some(&k), Some(&v)));
    // The same by a mask over all keys.
    let mask: Vec<bool> = (0..10).map(|i| i % 5 <= i / 5 + 3).collect();
    let mask = Tensor::from_bools(&[2, 5], &mask).unwrap();
    let expected = run_optional(op(None), &[q, k, v, mask].map(Some)).unwrap();
    assert_close(outputs[0].as_ref().unwrap(), expected[0].as_ref().unwrap());
    let half = [
        inputs[0].clone(),
        inputs[1].clone(),
        inputs[2].clone(),
        None,
        inputs[4].clone(),
    ];
    assert!(run_optional(op(None), &half).is_err());
}

#[test]
fn padding_is_not_seen_and_queries_without_keys_give_zeros() {
    let (q, k, v) = (
        numbers(&[2, 1, 2, 2], 1),
        numbers(&[2, 1, 3, 2], 2),
        numbers(&[2, 1, 3, 1], 3),
    );
    let valid = Tensor::from_slice(&[2], &[1i64, 0]).unwrap();
    let inputs = [Some(q), Some(k), Some(v.clone()), None, None, None, Some(valid)];
    let probabilities = Attention {
        qk_matmul_output_mode: 3,
        ..op(None)
    };
    let outputs = run_optional(probabilities, &inputs).unwrap();
    let first = v.to_f32().unwrap()[0];
    assert_eq!(
        outputs[0].as_ref().unwrap().to_f32().unwrap(),
        [first, first, 0.0, 0.0]
    );
    let scores = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    assert_eq!(outputs[3].as_ref().unwrap().to_f32().unwrap(), scores);
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let good = [
        numbers(&[1, 2, 3, 2], 1),
        numbers(&[1, 2, 4, 2], 2),
        numbers(&[1, 2, 4, 3], 3),
    ];
    for (index, shape) in [
        (0, [1, 2, 3, 4]),
        (1, [1, 3, 4, 2]),
        (1, [2, 2, 4, 2]),
        (2, [1, 2, 5, 3]),
    ] {
        let mut wrong = good.clone().map(Some);
        wrong[index] = Some(numbers(&shape, 4));
        assert!(run_optional(op(None), &wrong).is_err(), "{index} {shape:?}");
    }
    let [q, k, v] = good;
    let mask = numbers(&[2, 4], 5);
    assert!(run_optional(op(None), &[q.clone(), k.clone(), v.clone(), mask].map(Some)).is_err());
    assert!(run_optional(op(Some((3, 1))), &[joined(&q), joined(&k), joined(&v)].map(Some)).is_err());
}
