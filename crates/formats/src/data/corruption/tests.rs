//! Corruptions against the packages that the original uses; `goldens/generate.py` wrote the cases.

use std::collections::BTreeMap;

use bantam_tensor::{DType, SplitMix64, Tensor};
use serde::Deserialize;

use super::{CORRUPTIONS, Corruption, Corruptor, Pixels, Strength, corruptions_by_name};
use crate::data::layout::Layout;

#[derive(Deserialize)]
struct Goldens {
    height: usize,
    width: usize,
    image: Vec<u8>,
    corrupted: BTreeMap<String, Vec<Vec<u8>>>,
}

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("goldens/goldens.json")).unwrap()
}

fn named(name: &str) -> &'static Corruption {
    corruptions_by_name(name).unwrap()[0]
}

/// Largest and mean difference.
fn differences(a: &[u8], b: &[u8]) -> (u8, f64) {
    let differences: Vec<u8> = a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: f64 = differences.iter().map(|difference| f64::from(*difference)).sum();
    (*differences.iter().max().unwrap(), sum / differences.len() as f64)
}

#[test]
fn corruptions_are_those_of_the_original() {
    let goldens = goldens();
    for (name, expected) in &goldens.corrupted {
        for (strength, expected) in Strength::ALL.into_iter().zip(expected) {
            let mut pixels = Pixels {
                height: goldens.height,
                width: goldens.width,
                channels: 3,
                levels: goldens.image.clone(),
            };
            (named(name).make)(strength)(&mut pixels, &mut SplitMix64::new(0));
            let (largest, mean) = differences(&pixels.levels, expected);
            // Other arithmetic may round to the next level, and does where half levels are added; other JPEG coders bring colours to other
            // resolutions in another way.
            let (most, most_mean) = match name.as_str() {
                "jpeg" => (24, 2.0),
                "brightness" => (1, 0.2),
                _ => (1, 0.02),
            };
            assert!(
                largest <= most && mean <= most_mean,
                "{name} {strength:?}: {largest} {mean}"
            );
        }
    }
}

