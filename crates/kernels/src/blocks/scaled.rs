//! Blocks of codes behind one scale: microscaling formats, NVFP4, NF4 and other tables.

use bantam_tensor::formats::blocks::{ScaledBlocks, bounded, inverse, mean_magnitude};
use bantam_tensor::formats::{pack_into, unpack_into};
use bantam_tensor::{BlockFormat, FormatKind};

use crate::vectorize::vectorized;

/// Most values of a table that is searched by comparing with all of them.
const TABLE: usize = 32;

/// How the code of an element is found.
#[derive(Clone, Copy)]
enum Elements {
    /// The number of middles below the value.
    Table { middles: [f32; TABLE], count: usize },
    /// Rounded to the mantissa.
    Float {
        mantissa_bits: u32,
        bias: i32,
        max: f32,
        sign: u32,
    },
    /// Rounded to an integer.
    Integer { min: f32, max: f32 },
}

impl Elements {
    /// `None` for formats that have no fast form.
    fn of(format: &ScaledBlocks<'_>) -> Option<Elements> {
        let element = format.element;
        if element.kind() == FormatKind::Integer {
            return Some(Elements::Integer {
                min: -(element.max_code() as f32),
                max: element.max_code() as f32,
            });
        }
        if let Some(layout) = element.float_layout().filter(|_| element.bits() <= 8) {
            let (mantissa_bits, bias, max) = (layout.mantissa_bits, layout.bias, element.max_value());
            return Some(Elements::Float {
                mantissa_bits,
                bias,
                max,
                sign: element.bits() - 1,
            });
        }
        if element.kind() != FormatKind::Codebook || element.bits() > 5 {
            return None;
        }
        let values: Vec<f32> = (0..1 << element.bits())
            .map(|code| element.decode(code))
            .collect();
        let mut middles = [f32::INFINITY; TABLE];
        let rising = values.windows(2).take_while(|pair| pair[0] < pair[1]);
        let mut count = 0;
        for (middle, pair) in middles.iter_mut().zip(rising) {
            *middle = pair[0] + (pair[1] - pair[0]) * 0.5;
            count += 1;
        }
        Some(Elements::Table { middles, count })
    }
}

/// Encodes blocks, the last of which may be shorter.
pub(super) fn encode(format: &ScaledBlocks<'_>, x: &mut [f32], bytes: &mut [u8]) {
    let Some(elements) = Elements::of(format) else {
        for (x, bytes) in x
            .chunks(format.block_len())
            .zip(bytes.chunks_mut(format.block_bytes()))
        {
            format.encode_block(x, None, bytes);
        }
        return;
    };
    let (bits, head, limit) = (
        format.element.bits() as usize,
        format.scale_bytes(),
        format.limit(),
    );
    let mut codes = vec![0; format.block_len()];
    for (x, bytes) in x
        .chunks_mut(format.block_len())
        .zip(bytes.chunks_mut(format.block_bytes()))
    {
        let largest = bound_and_largest(x, limit);
        let mean = if format.needs_mean() {
            mean_magnitude(x)
        } else {
            0.0
        };
        let scale = format.store_scale(format.scale_for(largest, mean), bytes);
        let codes = &mut codes[..x.len()];
        encode_elements(&elements, x, inverse(scale), format.unit, codes);
        pack(bits, codes, &mut bytes[head..]);
    }
}

/// The values of blocks, the last of which may be shorter.
pub(super) fn decode(format: &ScaledBlocks<'_>, bytes: &[u8], values: &mut [f32]) {
    let (bits, head, table) = (
        format.element.bits() as usize,
        format.scale_bytes(),
        format.table(),
    );
    let mut codes = vec![0; format.block_len()];
    let blocks = values
        .chunks_mut(format.block_len())
        .zip(bytes.chunks(format.block_bytes()));
    for (values, bytes) in blocks {
        let codes = &mut codes[..values.len()];
        unpack(bits, &bytes[head..], codes);
        look_up(&table, codes, format.load_scale(bytes), values);
    }
}

