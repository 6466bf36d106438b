//! Golden values; `generate.py` says where they come from.

use std::path::PathBuf;

use bantam_tensor::{BLOCK_FORMATS, BlockFormat, ELEMENT_FORMATS, FORMATS, FormatKind, block_format_by_name};

fn file(name: &str) -> Option<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/formats/goldens");
    std::fs::read(folder.join(name)).ok()
}

fn floats(name: &str) -> Vec<f32> {
    let bytes = file(name).unwrap_or_else(|| panic!("no golden file {name}"));
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

/// The bytes of all blocks.
fn encode(format: &dyn BlockFormat, x: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let len = format.block_len();
    let mut bytes = vec![0; x.len() / len * format.block_bytes()];
    for (index, (x, bytes)) in x
        .chunks(len)
        .zip(bytes.chunks_mut(format.block_bytes()))
        .enumerate()
    {
        format.encode_block(x, importance.map(|weights| &weights[index * len..][..len]), bytes);
    }
    bytes
}

fn decode(format: &dyn BlockFormat, bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; bytes.len() / format.block_bytes() * format.block_len()];
    let blocks = values
        .chunks_mut(format.block_len())
        .zip(bytes.chunks(format.block_bytes()));
    blocks.for_each(|(values, bytes)| format.decode_block(bytes, values));
    values
}

/// Fails with the first block that differs.
fn same_blocks(name: &str, got: &[u8], expected: &[u8], block_bytes: usize) {
    assert_eq!(got.len(), expected.len(), "{name}");
    let blocks = got.chunks(block_bytes).zip(expected.chunks(block_bytes));
    for (index, (got, expected)) in blocks.enumerate() {
        assert_eq!(got, expected, "{name}: block {index}");
    }
}

#[test]
fn gguf_blocks_are_those_of_the_reference_bit_for_bit() {
    let (x, importance) = (floats("input.f32"), floats("importance.f32"));
    let gguf: Vec<_> = BLOCK_FORMATS
        .iter()
        .filter(|format| format.source() == "GGUF")
        .collect();
    assert_eq!(gguf.len(), 14);
    for format in gguf {
        let name = format.name();
        let expected = file(&format!("{name}.bytes")).expect("a golden file");
        same_blocks(name, &encode(*format, &x, None), &expected, format.block_bytes());
        let values = floats(&format!("{name}.f32"));
        assert_eq!(decode(*format, &expected)[..values.len()], values, "{name}");
        if let Some(expected) = file(&format!("{name}.weighted.bytes")) {
            let got = encode(*format, &x, Some(&importance));
            same_blocks(&format!("{name} weighted"), &got, &expected, format.block_bytes());
        }
    }
}

#[test]
fn small_floats_are_those_of_ml_dtypes() {
    let x = floats("elements.f32");
    let mut checked = 0;
    for format in FORMATS
        .iter()
        .chain(ELEMENT_FORMATS)
        .filter(|format| format.kind() == FormatKind::Float)
    {
        let name = format.name();
        if let Some(codes) = file(&format!("{name}.codes")) {
            for (&x, &code) in x.iter().zip(&codes) {
                let (got, expected) = (format.encode(x), u16::from(code));
                assert_eq!(got, expected, "{name}: {x}");
            }
            checked += 1;
        }
        if file(&format!("{name}.values")).is_some() {
            for (code, value) in floats(&format!("{name}.values")).into_iter().enumerate() {
                let got = format.decode(code as u16);
                assert!(
                    got == value || (got.is_nan() && value.is_nan()),
                    "{name} {code}: {got} {value}"
                );
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 15);
}

#[test]
fn microscaling_follows_the_rule_of_ocp() {
    let x = floats("input.f32");
    for name in ["mxfp8-e4m3", "mxfp8-e5m2", "mxfp6-e2m3", "mxfp6-e3m2", "mxfp4"] {
        let format = block_format_by_name(name).expect("listed");
        let (scales, values) = (
            file(&format!("{name}.scales")).unwrap(),
            floats(&format!("{name}.mx")),
        );
        let bytes = encode(format, &x[..values.len()], None);
        let got: Vec<u8> = bytes.chunks(format.block_bytes()).map(|block| block[0]).collect();
        assert_eq!(got, scales, "{name}");
        assert_eq!(decode(format, &bytes), values, "{name}");
    }
}
