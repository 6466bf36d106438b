//! The gradient of weights as sums of outer products over pixels, several channels per group.

use std::ops::Range;

use super::Write;
use super::outer::Outer;
use super::sums::{Division, TASKS};
use super::weight::for_filters;
use crate::Isa;
use crate::conv::Geometry;
use crate::conv::blocks::{Block, Blocks, WIDEST};
use crate::conv::source::{Source, Unit};
use crate::scratch::Scratch;
use crate::simd::{Factor, Operand, ProductKernel, Simd};

/// Sums that a task makes at most, unless there is one block only: they stay in the second-level cache.
const SUMS: usize = 1 << 17;

pub(super) fn weight(isa: Isa, geometry: &Geometry, x: &[f32], dy: &[f32], write: Write, dw: &mut [f32]) {
    let sizes = [geometry.out_channels, geometry.group_channels()];
    let shape = [&sizes, geometry.kernel.as_slice()].concat();
    let last = shape[shape.len() - 1];
    let dilation = geometry.dilations[geometry.dilations.len() - 1];
    let blocks = Blocks::new(&shape, geometry.groups, dilation, isa.lanes(), 1);
    let source = Source::new(geometry, x, 0.0, blocks.merged, 1);
    let units = Units::new(&source.geometry, PIXELS);
    let all: Vec<Block> = blocks.each().collect();
    let sums = blocks.groups * blocks.vectors() * blocks.vector_len();
    let parts = sums.div_ceil(SUMS).min(all.len());
    let of_part = |part: usize| &all[all.len() * part / parts..all.len() * (part + 1) / parts];
    let len =
        |part: usize| of_part(part).iter().map(|block| block.width).sum::<usize>() * blocks.vector_len();
    let division = Division {
        parts: (0..parts).map(len).collect(),
        chunks: TASKS.div_ceil(parts).min(units.chunks()),
    };
    let sums = division.sum(|chunk, part, sums| {
        let job = Job {
            isa,
            source: &source,
            dy,
            blocks: &blocks,
            part: of_part(part),
            units: &units,
            chunk: units.of_chunk(chunk, division.chunks),
            sums,
        };
        f32::run(isa, job);
    });
    let add = write == Write::Add;
    for_filters(dw, geometry.taps(), |filter, dw| {
        blocks.unpack(&sums, filter, last, add, dw)
    });
}

/// Rows of all images, some at a time.
pub(super) struct Units {
    batch: usize,
    /// Rows of an image, and of a unit.
    height: usize,
    rows: usize,
    row_pixels: usize,
}

/// Pixels of a unit at most: their gradients, for a block of channels, stay in the first-level cache.
const PIXELS: usize = 256;
/// Pixels of a unit at least: so many that adding to the sums in memory costs little.
const FEWEST: usize = 64;
/// Elements of a window that are too few to gather gradients for.
const FEW: usize = 64;
/// Elements of input that a unit reads, unless it has few pixels.
const ELEMENTS: usize = 1 << 16;
/// Fewer pixels are not worth a chunk.
const CHUNK: usize = 512;

impl Units {
    pub(super) fn new(geometry: &Geometry, most: usize) -> Units {
        let row_pixels: usize = geometry.output[1..].iter().product();
        let pixels = (ELEMENTS / geometry.channels.max(geometry.out_channels)).clamp(FEWEST, most);
        Units {
            batch: geometry.batch,
            height: geometry.output[0],
            rows: (pixels / row_pixels).clamp(1, geometry.output[0]),
            row_pixels,
        }
    }

    fn of_image(&self) -> usize {
        self.height.div_ceil(self.rows)
    }

    /// Chunks that are worth having.
    pub(super) fn chunks(&self) -> usize {
        let pixels = self.batch * self.height * self.row_pixels;
        (pixels / CHUNK).clamp(1, self.batch * self.of_image())
    }

    /// The units of a chunk.
    pub(super) fn of_chunk(&self, chunk: usize, chunks: usize) -> Range<usize> {
        let units = self.batch * self.of_image();
        units * chunk / chunks..units * (chunk + 1) / chunks
    }

