//! Every field in which a tensor may hold its data.

use bantam_formats::onnx::{encode_tensor, read_tensor};
use bantam_tensor::{DType, Tensor};
use bytes::Bytes;

use crate::wire::{bytes, int, packed};

/// A tensor of shape `[n]` with this data.
fn read(code: i64, elements: i64, data: Vec<u8>) -> Result<Tensor, String> {
    let message = [int(1, elements), int(2, code), data, bytes(8, "t")].concat();
    read_tensor(&Bytes::from(message))
        .map(|(name, tensor)| {
            assert_eq!(name, "t");
            tensor
        })
        .map_err(|error| error.to_string())
}

#[test]
fn typed_fields() {
    let floats = bytes(4, [1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat());
    let doubles = bytes(10, [1.5f64.to_le_bytes(), (-2.0f64).to_le_bytes()].concat());
    #[rustfmt::skip]
    let cases: &[(i64, i64, Vec<u8>, &[f64])] = &[
        (1, 2, floats.clone(), &[1.5, -2.0]),
        (11, 2, doubles, &[1.5, -2.0]),
        (6, 2, packed(5, &[7, -8]), &[7.0, -8.0]),
        (6, 2, [int(5, 7), int(5, -8)].concat(), &[7.0, -8.0]),
        (7, 2, packed(7, &[1 << 40, -1]), &[(1u64 << 40) as f64, -1.0]),
        (2, 2, packed(5, &[0, 255]), &[0.0, 255.0]),
        (3, 2, packed(5, &[127, -128]), &[127.0, -128.0]),
        (4, 1, packed(5, &[65535]), &[65535.0]),
        (5, 1, packed(5, &[-32768]), &[-32768.0]),
        (9, 2, packed(5, &[1, 0]), &[1.0, 0.0]),
        (10, 2, packed(5, &[0x3c00, 0xc000]), &[1.0, -2.0]),
        (16, 2, packed(5, &[0x3f80, 0xc000]), &[1.0, -2.0]),
        (12, 1, packed(11, &[u32::MAX as i64]), &[u32::MAX as f64]),
        (13, 1, packed(11, &[-1]), &[u64::MAX as f64]),
        (17, 1, packed(5, &[0x38]), &[1.0]),
        (22, 3, packed(5, &[0x78, 0x0f]), &[-8.0, 7.0, -1.0]),
        (21, 2, packed(5, &[0xf1]), &[1.0, 15.0]),
        (26, 4, packed(5, &[0b11_10_01_00]), &[0.0, 1.0, -2.0, -1.0]),
        (1, 2, bytes(9, [1.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat()), &[1.5, -2.0]),
        (22, 3, bytes(9, [0x78, 0x0f]), &[-8.0, 7.0, -1.0]),
        (1, 0, Vec::new(), &[]),
    ];
    for (code, elements, data, expected) in cases {
        let tensor = read(*code, *elements, data.clone()).unwrap();
        assert_eq!(tensor.to_f64().unwrap(), *expected, "data type {code}");
    }
    let strings = read(8, 2, [bytes(6, "a"), bytes(6, [0xff])].concat()).unwrap();
    assert_eq!(strings.strings().unwrap(), [b"a".to_vec(), vec![0xff]]);
    let complex = read(14, 1, floats).unwrap();
    assert_eq!((complex.dtype(), complex.as_bytes().len()), (DType::Complex64, 8));
}

#[test]
fn wrong_data_is_refused() {
    let four = || bytes(9, [0; 4]);
    #[rustfmt::skip]
    let cases = [
        (read(1, 2, four()), "needs 8 bytes, got 4"),
        (read(1, 2, Vec::new()), "2 elements of type f32 are expected, 0"),
        (read(6, 1, packed(5, &[1, 2])), "1 elements of type i32 are expected, 2"),
        (read(1, -1, four()), "dimension -1 is negative"),
        (read(1, i64::MAX, four()), "too large"),
        (read(8, 3, bytes(6, "a")), "String"),
        (read(99, 1, four()), "data type 99 is unknown"),
        (read(0, 1, four()), "data type 0 is unknown"),
        (read(1, 1, [four(), bytes(3, int(1, 0))].concat()), "segments"),
        (read(1, 1, [bytes(13, bytes(1, "location")), int(14, 1)].concat()), "no `location`"),
        (read(1, 1, bytes(4, [0; 3])), "malformed"),
    ];
    for (index, (result, expected)) in cases.into_iter().enumerate() {
        let message = result.unwrap_err();
        let string_case = expected == "String" && message.contains("string");
        assert!(
            (message.contains(expected) || string_case) && message.contains("hint:"),
            "{index}: {message}"
        );
    }
}

#[test]
fn every_data_type_round_trips() {
    for &dtype in DType::ALL {
        for shape in [&[][..], &[0], &[5], &[2, 3]] {
            let mut tensor = Tensor::zeros(dtype, shape).unwrap();
            tensor
                .bytes_mut()
                .iter_mut()
                .enumerate()
                .for_each(|(index, byte)| *byte = index as u8);
            let (name, again) = read_tensor(&Bytes::from(encode_tensor("name", &tensor))).unwrap();
            assert_eq!((name.as_str(), &again), ("name", &tensor));
        }
    }
}
