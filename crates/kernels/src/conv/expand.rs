//! [`Layout`]: the input arranged so that each tap of the kernel reads neighbouring output positions contiguously.
//!
//! Output positions of a band of rows are laid out with a fixed pitch. A tap then reads, for the position at `p`, the
//! element `offset(tap) + p`: the microkernel needs one offset for each tap, no strides and no borders. Strides are
//! undone by splitting rows and columns into phases, padding is stored as zeros. Where rows do not fill vectors, each
//! column of the kernel gets its own copy with a pitch of exactly one output row, so that vectors can run across rows.

use super::Geometry;
use super::geometry::{advance, input_index};
use crate::simd::Simd;

/// The last two spatial dimensions; the first of them has size 1 if there is only one.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
    output: usize,
}

impl Axis {
    fn of(geometry: &Geometry, from_end: usize) -> Axis {
        match geometry.input.len().checked_sub(from_end) {
            Some(axis) => Axis {
                input: geometry.input[axis],
                kernel: geometry.kernel[axis],
                stride: geometry.strides[axis],
                dilation: geometry.dilations[axis],
                pad: geometry.pads[axis],
                output: geometry.output[axis],
            },
            None => Axis {
                input: 1,
                kernel: 1,
                stride: 1,
                dilation: 1,
                pad: 0,
                output: 1,
            },
        }
    }

    /// Where the kernel's elements start, without the output's stride.
    fn shifts(self) -> impl Iterator<Item = usize> {
        (0..self.kernel).map(move |tap| tap * self.dilation)
    }

    /// The different remainders of the shifts by the stride.
    fn phases(self) -> Vec<usize> {
        let mut phases: Vec<usize> = self.shifts().map(|shift| shift % self.stride).collect();
        phases.sort_unstable();
        phases.dedup();
        phases
    }
}

/// One copy of the columns: column `j` holds input column `start + (j - low) * stride` if `low <= j < high`, else 0.
struct Columns {
    low: usize,
    high: usize,
    start: usize,
}

/// The geometry of the dimensions before the last two, and which of their taps there are.
struct Lead {
    geometry: Geometry,
    taps: Vec<Vec<usize>>,
}

/// Where a group's input lies in the scratch memory.
pub(super) struct Layout {
    rows_axis: Axis,
    columns_axis: Axis,
    columns: Vec<Columns>,
    row_phases: Vec<usize>,
    lead: Lead,
    channels: usize,
    /// Elements from one row to the next.
    pub(super) pitch: usize,
    /// Output rows of a band, at most.
    band_rows: usize,
    /// Rows of scratch beyond those of the output.
    extra_rows: usize,
    /// Offset of each tap, in the order of the weights.
    pub(super) offsets: Vec<usize>,
    /// The padding of the scratch is the same for all bands.
    constant_padding: bool,
}

/// Whether vectors run across output rows, and so each kernel column has its own copy.
pub(super) fn runs_across_rows(geometry: &Geometry, lanes: usize, block: usize) -> bool {
    let (rows, columns) = (Axis::of(geometry, 2), Axis::of(geometry, 1));
    if columns.kernel == 1 {
        return true;
    }
    // Both in cycles for one input channel, with two products a cycle and two cycles for a copied vector.
    let taps = rows.kernel * columns.kernel;
    let blocks = geometry.group_out_channels().div_ceil(block) * block;
    let cost = |vectors: usize, copies: usize| {
        let copied = copies * rows.output * rows.stride.min(rows.kernel) * columns.output.div_ceil(lanes);
        vectors.saturating_mul(taps).saturating_mul(blocks) / 2 + 2 * copied
    };
    let across = cost((rows.output * columns.output).div_ceil(lanes), columns.kernel);
    across
        < cost(
            rows.output * columns.output.div_ceil(lanes),
            columns.phases().len(),
        )
}

