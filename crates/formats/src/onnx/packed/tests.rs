//! Packed codes come back as they were, and ordinary operators make the same of them.

use bantam_graph::ops::{Binary, DequantizeLinear};
use bantam_graph::{Dim, Graph, Model, Op, ValueId};
use bantam_tensor::{DType, Tensor};

use super::planes::Planes;
use super::{NarrowCodes, PACKED_BITS, pack, unpack};
use crate::onnx::{SaveOptions, load, save};

/// A product with codes of a type, of which `codes` are in use, with this many input channels and as much shape as needs be.
fn model(dtype: DType, codes: &[i64], channels: usize, zero_point: Option<i64>) -> Model {
    let mut graph = Graph::default();
    let x = graph.add_input("x", DType::F32, [16, channels, 3, 3].map(Dim::Known).to_vec());
    let shape = [16, channels, 3, 3];
    let count = shape.iter().product();
    let used: Vec<i64> = (0..count)
        .map(|index| codes[(index * 7 + index / 11) % codes.len()])
        .collect();
    let weight = graph.add_constant("w_codes", Tensor::from_i64(dtype, &shape, &used).unwrap());
    let scale = graph.add_constant("w_scale", Tensor::from_slice(&[16], &[0.25f32; 16]).unwrap());
    let mut inputs = vec![weight, scale];
    if let Some(zero_point) = zero_point {
        let zero_points = Tensor::from_i64(dtype, &[16], &[zero_point; 16]).unwrap();
        inputs.push(graph.add_constant("w_zero", zero_points));
    }
    let dequantize = DequantizeLinear {
        axis: 0,
        block_size: 0,
        output_dtype: None,
    };
    let weight = graph.add_node("w", dequantize, &inputs);
    let y = graph.add_node("y", Binary::Mul, &[x, weight]);
    graph.outputs.push(y);
    Model::new(graph)
}

fn codes(graph: &Graph) -> &Tensor {
    let node = graph
        .nodes
        .iter()
        .find(|node| matches!(node.op, Op::DequantizeLinear(_)))
        .unwrap();
    graph.constant_input(node, 0).unwrap()
}

/// Where the codes come from.
fn producer(graph: &Graph, name: &str) -> Option<String> {
    let value = graph.value_by_name(name).unwrap();
    let producer = graph.producers()[value.index()]?;
    Some(graph.node(producer).op.name().to_owned())
}

/// Bits that a value was packed in, as noted.
fn noted(graph: &Graph, value: ValueId) -> Option<&str> {
    let metadata = graph.value(value).metadata.iter();
    let mut bits = metadata
        .filter(|(key, _)| key == PACKED_BITS)
        .map(|(_, bits)| bits.as_str());
    bits.next()
}

/// The same product with codes in groups of 40 input channels.
fn in_groups(dtype: DType, codes: &[i64], channels: usize) -> Model {
    let mut model = model(dtype, codes, channels, None);
    let graph = &mut model.graph;
    let groups = [16, channels.div_ceil(40), 3, 3];
    let scale = graph.value_by_name("w_scale").unwrap();
    let scales = vec![0.25f32; groups.iter().product()];
    graph.value_mut(scale).initializer = Some(Tensor::from_slice(&groups, &scales).unwrap());
    for node in &mut graph.nodes {
        if let Op::DequantizeLinear(op) = &mut node.op {
            (op.axis, op.block_size) = (1, 40);
        }
    }
    model
}

const CASES: &[(DType, &[i64], Option<i64>, &str)] = &[
    (DType::I4, &[-2, -1, 0, 1], Some(0), "2"),
    (DType::I4, &[-1, 0, 1], None, "2"),
    (DType::I4, &[-3, -1, 1, 3], Some(0), "2"),
    (DType::I4, &[-1, 1], Some(0), "1"),
    (DType::I4, &[-3, -2, -1, 0, 1, 2, 3], Some(0), "3"),
    (DType::I4, &[-8, 0, 7], Some(0), "4"),
    (DType::U4, &[0, 1, 2, 3], Some(1), "2"),
    (DType::U4, &[7, 8, 9], Some(8), "2"),
    (DType::U4, &[0, 15, 4], None, "4"),
    (DType::I8, &[-16, 3, 15], Some(0), "5"),
    (DType::I8, &[-1, 0, 1], Some(0), "5"),
    (DType::I8, &[-32, 31, 4], None, "6"),
    (DType::I8, &[-63, 31, 63], Some(0), "7"),
    (DType::U8, &[0, 100, 127], Some(64), "7"),
];