/// The code of a float: rounded to the mantissa by adding a large number, then cut out of the bits.
#[inline(always)]
fn float_code(x: f32, mantissa_bits: u32, bias: i32, max: f32, sign: u32) -> u8 {
    let magnitude = x.abs();
    let magnitude = if magnitude < max { magnitude } else { max };
    let smallest = (128 - bias) as u32;
    let exponent = magnitude.to_bits() >> 23;
    let exponent = if exponent > smallest { exponent } else { smallest };
    // 1.5 * 2^23 units of the last place.
    let rounder = f32::from_bits(((exponent + 23 - mantissa_bits) << 23) | 0x40_0000);
    let rounded = (magnitude + rounder) - rounder;
    // Below the normal numbers the code is a number of units.
    let unit = f32::from_bits((254 - smallest + mantissa_bits) << 23);
    let units = (rounded * unit).to_bits();
    let units = if rounded < f32::from_bits(smallest << 23) {
        let ones = f32::from_bits(units) + 12_582_912.0;
        ones.to_bits() & 0x3f_ffff
    } else {
        (rounded.to_bits() >> (23 - mantissa_bits)) - ((smallest - 1) << mantissa_bits)
    };
    (units | (x.to_bits() >> 31) << sign) as u8
}

vectorized! {
    /// Bounds the elements; gives the largest magnitude.
    pub(super) fn bound_and_largest(x: &mut [f32], limit: f32) -> f32 {
        let mut lanes = [0.0f32; 16];
        let (chunks, rest) = x.as_chunks_mut::<16>();
        for chunk in chunks {
            for lane in 0..16 {
                chunk[lane] = bounded(chunk[lane], limit);
                let magnitude = chunk[lane].abs();
                lanes[lane] = if magnitude > lanes[lane] { magnitude } else { lanes[lane] };
            }
        }
        for x in rest {
            *x = bounded(*x, limit);
            lanes[0] = if x.abs() > lanes[0] { x.abs() } else { lanes[0] };
        }
        let mut largest = 0.0f32;
        for lane in lanes {
            largest = if lane > largest { lane } else { largest };
        }
        largest
    }

    fn encode_elements(elements: &Elements, x: &[f32], inverse: f32, unit: f32, codes: &mut [u8]) {
        match *elements {
            Elements::Table { middles, count } => {
                for (x, codes) in x.chunks(16).zip(codes.chunks_mut(16)) {
                    let mut scaled = [0.0f32; 16];
                    for (to, x) in scaled.iter_mut().zip(x) {
                        *to = x * inverse / unit;
                    }
                    let mut above = [0u32; 16];
                    for middle in &middles[..count] {
                        for lane in 0..16 {
                            above[lane] += u32::from(scaled[lane] > *middle);
                        }
                    }
                    for (code, above) in codes.iter_mut().zip(above) {
                        *code = above as u8;
                    }
                }
            }
            Elements::Float { mantissa_bits, bias, max, sign } => {
                for (code, x) in codes.iter_mut().zip(x) {
                    *code = float_code(x * inverse / unit, mantissa_bits, bias, max, sign);
                }
            }
            Elements::Integer { min, max } => {
                for (code, x) in codes.iter_mut().zip(x) {
                    let scaled = x * inverse / unit;
                    let above = if scaled > min { scaled } else { min };
                    *code = crate::quantize::round_even(if above < max { above } else { max }) as u8;
                }
            }
        }
    }

    /// Packs codes from the low bits up.
    pub(super) fn pack(bits: usize, codes: &[u8], bytes: &mut [u8]) {
        match bits {
            8 => bytes[..codes.len()].copy_from_slice(codes),
            4 => {
                let (pairs, last) = codes.as_chunks::<2>();
                for (byte, pair) in bytes.iter_mut().zip(pairs) {
                    *byte = pair[0] & 15 | pair[1] << 4;
                }
                if let [code] = last {
                    bytes[pairs.len()] = code & 15;
                }
            }
            _ => pack_into(bits, codes.iter().copied(), bytes),
        }
    }

    /// The codes that [`pack`] packed.
    pub(super) fn unpack(bits: usize, bytes: &[u8], codes: &mut [u8]) {
        match bits {
            8 => codes.copy_from_slice(&bytes[..codes.len()]),
            4 => {
                for (pair, byte) in codes.chunks_mut(2).zip(bytes) {
                    for (index, code) in pair.iter_mut().enumerate() {
                        *code = byte >> (4 * index) & 15;
                    }
                }
            }
            _ => unpack_into(bits, bytes, codes),
        }
    }

    fn look_up(table: &[f32; 256], codes: &[u8], scale: f32, values: &mut [f32]) {
        for (value, &code) in values.iter_mut().zip(codes) {
            *value = table[usize::from(code)] * scale;
        }
    }
}
