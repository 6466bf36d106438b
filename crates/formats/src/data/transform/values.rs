//! The arithmetic of a transform: loops over the elements of one sample.

use bantam_tensor::DType;
use half::{bf16, f16};

use crate::data::layout::{Channels, Layout};
use crate::data::preprocess::Preprocess;

/// Most channels that get a table of results each (1 KiB).
const MAX_TABLES: usize = 64;

/// `[rows, columns]` to `[columns, rows]`: channels and space change places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transpose {
    rows: usize,
    columns: usize,
}

/// What happens to each element.
#[derive(Clone, Debug)]
pub(super) enum Values {
    /// Same type, same values.
    Copy,
    /// Same values, other type.
    Cast,
    /// `(x * scale - mean) / std`; for 8-bit sources from a table of 256 results per channel.
    Affine {
        channels: Vec<Affine>,
        inner: usize,
        tables: Option<Vec<[f32; 256]>>,
    },
}

/// The numbers of one channel; arithmetic in `f32`, in this order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    scale: f32,
    mean: f32,
    std: f32,
}

impl Affine {
    fn apply(self, value: f32) -> f32 {
        (value * self.scale - self.mean) / self.std
    }
}

impl Values {
    /// What `scale`, `mean` and `std` say, for channels that alternate every `inner` elements.
    pub(super) fn affine(source: DType, preprocess: &Preprocess, channels: usize, inner: usize) -> Values {
        let pick = |values: Option<&[f64]>, channel: usize, default: f64| match values {
            Some([one]) => *one as f32,
            Some(many) => many[channel] as f32,
            None => default as f32,
        };
        let scale = preprocess.scale.unwrap_or(1.0) as f32;
        let of_channel = |channel| Affine {
            scale,
            mean: pick(preprocess.mean(), channel, 0.0),
            std: pick(preprocess.std(), channel, 1.0),
        };
        let is_uniform = [preprocess.mean(), preprocess.std()]
            .into_iter()
            .flatten()
            .all(|values| values.len() == 1);
        let channels: Vec<Affine> = (0..if is_uniform { 1 } else { channels })
            .map(of_channel)
            .collect();
        let table = |affine: &Affine| {
            std::array::from_fn(|code| match source {
                DType::I8 => affine.apply(f32::from(code as u8 as i8)),
                _ => affine.apply(code as f32),
            })
        };
        let is_small = matches!(source, DType::U8 | DType::I8 | DType::Bool) && channels.len() <= MAX_TABLES;
        let tables = is_small.then(|| channels.iter().map(table).collect());
        Values::Affine {
            channels,
            inner,
            tables,
        }
    }

    /// Makes the elements of one result from those of one sample.
    ///
    /// # Errors
    /// Gives the integer that the target type cannot hold.
    pub(super) fn apply(
        &self,
        source: DType,
        sample: &[u8],
        target: DType,
        out: &mut [u8],
    ) -> Result<(), i128> {
        match self {
            Values::Copy => out.copy_from_slice(sample),
            Values::Cast if target.is_float() => {
                with_floats(target, out, |values| read_floats(source, sample, values));
            }
            Values::Cast => return cast_integers(source, sample, target, out),
            Values::Affine {
                channels,
                inner,
                tables,
            } => {
                with_floats(target, out, |values| match tables {
                    Some(tables) => look_up(sample, tables, *inner, values),
                    None => {
                        read_floats(source, sample, values);
                        compute(channels, *inner, values);
                    }
                });
            }
        }
        Ok(())
    }
}

impl Transpose {
    /// What brings samples from one layout to another, if anything has to move.
    pub(super) fn between(from: Layout, to: Layout, channels: usize, elements: usize) -> Option<Transpose> {
        let space = elements.checked_div(channels)?;
        let moves = channels > 1 && space > 1;
        match (from.channels, to.channels) {
            (Channels::Last, Channels::First) if moves => Some(Transpose {
                rows: space,
                columns: channels,
            }),
            (Channels::First, Channels::Last) if moves => Some(Transpose {
                rows: channels,
                columns: space,
            }),
            _ => None,
        }
    }

    /// Moves the elements of one sample, each of `element` bytes.
    pub(super) fn apply(self, sample: &[u8], element: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(sample.len());
        for column in 0..self.columns {
            for row in 0..self.rows {
                let start = (row * self.columns + column) * element;
                out.extend_from_slice(&sample[start..start + element]);
            }
        }
        out
    }
}

