//! Every format's rows against its blocks, bit for bit.

use bantam_tensor::formats::blocks::{
    AffineK, GROUP_EPSILON, IntegerGroups, Q2_K, Q4_K, Q5_K, fit_affine, fit_symmetric,
};
use bantam_tensor::{BLOCK_FORMATS, SplitMix64};

use half::{bf16, f16};

use super::*;
use crate::Isa;

/// Values of many magnitudes, with zeros, repeated ones and such that are not finite.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    let mut spread = 1.0;
    let value = |index: usize| {
        if index.is_multiple_of(64) {
            spread = [1.0, 0.02, 1e-4, 300.0, 0.0, 1e-18, 2e5][random.below(7)];
        }
        let normal = (0..12).map(|_| random.unit()).sum::<f32>() - 6.0;
        match random.below(40) {
            0 => 0.0,
            1 => -0.0,
            2 => spread,
            3 => -spread,
            4 => (normal * 4.0).round() * spread,
            5 if index % 1000 < 100 => [f32::NAN, f32::INFINITY, -1e30, 1e-40][random.below(4)],
            _ => normal * spread,
        }
    };
    (0..count).map(value).collect()
}

fn oracle(format: &dyn BlockFormat, x: &[f32], row_len: usize, importance: Option<&[f32]>) -> Vec<u8> {
    let row_bytes = format.row_bytes(row_len).expect("a row");
    let mut bytes = vec![0; x.len() / row_len * row_bytes];
    for (x, bytes) in x.chunks(row_len).zip(bytes.chunks_mut(row_bytes)) {
        let blocks = x
            .chunks(format.block_len())
            .zip(bytes.chunks_mut(format.block_bytes()));
        for (index, (x, bytes)) in blocks.enumerate() {
            let importance = importance.map(|weights| &weights[index * format.block_len()..][..x.len()]);
            format.encode_block(x, importance, bytes);
        }
    }
    bytes
}

/// Encodes and decodes rows and compares them with the scalar forms.
fn check(format: &dyn BlockFormat, x: &[f32], row_len: usize, importance: Option<&[f32]>) {
    let name = format.name();
    let expected = oracle(format, x, row_len, importance);
    let mut bytes = vec![0xaa; expected.len()];
    encode_rows(format, Source::F32(x), row_len, importance, &mut bytes).expect("sizes fit");
    for (index, (got, expected)) in bytes
        .chunks(format.block_bytes())
        .zip(expected.chunks(format.block_bytes()))
        .enumerate()
    {
        let start = index * format.block_len();
        assert_eq!(
            got,
            expected,
            "{name} block {index}: {:?}",
            &x[start..x.len().min(start + format.block_len())]
        );
    }
    let mut values = vec![f32::NAN; x.len()];
    decode_rows(format, &bytes, row_len, &mut values).expect("sizes fit");
    let row_bytes = bytes.len() / (x.len() / row_len);
    for (values, bytes) in values.chunks(row_len).zip(bytes.chunks(row_bytes)) {
        for (values, bytes) in values
            .chunks(format.block_len())
            .zip(bytes.chunks(format.block_bytes()))
        {
            let mut expected = vec![0.0; values.len()];
            format.decode_block(bytes, &mut expected);
            let same = values
                .iter()
                .zip(&expected)
                .all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{name}: {values:?} {expected:?}");
        }
    }
}

#[test]
fn rows_are_blocks_one_by_one() {
    for format in BLOCK_FORMATS {
        check(*format, &values(3 * 4352, 1), 4352, None);
        check(*format, &values(40 * 256, 2), 256, None);
    }
}

#[test]
fn shorter_last_blocks_and_importance() {
    let mut random = SplitMix64::new(3);
    let importance: Vec<f32> = (0..768).map(|_| random.unit()).collect();
    for format in BLOCK_FORMATS {
        check(*format, &values(2 * 768, 4), 768, Some(&importance));
        if format.row_bytes(77).is_some() {
            check(*format, &values(5 * 77, 5), 77, None);
        }
    }
    for (bits, len) in [(2, 5), (3, 37), (5, 128), (7, 1000), (8, 16)] {
        for (zero_point, wide_scale) in [(false, true), (true, false), (true, true)] {
            check(
                &IntegerGroups::new(bits, len, zero_point, wide_scale),
                &values(3 * 1234, 6),
                1234,
                None,
            );
        }
    }
}

