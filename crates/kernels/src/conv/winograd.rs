//! 3 x 3 convolution with half of the products: Winograd's F(4, 3) down the columns, direct along the rows.
//!
//! Four output rows need six input rows. The six are combined into six others (`transform`), each of which is multiplied
//! by its own combination of the kernel's three rows, and four combinations of the six products are the output rows:
//! 6 products for what takes 12 directly (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015).
//! Rounding errors grow by a small factor. Along the rows the three taps are products as in the direct form.

mod tile;
mod transform;

use rayon::prelude::*;

use self::tile::{Group, Work, tiles};
use self::transform::Layout;
use super::Geometry;
use super::packed::{Output, arrange};
use crate::Isa;
use crate::simd::{Kernel, Simd, run};

/// Output rows that are computed together.
const ROWS: usize = 4;
/// Combinations of rows.
const PHASES: usize = 6;

/// Combinations of the kernel's rows, in the order in which they are used: the products by the first four are needed
/// by several output rows each, those by the last two only by the first and by the last row.
const KERNEL: [[f64; 3]; PHASES] = [
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.25, 0.0, 0.0],
    [0.0, 0.0, 1.0],
];

/// Elements of combined input for a unit of work: they stay in the second-level cache.
const SCRATCH: usize = 128 * 1024;
/// Products that are worth a unit of work of their own.
const SMALLEST_UNIT: usize = 128 * 1024;

/// Whether this form is possible and likely to be faster than the direct one.
pub(super) fn pays_off(geometry: &Geometry) -> bool {
    let one = |list: &[usize]| list.iter().all(|&step| step == 1);
    geometry.kernel == [3, 3]
        && one(&geometry.strides)
        && one(&geometry.dilations)
        && geometry.group_channels() >= 8
        && geometry.group_out_channels() >= 8
        // At least 3 of 4 computed rows are wanted.
        && geometry.output[0] * 4 >= geometry.output[0].next_multiple_of(ROWS) * 3
}

/// Combined weights, arranged for the microkernel.
#[derive(Debug)]
pub(super) struct WinogradWeights {
    /// Output channels of the microkernel.
    block: usize,
    group_channels: usize,
    group_out_channels: usize,
    /// `[groups][blocks][phases][channels][3][block]`.
    weights: Vec<f32>,
    /// `[groups][blocks][block]`.
    bias: Vec<f32>,
}

impl WinogradWeights {
    /// Combines and arranges `weights`, `[groups * group_out_channels, group_channels, 3, 3]`.
    pub(super) fn new(isa: Isa, groups: usize, weights: &[f32], bias: &[f32]) -> WinogradWeights {
        let group_channels = weights.len() / (bias.len() * 9);
        let block = if isa == Isa::Avx512 { 8 } else { 4 };
        let taps = PHASES * group_channels * 3;
        let mut combined = Vec::with_capacity(bias.len() * taps);
        for kernels in weights.chunks_exact(group_channels * 9) {
            for phase in KERNEL {
                for kernel in kernels.chunks_exact(9) {
                    let column = |tap: usize| {
                        (0..3)
                            .map(|row| phase[row] * f64::from(kernel[row * 3 + tap]))
                            .sum()
                    };
                    combined.extend((0..3).map(column).map(|sum: f64| sum as f32));
                }
            }
        }
        let (weights, bias) = arrange(groups, block, taps, &combined, bias);
        let group_out_channels = bias.len() / groups;
        WinogradWeights {
            block,
            group_channels,
            group_out_channels,
            weights,
            bias,
        }
    }

    /// # Panics
    /// When `geometry` or `x` is not what the caller has checked.
    pub(super) fn run(&self, isa: Isa, geometry: &Geometry, x: &[f32], output: &Output) {
        let plan = Plan::new(self, isa, geometry);
        let job = Job {
            packed: self,
            geometry,
            plan: &plan,
            x,
            output,
        };
        // One vector more, because whole vectors are read at the end too.
        let scratch = || vec![0.0; plan.layout.len() + isa.lanes()];
        (0..plan.units())
            .into_par_iter()
            .for_each_init(scratch, |scratch, index| {
                run(
                    isa,
                    UnitOfWork {
                        job: &job,
                        index,
                        scratch,
                    },
                );
            });
    }
}

/// How the work is divided. The sums do not depend on it.
struct Plan {
    layout: Layout,
    /// First row (in units of [`ROWS`]) of each band, and its tiles.
    bands: Vec<(usize, Vec<Group>)>,
    images: usize,
    groups: usize,
    blocks: usize,
    blocks_at_a_time: usize,
}