impl Layout {
    /// The layout for bands of `band_rows` output rows.
    pub(super) fn new(geometry: &Geometry, band_rows: usize, across_rows: bool) -> Layout {
        let (rows_axis, columns_axis) = (Axis::of(geometry, 2), Axis::of(geometry, 1));
        let (stride, pad) = (columns_axis.stride, columns_axis.pad);
        let (copies, extra_columns): (Vec<usize>, usize) = if across_rows {
            (columns_axis.shifts().collect(), 0)
        } else {
            (
                columns_axis.phases(),
                columns_axis.shifts().last().unwrap_or(0) / stride,
            )
        };
        let pitch = columns_axis.output + extra_columns;
        let columns = copies.iter().map(|&shift| {
            let high = (columns_axis.input + pad)
                .saturating_sub(shift)
                .div_ceil(stride)
                .min(pitch);
            let low = pad.saturating_sub(shift).div_ceil(stride).min(high);
            // An empty range starts nowhere.
            let start = if low < high { low * stride + shift - pad } else { 0 };
            Columns { low, high, start }
        });
        let row_phases = rows_axis.phases();
        let extra_rows = rows_axis.shifts().last().unwrap_or(0) / rows_axis.stride;
        let mut layout = Layout {
            rows_axis,
            columns_axis,
            columns: columns.collect(),
            row_phases,
            lead: Lead::of(geometry),
            channels: geometry.group_channels(),
            pitch,
            band_rows,
            extra_rows,
            offsets: Vec::new(),
            constant_padding: band_rows >= rows_axis.output && geometry.input.len() <= 2,
        };
        layout.offsets = layout.tap_offsets(&copies, across_rows);
        layout
    }

    /// Elements of scratch for bands of `band_rows` rows; `None` on overflow.
    pub(super) fn scratch_len(geometry: &Geometry, band_rows: usize, across_rows: bool) -> Option<usize> {
        let (rows, columns) = (Axis::of(geometry, 2), Axis::of(geometry, 1));
        let copies = if across_rows {
            columns.kernel
        } else {
            columns.phases().len()
        };
        let extra_columns = if across_rows {
            0
        } else {
            columns.shifts().last().unwrap_or(0) / columns.stride
        };
        let lead: usize = geometry.kernel[..geometry.kernel.len().saturating_sub(2)]
            .iter()
            .product();
        let extra_rows = rows.shifts().last().unwrap_or(0) / rows.stride;
        [
            copies,
            geometry.group_channels(),
            lead,
            rows.phases().len(),
            band_rows.checked_add(extra_rows)?,
            columns.output.checked_add(extra_columns)?,
        ]
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
    }

    fn tap_offsets(&self, copies: &[usize], across_rows: bool) -> Vec<usize> {
        let position = |list: &[usize], item| list.iter().position(|&i| i == item).unwrap_or(0);
        let (rows, columns) = (self.rows_axis, self.columns_axis);
        let mut offsets = Vec::with_capacity(self.planes() * rows.kernel * columns.kernel);
        for plane in 0..self.planes() {
            for row in rows.shifts() {
                let phase = position(&self.row_phases, row % rows.stride);
                for (tap, column) in columns.shifts().enumerate() {
                    let (copy, shift) = match across_rows {
                        true => (tap, 0),
                        false => (position(copies, column % columns.stride), column / columns.stride),
                    };
                    offsets.push(self.row_start(copy, plane, phase, row / rows.stride) + shift);
                }
            }
        }
        offsets
    }

    /// Channels times leading taps: each has its own plane.
    fn planes(&self) -> usize {
        self.channels * self.lead.taps.len()
    }

    fn row_start(&self, copy: usize, plane: usize, phase: usize, row: usize) -> usize {
        let rows = self.band_rows + self.extra_rows;
        (((copy * self.planes() + plane) * self.row_phases.len() + phase) * rows + row) * self.pitch
    }

