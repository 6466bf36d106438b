//! [`Layout`]: an input laid out so that every tap of a window is a constant distance away.
//!
//! Padding is written out (that between two rows once, for both), and an input with strides is taken apart into phases: the elements at each residue of the
//! position, which windows visit without gaps. Then output position `p` of the virtual plane sees, at each tap, element
//! `p + distance`. Positions between the end of an output row and the next are computed too and thrown away.

use super::{DEPTH, LANES};
use crate::conv::{Geometry, advance};

/// How the input of a convolution is laid out: `[group of channels][phase][virtual plane][channels of the group]`.
pub(super) struct Layout {
    /// Size of the virtual plane.
    plane: Vec<usize>,
    /// The residues that taps visit.
    phases: Vec<Vec<usize>>,
    /// For each tap, its distance in positions.
    taps: Vec<usize>,
    /// Channels that are next to each other.
    together: usize,
}

impl Layout {
    /// For windows of this geometry, with `together` channels next to each other.
    pub(super) fn new(geometry: &Geometry, together: usize) -> Layout {
        let reach = |axis: usize| {
            (geometry.kernel[axis].max(1) - 1) * geometry.dilations[axis] / geometry.strides[axis]
        };
        let mut plane: Vec<usize> = (0..geometry.output.len())
            .map(|axis| geometry.output[axis] + reach(axis))
            .collect();
        let last = plane.len() - 1;
        plane[last] -= shared_padding(geometry, last, reach(last));
        let mut layout = Layout {
            plane,
            phases: Vec::new(),
            taps: Vec::new(),
            together,
        };
        let mut tap = vec![0; geometry.kernel.len()];
        while !geometry.kernel.contains(&0) {
            let at = |axis: usize| tap[axis] * geometry.dilations[axis];
            let phase: Vec<usize> = (0..tap.len())
                .map(|axis| at(axis) % geometry.strides[axis])
                .collect();
            let shift = (0..tap.len()).fold(0, |flat, axis| {
                flat * layout.plane[axis] + at(axis) / geometry.strides[axis]
            });
            let known = layout.phases.iter().position(|known| *known == phase);
            let index = known.unwrap_or_else(|| {
                layout.phases.push(phase);
                layout.phases.len() - 1
            });
            layout.taps.push(index * layout.positions() + shift);
            if !advance(&mut tap, &geometry.kernel) {
                break;
            }
        }
        layout
    }

    /// Positions of one virtual plane.
    pub(super) fn positions(&self) -> usize {
        self.plane.iter().product()
    }

    /// Positions of a row of the virtual plane.
    pub(super) fn row(&self) -> usize {
        self.plane[self.plane.len() - 1]
    }

    /// For each tap, its distance in positions.
    pub(super) fn taps(&self) -> &[usize] {
        &self.taps
    }

    /// Bytes of one group of channels.
    pub(super) fn group_bytes(&self) -> usize {
        self.phases.len() * self.positions() * self.together
    }

    /// The first position of output row `row` (all dimensions but the last, flat) in the virtual plane.
    pub(super) fn start_of_row(&self, geometry: &Geometry, row: usize) -> usize {
        let (mut rest, mut flat, mut scale) = (row, 0, self.row());
        for axis in (0..self.plane.len() - 1).rev() {
            flat += rest % geometry.output[axis] * scale;
            rest /= geometry.output[axis];
            scale *= self.plane[axis];
        }
        flat
    }

    /// Lays out consecutive channels of an image; what a last group lacks is padding. Some slack follows, for kernels that
    /// read whole vectors.
    pub(super) fn fill(&self, geometry: &Geometry, x: &[u8], zero: u8) -> Vec<u8> {
        let plane = geometry.input_plane();
        let channels = x.len().checked_div(plane).unwrap_or(0);
        let groups = channels.div_ceil(self.together);
        // What is not written below is padding.
        let mut laid_out = vec![zero; groups * self.group_bytes() + super::panel::WIDEST * DEPTH];
        let rows_of_plane = self.positions() / self.row().max(1);
        // What a last group lacks.
        let nothing = vec![zero; geometry.input[geometry.input.len() - 1]];
        for (phase, residues) in self.phases.iter().enumerate() {
            let stretch = Stretch::new(geometry, self.row(), residues[residues.len() - 1]);
            let rows: Vec<Option<usize>> = (0..rows_of_plane)
                .map(|row| self.input_row(geometry, residues, row))
                .collect();
            let rows_of_groups =
                (0..groups).flat_map(|group| rows.iter().enumerate().map(move |row| (group, row)));
            for (group, (row, first)) in rows_of_groups {
                let Some(first) = *first else { continue };
                let position = phase * self.positions() + row * self.row();
                let at = group * self.group_bytes() + position * self.together;
                let channel = |lane: usize| {
                    let channel = group * self.together + lane;
                    match channel < channels {
                        true => &x[channel * plane + first..][..nothing.len()],
                        false => &nothing,
                    }
                };
                let to = &mut laid_out[at + stretch.low * self.together..at + stretch.high * self.together];
                match self.together {
                    1 => stretch.copy(channel(0), to),
                    _ => stretch.interleave([channel(0), channel(1), channel(2), channel(3)], to),
                }
            }
        }
        laid_out
    }