#[test]
fn codes_come_back_as_they_were() {
    // 400 channels fill whole bytes; 393 do not.
    for channels in [400, 393] {
        for &(dtype, used, zero_point, bits) in CASES {
            let model = model(dtype, used, channels, zero_point);
            let packed = pack(&model, NarrowCodes::Packed).unwrap();
            let made_by = producer(&packed.graph, "w_codes");
            assert_eq!(
                made_by.as_deref(),
                Some(if bits == "4" { "Cast" } else { "Reshape" }),
                "{used:?}"
            );
            let mut graph = packed.graph.clone();
            unpack(&mut graph).unwrap();
            let value = graph.value_by_name("w_codes").unwrap();
            assert_eq!(noted(&graph, value), Some(bits), "{dtype:?} {used:?}");
            graph.value_mut(value).metadata.clear();
            assert_eq!(graph, model.graph, "{dtype:?} {used:?}");
        }
    }
}

#[test]
fn codes_in_groups_are_packed_where_that_is_asked_for() {
    for channels in [400, 393] {
        for (dtype, used, bits) in [
            (DType::I4, &[-2, -1, 0, 1][..], "2"),
            (DType::U4, &[0, 1, 2, 3], "2"),
            (DType::I4, &[-4, -1, 0, 3], "3"),
            (DType::U4, &[0, 5, 7], "3"),
        ] {
            let model = in_groups(dtype, used, channels);
            let plain = pack(&model, NarrowCodes::Packed).unwrap();
            assert_eq!(plain.graph, model.graph);
            let packed = pack(&model, NarrowCodes::PackedGroups).unwrap();
            assert_eq!(producer(&packed.graph, "w_codes").as_deref(), Some("Cast"));
            let mut graph = packed.graph.clone();
            unpack(&mut graph).unwrap();
            let value = graph.value_by_name("w_codes").unwrap();
            assert_eq!(noted(&graph, value), Some(bits), "{dtype:?} {used:?}");
            graph.value_mut(value).metadata.clear();
            assert_eq!(graph, model.graph, "{dtype:?} {used:?}");
        }
    }
    // Four bits are what the type has; others' codes are left alone.
    let whole = in_groups(DType::U4, &[0, 1, 15], 400);
    assert_eq!(
        pack(&whole, NarrowCodes::PackedGroups).unwrap().graph,
        whole.graph
    );
    let mut read = in_groups(DType::U4, &[0, 1, 2, 3], 400);
    read.graph
        .outputs
        .push(read.graph.value_by_name("w_codes").unwrap());
    assert_eq!(pack(&read, NarrowCodes::PackedGroups).unwrap().graph, read.graph);
}

#[test]
fn files_take_as_many_bits_as_codes_have() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.onnx");
    let size = |options: &SaveOptions, model: &Model| {
        save(model, &path, options).unwrap();
        assert_eq!(codes(&load(&path).unwrap().graph), codes(&model.graph));
        std::fs::metadata(&path).unwrap().len()
    };
    let native = SaveOptions {
        narrow_codes: NarrowCodes::Native,
        ..SaveOptions::default()
    };
    for &(dtype, used, zero_point, bits) in CASES {
        let model = model(dtype, used, 400, zero_point);
        let (packed, whole) = (size(&SaveOptions::default(), &model), size(&native, &model));
        let saved = 57600 * (dtype.bits() as u64 - bits.parse::<u64>().unwrap()) / 8;
        assert!(whole + 2700 >= packed + saved, "{used:?}: {packed} of {whole}");
        // What was read is packed again when it is written.
        assert_eq!(size(&SaveOptions::default(), &load(&path).unwrap()), packed);
    }
}