    /// Writes what `rows` output rows from `first_row` see of `x`, the channels of one group of one image, at the
    /// leading output position `lead`. `scratch` must be zero, or hold another band, before.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn expand<S: Simd>(
        &self,
        x: &[f32],
        lead: &[usize],
        first_row: usize,
        rows: usize,
        scratch: &mut [f32],
    ) {
        let plane_len = self.rows_axis.input * self.columns_axis.input;
        let lead_taps = self.lead.taps.len();
        for tap in 0..lead_taps {
            let lead_index = self.lead.index(lead, tap);
            for (phase, &shift) in self.row_phases.iter().enumerate() {
                let seen = if lead_index.is_some() {
                    self.rows_seen(first_row, rows, shift)
                } else {
                    0..0
                };
                for channel in 0..self.channels {
                    let first = (channel * self.lead.positions() + lead_index.unwrap_or(0)) * plane_len;
                    let plane = &x[first..first + plane_len];
                    for (copy, columns) in self.columns.iter().enumerate() {
                        let start = self.row_start(copy, channel * lead_taps + tap, phase, 0);
                        let part = &mut scratch[start..start + (rows + self.extra_rows) * self.pitch];
                        if !self.constant_padding {
                            part[..seen.start * self.pitch].fill(0.0);
                            part[seen.end * self.pitch..].fill(0.0);
                        }
                        if seen.is_empty() || columns.low >= columns.high {
                            part.fill(0.0);
                            continue;
                        }
                        let top =
                            (first_row + seen.start) * self.rows_axis.stride + shift - self.rows_axis.pad;
                        let part = &mut part[seen.start * self.pitch..seen.end * self.pitch];
                        // SAFETY: the caller has the instruction set.
                        unsafe {
                            self.fill_rows::<S>(columns, &plane[top * self.columns_axis.input..], part)
                        };
                    }
                }
            }
        }
    }

    /// Which rows of scratch see the input and not the padding.
    fn rows_seen(&self, first_row: usize, rows: usize, shift: usize) -> std::ops::Range<usize> {
        let Axis {
            input, stride, pad, ..
        } = self.rows_axis;
        let first = first_row * stride + shift;
        let end = (input + pad)
            .saturating_sub(first)
            .div_ceil(stride)
            .min(rows + self.extra_rows);
        pad.saturating_sub(first).div_ceil(stride).min(end)..end
    }

    /// Fills whole rows, the first of which sees the start of `source`.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    unsafe fn fill_rows<S: Simd>(&self, columns: &Columns, source: &[f32], rows: &mut [f32]) {
        let (stride, count) = (self.columns_axis.stride, columns.high - columns.low);
        let step = self.rows_axis.stride * self.columns_axis.input;
        let last = (rows.len() / self.pitch - 1) * step + columns.start + (count - 1) * stride;
        assert!(last < source.len(), "rows that see the input lie within it");
        for (row, to) in rows.chunks_exact_mut(self.pitch).enumerate() {
            if !self.constant_padding {
                to[..columns.low].fill(0.0);
                to[columns.high..].fill(0.0);
            }
            // SAFETY: `last` is the largest index that is read; `to` holds `high` elements; the caller has the
            // instruction set.
            unsafe {
                let (from, to) = (
                    source.as_ptr().add(row * step + columns.start),
                    to.as_mut_ptr().add(columns.low),
                );
                match stride {
                    1 => copy::<S>(from, to, count),
                    2 => copy_every::<2>(from, to, count),
                    _ => (0..count).for_each(|i| *to.add(i) = *from.add(i * stride)),
                }
            }
        }
    }
}

/// # Safety
/// `to` is valid for `count` elements, `from` for the ones that are `STEP` apart.
#[inline(always)]
unsafe fn copy_every<const STEP: usize>(from: *const f32, to: *mut f32, count: usize) {
    for index in 0..count {
        // SAFETY: within `count`.
        unsafe { *to.add(index) = *from.add(index * STEP) };
    }
}

/// # Safety
/// As for [`Simd`]; `from` and `to` are valid for `count` elements and do not overlap.
#[inline(always)]
unsafe fn copy<S: Simd>(from: *const f32, to: *mut f32, count: usize) {
    let mut done = 0;
    while done + S::LANES <= count {
        // SAFETY: within `count`.
        unsafe { S::store(to.add(done), S::load(from.add(done))) };
        done += S::LANES;
    }
    if done < count {
        let rest = count - done;
        // SAFETY: within `count`.
        unsafe { S::store_first(to.add(done), S::load_first(from.add(done), rest), rest) };
    }
}

impl Lead {
    fn of(geometry: &Geometry) -> Lead {
        let rank = geometry.input.len().saturating_sub(2);
        let mut geometry = geometry.clone();
        for list in [
            &mut geometry.input,
            &mut geometry.kernel,
            &mut geometry.strides,
            &mut geometry.dilations,
            &mut geometry.pads,
            &mut geometry.output,
        ] {
            list.truncate(rank);
        }
        let mut taps = vec![vec![0; rank]];
        while let Some(mut next) = taps.last().cloned().filter(|_| taps.len() <= usize::MAX / 2) {
            if !advance(&mut next, &geometry.kernel) {
                break;
            }
            taps.push(next);
        }
        Lead { geometry, taps }
    }

    /// Number of leading positions of the input.
    fn positions(&self) -> usize {
        self.geometry.input.iter().product()
    }

    /// The leading input position that tap `tap` sees at output position `output`; `None` in the padding.
    fn index(&self, output: &[usize], tap: usize) -> Option<usize> {
        input_index(&self.geometry, output, &self.taps[tap])
    }
}