    /// Where the row of the input begins (flat) that a row of a phase shows; `None` in the padding.
    fn input_row(&self, geometry: &Geometry, residues: &[usize], row: usize) -> Option<usize> {
        let last = self.plane.len() - 1;
        let (mut rest, mut flat, mut scale) = (row, 0, geometry.input[last]);
        for axis in (0..last).rev() {
            flat += input_index(geometry, axis, rest % self.plane[axis], residues[axis])? * scale;
            rest /= self.plane[axis];
            scale *= geometry.input[axis];
        }
        Some(flat)
    }
}

/// How much of the padding at the end of each row need not be written, because the next row begins with as much.
fn shared_padding(geometry: &Geometry, axis: usize, reach: usize) -> usize {
    if geometry.strides[axis] != 1 {
        return 0;
    }
    let (before, input) = (geometry.pads[axis], geometry.input[axis]);
    let after = (geometry.output[axis] + reach).saturating_sub(before + input);
    before.min(after)
}

/// The positions of a row whose index `position * stride + residue - pad` lies in the input.
struct Stretch {
    low: usize,
    high: usize,
    first: usize,
    stride: usize,
}

impl Stretch {
    fn new(geometry: &Geometry, positions: usize, residue: usize) -> Stretch {
        let last = geometry.input.len() - 1;
        let (stride, pad, size) = (geometry.strides[last], geometry.pads[last], geometry.input[last]);
        let low = pad.saturating_sub(residue).div_ceil(stride).min(positions);
        let high = (size + pad)
            .saturating_sub(residue)
            .div_ceil(stride)
            .clamp(low, positions);
        let first = (low * stride + residue).saturating_sub(pad);
        Stretch {
            low,
            high,
            first,
            stride,
        }
    }

    /// Copies from a row of the input.
    fn copy(&self, x: &[u8], to: &mut [u8]) {
        if to.is_empty() {
            return;
        }
        if self.stride == 1 {
            return to.copy_from_slice(&x[self.first..self.first + to.len()]);
        }
        to.iter_mut()
            .zip(x[self.first..].iter().step_by(self.stride))
            .for_each(|(to, x)| *to = *x);
    }

    /// Copies from the same row of four channels to groups of four.
    fn interleave(&self, x: [&[u8]; DEPTH], to: &mut [u8]) {
        if to.is_empty() {
            return;
        }
        let [a, b, c, d] = x;
        let (a, b, c, d) = (
            &a[self.first..],
            &b[self.first..],
            &c[self.first..],
            &d[self.first..],
        );
        if self.stride == 1 {
            return interleave(a, b, c, d, to);
        }
        for (index, to) in to.as_chunks_mut::<DEPTH>().0.iter_mut().enumerate() {
            let at = index * self.stride;
            *to = [a[at], b[at], c[at], d[at]];
        }
    }
}

/// The index along an axis that a position of a phase stands for; `None` in the padding.
fn input_index(geometry: &Geometry, axis: usize, position: usize, residue: usize) -> Option<usize> {
    let padded = position * geometry.strides[axis] + residue;
    padded
        .checked_sub(geometry.pads[axis])
        .filter(|&index| index < geometry.input[axis])
}

crate::vectorize::vectorized! {
    /// Elements of four rows to groups of four; the rows may be longer.
    fn interleave(a: &[u8], b: &[u8], c: &[u8], d: &[u8], to: &mut [u8]) {
        let words = a.iter().zip(b).zip(c).zip(d);
        for (to, (((a, b), c), d)) in to.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            let word = u32::from(*a) | u32::from(*b) << 8 | u32::from(*c) << 16 | u32::from(*d) << 24;
            *to = word.to_le_bytes();
        }
    }
}

const _: () = assert!(DEPTH == 4 && LANES == 16);
