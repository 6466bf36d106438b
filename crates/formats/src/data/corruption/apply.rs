//! Corrupts the samples of an input as they are stored.

use std::sync::Arc;

use bantam_tensor::{DType, SplitMix64, Tensor};

use super::{Change, Corruption, Pixels, Strength, level};
use crate::data::layout::{Channels, Layout};

/// Longest side of an image: that of JPEG.
const MOST_SIDE: usize = u16::MAX as usize;

/// What happens to stored samples.
#[derive(Clone)]
pub(crate) struct Corruptor {
    change: Arc<Change>,
    seed: u64,
    dtype: DType,
    shape: Vec<usize>,
    height: usize,
    width: usize,
    channels: usize,
    is_channels_first: bool,
}

impl std::fmt::Debug for Corruptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Corruptor")
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

impl Corruptor {
    /// For samples of this type, layout and shape; `None` if they are no images.
    pub(crate) fn new(
        (corruption, strength): (&Corruption, Strength),
        seed: u64,
        dtype: DType,
        layout: Option<Layout>,
        shape: &[usize],
    ) -> Option<Corruptor> {
        let layout = layout.or_else(|| guessed(dtype, shape))?;
        let (height, width, channels) = match (layout.spatial, layout.channels, shape) {
            (2, Channels::First, &[channels, height, width])
            | (2, Channels::Last, &[height, width, channels]) => (height, width, channels),
            (2, Channels::Missing, &[height, width]) => (height, width, 1),
            _ => return None,
        };
        let has_pixels = channels > 0 && [height, width].iter().all(|side| (1..=MOST_SIDE).contains(side));
        has_pixels.then(|| Corruptor {
            change: Arc::new((corruption.make)(strength)),
            seed,
            dtype,
            shape: shape.to_vec(),
            height,
            width,
            channels,
            is_channels_first: layout.channels == Channels::First,
        })
    }

    /// A corrupted copy of a sample; its index and the seed decide how. `None` if its numbers are no levels 0 to 255 or 0 to 1.
    pub(crate) fn apply(&self, sample: &[u8], index: usize) -> Option<Vec<u8>> {
        let mut random = SplitMix64::new(self.seed ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (levels, range) = self.levels(sample)?;
        let mut pixels = Pixels {
            height: self.height,
            width: self.width,
            channels: self.channels,
            levels: self.reordered(levels, true),
        };
        (self.change)(&mut pixels, &mut random);
        let levels = self.reordered(pixels.levels, false);
        if self.dtype == DType::U8 {
            return Some(levels);
        }
        let stored = match self.dtype.is_float() {
            true => {
                let values: Vec<f64> = levels
                    .iter()
                    .map(|value| f64::from(*value) / 255.0 * range)
                    .collect();
                Tensor::from_f64(self.dtype, &self.shape, &values)
            }
            false => {
                let values: Vec<i64> = levels.iter().map(|value| i64::from(*value)).collect();
                Tensor::from_i64(self.dtype, &self.shape, &values)
            }
        };
        let stored = stored.ok()?;
        Some(stored.as_bytes().to_vec())
    }

    /// Levels as they are stored, and what 255 is stored as: 1 where the sample has floats none of which is above 1.
    fn levels(&self, sample: &[u8]) -> Option<(Vec<u8>, f64)> {
        if self.dtype == DType::U8 {
            return Some((sample.to_vec(), 255.0));
        }
        let values = Tensor::from_raw(self.dtype, &self.shape, sample)
            .ok()?
            .to_f64()
            .ok()?;
        let largest = values.iter().copied().fold(0.0, f64::max);
        let range = if self.dtype.is_float() && largest <= 1.0 {
            1.0
        } else {
            255.0
        };
        let is_level = |value: &f64| (0.0..=range).contains(value);
        let levels = || values.iter().map(|value| level(value / range * 255.0)).collect();
        values.iter().all(is_level).then(|| (levels(), range))
    }

    /// From planes to pixels, or back.
    fn reordered(&self, levels: Vec<u8>, to_pixels: bool) -> Vec<u8> {
        let space = self.height * self.width;
        if !self.is_channels_first || self.channels == 1 {
            return levels;
        }
        let (rows, columns) = if to_pixels {
            (self.channels, space)
        } else {
            (space, self.channels)
        };
        (0..columns)
            .flat_map(|column| (0..rows).map(move |row| row * columns + column))
            .map(|from| levels[from])
            .collect()
    }
}

/// The layout of samples that nothing is said about: one or three channels at one end, or bytes in two dimensions.
fn guessed(dtype: DType, shape: &[usize]) -> Option<Layout> {
    let layout = |channels| Some(Layout { spatial: 2, channels });
    let is_colour = |size: usize| size == 1 || size == 3;
    match *shape {
        [first, _, last] => match (is_colour(first), is_colour(last)) {
            (true, false) => layout(Channels::First),
            (false, true) => layout(Channels::Last),
            _ => None,
        },
        [_, _] if dtype == DType::U8 => layout(Channels::Missing),
        _ => None,
    }
}
