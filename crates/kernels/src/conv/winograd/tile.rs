//! The microkernel: blocks of output channels at a few vectors of positions, for four output rows.

use super::transform::Layout;
use super::{PHASES, ROWS};
use crate::conv::Geometry;
use crate::simd::Simd;

/// Positions of a vector that lie in one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    /// First lane.
    lane: usize,
    /// Number of lanes.
    count: usize,
    /// Where the first of the four output rows has the first position.
    y: usize,
    /// How many of the four output rows there are.
    rows: usize,
}

/// One vector of positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Vector {
    /// Where its elements start in the combined rows.
    x: usize,
    segments: Vec<Segment>,
}

/// Vectors that are computed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Group {
    One([Vector; 1]),
    Two([Vector; 2]),
}

/// The vectors of a band of `count` rows from `first_row` (in units of [`ROWS`]).
pub(super) fn groups(
    geometry: &Geometry,
    layout: &Layout,
    first_row: usize,
    count: usize,
    lanes: usize,
) -> Vec<Group> {
    let (height, width) = (geometry.output[0], geometry.output[1]);
    let mut vectors: Vec<Vector> = Vec::new();
    for row in 0..count {
        let first = (first_row + row) * ROWS;
        let mut column = 0;
        while column < width {
            let x = row * layout.pitch + column;
            // Across rows, a vector starts at each multiple of the lanes; else also at the start of each row.
            let lane = if layout.across_rows() { x % lanes } else { 0 };
            if lane == 0 {
                vectors.push(Vector {
                    x,
                    segments: Vec::new(),
                });
            }
            let segment_len = (lanes - lane).min(width - column);
            let segment = Segment {
                lane,
                count: segment_len,
                y: first * width + column,
                rows: ROWS.min(height - first),
            };
            vectors
                .last_mut()
                .expect("the first column starts one")
                .segments
                .push(segment);
            column += segment_len;
        }
    }
    let mut groups = Vec::new();
    let mut vectors = vectors.into_iter();
    while let Some(vector) = vectors.next() {
        groups.push(match vectors.next() {
            Some(second) => Group::Two([vector, second]),
            None => Group::One([vector]),
        });
    }
    groups
}

/// What all tiles of one unit of work share.
pub(super) struct Work<'a> {
    /// The combined rows.
    pub(super) x: *const f32,
    /// Where the taps of a phase read.
    pub(super) offsets: &'a [usize],
    /// Elements from phase to phase.
    pub(super) phase: usize,
    /// Weights of the first block, `[blocks][phases][taps][block]`.
    pub(super) weights: *const f32,
    /// Biases of the first block, `[blocks][block]`.
    pub(super) bias: *const f32,
    /// Blocks of output channels to compute.
    pub(super) blocks: usize,
    /// Channels of these blocks: the last block may be partial.
    pub(super) channels: usize,
    /// First channel of the output.
    pub(super) y: *mut f32,
    /// Added to the output; laid out like it.
    pub(super) residual: Option<*const f32>,
    /// Elements from one channel of the output to the next.
    pub(super) y_channel: usize,
    /// Elements from one row of the output to the next.
    pub(super) y_row: usize,
    /// Smallest and largest result.
    pub(super) low: f32,
    /// See `low`.
    pub(super) high: f32,
}

/// Bytes of weights that are gone through for every few vectors: they stay in the second-level cache.
const WEIGHTS_AT_A_TIME: usize = 768 * 1024;

/// Computes all vectors of all channels.
///
/// # Safety
/// As for [`Simd`]; the pointers of `work` are valid for what the vectors, offsets and channels make of them, and no
/// other thread writes to the same outputs.
#[inline(always)]
pub(super) unsafe fn tiles<S: Simd, const O: usize>(work: &Work<'_>, groups: &[Group]) {
    // An even number, because a single vector is computed for two blocks at a time.
    let at_a_time = WEIGHTS_AT_A_TIME / (4 * O * PHASES * work.offsets.len().max(1));
    let at_a_time = (at_a_time & !1).max(2);
    for first in (0..work.blocks).step_by(at_a_time) {
        let end = work.blocks.min(first + at_a_time);
        for group in groups {
            // SAFETY (all calls): the caller's promise.
            match group {
                Group::Two(vectors) => {
                    for block in first..end {
                        unsafe { tile::<S, O, 1, 2>(work, block, vectors) };
                    }
                }
                Group::One(vector) => {
                    for block in (first..end).step_by(2) {
                        if block + 1 < end {
                            unsafe { tile::<S, O, 2, 1>(work, block, vector) };
                        } else {
                            unsafe { tile::<S, O, 1, 1>(work, block, vector) };
                        }
                    }
                }
            }
        }
    }
}

