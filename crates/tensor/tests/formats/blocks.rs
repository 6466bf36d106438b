//! What every block format keeps.

use bantam_tensor::formats::Codebook;
use bantam_tensor::formats::blocks::{NVFP4, ScaleType, ScaledBlocks};
use bantam_tensor::{BLOCK_FORMATS, BlockFormat, SplitMix64, block_format_by_name};

fn encode(format: &dyn BlockFormat, x: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; format.row_bytes(x.len()).expect("a row")];
    format.encode_block(x, None, &mut bytes);
    bytes
}

fn decode(format: &dyn BlockFormat, bytes: &[u8], len: usize) -> Vec<f32> {
    let mut values = vec![f32::NAN; len];
    format.decode_block(bytes, &mut values);
    values
}

fn round_trip(format: &dyn BlockFormat, x: &[f32]) -> Vec<f32> {
    decode(format, &encode(format, x), x.len())
}

fn largest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |best, x| best.max(x.abs()))
}

/// A number of about the standard normal distribution: the sum of twelve of the even one.
fn normal(random: &mut SplitMix64) -> f32 {
    (0..12).map(|_| random.unit()).sum::<f32>() - 6.0
}

/// Blocks of several distributions with magnitudes about 1.
fn blocks(len: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut random = SplitMix64::new(seed);
    let mut draw =
        |make: &dyn Fn(&mut SplitMix64, usize) -> f32| (0..len).map(|i| make(&mut random, i)).collect();
    vec![
        draw(&|random, _| normal(random)),
        draw(&|random, _| random.unit() * 2.0 - 1.0),
        draw(&|random, _| normal(random).powi(3)),
        draw(&|random, _| normal(random).abs()),
        draw(&|random, _| -normal(random).abs() - 1.0),
        draw(&|random, _| {
            if random.below(20) == 0 {
                normal(random)
            } else {
                0.0
            }
        }),
        draw(&|random, i| if i == 3 { -9.0 } else { normal(random) * 0.1 }),
        draw(&|random, i| if i % 2 == 0 { 1.0 } else { -1.0 } * (1.0 + random.unit() * 1e-3)),
    ]
}

/// The mean square error, weighted.
fn error(x: &[f32], y: &[f32], weights: &[f32]) -> f64 {
    let terms = x.iter().zip(y).zip(weights);
    terms
        .map(|((x, y), w)| f64::from(*w) * (f64::from(*x) - f64::from(*y)).powi(2))
        .sum()
}

#[test]
fn names_are_unique_and_found() {
    for (index, format) in BLOCK_FORMATS.iter().enumerate() {
        assert!(
            BLOCK_FORMATS[index + 1..]
                .iter()
                .all(|other| other.name() != format.name())
        );
        assert_eq!(
            block_format_by_name(format.name()).map(|found| found.name()),
            Some(format.name())
        );
        assert_eq!(format.row_bytes(format.block_len()), Some(format.block_bytes()));
        assert_eq!(format.row_bytes(0), Some(0));
    }
}

#[test]
fn errors_are_within_the_bound() {
    for format in BLOCK_FORMATS {
        let mut worst = 0.0f32;
        for (index, x) in (0..8)
            .flat_map(|seed| blocks(format.block_len(), seed))
            .enumerate()
        {
            let bound = format.largest_error() * largest(&x);
            for (x, y) in x.iter().zip(round_trip(*format, &x)) {
                worst = worst.max((x - y).abs() / bound * format.largest_error());
                assert!(
                    (x - y).abs() <= bound,
                    "{} block {index}: {x} became {y}, bound {bound}",
                    format.name()
                );
            }
        }
        // The bound is not idle.
        let bound = format.largest_error();
        assert!(worst > 0.1 * bound, "{}: {worst} of {bound}", format.name());
    }
}

#[test]
fn what_was_decoded_stays() {
    for format in BLOCK_FORMATS {
        for x in (0..4).flat_map(|seed| blocks(format.block_len(), seed)) {
            let once = round_trip(*format, &x);
            let twice = round_trip(*format, &once);
            if format.repeats() {
                assert_eq!(once, twice, "{}", format.name());
                continue;
            }
            let bound = format.largest_error() * largest(&once);
            assert!(
                once.iter().zip(&twice).all(|(a, b)| (a - b).abs() <= bound),
                "{}",
                format.name()
            );
        }
    }
}

