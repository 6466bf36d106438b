//! The direct form: a convolution without arranging weights by position, by the microkernel of [`super::tile`].

use rayon::prelude::*;

use super::Geometry;
use super::expand::{Layout, runs_across_rows};
use super::geometry::advance;
use super::packed::{Output, arrange};
use super::tile::{Vector, Work, tiles};
use crate::Isa;
use crate::simd::{Kernel, Simd, run};

/// Weights arranged for the microkernel.
#[derive(Debug)]
pub(super) struct DirectWeights {
    /// Output channels of the microkernel.
    block: usize,
    group_out_channels: usize,
    taps: usize,
    /// `[groups][blocks][taps][block]`, zeros where there is no channel.
    weights: Vec<f32>,
    /// `[groups][blocks][block]`.
    bias: Vec<f32>,
}

/// Elements of input that one unit of work arranges: they stay in the second-level cache.
const SCRATCH: usize = 128 * 1024;
/// Products that are worth a unit of work of their own.
const SMALLEST_UNIT: usize = 128 * 1024;
/// Width of the rows into which positions are divided when the input needs no arranging.
const DIRECT_ROW: usize = 64;

impl DirectWeights {
    /// Arranges `weights`, `[groups * group_out_channels, taps]`.
    pub(super) fn new(isa: Isa, groups: usize, taps: usize, weights: &[f32], bias: &[f32]) -> DirectWeights {
        let group_out_channels = bias.len() / groups;
        let block = match (isa, group_out_channels) {
            (_, 0..=2) => 1,
            (Isa::Avx512, 5..) => 8,
            _ => 4,
        };
        let (weights, bias) = arrange(groups, block, taps, weights, bias);
        DirectWeights {
            block,
            group_out_channels,
            taps,
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
        let scratch = || vec![0.0; plan.layout.as_ref().map_or(0, |(_, len)| *len)];
        (0..plan.units())
            .into_par_iter()
            .for_each_init(scratch, |scratch, unit| {
                run(
                    isa,
                    UnitOfWork {
                        job: &job,
                        unit: plan.unit(unit),
                        scratch,
                    },
                );
            });
    }
}

/// A band of output rows.
struct Band {
    first_row: usize,
    rows: usize,
    vectors: Vec<Vector>,
}

/// How the work is divided. The sums do not depend on it.
struct Plan {
    /// How the input is arranged, and the length of its scratch; `None` where it can be read as it is.
    layout: Option<(Layout, usize)>,
    offsets_as_is: Vec<usize>,
    images: usize,
    /// Leading output positions (all dimensions but the last two), where the input is arranged.
    leads: Vec<Vec<usize>>,
    bands: Vec<Band>,
    groups: usize,
    groups_at_a_time: usize,
    blocks: usize,
    blocks_at_a_time: usize,
}

/// One unit of work.
struct Unit {
    image: usize,
    lead: usize,
    band: usize,
    groups: std::ops::Range<usize>,
    blocks: std::ops::Range<usize>,
}

impl Plan {
    fn new(packed: &DirectWeights, isa: Isa, geometry: &Geometry) -> Plan {
        let lanes = isa.lanes();
        let direct = reads_input_as_is(geometry);
        let across_rows = direct || runs_across_rows(geometry, lanes, packed.block);
        let rank = geometry.output.len();
        let (row_width, positions) = match direct {
            true => (DIRECT_ROW, geometry.output_plane()),
            false => (
                geometry.output[rank - 1],
                geometry.output[rank.saturating_sub(2)..].iter().product(),
            ),
        };
        let rows = positions.div_ceil(row_width);
        let leads = if direct {
            vec![vec![]]
        } else {
            positions_of(&geometry.output[..rank.saturating_sub(2)])
        };
        let len = |rows| match direct {
            true => Some(rows * row_width * geometry.group_channels()),
            false => Layout::scratch_len(geometry, rows, across_rows),
        };
        let mut band_rows = rows;
        while band_rows > 1 && len(band_rows).is_none_or(|len| len > SCRATCH) {
            band_rows = band_rows.div_ceil(2);
        }
        let mut plan = Plan {
            layout: None,
            offsets_as_is: Vec::new(),
            images: geometry.batch,
            leads,
            bands: Vec::new(),
            groups: geometry.groups,
            groups_at_a_time: geometry.groups,
            blocks: packed.group_out_channels.div_ceil(packed.block),
            blocks_at_a_time: packed.group_out_channels.div_ceil(packed.block),
        };
        let band_rows = plan.divide(geometry, rows, row_width, band_rows);
        let starts = (0..rows).step_by(band_rows);
        plan.bands = starts
            .map(|first_row| {
                let rows = band_rows.min(rows - first_row);
                let positions = first_row * row_width..positions.min((first_row + rows) * row_width);
                let pitch = if across_rows { None } else { Some(row_width) };
                Band {
                    first_row,
                    rows,
                    vectors: vectors(positions, pitch, direct, geometry, lanes),
                }
            })
            .collect();
        if direct {
            plan.offsets_as_is = (0..packed.taps)
                .map(|channel| channel * geometry.input_plane())
                .collect();
        } else {
            let layout = Layout::new(geometry, band_rows, across_rows);
            // One vector more, because whole vectors are read at the end too.
            let len = len(band_rows).expect("the output that it is smaller than exists") + lanes;
            plan.layout = Some((layout, len));
        }
        plan
    }