/// Results from tables: channels alternate every `inner` elements, round and round.
fn look_up(sample: &[u8], tables: &[[f32; 256]], inner: usize, out: &mut [f32]) {
    if let [table] = tables {
        for (out, &code) in out.iter_mut().zip(sample) {
            *out = table[usize::from(code)];
        }
    } else if inner == 1 {
        let pixels = sample.chunks_exact(tables.len());
        for (out, pixel) in out.chunks_exact_mut(tables.len()).zip(pixels) {
            for ((out, &code), table) in out.iter_mut().zip(pixel).zip(tables) {
                *out = table[usize::from(code)];
            }
        }
    } else {
        let planes = sample.chunks_exact(inner).zip(tables.iter().cycle());
        for (out, (plane, table)) in out.chunks_exact_mut(inner).zip(planes) {
            for (out, &code) in out.iter_mut().zip(plane) {
                *out = table[usize::from(code)];
            }
        }
    }
}

/// `(x * scale - mean) / std` in place: channels alternate every `inner` elements, round and round.
fn compute(channels: &[Affine], inner: usize, values: &mut [f32]) {
    if let [affine] = channels {
        values.iter_mut().for_each(|value| *value = affine.apply(*value));
    } else if inner == 1 {
        for pixel in values.chunks_exact_mut(channels.len()) {
            for (value, affine) in pixel.iter_mut().zip(channels) {
                *value = affine.apply(*value);
            }
        }
    } else {
        for (plane, affine) in values.chunks_exact_mut(inner).zip(channels.iter().cycle()) {
            plane.iter_mut().for_each(|value| *value = affine.apply(*value));
        }
    }
}

/// Lets `fill` write `f32` values, and turns them into the float type of `out`.
fn with_floats(target: DType, out: &mut [u8], fill: impl FnOnce(&mut [f32])) {
    if target == DType::F32 {
        fill(bytemuck::cast_slice_mut(out));
        return;
    }
    let width = target.bits() / 8;
    let mut values = vec![0f32; out.len() / width];
    fill(&mut values);
    for (out, value) in out.chunks_exact_mut(width).zip(values) {
        match target {
            DType::F16 => out.copy_from_slice(&f16::from_f32(value).to_le_bytes()),
            DType::BF16 => out.copy_from_slice(&bf16::from_f32(value).to_le_bytes()),
            _ => out.copy_from_slice(&f64::from(value).to_le_bytes()),
        }
    }
}

/// Little-endian elements of any alignment as `f32`.
fn read_floats(source: DType, sample: &[u8], out: &mut [f32]) {
    macro_rules! read {
        ($t:ty, $convert:expr) => {
            for (out, bytes) in out.iter_mut().zip(sample.chunks_exact(size_of::<$t>())) {
                *out = $convert(<$t>::from_le_bytes(
                    bytes.try_into().expect("a chunk of this size"),
                ));
            }
        };
        ($t:ty) => {
            read!($t, |value| value as f32)
        };
    }
    match source {
        DType::I8 => read!(i8),
        DType::I16 => read!(i16),
        DType::I32 => read!(i32),
        DType::I64 => read!(i64),
        DType::U16 => read!(u16),
        DType::U32 => read!(u32),
        DType::U64 => read!(u64),
        DType::F16 => read!(f16, f16::to_f32),
        DType::F32 => read!(f32),
        DType::F64 => read!(f64),
        // Unsigned bytes and booleans; sources have no other type.
        _ => read!(u8),
    }
}

/// Integers and booleans to integers; the first that does not fit is the error.
fn cast_integers(source: DType, sample: &[u8], target: DType, out: &mut [u8]) -> Result<(), i128> {
    let signed = source.is_signed_integer();
    let (from, to) = (source.bits() / 8, target.bits() / 8);
    let (low, high) = if target.is_signed_integer() {
        (
            -(1i128 << (target.bits() - 1)),
            (1i128 << (target.bits() - 1)) - 1,
        )
    } else {
        (0, (1i128 << target.bits()) - 1)
    };
    for (out, bytes) in out.chunks_exact_mut(to).zip(sample.chunks_exact(from)) {
        let negative = signed && bytes[from - 1] >= 0x80;
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        wide[..from].copy_from_slice(bytes);
        let value = i128::from_le_bytes(wide);
        if value < low || value > high {
            return Err(value);
        }
        out.copy_from_slice(&wide[..to]);
    }
    Ok(())
}