impl Plan {
    fn new(packed: &WinogradWeights, isa: Isa, geometry: &Geometry) -> Plan {
        let across_rows = runs_across_rows(geometry, isa.lanes());
        let rows = geometry.output[0].div_ceil(ROWS);
        let row_len = Layout::new(geometry, 1, across_rows).len();
        let mut band_rows = (SCRATCH / row_len).clamp(1, rows);
        let blocks = geometry.group_out_channels().div_ceil(packed.block);
        let mut blocks_at_a_time = blocks;
        let wanted = 4 * rayon::current_num_threads();
        loop {
            let parts = rows.div_ceil(band_rows) * blocks.div_ceil(blocks_at_a_time);
            let work =
                band_rows * ROWS * geometry.output[1] * blocks_at_a_time * packed.block * geometry.taps();
            if geometry.batch * geometry.groups * parts >= wanted || work < 2 * SMALLEST_UNIT {
                break;
            }
            if band_rows > 1 {
                band_rows = band_rows.div_ceil(2);
            } else if blocks_at_a_time > 1 {
                blocks_at_a_time = blocks_at_a_time.div_ceil(2);
            } else {
                break;
            }
        }
        let layout = Layout::new(geometry, band_rows, across_rows);
        let bands = (0..rows).step_by(band_rows).map(|first| {
            let count = band_rows.min(rows - first);
            (first, tile::groups(geometry, &layout, first, count, isa.lanes()))
        });
        Plan {
            bands: bands.collect(),
            layout,
            images: geometry.batch,
            groups: geometry.groups,
            blocks,
            blocks_at_a_time,
        }
    }

    fn units(&self) -> usize {
        self.images * self.groups * self.bands.len() * self.blocks.div_ceil(self.blocks_at_a_time)
    }
}

/// Whether vectors run across rows: if the lanes that would be left over at the end of each row cost more than three
/// shifted copies of the input.
fn runs_across_rows(geometry: &Geometry, lanes: usize) -> bool {
    let (rows, columns) = (geometry.output[0].div_ceil(ROWS), geometry.output[1]);
    // In cycles for one input channel, with two products a cycle and one cycle for a copied vector.
    let cost = |vectors: usize| {
        vectors
            .saturating_mul(geometry.group_out_channels())
            .saturating_mul(PHASES * 3)
            / 2
    };
    let copies = rows * 3 * PHASES * columns.div_ceil(lanes);
    cost((rows * columns).div_ceil(lanes)).saturating_add(copies) < cost(rows * columns.div_ceil(lanes))
}

/// What all units share.
struct Job<'a> {
    packed: &'a WinogradWeights,
    geometry: &'a Geometry,
    plan: &'a Plan,
    x: &'a [f32],
    output: &'a Output,
}

struct UnitOfWork<'a> {
    job: &'a Job<'a>,
    index: usize,
    scratch: &'a mut [f32],
}

impl Kernel for UnitOfWork<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Job {
            packed,
            geometry,
            plan,
            x,
            output,
        } = self.job;
        let parts = plan.blocks.div_ceil(plan.blocks_at_a_time);
        let (rest, part) = (self.index / parts, self.index % parts);
        let (rest, band) = (rest / plan.bands.len(), rest % plan.bands.len());
        let (image, group) = (rest / plan.groups, rest % plan.groups);
        let (first_row, groups) = &plan.bands[band];

        let channel_len = geometry.input_plane();
        let first = (image * plan.groups + group) * packed.group_channels * channel_len;
        let x = &x[first..first + packed.group_channels * channel_len];
        // SAFETY: the caller has the instruction set.
        unsafe { plan.layout.transform::<S>(x, *first_row, self.scratch) };

        let first_block = part * plan.blocks_at_a_time;
        let blocks = plan.blocks_at_a_time.min(plan.blocks - first_block);
        let first_channel = first_block * packed.block;
        let channels = geometry.group_out_channels();
        let start = ((image * plan.groups + group) * channels + first_channel) * geometry.output_plane();
        let taps = PHASES * packed.group_channels * 3;
        let packed_channel = group * packed.group_out_channels + first_channel;
        // SAFETY: the lengths of x, y, the residual and the weights were checked against the geometry; blocks, channels
        // and positions are within it; taps read within the scratch, which is one vector longer than needed. Units
        // have different outputs.
        unsafe {
            let work = Work {
                x: self.scratch.as_ptr(),
                offsets: &plan.layout.offsets,
                phase: plan.layout.phase_len(),
                weights: packed.weights.as_ptr().add(packed_channel * taps),
                bias: packed.bias.as_ptr().add(packed_channel),
                blocks,
                channels: (channels - first_channel).min(blocks * packed.block),
                y: output.y.at(start),
                residual: output.residual.map(|residual| residual.at(start).cast_const()),
                y_channel: geometry.output_plane(),
                y_row: geometry.output[1],
                low: output.low,
                high: output.high,
            };
            match packed.block {
                8 => tiles::<S, 8>(&work, groups),
                _ => tiles::<S, 4>(&work, groups),
            }
        }
    }
}