    /// Makes units small enough for all threads to have some, but not smaller than is worthwhile; returns the rows of
    /// a band.
    fn divide(&mut self, geometry: &Geometry, rows: usize, row_width: usize, band_rows: usize) -> usize {
        let wanted = 4 * rayon::current_num_threads();
        let kernel_rows = geometry.kernel.iter().rev().nth(1).copied().unwrap_or(1);
        let mut band_rows = band_rows;
        loop {
            let units = self.images
                * self.leads.len()
                * rows.div_ceil(band_rows)
                * self.groups.div_ceil(self.groups_at_a_time)
                * self.blocks.div_ceil(self.blocks_at_a_time);
            let outputs = band_rows * row_width * self.groups_at_a_time * geometry.group_out_channels()
                / self.blocks.div_ceil(self.blocks_at_a_time);
            if units >= wanted || outputs.saturating_mul(geometry.taps()) < 2 * SMALLEST_UNIT {
                return band_rows;
            }
            if self.groups_at_a_time > 1 {
                self.groups_at_a_time = self.groups_at_a_time.div_ceil(2);
            } else if band_rows >= 4 * kernel_rows {
                band_rows = band_rows.div_ceil(2);
            } else if self.blocks_at_a_time > 1 {
                self.blocks_at_a_time = self.blocks_at_a_time.div_ceil(2);
            } else {
                return band_rows;
            }
        }
    }

    fn units(&self) -> usize {
        self.images
            * self.leads.len()
            * self.bands.len()
            * self.groups.div_ceil(self.groups_at_a_time)
            * self.blocks.div_ceil(self.blocks_at_a_time)
    }