    pub(super) fn unit(&self, index: usize) -> Unit {
        let first = index % self.of_image() * self.rows;
        Unit {
            image: index / self.of_image(),
            first,
            rows: self.rows.min(self.height - first),
        }
    }

    /// The first output pixel of a unit.
    pub(super) fn pixel(&self, unit: Unit) -> usize {
        (unit.image * self.height + unit.first) * self.row_pixels
    }
}

struct Job<'a> {
    isa: Isa,
    source: &'a Source<'a, f32>,
    dy: &'a [f32],
    blocks: &'a Blocks,
    /// The blocks that the sums belong to.
    part: &'a [Block],
    units: &'a Units,
    chunk: Range<usize>,
    sums: &'a mut [f32],
}

impl ProductKernel<f32> for Job<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd, O: Operand<S, Element = f32>>(self) {
        let blocks = self.blocks;
        let runs = &self.source.runs;
        let vectors: usize = self.part.iter().map(|block| block.width).sum();
        assert!(
            self.sums.len() == vectors * blocks.vector_len()
                && runs.len() == blocks.runs
                && blocks.lanes == S::LANES,
            "a sum for each weight"
        );
        let out_channels = blocks.groups * blocks.filters;
        for index in self.chunk {
            let unit = self.units.unit(index);
            let (x, windows) = self.source.windows(unit);
            let pixels = windows.len();
            let dy = &self.dy[self.units.pixel(unit) * out_channels..][..pixels * out_channels];
            let reach = windows.iter().max().unwrap_or(&0) + runs.iter().max().unwrap_or(&0);
            let last_group = (blocks.groups - 1) * blocks.channels;
            assert!(
                reach + last_group + blocks.steps <= x.len(),
                "windows within the source"
            );
            let mut gathered = Scratch::<f32>::take(pixels * WIDEST * S::LANES);
            let mut sums = self.sums.as_mut_ptr();
            for block in self.part {
                // SAFETY: the caller has the instruction set; filters of a block lie in a pixel of `dy`, and no block is
                // wider than `gathered`. The runs of all windows lie in `x`, and the sums of all blocks in `sums`.
                unsafe {
                    let dy = &dy[block.group * blocks.filters + block.filter..];
                    // Whole vectors can stay where they are, if they are not read often.
                    let stay = block.filters == block.width * S::LANES && blocks.runs * blocks.steps <= FEW;
                    let (dy, dy_step) = if stay {
                        (dy.as_ptr(), out_channels)
                    } else {
                        gather::<S>(dy, out_channels, block, pixels, &mut gathered);
                        (gathered.as_ptr(), block.width * S::LANES)
                    };
                    for &run in runs {
                        let outer = Outer {
                            x: x.as_ptr().add(block.group * blocks.channels + run),
                            windows: &windows,
                            dy,
                            dy_step,
                            width: block.width,
                        };
                        outer.run::<S, O>(self.isa, blocks.steps, sums);
                        sums = sums.add(blocks.steps * block.width * S::LANES);
                    }
                }
            }
        }
    }
}

/// Copies the filters of a block in whole vectors, so that pixels stand one after the other.
///
/// # Safety
/// As for [`Simd`]; the block's filters exist in `dy` for each pixel, and its vectors in `to`.
#[inline(always)]
unsafe fn gather<S: Simd>(dy: &[f32], step: usize, block: &Block, pixels: usize, to: &mut [f32]) {
    let (dy, to) = (dy.as_ptr(), to.as_mut_ptr());
    // SAFETY: the caller's promise.
    unsafe {
        for pixel in 0..pixels {
            for vector in 0..block.width {
                let from = dy.add(pixel * step + vector * S::LANES);
                let to = to.add((pixel * block.width + vector) * S::LANES);
                let left = block.filters - vector * S::LANES;
                if left >= S::LANES {
                    S::store(to, S::load(from));
                } else {
                    S::store(to, S::load_first(from, left));
                }
            }
        }
    }
}