#[test]
fn zeros_stay_zero_and_constants_near() {
    for format in BLOCK_FORMATS {
        let len = format.block_len();
        for search in [false, true] {
            let mut bytes = vec![0; format.block_bytes()];
            let mut check = |value: f32| {
                let x = vec![value; len];
                if search {
                    format.encode_block_searched(&x, None, &mut bytes);
                } else {
                    format.encode_block(&x, None, &mut bytes);
                }
                let bound = format.largest_error() * value.abs();
                let values = decode(*format, &bytes, len);
                assert!(
                    values.iter().all(|y| (y - value).abs() <= bound),
                    "{} {value}: {values:?}",
                    format.name()
                );
            };
            [0.0, -0.0, 1.0, -1.0, 0.1, -37.0, 1000.0]
                .into_iter()
                .for_each(&mut check);
        }
    }
}

#[test]
fn any_input_gives_finite_values() {
    let odd = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        1e-45,
        -1e-40,
        1e30,
        -1e10,
        1e5,
        1e-20,
        1e-16,
        0.0,
        -0.0,
        1.0,
    ];
    let mut random = SplitMix64::new(3);
    for format in BLOCK_FORMATS {
        let len = format.block_len();
        for round in 0..200 {
            // Few kinds of values in one block, so that each may be the largest.
            let kinds: Vec<f32> = (0..1 + round % 4).map(|_| odd[random.below(odd.len())]).collect();
            let x: Vec<f32> = (0..len).map(|_| kinds[random.below(kinds.len())]).collect();
            let weights: Vec<f32> = (0..len).map(|_| random.unit()).collect();
            let mut bytes = vec![0; format.block_bytes()];
            for importance in [None, Some(weights.as_slice())] {
                format.encode_block(&x, importance, &mut bytes);
                let values = decode(*format, &bytes, len);
                assert!(
                    values.iter().all(|value| value.is_finite()),
                    "{} {kinds:?}: {values:?}",
                    format.name()
                );
                format.encode_block_searched(&x, importance, &mut bytes);
                let values = decode(*format, &bytes, len);
                assert!(
                    values.iter().all(|value| value.is_finite()),
                    "{} {kinds:?} searched",
                    format.name()
                );
            }
        }
        let x = vec![f32::NAN; len];
        assert!(
            round_trip(*format, &x).iter().all(|&value| value == 0.0),
            "{}",
            format.name()
        );
    }
}

#[test]
fn random_bytes_decode() {
    let mut random = SplitMix64::new(4);
    for format in BLOCK_FORMATS {
        for _ in 0..500 {
            let bytes: Vec<u8> = (0..format.block_bytes())
                .map(|_| random.next_u64() as u8)
                .collect();
            decode(*format, &bytes, format.block_len());
        }
    }
}

#[test]
fn searches_and_importance_lower_the_error_they_are_for() {
    let mut random = SplitMix64::new(5);
    for format in BLOCK_FORMATS {
        let len = format.block_len();
        let (mut plain, mut weighted, mut searched) = (0.0, 0.0, 0.0);
        for x in (0..4).flat_map(|seed| blocks(len, 100 + seed)) {
            let weights: Vec<f32> = (0..len).map(|_| random.unit().powi(4)).collect();
            for importance in [None, Some(weights.as_slice())] {
                let counted = importance.unwrap_or(&[1.0; 4096][..len]).to_vec();
                let mut bytes = vec![0; format.block_bytes()];
                format.encode_block(&x, importance, &mut bytes);
                let published = error(&x, &decode(*format, &bytes, len), &counted);
                format.encode_block_searched(&x, importance, &mut bytes);
                let longer = error(&x, &decode(*format, &bytes, len), &counted);
                assert!(
                    longer <= published,
                    "{}: {longer} after {published}",
                    format.name()
                );
                searched += longer;
                if importance.is_some() {
                    weighted += published;
                }
            }
            plain += error(&x, &round_trip(*format, &x), &weights);
        }
        assert!(searched.is_finite());
        if format.uses_importance() {
            assert!(
                weighted < plain,
                "{}: {weighted} with importance, {plain} without",
                format.name()
            );
        }
    }
}

#[test]
fn rows_may_end_with_a_shorter_block() {
    let x: Vec<f32> = (0..77).map(|i| (i as f32 * 0.7).sin()).collect();
    let ragged = BLOCK_FORMATS
        .iter()
        .filter(|format| format.row_bytes(77).is_some());
    let mut count = 0;
    for format in ragged {
        let (len, block) = (format.block_len(), format.block_bytes());
        let mut bytes = vec![0xaa; format.row_bytes(x.len()).unwrap()];
        for (x, bytes) in x.chunks(len).zip(bytes.chunks_mut(block)) {
            format.encode_block(x, None, bytes);
            let bound = format.largest_error() * largest(x);
            let values = decode(*format, bytes, x.len());
            assert!(
                x.iter().zip(&values).all(|(x, y)| (x - y).abs() <= bound),
                "{}",
                format.name()
            );
        }
        count += 1;
    }
    assert!(count >= 20, "{count}");
}