#[test]
fn what_saves_nothing_or_is_read_by_others_stays() {
    let stays = |model: &Model| {
        let packed = pack(model, NarrowCodes::Packed).unwrap();
        producer(&packed.graph, "w_codes").is_none()
    };
    assert!(stays(&model(DType::I8, &[-128, 127, 3], 400, Some(0))));
    // Too few codes for the table to pay.
    assert!(stays(&model(DType::I8, &[-16, 15], 16, Some(0))));
    let mut read = model(DType::I4, &[-1, 0, 1], 400, Some(0));
    read.graph
        .outputs
        .push(read.graph.value_by_name("w_codes").unwrap());
    assert!(stays(&read));
    let mut shared = model(DType::I4, &[-1, 0, 1], 400, Some(0));
    shared
        .graph
        .outputs
        .push(shared.graph.value_by_name("w_zero").unwrap());
    assert!(stays(&shared));
}

#[test]
fn operators_that_are_not_quite_the_same_are_left() {
    let model = model(DType::I4, &[-2, -1, 0, 1], 400, Some(0));
    let packed = pack(&model, NarrowCodes::Packed).unwrap();
    let changes: [fn(&Tensor) -> Option<Tensor>; 3] = [
        // Another table.
        |tensor| (tensor.shape() == [256, 8]).then(|| Tensor::zeros(DType::I8, &[256, 8]).unwrap()),
        // Planes that are worth halves.
        |tensor| {
            (tensor.dtype() == DType::F32 && tensor.rank() == 2)
                .then(|| Tensor::from_slice(&[1, 2], &[0.5f32, 1.0]).unwrap())
        },
        // A plane too many.
        |tensor| {
            (tensor.dtype() == DType::F32 && tensor.rank() == 2)
                .then(|| Tensor::from_slice(&[1, 3], &[1f32, 2.0, 4.0]).unwrap())
        },
    ];
    for change in changes {
        let mut graph = packed.graph.clone();
        let found = graph.values.iter_mut().find_map(|value| {
            let changed = change(value.initializer.as_ref()?)?;
            value.initializer = Some(changed);
            Some(())
        });
        assert!(found.is_some());
        let before = graph.clone();
        unpack(&mut graph).unwrap();
        assert_eq!(graph, before);
    }
}

/// A small file cannot ask for more memory than so many codes of its own would take.
#[test]
fn bytes_that_many_read_are_not_unpacked_for_all_of_them() {
    let model = model(DType::I4, &[-2, -1, 0, 1], 400, Some(0));
    let packed = pack(&model, NarrowCodes::Packed).unwrap();
    let mut graph = packed.graph.clone();
    let reshape = graph
        .nodes
        .iter()
        .find(|node| matches!(node.op, Op::Reshape(_)))
        .unwrap()
        .clone();
    let inputs: Vec<ValueId> = reshape.inputs.iter().flatten().copied().collect();
    let scale = graph.value_by_name("w_scale").unwrap();
    for copy in 0..20 {
        let codes = graph.add_node(&format!("codes{copy}"), reshape.op.clone(), &inputs);
        let dequantize = DequantizeLinear {
            axis: 0,
            block_size: 0,
            output_dtype: None,
        };
        let reals = graph.add_node(&format!("reals{copy}"), dequantize, &[codes, scale]);
        graph.outputs.push(reals);
    }
    unpack(&mut graph).unwrap();
    let left = graph
        .nodes
        .iter()
        .filter(|node| matches!(node.op, Op::Reshape(_)))
        .count();
    assert!((15..20).contains(&left), "{left}");
}

#[test]
fn planes_are_two_complements_where_that_takes_no_more_bits() {
    let planes = |dtype, used: &[i64]| {
        let tensor = Tensor::from_i64(dtype, &[used.len()], used).unwrap();
        Planes::of(&tensor).map(|planes| (planes.worth, planes.offset))
    };
    assert_eq!(planes(DType::I4, &[-2, 1]), Some((vec![3], -2)));
    assert_eq!(planes(DType::I4, &[-2, 0, 1]), Some((vec![1, -2], 0)));
    assert_eq!(planes(DType::I4, &[-3, -1, 1, 3]), Some((vec![2, 4], -3)));
    assert_eq!(planes(DType::U4, &[8, 9, 10]), Some((vec![1, 2], 8)));
    assert_eq!(planes(DType::I4, &[-8, 7, 6]), None);
    assert_eq!(planes(DType::I8, &[0]), Some((vec![1, 2, 4, 8, 16], 0)));
}