#[test]
fn half_floats_are_read_as_what_they_stand_for() {
    let x: Vec<f32> = values(4096, 7)
        .into_iter()
        .map(|x| if x.is_finite() { x } else { 0.5 })
        .collect();
    let (halves, brains): (Vec<f16>, Vec<bf16>) =
        x.iter().map(|&x| (f16::from_f32(x), bf16::from_f32(x))).unzip();
    for format in BLOCK_FORMATS {
        let mut bytes = vec![0; format.row_bytes(1024).unwrap() * 4];
        encode_rows(*format, Source::F16(&halves), 1024, None, &mut bytes).unwrap();
        let wide: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
        assert_eq!(bytes, oracle(*format, &wide, 1024, None), "{}", format.name());
        encode_rows(*format, Source::BF16(&brains), 1024, None, &mut bytes).unwrap();
        let wide: Vec<f32> = brains.iter().map(|x| x.to_f32()).collect();
        assert_eq!(bytes, oracle(*format, &wide, 1024, None), "{}", format.name());
    }
}

/// Weights as `AffineK` has them without importance.
fn weights(format: &AffineK, x: &[f32]) -> Vec<f32> {
    let squares = x.iter().fold(0.0, |sum, x| sum + x * x);
    let root = if format.bits == 2 {
        0.0
    } else {
        (squares / x.len() as f32).sqrt()
    };
    x.iter().map(|x| root + x.abs()).collect()
}

#[test]
fn fits_are_the_same_on_every_instruction_set() {
    for isa in Isa::available() {
        for format in [&Q2_K, &Q4_K, &Q5_K] {
            let mut x = values(21 * 256, 8);
            bound(&mut x, format.limit());
            let parts = x.len() / format.part_len;
            let (mut scales, mut offsets) = (vec![0.0; parts], vec![0.0; parts]);
            fit::affine_with(isa, format, &x, None, &mut scales, &mut offsets);
            for (index, x) in x.chunks(format.part_len).enumerate() {
                let mut codes = vec![0; x.len()];
                let expected = fit_affine(x, &weights(format, x), &format.search, &mut codes);
                assert_eq!((scales[index], offsets[index]), expected, "{isa:?} {x:?}");
            }
        }
        let mut x = values(13 * 256, 9);
        bound(&mut x, 1e9);
        let mut scales = vec![0.0; x.len() / 16];
        fit_scales::symmetric_with(isa, 32.0, &x, &mut scales);
        for (scale, x) in scales.iter().zip(x.chunks(16)) {
            let squares: Vec<f32> = x.iter().map(|x| x * x).collect();
            let expected = fit_symmetric(x, &squares, 32.0, &mut [0; 16]);
            assert_eq!(*scale, expected, "{isa:?} {x:?}");
            assert!(*scale == 0.0 || x.iter().any(|x| x.abs() >= GROUP_EPSILON));
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let x = values(64 * 512, 10);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        let mut bytes = vec![0; Q4_K.row_bytes(512).unwrap() * 64];
        pool.install(|| encode_rows(&Q4_K, Source::F32(&x), 512, None, &mut bytes))
            .unwrap();
        bytes
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let x = [0.0f32; 512];
    let encode = |row_len: usize, bytes: usize| {
        encode_rows(&Q4_K, Source::F32(&x), row_len, None, &mut vec![0; bytes])
    };
    assert_eq!(encode(512, 288), Ok(()));
    assert_eq!(
        encode(100, 288),
        Err(BlockSizeError::Row {
            row_len: 100,
            block_len: 256
        })
    );
    assert_eq!(
        encode(768, 0),
        Err(BlockSizeError::Length {
            got: 512,
            expected: 0
        })
    );
    assert_eq!(
        encode(256, 100),
        Err(BlockSizeError::Length {
            got: 100,
            expected: 288
        })
    );
    assert!(encode(0, 0).is_err());
    assert_eq!(encode_rows(&Q4_K, Source::F32(&[]), 256, None, &mut []), Ok(()));
    let short = encode_rows(&Q4_K, Source::F32(&x), 512, Some(&[1.0]), &mut [0; 288]);
    assert_eq!(
        short,
        Err(BlockSizeError::Length {
            got: 1,
            expected: 512
        })
    );
}