/// Sums of `B` blocks of `O` channels at `V` vectors.
type Sums<S, const O: usize, const B: usize, const V: usize> = [[[<S as Simd>::V; V]; O]; B];

/// # Safety
/// As for [`tiles`].
#[inline(always)]
unsafe fn tile<S: Simd, const O: usize, const B: usize, const V: usize>(
    work: &Work<'_>,
    block: usize,
    vectors: &[Vector; V],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut x = [work.x; V];
        for v in 0..V {
            x[v] = work.x.add(vectors[v].x);
        }
        let zero: Sums<S, O, B, V> = [[[S::splat(0.0); V]; O]; B];
        // The first product is part of every row, so it carries the bias.
        let mut first = zero;
        for b in 0..B {
            for o in 0..O {
                first[b][o] = [S::splat(*work.bias.add((block + b) * O + o)); V];
            }
        }
        let first = accumulate::<S, O, B, V>(work, block, 0, x, first);
        let second = accumulate::<S, O, B, V>(work, block, 1, x, zero);
        let even = combine::<S, O, B, V>(first, second, 1.0);
        let odd = combine::<S, O, B, V>(first, second, -1.0);
        let third = accumulate::<S, O, B, V>(work, block, 2, x, zero);
        let fourth = accumulate::<S, O, B, V>(work, block, 3, x, zero);
        let even_more = combine::<S, O, B, V>(third, fourth, 1.0);
        let odd_more = combine::<S, O, B, V>(third, fourth, -1.0);

        finish::<S, O, B, V>(work, block, vectors, 1, combine::<S, O, B, V>(odd, odd_more, 2.0));
        finish::<S, O, B, V>(
            work,
            block,
            vectors,
            2,
            combine::<S, O, B, V>(even, even_more, 4.0),
        );
        let row = combine::<S, O, B, V>(even, even_more, 1.0);
        finish::<S, O, B, V>(
            work,
            block,
            vectors,
            0,
            accumulate::<S, O, B, V>(work, block, 4, x, row),
        );
        let row = combine::<S, O, B, V>(odd, odd_more, 8.0);
        finish::<S, O, B, V>(
            work,
            block,
            vectors,
            3,
            accumulate::<S, O, B, V>(work, block, 5, x, row),
        );
    }
}

/// `a + factor * b`.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn combine<S: Simd, const O: usize, const B: usize, const V: usize>(
    a: Sums<S, O, B, V>,
    b: Sums<S, O, B, V>,
    factor: f32,
) -> Sums<S, O, B, V> {
    let mut sums = a;
    for i in 0..B {
        for o in 0..O {
            for v in 0..V {
                // SAFETY: the caller's promise.
                sums[i][o][v] = unsafe { S::multiply_add(b[i][o][v], S::splat(factor), a[i][o][v]) };
            }
        }
    }
    sums
}