#[test]
fn a_scale_for_the_tensor_keeps_small_and_large_tensors() {
    for spread in [1e-6f32, 1.0, 1e6] {
        let x: Vec<f32> = blocks(64, 1).concat().iter().map(|x| x * spread).collect();
        let format = NVFP4.for_tensor(&x);
        for x in x.chunks(16) {
            let bound = format.largest_error() * largest(x) + largest(&[9.0 * spread]) / 448.0 / 512.0;
            let values = round_trip(&format, x);
            assert!(
                x.iter().zip(&values).all(|(x, y)| (x - y).abs() <= bound),
                "{spread}: {x:?} {values:?}"
            );
        }
    }
}

#[test]
fn a_learned_codebook_is_a_block_format() {
    let x = blocks(256, 2).concat();
    // What the elements are once the scale is taken out.
    let scaled: Vec<f32> = x
        .chunks(64)
        .flat_map(|x| x.iter().map(|value| value / largest(x).max(1e-9)))
        .collect();
    let learned = Codebook::learned(&scaled, None, 16, 1);
    let format = ScaledBlocks::new(&learned, 64, ScaleType::F16);
    let error = |format: &dyn BlockFormat| -> f64 {
        x.chunks(64)
            .map(|x| error(x, &round_trip(format, x), &[1.0; 64]))
            .sum()
    };
    assert_eq!(format.block_bytes(), 34);
    assert!(error(&format) < error(block_format_by_name("log4-b64").unwrap()));
}

#[test]
fn the_documentation_lists_every_format() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats-numbers.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let row = |format: &&dyn BlockFormat| {
        let importance = if format.uses_importance() {
            ", importance"
        } else {
            ""
        };
        let (name, bits, len) = (format.name(), format.bits_per_weight(), format.block_len());
        format!(
            "| {name} | {bits} | {len} | {}{importance} | {} |",
            format.summary(),
            format.source()
        )
    };
    let rows: Vec<String> = BLOCK_FORMATS.iter().map(row).collect();
    assert!(
        page.contains(&rows.join("\n")),
        "the table should be\n{}",
        rows.join("\n")
    );
}

#[test]
fn codes_become_blocks_as_they_are() {
    use bantam_tensor::formats::blocks::GroupGrid;

    let mut random = SplitMix64::new(5);
    let mut codes = |low: i32, high: i32| -> Vec<i32> {
        let count = (high - low + 1) as u64;
        (0..32)
            .map(|_| low + (random.next_u64() % count) as i32)
            .collect()
    };
    // The codes that a format holds, and a scale and code of zero that 16 bits say exactly.
    for (name, low, high, scale, zero_point) in [
        ("q4_0", -8, 7, 0.012_496_948, 0.0),
        ("q4_0", 0, 15, 0.012_496_948, 8.0),
        ("q5_0", -16, 15, 0.012_496_948, 0.0),
        ("q8_0", -128, 127, 0.012_496_948, 0.0),
        ("q8_0", 0, 255, 0.012_496_948, 128.0),
        ("q4_1", 0, 15, 0.125, 11.0),
        ("q4_1", -8, 7, 0.012_496_948, 0.0),
        ("q5_1", 0, 31, 0.125, 3.0),
    ] {
        let format = block_format_by_name(name).unwrap();
        let grid = GroupGrid { scale, zero_point };
        let codes = codes(low, high);
        let mut bytes = vec![0; format.block_bytes()];
        assert!(format.encode_exactly(&codes, grid, &mut bytes), "{name}");
        let expected: Vec<f32> = codes
            .iter()
            .map(|code| (*code as f32 - zero_point) * scale)
            .collect();
        assert_eq!(decode(format, &bytes, 32), expected, "{name}");
        // One code too far, or a scale that 16 bits cannot say.
        let mut far = codes.clone();
        (far[3], far[4]) = (low, high + 1);
        assert!(!format.encode_exactly(&far, grid, &mut bytes), "{name}");
        for scale in [1e-9, 1e9, f32::NAN] {
            assert!(
                !format.encode_exactly(&codes, GroupGrid { scale, zero_point }, &mut bytes),
                "{name}"
            );
        }
    }
    // Other formats have no such blocks.
    let format = block_format_by_name("iq4_nl").unwrap();
    let grid = GroupGrid {
        scale: 1.0,
        zero_point: 0.0,
    };
    assert!(!format.encode_exactly(&[0; 32], grid, &mut vec![0; format.block_bytes()]));
}