    fn unit(&self, index: usize) -> Unit {
        let split = |index: usize, count: usize| (index / count, index % count);
        let part = |index: usize, size: usize, of: usize| index * size..of.min((index + 1) * size);
        let (rest, blocks) = split(index, self.blocks.div_ceil(self.blocks_at_a_time));
        let (rest, groups) = split(rest, self.groups.div_ceil(self.groups_at_a_time));
        let (rest, band) = split(rest, self.bands.len());
        let (image, lead) = split(rest, self.leads.len());
        Unit {
            image,
            lead,
            band,
            groups: part(groups, self.groups_at_a_time, self.groups),
            blocks: part(blocks, self.blocks_at_a_time, self.blocks),
        }
    }
}

/// Whether each output position sees exactly the input position of the same index.
fn reads_input_as_is(geometry: &Geometry) -> bool {
    geometry
        .kernel
        .iter()
        .chain(&geometry.strides)
        .all(|&size| size == 1)
        && geometry.pads.iter().all(|&pad| pad == 0)
        && geometry.input == geometry.output
}

/// Every position of a grid, in row-major order.
fn positions_of(sizes: &[usize]) -> Vec<Vec<usize>> {
    let mut positions = vec![vec![0; sizes.len()]];
    let mut position = vec![0; sizes.len()];
    while advance(&mut position, sizes) {
        positions.push(position.clone());
    }
    positions
}

/// Vectors over a range of positions; `row_width` if each row starts a new one.
fn vectors(
    positions: std::ops::Range<usize>,
    row_width: Option<usize>,
    direct: bool,
    geometry: &Geometry,
    lanes: usize,
) -> Vec<Vector> {
    let run = row_width.unwrap_or(positions.len()).max(1);
    let columns =
        |axis: usize| (geometry.kernel[axis] - 1) * geometry.dilations[axis] / geometry.strides[axis];
    let pitch = row_width.map_or(0, |width| width + columns(geometry.kernel.len() - 1));
    let mut vectors = Vec::new();
    for (row, start) in positions.clone().step_by(run).enumerate() {
        let end = positions.end.min(start + run);
        for y in (start..end).step_by(lanes) {
            let x = match (direct, row_width) {
                (true, _) => y,
                (false, None) => y - positions.start,
                (false, Some(_)) => row * pitch + y - start,
            };
            vectors.push(Vector {
                x,
                y,
                count: lanes.min(end - y),
            });
        }
    }
    vectors
}

/// What all units share.
struct Job<'a> {
    packed: &'a DirectWeights,
    geometry: &'a Geometry,
    plan: &'a Plan,
    x: &'a [f32],
    output: &'a Output,
}

struct UnitOfWork<'a> {
    job: &'a Job<'a>,
    unit: Unit,
    scratch: &'a mut Vec<f32>,
}

impl Kernel for UnitOfWork<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let UnitOfWork {
            job:
                Job {
                    packed,
                    geometry,
                    plan,
                    x,
                    output,
                },
            unit,
            scratch,
        } = self;
        let (group_channels, block) = (geometry.group_channels(), packed.block);
        let band = &plan.bands[unit.band];
        let channel_len = geometry.input_plane();
        let lead_len = geometry.output_plane() / plan.leads.len();
        for group in unit.groups.clone() {
            let first = (unit.image * geometry.channels + group * group_channels) * channel_len;
            let x = &x[first..first + group_channels * channel_len];
            let (x, offsets) = match &plan.layout {
                Some((layout, _)) => {
                    let lead = &plan.leads[unit.lead];
                    // SAFETY: the caller has the instruction set.
                    unsafe { layout.expand::<S>(x, lead, band.first_row, band.rows, scratch) };
                    (scratch.as_ptr(), &layout.offsets)
                }
                None => (x.as_ptr(), &plan.offsets_as_is),
            };
            let group_blocks = group * plan.blocks + unit.blocks.start;
            let first_channel = unit.blocks.start * block;
            let channel = group * packed.group_out_channels + first_channel;
            let start = (unit.image * geometry.out_channels + channel) * geometry.output_plane()
                + unit.lead * lead_len;
            // SAFETY: the lengths of x, y, the residual and the weights were checked against the geometry; blocks,
            // channels and positions are within it; taps read within the scratch, which is one vector longer than
            // needed, or within x, whose last vector is read only as far as it goes. Units have different outputs.
            unsafe {
                let work = Work {
                    x,
                    offsets,
                    weights: packed.weights.as_ptr().add(group_blocks * block * packed.taps),
                    bias: packed.bias.as_ptr().add(group_blocks * block),
                    channels: packed.group_out_channels.min(unit.blocks.end * block) - first_channel,
                    y: output.y.at(start),
                    residual: output.residual.map(|residual| residual.at(start).cast_const()),
                    y_channel: geometry.output_plane(),
                    low: output.low,
                    high: output.high,
                    readable_past_end: plan.layout.is_some(),
                };
                match block {
                    8 => tiles::<S, 8, 2>(&work, &band.vectors),
                    4 => tiles::<S, 4, 3>(&work, &band.vectors),
                    _ => tiles::<S, 1, 4>(&work, &band.vectors),
                }
            }
        }
    }
}
