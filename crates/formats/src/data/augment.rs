//! What training does to samples at random: mirror them, crop them out of a padded copy, cut a square out.
//!
//! Stored samples are changed before they are scaled and normalized, so that padding is what the value 0 of the file becomes, as
//! in torchvision's `RandomCrop(padding)` on images.

use bantam_tensor::{DType, SplitMix64};

use super::layout::{Channels, Layout};
use super::manifest::{Augment, Flip};

/// How stored samples are changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Augmentation {
    how: Augment,
    /// Planes of a sample, one behind the other.
    planes: usize,
    height: usize,
    width: usize,
    /// Bytes of an element of a plane.
    pixel: usize,
}

/// The choices for one sample.
struct Choice {
    flipped: bool,
    /// Where the crop begins, less the padding.
    row: isize,
    column: isize,
    /// The first row and column of the square, and those behind it.
    cut: [usize; 4],
}

impl Augmentation {
    /// For samples of this type, layout and shape; `None` if they are no images.
    pub(crate) fn new(
        how: Augment,
        dtype: DType,
        layout: Layout,
        row_shape: &[usize],
    ) -> Option<Augmentation> {
        let element = dtype.bytes_for(1)?;
        let (planes, height, width, pixel) = match (layout.spatial, layout.channels, row_shape) {
            (2, Channels::First, &[channels, height, width]) => (channels, height, width, element),
            (2, Channels::Last, &[height, width, channels]) => (1, height, width, channels * element),
            (2, Channels::Missing, &[height, width]) => (1, height, width, element),
            _ => return None,
        };
        Some(Augmentation {
            how,
            planes,
            height,
            width,
            pixel,
        })
    }

