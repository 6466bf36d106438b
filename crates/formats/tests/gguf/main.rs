//! The GGUF container: what is written is read back, and damaged files are refused.

use std::ops::Range;

use bantam_formats::Writing;
use bantam_formats::gguf::{
    Array, GGML_TYPES, GgmlType, Gguf, GgufError, TensorEntry, TensorRows, Value, parse_gguf, write_gguf,
};
use bytes::Bytes;

/// Values of every type.
fn metadata() -> Vec<(String, Value)> {
    let values = [
        ("u8", Value::U8(200)),
        ("i8", Value::I8(-3)),
        ("u16", Value::U16(60_000)),
        ("i16", Value::I16(-300)),
        ("u32", Value::U32(u32::MAX)),
        ("i32", Value::I32(i32::MIN)),
        ("u64", Value::U64(u64::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f32", Value::F32(1.5)),
        ("f64", Value::F64(-2.25)),
        ("bool", Value::Bool(true)),
        ("text", Value::String("grüße".to_owned())),
        ("u8s", Value::Array(Array::U8(vec![1, 2]))),
        ("i8s", Value::Array(Array::I8(vec![-1]))),
        ("u16s", Value::Array(Array::U16(vec![3]))),
        ("i16s", Value::Array(Array::I16(vec![-4, 5]))),
        ("u32s", Value::Array(Array::U32(vec![6]))),
        ("i32s", Value::Array(Array::I32(vec![-7]))),
        ("u64s", Value::Array(Array::U64(vec![8]))),
        ("i64s", Value::Array(Array::I64(vec![-9]))),
        ("f32s", Value::Array(Array::F32(vec![0.5, -0.5]))),
        ("f64s", Value::Array(Array::F64(vec![]))),
        ("bools", Value::Array(Array::Bool(vec![true, false]))),
        (
            "texts",
            Value::Array(Array::String(vec!["a".into(), String::new()])),
        ),
        (
            "arrays",
            Value::Array(Array::Array(vec![
                Array::U8(vec![1]),
                Array::String(vec!["x".into()]),
            ])),
        ),
    ];
    values.map(|(key, value)| (key.to_owned(), value)).to_vec()
}

/// Rows of one block, all bytes the number of the tensor's type.
struct Numbers;

impl TensorRows for Numbers {
    fn bytes(&self, tensor: usize, rows: Range<usize>) -> Result<Bytes, GgufError> {
        let kind = &GGML_TYPES[tensor];
        Ok(vec![kind.id as u8; rows.len() * kind.bytes].into())
    }
}

/// A file with a tensor of every type, each of two rows of one block, its bytes all the type's number.
fn written() -> Bytes {
    let entry = |kind: &'static GgmlType| TensorEntry {
        name: format!("blk.{}.{}", kind.id, kind.name),
        shape: vec![2, kind.block],
        kind,
        together: 1,
    };
    let entries: Vec<TensorEntry> = GGML_TYPES.iter().map(entry).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    write_gguf(&path, &metadata(), &entries, &Numbers, &Writing::PLAIN).unwrap();
    std::fs::read(&path).unwrap().into()
}

#[test]
fn every_type_is_read_back() {
    let Gguf {
        metadata: read,
        tensors,
    } = parse_gguf(&written()).unwrap();
    assert_eq!(read, metadata());
    assert_eq!(tensors.len(), GGML_TYPES.len());
    for (tensor, kind) in tensors.iter().zip(GGML_TYPES) {
        assert_eq!(
            (tensor.kind, tensor.shape.as_slice()),
            (kind, &[2, kind.block][..])
        );
        assert_eq!(tensor.data, vec![kind.id as u8; 2 * kind.bytes], "{}", kind.name);
    }
}

#[test]
fn cut_files_are_refused() {
    let whole = written();
    let last = &GGML_TYPES[GGML_TYPES.len() - 1];
    let padding = (2 * last.bytes).next_multiple_of(32) - 2 * last.bytes;
    for length in 0..whole.len() - padding {
        assert!(parse_gguf(&whole.slice(..length)).is_err(), "{length} bytes");
    }
    assert!(parse_gguf(&whole.slice(..whole.len() - padding)).is_ok());
}

#[test]
fn flipped_bytes_never_panic() {
    let whole = written();
    let header = whole.len() - 4096.min(whole.len());
    for at in (0..whole.len()).filter(|at| *at < header || at % 64 == 0) {
        for value in [0, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.to_vec();
            bytes[at] = value;
            // Whatever comes of it, tensors lie within the file.
            if let Ok(file) = parse_gguf(&bytes.into()) {
                assert!(file.tensors.iter().all(|tensor| tensor.data.len() <= whole.len()));
            }
        }
    }
}

/// A header of version 3 with these counts, and what follows.
fn header(tensors: u64, entries: u64, rest: &[&[u8]]) -> Bytes {
    let start = [
        b"GGUF".as_slice(),
        &3u32.to_le_bytes(),
        &tensors.to_le_bytes(),
        &entries.to_le_bytes(),
    ];
    [start.concat(), rest.concat()].concat().into()
}

/// A text as files have it.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// The entry of a tensor.
fn tensor(name: &str, sizes: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let sizes_bytes: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
    let rank = (sizes.len() as u32).to_le_bytes();
    [
        &text(name)[..],
        &rank,
        &sizes_bytes,
        &kind.to_le_bytes(),
        &offset.to_le_bytes(),
    ]
    .concat()
}

#[test]
fn hostile_headers_are_refused() {
    let u32s = |value: u32| value.to_le_bytes();
    let u64s = |value: u64| value.to_le_bytes();
    let data = [0u8; 128];
    let one = |name: &str, sizes: &[u64], kind: u32, offset: u64| {
        header(1, 0, &[&tensor(name, sizes, kind, offset), &data])
    };
    let entry = |code: u32, value: &[u8]| header(0, 1, &[&text("key"), &u32s(code), value]);
    let nested: Vec<u8> = (0..50).flat_map(|_| [&u32s(9)[..], &u64s(1)].concat()).collect();
    let aligned = |alignment: u32| {
        let key = text("general.alignment");
        header(0, 1, &[&key, &u32s(4), &u32s(alignment)])
    };
    let same = tensor("w", &[8], 0, 0);
    let cases: Vec<(Bytes, &str)> = vec![
        (Bytes::from_static(b"GGML\0\0\0\0"), "does not start"),
        (Bytes::from_static(b"GGUF\x09\0\0\0"), "version 9"),
        (header(u64::MAX, 0, &[]), "claims 18446744073709551615 tensors"),
        (header(0, u64::MAX, &[]), "metadata entries"),
        (header(0, 1, &[&u64s(u64::MAX), &[0; 32]]), "bytes of a text"),
        (header(0, 1, &[&u64s(1), &[0xff; 32]]), "not UTF-8"),
        (entry(13, &[0; 8]), "unknown type 13"),
        (entry(7, &[2]), "truth value"),
        (
            entry(9, &[&u32s(0)[..], &u64s(u64::MAX)].concat()),
            "values of an array",
        ),
        (
            entry(9, &[&u32s(10)[..], &u64s(1 << 61)].concat()),
            "values of an array",
        ),
        (
            entry(9, &[&u32s(8)[..], &u64s(1 << 40)].concat()),
            "texts of an array",
        ),
        (entry(9, &[&u32s(77)[..], &u64s(0)].concat()), "unknown type 77"),
        (entry(9, &nested), "nested"),
        (
            header(0, 2, &[&text("k"), &u32s(0), &[1], &text("k"), &u32s(0), &[1]]),
            "two metadata entries",
        ),
        (aligned(0), "power of two"),
        (aligned(48), "power of two"),
        (one("w", &[8], 99, 0), "unknown type 99"),
        (one("w", &[1; 5], 0, 0), "5 dimensions"),
        (one("w", &[0], 0, 0), "dimension that is zero"),
        (one("w", &[u64::MAX, 2], 0, 0), "does not fit"),
        (one("w", &[u64::MAX], 0, 0), "does not fit"),
        (one("w", &[33], 8, 0), "does not fit blocks"),
        (one("w", &[64], 0, 0), "end after the file"),
        (one("w", &[8], 0, 5), "multiple of 32"),
        (one("w", &[8], 0, u64::MAX - 31), "end after the file"),
        (header(2, 0, &[&same, &same, &data]), "two tensors"),
    ];
    for (bytes, expected) in cases {
        let error = parse_gguf(&bytes).expect_err(expected);
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
