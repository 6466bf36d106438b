//! [`Patches`]: what a tile of windows sees, packed for the kernels.

use std::ops::Range;

use super::panel::WIDEST;
use super::{DEPTH, LANES};
use crate::conv::{Geometry, advance};

/// Patches of up to [`WIDEST`] output positions as columns `[panel][depth / 4][16 columns][4]`, taps by kernel position
/// and then by channel.
pub(super) struct Patches {
    codes: Vec<u8>,
    sums: [i32; WIDEST],
    panels: usize,
}

/// A run of output positions that see a run of input elements.
struct Stretch {
    to: usize,
    from: usize,
    count: usize,
}

impl Patches {
    /// The patches at output positions `tile` (flat) of one image and group.
    pub(super) fn new(
        geometry: &Geometry,
        x: &[u8],
        zero: u8,
        image: usize,
        group: usize,
        tile: Range<usize>,
    ) -> Patches {
        let panels = tile.len().div_ceil(LANES);
        let depth = geometry.taps().next_multiple_of(DEPTH);
        let mut packer = Packer::new(panels, depth);
        let (channels, plane) = (geometry.group_channels(), geometry.input_plane());
        let first = (image * geometry.channels + group * channels) * plane;
        let step = geometry.strides[geometry.strides.len() - 1];
        let mut position = vec![0; geometry.kernel.len()];
        while !geometry.kernel.contains(&0) {
            let stretches = stretches(geometry, &position, &tile);
            for channel in 0..channels {
                let input = &x[first + channel * plane..][..plane];
                gather(packer.row(), input, zero, &stretches, step, tile.len());
                packer.finish_row();
            }
            if !advance(&mut position, &geometry.kernel) {
                break;
            }
        }
        packer.flush();
        Patches { codes: packer.codes, sums: packer.sums, panels }
    }

    /// The packed panels.
    pub(super) fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// Columns, padding included.
    pub(super) fn width(&self) -> usize {
        self.panels * LANES
    }

    /// The sum of each column.
    pub(super) fn sums(&self) -> &[i32] {
        &self.sums
    }
}

/// Writes what one tap sees of one channel.
fn gather(row: &mut [u8; WIDEST], input: &[u8], zero: u8, stretches: &[Stretch], step: usize, count: usize) {
    let covered: usize = stretches.iter().map(|stretch| stretch.count).sum();
    if covered < count {
        row[..count].fill(zero);
    }
    for stretch in stretches {
        let to = &mut row[stretch.to..stretch.to + stretch.count];
        if step == 1 {
            to.copy_from_slice(&input[stretch.from..stretch.from + stretch.count]);
        } else {
            to.iter_mut().enumerate().for_each(|(index, to)| *to = input[stretch.from + index * step]);
        }
    }
}

/// Which input elements the tap at a kernel position sees from the output positions of a tile; those that it sees in
/// the padding are left out.
fn stretches(geometry: &Geometry, kernel: &[usize], tile: &Range<usize>) -> Vec<Stretch> {
    let last = geometry.output.len() - 1;
    let (width, stride, size) = (geometry.output[last], geometry.strides[last], geometry.input[last]);
    let shift = kernel[last] * geometry.dilations[last];
    let mut stretches = Vec::new();
    let mut start = tile.start;
    while start < tile.end {
        let (row, column) = (start / width, start % width);
        let end = tile.end.min((row + 1) * width);
        if let Some(input_row) = input_row(geometry, kernel, row) {
            // The columns whose input index `column * stride + shift - pad` lies in the input.
            let pad = geometry.pads[last];
            let low = pad.saturating_sub(shift).div_ceil(stride).max(column);
            let high = (size + pad).saturating_sub(shift).div_ceil(stride).min(end - row * width);
            if low < high {
                let from = input_row * size + low * stride + shift - pad;
                stretches.push(Stretch { to: row * width + low - tile.start, from, count: high - low });
            }
        }
        start = end;
    }
    stretches
}

/// The row of the input (all dimensions but the last, flat) that a row of the output sees; `None` in the padding.
fn input_row(geometry: &Geometry, kernel: &[usize], row: usize) -> Option<usize> {
    let (mut rest, mut flat, mut scale) = (row, 0, 1);
    for axis in (0..geometry.output.len() - 1).rev() {
        let coordinate = rest % geometry.output[axis];
        rest /= geometry.output[axis];
        let padded = coordinate * geometry.strides[axis] + kernel[axis] * geometry.dilations[axis];
        let index = padded.checked_sub(geometry.pads[axis]).filter(|&index| index < geometry.input[axis])?;
        flat += index * scale;
        scale *= geometry.input[axis];
    }
    Some(flat)
}

/// Interleaves rows, four at a time.
struct Packer {
    codes: Vec<u8>,
    sums: [i32; WIDEST],
    rows: [[u8; WIDEST]; DEPTH],
    filled: usize,
    step: usize,
    panels: usize,
    depth: usize,
}

impl Packer {
    fn new(panels: usize, depth: usize) -> Packer {
        Packer {
            codes: vec![0; panels * LANES * depth],
            sums: [0; WIDEST],
            rows: [[0; WIDEST]; DEPTH],
            filled: 0,
            step: 0,
            panels,
            depth,
        }
    }

    /// The next row, to write.
    fn row(&mut self) -> &mut [u8; WIDEST] {
        &mut self.rows[self.filled]
    }

    fn finish_row(&mut self) {
        self.filled += 1;
        if self.filled == DEPTH {
            self.flush();
        }
    }

    /// Writes the rows that are filled; the others count as zeros.
    fn flush(&mut self) {
        if self.filled == 0 {
            return;
        }
        self.rows[self.filled..].iter_mut().for_each(|row| row.fill(0));
        for row in &self.rows {
            self.sums.iter_mut().zip(row).for_each(|(sum, code)| *sum += i32::from(*code));
        }
        for panel in 0..self.panels {
            let at = panel * LANES * self.depth + self.step * LANES * DEPTH;
            let group: &mut [u8; LANES * DEPTH] =
                (&mut self.codes[at..at + LANES * DEPTH]).try_into().expect("a group of this size");
            interleave(&self.rows, panel * LANES, group);
        }
        self.step += 1;
        self.filled = 0;
    }
}

fn interleave(rows: &[[u8; WIDEST]; DEPTH], first: usize, group: &mut [u8; LANES * DEPTH]) {
    for lane in 0..LANES {
        for (depth, row) in rows.iter().enumerate() {
            group[lane * DEPTH + depth] = row[first + lane];
        }
    }
}