/// Adds the products of one phase.
///
/// # Safety
/// As for [`tiles`].
#[inline(always)]
unsafe fn accumulate<S: Simd, const O: usize, const B: usize, const V: usize>(
    work: &Work<'_>,
    block: usize,
    phase: usize,
    x: [*const f32; V],
    sums: Sums<S, O, B, V>,
) -> Sums<S, O, B, V> {
    let mut sums = sums;
    let taps = work.offsets.len();
    // SAFETY: the caller's promise.
    unsafe {
        let mut x = x;
        for x in &mut x {
            *x = x.add(phase * work.phase);
        }
        let mut weights = [work.weights; B];
        for (b, weights) in weights.iter_mut().enumerate() {
            *weights = weights.add(((block + b) * PHASES + phase) * taps * O);
        }
        for &offset in work.offsets {
            let mut inputs = [S::splat(0.0); V];
            for v in 0..V {
                inputs[v] = S::load(x[v].add(offset));
            }
            for b in 0..B {
                for o in 0..O {
                    let weight = S::splat(*weights[b].add(o));
                    for v in 0..V {
                        sums[b][o][v] = S::multiply_add(weight, inputs[v], sums[b][o][v]);
                    }
                }
                weights[b] = weights[b].add(O);
            }
        }
    }
    sums
}

/// Adds the residual to one of the four rows, clamps and stores.
///
/// # Safety
/// As for [`tiles`].
#[inline(always)]
unsafe fn finish<S: Simd, const O: usize, const B: usize, const V: usize>(
    work: &Work<'_>,
    block: usize,
    vectors: &[Vector; V],
    row: usize,
    sums: Sums<S, O, B, V>,
) {
    if vectors.iter().any(|vector| vector.segments.len() > 1) {
        // SAFETY: the caller's promise.
        return unsafe { finish_segments::<S, O, B, V>(work, block, vectors, row, sums) };
    }
    for b in 0..B {
        for o in 0..O {
            let channel = (block + b) * O + o;
            if channel < work.channels {
                let start = channel * work.y_channel + row * work.y_row;
                for v in 0..V {
                    if let [segment] = vectors[v].segments.as_slice()
                        && row < segment.rows
                    {
                        // SAFETY: the caller's promise.
                        unsafe { store::<S>(work, start + segment.y, sums[b][o][v], segment.count) };
                    }
                }
            }
        }
    }
}

/// As [`finish`], for vectors whose positions lie in several rows.
///
/// # Safety
/// As for [`tiles`].
#[inline(always)]
unsafe fn finish_segments<S: Simd, const O: usize, const B: usize, const V: usize>(
    work: &Work<'_>,
    block: usize,
    vectors: &[Vector; V],
    row: usize,
    sums: Sums<S, O, B, V>,
) {
    const { assert!(O * B * V <= 16 && S::LANES <= 16) };
    let mut buffer = std::mem::MaybeUninit::<Buffer>::uninit();
    let buffer = buffer.as_mut_ptr().cast::<f32>();
    // SAFETY: the caller's promise; the buffer holds all sums, and one vector more, because whole vectors are read from
    // the middle of others.
    unsafe {
        for b in 0..B {
            for o in 0..O {
                for v in 0..V {
                    S::store(buffer.add(((b * O + o) * V + v) * S::LANES), sums[b][o][v]);
                }
            }
        }
        let channels = (B * O).min(work.channels - block * O);
        for channel in 0..channels {
            let start = (block * O + channel) * work.y_channel + row * work.y_row;
            for (v, vector) in vectors.iter().enumerate() {
                for segment in vector.segments.iter().filter(|segment| row < segment.rows) {
                    let from = (channel * V + v) * S::LANES + segment.lane;
                    store::<S>(work, start + segment.y, S::load(buffer.add(from)), segment.count);
                }
            }
        }
    }
}

/// Elements of 16 vectors and one more.
const BUFFER: usize = 17 * 16;

#[repr(align(64))]
struct Buffer(#[expect(dead_code, reason = "only its memory is used")] [f32; BUFFER]);

/// # Safety
/// As for [`tiles`].
#[inline(always)]
unsafe fn store<S: Simd>(work: &Work<'_>, at: usize, value: S::V, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut value = value;
        if let Some(residual) = work.residual {
            let residual = match count < S::LANES {
                true => S::load_first(residual.add(at), count),
                false => S::load(residual.add(at)),
            };
            value = S::add(value, residual);
        }
        value = S::at_most(S::at_least(value, S::splat(work.low)), S::splat(work.high));
        match count < S::LANES {
            true => S::store_first(work.y.add(at), value, count),
            false => S::store(work.y.add(at), value),
        }
    }
}