#[test]
fn noise_has_the_deviation_of_its_strength() {
    let cases: &[(&str, [f64; 5], fn(f64) -> f64)] = &[
        ("gaussian-noise", [0.04, 0.06, 0.08, 0.09, 0.10], |deviation| {
            deviation
        }),
        // A Poisson number of mean m has the variance m: here m is half the quanta.
        ("shot-noise", [500.0, 250.0, 100.0, 75.0, 50.0], |quanta| {
            (0.5 * quanta).sqrt() / quanta
        }),
    ];
    for (name, constants, deviation) in cases {
        for (strength, constant) in Strength::ALL.into_iter().zip(constants) {
            let mut pixels = Pixels {
                height: 150,
                width: 151,
                channels: 1,
                levels: vec![128; 150 * 151],
            };
            (named(name).make)(strength)(&mut pixels, &mut SplitMix64::new(7));
            let values = || pixels.levels.iter().map(|value| f64::from(*value) / 255.0);
            let count = pixels.levels.len() as f64;
            let mean = values().sum::<f64>() / count;
            let found = (values().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            assert!((mean - 128.0 / 255.0).abs() < 0.003, "{name}: {mean}");
            assert!(
                (found / deviation(*constant) - 1.0).abs() < 0.03,
                "{name} {strength:?}: {found}"
            );
        }
    }
}

#[test]
fn every_corruption_is_repeatable_and_stronger_when_it_is_asked_to_be() {
    let goldens = goldens();
    let shape = [goldens.height, goldens.width, 3];
    for corruption in CORRUPTIONS {
        let corrupted = |strength, seed, index| {
            let corruptor = Corruptor::new((corruption, strength), seed, DType::U8, None, &shape).unwrap();
            corruptor.apply(&goldens.image, index).unwrap()
        };
        let damage = Strength::ALL.map(|strength| differences(&corrupted(strength, 0, 0), &goldens.image).1);
        assert!(
            damage[0] > 0.5 && damage[4] > 1.15 * damage[0],
            "{corruption:?}: {damage:?}"
        );
        let strength = Strength::ALL[2];
        assert_eq!(
            corrupted(strength, 1, 5),
            corrupted(strength, 1, 5),
            "{corruption:?}"
        );
        let is_noise = corruption.family == "noise";
        assert_eq!(
            corrupted(strength, 1, 5) != corrupted(strength, 1, 6),
            is_noise,
            "{corruption:?}"
        );
        assert_eq!(
            corrupted(strength, 1, 5) != corrupted(strength, 2, 5),
            is_noise,
            "{corruption:?}"
        );
    }
}

#[test]
fn layouts_and_types_change_nothing() {
    let goldens = goldens();
    let (height, width) = (goldens.height, goldens.width);
    let planes: Vec<u8> = (0..3)
        .flat_map(|c| goldens.image.iter().skip(c).step_by(3).copied())
        .collect();
    let as_floats = |levels: &[u8], range: f64| -> Vec<f32> {
        levels
            .iter()
            .map(|value| (f64::from(*value) / 255.0 * range) as f32)
            .collect()
    };
    let floats = |levels: &[u8], range: f64| {
        Tensor::from_slice(&[height, width, 3], &as_floats(levels, range)).unwrap()
    };
    for corruption in CORRUPTIONS {
        let make = |dtype, layout: Option<&str>, shape: &[usize]| {
            let layout = layout.map(|name| Layout::try_from(name.to_owned()).unwrap());
            Corruptor::new((corruption, Strength::ALL[2]), 0, dtype, layout, shape).unwrap()
        };
        let expected = make(DType::U8, None, &[height, width, 3])
            .apply(&goldens.image, 0)
            .unwrap();
        let got = make(DType::U8, Some("NCHW"), &[3, height, width])
            .apply(&planes, 0)
            .unwrap();
        let pixels: Vec<u8> = (0..height * width)
            .flat_map(|p| [0, 1, 2].map(|c| got[c * height * width + p]))
            .collect();
        assert_eq!(pixels, expected, "{corruption:?}");
        for range in [1.0, 255.0] {
            let stored = floats(&goldens.image, range);
            let got = make(DType::F32, Some("NHWC"), &[height, width, 3])
                .apply(stored.as_bytes(), 0)
                .unwrap();
            assert_eq!(got, floats(&expected, range).as_bytes(), "{corruption:?} {range}");
        }
        // Grey images, of odd sizes, down to a single pixel.
        for shape in [&[1, 1][..], &[2, 1], &[1, 7], &[9, 17]] {
            let sample = vec![100; shape.iter().product()];
            assert_eq!(
                make(DType::U8, None, shape).apply(&sample, 0).unwrap().len(),
                sample.len()
            );
        }
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let make = |dtype, layout: Option<&str>, shape: &[usize]| {
        let layout = layout.map(|name| Layout::try_from(name.to_owned()).unwrap());
        Corruptor::new((&CORRUPTIONS[0], Strength::ALL[0]), 0, dtype, layout, shape)
    };
    for shape in [
        &[][..],
        &[7],
        &[5, 6, 7],
        &[3, 0, 4],
        &[1, 2, 2, 2],
        &[1, 70000, 2],
    ] {
        assert!(make(DType::U8, None, shape).is_none(), "{shape:?}");
    }
    assert!(make(DType::F32, None, &[4, 4]).is_none());
    assert!(make(DType::F32, Some("NC"), &[4]).is_none());
    let corruptor = make(DType::F32, None, &[1, 2, 2]).unwrap();
    for values in [
        [-0.5, 0.0, 0.0, 1.0],
        [0.0, 0.0, 256.0, 1.0],
        [f32::NAN, 0.0, 0.0, 0.0],
        [f32::INFINITY, 0.0, 0.0, 0.0],
    ] {
        let stored = Tensor::from_slice(&[1, 2, 2], &values).unwrap();
        assert_eq!(corruptor.apply(stored.as_bytes(), 0), None, "{values:?}");
    }
}

#[test]
fn names_are_corruptions_families_or_all() {
    let count = |name| corruptions_by_name(name).map(|found| found.len());
    assert_eq!(
        ["all", "noise", "jpeg", "jpg"].map(count),
        [Some(8), Some(2), Some(1), None]
    );
    assert_eq!(
        [0, 1, 5, 6].map(|strength| Strength::new(strength).map(Strength::get)),
        [None, Some(1), Some(5), None]
    );
}