    /// A changed copy of a sample; its index and `draw` decide how.
    pub(crate) fn apply(&self, sample: &[u8], index: usize, draw: u64) -> Vec<u8> {
        let mut random = SplitMix64::new(draw ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let choice = self.choose(&mut random);
        let mut changed = vec![0; sample.len()];
        let plane = self.height * self.width * self.pixel;
        if plane > 0 {
            let planes = sample.chunks_exact(plane).zip(changed.chunks_exact_mut(plane));
            planes
                .take(self.planes)
                .for_each(|(from, to)| self.plane(&choice, from, to));
        }
        changed
    }

    fn choose(&self, random: &mut SplitMix64) -> Choice {
        let padding = self.how.crop_padding;
        let mut shift = || random.below(2 * padding + 1) as isize - padding as isize;
        let (row, column) = (shift(), shift());
        let flipped = self.how.flip.is_some() && random.below(2) == 1;
        let mut cut = [0; 4];
        if self.how.cutout > 0 && self.height > 0 && self.width > 0 {
            let side = |random: &mut SplitMix64, size: usize| {
                let middle = random.below(size);
                let first = middle.saturating_sub(self.how.cutout / 2);
                [first, (middle + self.how.cutout.div_ceil(2)).min(size)]
            };
            let ([top, bottom], [left, right]) = (side(random, self.height), side(random, self.width));
            cut = [top, left, bottom, right];
        }
        Choice {
            flipped,
            row,
            column,
            cut,
        }
    }

    fn plane(&self, choice: &Choice, from: &[u8], to: &mut [u8]) {
        let row_bytes = self.width * self.pixel;
        let is = |flip: Flip| choice.flipped && self.how.flip == Some(flip);
        let (vertical, horizontal) = (is(Flip::Vertical), is(Flip::Horizontal));
        for (row, to) in to.chunks_exact_mut(row_bytes).enumerate() {
            let seen = if vertical { self.height - 1 - row } else { row };
            if let Some(source) = moved(seen, choice.row, self.height) {
                self.row(
                    &from[source * row_bytes..][..row_bytes],
                    choice.column,
                    horizontal,
                    to,
                );
            }
        }
        let [top, left, bottom, right] = choice.cut;
        for row in to.chunks_exact_mut(row_bytes).take(bottom).skip(top) {
            row[left * self.pixel..right * self.pixel].fill(0);
        }
    }

    fn row(&self, from: &[u8], shift: isize, flipped: bool, to: &mut [u8]) {
        if flipped {
            for (column, to) in to.chunks_exact_mut(self.pixel).enumerate() {
                if let Some(source) = moved(self.width - 1 - column, shift, self.width) {
                    to.copy_from_slice(&from[source * self.pixel..][..self.pixel]);
                }
            }
            return;
        }
        let inside = self.width.saturating_sub(shift.unsigned_abs()) * self.pixel;
        let skipped = shift.unsigned_abs().min(self.width) * self.pixel;
        match shift < 0 {
            true => to[skipped..].copy_from_slice(&from[..inside]),
            false => to[..inside].copy_from_slice(&from[skipped..]),
        }
    }
}

/// Where an element comes from; `None` for padding.
fn moved(at: usize, shift: isize, size: usize) -> Option<usize> {
    at.checked_add_signed(shift).filter(|source| *source < size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NCHW: Layout = Layout {
        spatial: 2,
        channels: Channels::First,
    };

    fn how(flip: Option<Flip>, crop_padding: usize, cutout: usize) -> Augment {
        Augment {
            flip,
            crop_padding,
            cutout,
        }
    }

    /// What the definition says, pixel by pixel.
    fn expected(augmentation: &Augmentation, choice: &Choice, sample: &[u8]) -> Vec<u8> {
        let (height, width) = (augmentation.height, augmentation.width);
        let mut result = vec![0; sample.len()];
        for plane in 0..sample.len() / (height * width) {
            for row in 0..height {
                for column in 0..width {
                    let [top, left, bottom, right] = choice.cut;
                    let is_cut = (top..bottom).contains(&row) && (left..right).contains(&column);
                    let flip = |is: Flip| choice.flipped && augmentation.how.flip == Some(is);
                    let y = if flip(Flip::Vertical) {
                        height - 1 - row
                    } else {
                        row
                    } as isize
                        + choice.row;
                    let x = if flip(Flip::Horizontal) {
                        width - 1 - column
                    } else {
                        column
                    } as isize
                        + choice.column;
                    let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
                    if inside && !is_cut {
                        let from = (plane * height + y as usize) * width + x as usize;
                        result[(plane * height + row) * width + column] = sample[from];
                    }
                }
            }
        }
        result
    }

    #[test]
    fn samples_change_as_the_definition_says() {
        let sample: Vec<u8> = (1..=2 * 5 * 4).collect();
        for flip in [None, Some(Flip::Horizontal), Some(Flip::Vertical)] {
            for (padding, cutout) in [(0, 0), (2, 0), (7, 3), (1, 9)] {
                let augmentation =
                    Augmentation::new(how(flip, padding, cutout), DType::U8, NCHW, &[2, 5, 4]).unwrap();
                for index in 0..50 {
                    let seed = 3 ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    let choice = augmentation.choose(&mut SplitMix64::new(seed));
                    let got = augmentation.apply(&sample, index, 3);
                    assert_eq!(
                        got,
                        expected(&augmentation, &choice, &sample),
                        "{flip:?} {padding} {cutout}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_same_draw_gives_the_same_sample_in_any_layout() {
        let first: Vec<u8> = (0..3 * 4 * 4).collect();
        let last: Vec<u8> = (0..16)
            .flat_map(|pixel| (0..3).map(move |channel| channel * 16 + pixel))
            .collect();
        let how = how(Some(Flip::Horizontal), 2, 2);
        let planes = Augmentation::new(how.clone(), DType::U8, NCHW, &[3, 4, 4]).unwrap();
        let pixels = Augmentation::new(how, DType::U8, Layout::NHWC, &[4, 4, 3]).unwrap();
        let mut different = 0;
        for index in 0..20 {
            let (a, b) = (planes.apply(&first, index, 1), pixels.apply(&last, index, 1));
            assert!((0..48).all(|at| a[at] == b[at % 16 * 3 + at / 16]));
            assert_eq!(a, planes.apply(&first, index, 1));
            different += usize::from(a != planes.apply(&first, index, 2));
        }
        assert!(different > 10);
    }
}
