//! Ops on inputs that do not fit them: they may fail, but not panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bantam_graph::ops::{
    ArgReduce, ArgReduceKind, CenterCropPad, Col2Im, Compress, Concat, DepthToSpace, DepthToSpaceMode,
    EyeLike, Flatten, GatherNd, GroupNormalization, LayerNormalization, LpNormalization, Lrn,
    MeanVarianceNormalization, OneHot, Pad, PadMode, Reduce, ReduceKind, ReverseSequence, RotaryEmbedding,
    ScatterElements, ScatterNd, ScatterReduction, Shape, Softmax, SpaceToDepth, Split, TensorScatter,
    TensorScatterMode, TopK, Transpose, Unique,
};
use bantam_graph::{Attributes, Op};
use bantam_tensor::{DType, Tensor};

use crate::Context;
use crate::inputs::{Argument, Inputs};

/// Small tensors of several types and ranks, with extreme values. None of the values is a size that could be reserved
/// but would be large.
fn inputs() -> Vec<Tensor> {
    let extremes = [i64::MIN, i64::MAX, -1, 0, 1, 2];
    let float = |shape: &[usize]| {
        let values: Vec<f32> = (0..shape.iter().product::<usize>())
            .map(|i| i as f32 - 1.0)
            .collect();
        Tensor::from_slice(shape, &values).unwrap()
    };
    let mut tensors: Vec<Tensor> = extremes
        .iter()
        .map(|&value| Tensor::from_vec1(&[value]))
        .collect();
    tensors.extend([0, 1, -1, i64::MAX].map(Tensor::scalar));
    tensors.extend([
        Tensor::from_vec1(&[1i64, 0, -1]),
        Tensor::from_vec1(&[i64::MIN, i64::MAX]),
    ]);
    tensors.extend([
        Tensor::from_vec1(&[0i32, 1]),
        Tensor::from_slice(&[1, 2], &[0i64, 1]).unwrap(),
    ]);
    let shapes: [&[usize]; 9] = [
        &[],
        &[0],
        &[1],
        &[3],
        &[2, 3],
        &[0, 3],
        &[1, 2, 2],
        &[1, 4, 2, 2],
        &[1, 0, 2, 2],
    ];
    tensors.extend(shapes.map(float));
    tensors.push(Tensor::from_vec1(&[f32::NAN, f32::INFINITY]));
    tensors.push(Tensor::from_bools(&[3], &[true, false, true]).unwrap());
    tensors.push(Tensor::from_i64(DType::I4, &[3], &[-8, 0, 7]).unwrap());
    tensors.push(Tensor::from_vec1(&[0u8, 255]));
    tensors.push(Tensor::from_strings(&[2], vec![b"1".to_vec(), Vec::new()]).unwrap());
    tensors.push(Tensor::zeros(DType::Complex64, &[2]).unwrap());
    tensors
}

/// Every op that needs no attributes, and some with odd ones.
fn ops() -> Vec<Op> {
    let parse = |(domain, name): (&str, &str)| Op::parse(domain, name, &mut Attributes::new()).ok();
    let mut ops: Vec<Op> = Op::known().into_iter().filter_map(parse).collect();
    for axis in [i64::MIN, -2, 0, 1, i64::MAX] {
        ops.extend([
            Op::from(Concat { axis }),
            Op::from(Split {
                axis,
                num_outputs: Some(axis),
            }),
            Op::from(Flatten { axis }),
            Op::from(GatherNd { batch_dims: axis }),
            Op::from(ScatterElements {
                axis,
                reduction: ScatterReduction::Add,
            }),
            Op::from(ScatterNd {
                reduction: ScatterReduction::Max,
            }),
            Op::from(TensorScatter {
                axis,
                mode: TensorScatterMode::Circular,
            }),
            Op::from(Transpose {
                perm: Some(vec![axis, 0]),
            }),
            Op::from(DepthToSpace {
                blocksize: axis,
                mode: DepthToSpaceMode::ColumnRowDepth,
            }),
            Op::from(SpaceToDepth {
                blocksize: axis,
                mode: DepthToSpaceMode::ColumnRowDepth,
            }),
            Op::from(Shape {
                start: axis,
                end: Some(axis),
            }),
            Op::from(OneHot { axis }),
            Op::from(EyeLike {
                dtype: Some(DType::F8E8M0),
                k: axis,
            }),
            Op::from(ReverseSequence {
                batch_axis: axis,
                time_axis: 1,
            }),
            Op::from(Compress { axis: Some(axis) }),
            Op::from(CenterCropPad {
                axes: Some(vec![axis]),
            }),
            Op::from(Unique {
                axis: Some(axis),
                sorted: false,
            }),
            Op::from(TopK {
                axis,
                largest: false,
                sorted: false,
            }),
            Op::from(Softmax { axis }),
            Op::from(LpNormalization { axis, p: 2 }),
            Op::from(MeanVarianceNormalization { axes: vec![axis] }),
            Op::from(LayerNormalization {
                axis,
                epsilon: 0.0,
                stash_type: 1,
            }),
            Op::from(GroupNormalization {
                epsilon: 0.0,
                num_groups: axis,
                stash_type: 1,
            }),
            Op::from(Lrn {
                alpha: 1.0,
                beta: 0.5,
                bias: 1.0,
                size: axis,
            }),
            Op::from(RotaryEmbedding {
                interleaved: true,
                num_heads: axis,
                rotary_embedding_dim: 2,
            }),
            Op::from(Col2Im {
                dilations: vec![axis],
                pads: vec![axis, axis],
                strides: vec![1],
            }),
            Op::from(ArgReduce {
                kind: ArgReduceKind::Min,
                axis,
                keepdims: false,
                select_last_index: true,
            }),
        ]);
    }
    ops.extend([PadMode::Reflect, PadMode::Edge, PadMode::Wrap].map(|mode| Op::from(Pad { mode })));
    for &kind in ReduceKind::ALL {
        ops.push(
            Reduce {
                kind,
                keepdims: false,
                noop_with_empty_axes: true,
            }
            .into(),
        );
    }
    ops
}

/// The next number of a fixed sequence (Knuth's MMIX constants), below `bound`.
fn draw(state: &mut u64, bound: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % bound
}

#[test]
fn wrong_inputs_do_not_panic() {
    let (tensors, mut state) = (inputs(), 1);
    let mut panics = Vec::new();
    for op in ops() {
        let arity = op.arity();
        for _ in 0..2000 {
            let most = arity.max_inputs.min(arity.min_inputs + 2);
            let count = arity.min_inputs + draw(&mut state, most - arity.min_inputs + 1);
            let chosen: Vec<Option<&Tensor>> = (0..count)
                .map(|_| {
                    let tensor = &tensors[draw(&mut state, tensors.len())];
                    (draw(&mut state, 12) > 0).then_some(tensor)
                })
                .collect();
            let run = || {
                let arguments = chosen.iter().map(|tensor| tensor.map(Argument::Shared)).collect();
                super::evaluate(
                    &op,
                    &mut Inputs::new(arguments),
                    arity.min_outputs,
                    &Context::default(),
                )
                .is_ok()
            };
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                panics.push(format!("{op:?} of {chosen:?}"));
                break;
            }
        }
    }
    assert!(
        panics.is_empty(),
        "{} ops panicked:\n{}",
        panics.len(),
        panics.join("\n")
    );
}
