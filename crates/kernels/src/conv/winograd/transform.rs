//! The combinations of input rows.

use super::{PHASES, ROWS};
use crate::conv::Geometry;
use crate::simd::{Simd, prefetch};

/// Input rows that four output rows see.
const SEEN: usize = ROWS + 2;

/// Elements of a cache line.
const LINE: usize = 16;

/// Where combined rows lie in scratch memory: `[phase][channel][copy][row][pitch]`. If vectors run across rows there are
/// three copies, each shifted by one column, with a pitch of exactly one output row; else there is one.
pub(super) struct Layout {
    channels: usize,
    copies: usize,
    rows: usize,
    pub(super) pitch: usize,
    input: [usize; 2],
    pads: [usize; 2],
    /// Offsets of the taps `[channel][3]` of one phase.
    pub(super) offsets: Vec<usize>,
}

impl Layout {
    /// The layout for bands of `rows` times [`ROWS`] output rows.
    pub(super) fn new(geometry: &Geometry, rows: usize, across_rows: bool) -> Layout {
        let (channels, columns) = (geometry.group_channels(), geometry.output[1]);
        let (copies, pitch) = if across_rows {
            (3, columns)
        } else {
            (1, columns + 2)
        };
        let offset = |channel: usize, tap: usize| match across_rows {
            true => (channel * 3 + tap) * rows * pitch,
            false => channel * rows * pitch + tap,
        };
        let offsets = (0..channels).flat_map(|channel| (0..3).map(move |tap| offset(channel, tap)));
        Layout {
            channels,
            copies,
            rows,
            pitch,
            input: [geometry.input[0], geometry.input[1]],
            pads: [geometry.pads[0], geometry.pads[1]],
            offsets: offsets.collect(),
        }
    }

    /// Whether vectors run across rows.
    pub(super) fn across_rows(&self) -> bool {
        self.copies == 3
    }

    /// Elements of one phase.
    pub(super) fn phase_len(&self) -> usize {
        self.channels * self.copies * self.rows * self.pitch
    }

    /// Elements of the whole scratch.
    pub(super) fn len(&self) -> usize {
        // Behind the phases: the combined rows before they are copied.
        let unshifted = if self.across_rows() {
            PHASES * (self.pitch + 2)
        } else {
            0
        };
        PHASES * self.phase_len() + unshifted
    }

    /// Writes the combined rows of a band that starts at `first_row` (in units of [`ROWS`]). `scratch` must be zero, or
    /// hold another band, before: the columns of the padding are not written.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn transform<S: Simd>(&self, x: &[f32], first_row: usize, scratch: &mut [f32]) {
        assert!(
            scratch.len() >= self.len() + S::LANES
                && x.len() == self.channels * self.input[0] * self.input[1]
        );
        let [height, width] = self.input;
        if width == 0 {
            return;
        }
        let (phase, behind) = (self.phase_len(), PHASES * self.phase_len());
        let zeros = vec![0.0; width];
        let scratch = scratch.as_mut_ptr();
        for channel in 0..self.channels {
            for row in 0..self.rows {
                let rows: [*const f32; SEEN] = std::array::from_fn(|seen| {
                    let index = ((first_row + row) * ROWS + seen).checked_sub(self.pads[0]);
                    match index.filter(|&index| index < height) {
                        Some(index) => x[(channel * height + index) * width..].as_ptr(),
                        None => zeros.as_ptr(),
                    }
                });
                // The next channel, a few lines for each row of this one: hardware does not look beyond a page.
                let ahead = ((channel + 1) * height + (first_row + row) * ROWS) * width;
                for line in (0..ROWS * width).step_by(LINE) {
                    prefetch(x.as_ptr().wrapping_add(ahead + line));
                }
                let to = (channel * self.copies * self.rows + row) * self.pitch;
                // SAFETY: each of `rows` has `width` elements; the padding and they fit into the pitch (without
                // copies) or into the rows behind the phases, whose pitch is that of the padded input; the copies
                // read `pitch` elements from `tap`, at most 2, and write a row of their layout, all within `len`.
                unsafe {
                    if self.across_rows() {
                        let unshifted = scratch.add(behind);
                        combine::<S>(rows, width, unshifted.add(self.pads[1]), self.pitch + 2);
                        for tap in 0..3 {
                            for index in 0..PHASES {
                                let from = unshifted.add(index * (self.pitch + 2) + tap);
                                let to = scratch.add(index * phase + to + tap * self.rows * self.pitch);
                                copy::<S>(from, to, self.pitch);
                            }
                        }
                    } else {
                        combine::<S>(rows, width, scratch.add(to + self.pads[1]), phase);
                    }
                }
            }
        }
    }
}

/// The six combinations of six rows, in the order of [`super::KERNEL`], each `step` elements after the one before.
///
/// # Safety
/// As for [`Simd`]; the rows hold `count` elements, and so does `to` at each step.
#[inline(always)]
unsafe fn combine<S: Simd>(rows: [*const f32; SEEN], count: usize, to: *mut f32, step: usize) {
    let mut done = 0;
    while done < count {
        let lanes = (count - done).min(S::LANES);
        // SAFETY: within `count`.
        unsafe {
            let (two, four, five) = (S::splat(2.0), S::splat(4.0), S::splat(5.0));
            let mut d = [S::splat(0.0); SEEN];
            for (d, row) in d.iter_mut().zip(rows) {
                *d = if lanes == S::LANES {
                    S::load(row.add(done))
                } else {
                    S::load_first(row.add(done), lanes)
                };
            }
            let (a, b) = (
                S::negative_multiply_add(four, d[2], d[4]),
                S::negative_multiply_add(four, d[1], d[3]),
            );
            let (c, e) = (S::subtract(d[4], d[2]), S::subtract(d[3], d[1]));
            let combined = [
                S::add(a, b),
                S::subtract(a, b),
                S::multiply_add(two, e, c),
                S::negative_multiply_add(two, e, c),
                S::multiply_add(four, d[0], S::negative_multiply_add(five, d[2], d[4])),
                S::multiply_add(four, d[1], S::negative_multiply_add(five, d[3], d[5])),
            ];
            for (index, value) in combined.into_iter().enumerate() {
                let to = to.add(index * step + done);
                if lanes == S::LANES {
                    S::store(to, value)
                } else {
                    S::store_first(to, value, lanes)
                }
            }
        }
        done += lanes;
    }
}

/// # Safety
/// As for [`Simd`]; `from` and `to` are valid for `count` elements and do not overlap.
#[inline(always)]
unsafe fn copy<S: Simd>(from: *const f32, to: *mut f32, count: usize) {
    let mut done = 0;
    while done < count {
        let lanes = (count - done).min(S::LANES);
        // SAFETY: within `count`.
        unsafe {
            if lanes == S::LANES {
                S::store(to.add(done), S::load(from.add(done)));
            } else {
                S::store_first(to.add(done), S::load_first(from.add(done), lanes), lanes);
            }
        }
        done += lanes;
    }
}
