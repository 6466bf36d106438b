//! The microkernel: a block of output channels at a few vectors of output positions.

use crate::simd::Simd;

/// A vector of output positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vector {
    /// Where its elements start in the input, without the taps' offsets.
    pub(super) x: usize,
    /// Where its elements start in a channel of the output.
    pub(super) y: usize,
    /// How many of its positions there are; vectors at the end of a row may be partial.
    pub(super) count: usize,
}

/// What all tiles of one unit of work share.
pub(super) struct Work<'a> {
    /// Start of the input.
    pub(super) x: *const f32,
    /// Where each tap reads, relative to `x` and to the vector.
    pub(super) offsets: &'a [usize],
    /// Packed weights of the first block, `[blocks][taps][block]`.
    pub(super) weights: *const f32,
    /// Biases of the first block, `[blocks][block]`.
    pub(super) bias: *const f32,
    /// Output channels to compute: the last block may be partial.
    pub(super) channels: usize,
    /// First channel of the output.
    pub(super) y: *mut f32,
    /// Added to the output; laid out like it.
    pub(super) residual: Option<*const f32>,
    /// Elements from one channel of the output to the next.
    pub(super) y_channel: usize,
    /// Smallest and largest result.
    pub(super) low: f32,
    /// See `low`.
    pub(super) high: f32,
    /// Elements past the vectors' counts may be read.
    pub(super) readable_past_end: bool,
}

/// Bytes of weights that are gone through for every few vectors: they stay in the second-level cache.
const WEIGHTS_AT_A_TIME: usize = 512 * 1024;

/// Computes all vectors of all channels, `O` channels by `V` vectors at a time.
///
/// # Safety
/// As for [`Simd`]; the pointers of `work` are valid for what the vectors, offsets and channels make of them, and no
/// other thread writes to the same outputs.
#[inline(always)]
pub(super) unsafe fn tiles<S: Simd, const O: usize, const V: usize>(work: &Work<'_>, vectors: &[Vector]) {
    let blocks = work.channels.div_ceil(O);
    let at_a_time = (WEIGHTS_AT_A_TIME / (4 * O * work.offsets.len().max(1))).max(1);
    let whole = match vectors.last() {
        Some(last) if !work.readable_past_end && last.count < S::LANES => vectors.len() - 1,
        _ => vectors.len(),
    };
    for first_block in (0..blocks).step_by(at_a_time) {
        let some_blocks = first_block..blocks.min(first_block + at_a_time);
        let mut index = 0;
        // SAFETY (all calls): the caller's promise; only the last vector can be unreadable past its end.
        while index + V <= whole {
            let group = std::array::from_fn(|v| vectors[index + v]);
            for block in some_blocks.clone() {
                unsafe { tile::<S, O, V, false>(work, block, group) };
            }
            index += V;
        }
        for &vector in &vectors[index..] {
            for block in some_blocks.clone() {
                if vector.count < S::LANES {
                    unsafe { tile::<S, O, 1, true>(work, block, [vector]) };
                } else {
                    unsafe { tile::<S, O, 1, false>(work, block, [vector]) };
                }
            }
        }
    }
}

/// # Safety
/// As for [`tiles`]; unless `PARTIAL`, whole vectors must be readable.
#[inline(always)]
unsafe fn tile<S: Simd, const O: usize, const V: usize, const PARTIAL: bool>(
    work: &Work<'_>,
    block: usize,
    vectors: [Vector; V],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut x = [work.x; V];
        let mut sums = [[S::splat(0.0); V]; O];
        for v in 0..V {
            x[v] = work.x.add(vectors[v].x);
        }
        for o in 0..O {
            sums[o] = [S::splat(*work.bias.add(block * O + o)); V];
        }
        let mut weights = work.weights.add(block * O * work.offsets.len());
        for &offset in work.offsets {
            let mut inputs = [S::splat(0.0); V];
            for v in 0..V {
                inputs[v] = match PARTIAL {
                    true => S::load_first(x[v].add(offset), vectors[v].count),
                    false => S::load(x[v].add(offset)),
                };
            }
            for o in 0..O {
                let weight = S::splat(*weights.add(o));
                for v in 0..V {
                    sums[o][v] = S::multiply_add(weight, inputs[v], sums[o][v]);
                }
            }
            weights = weights.add(O);
        }
        for o in 0..O {
            let channel = block * O + o;
            if channel < work.channels {
                for v in 0..V {
                    finish::<S>(
                        work,
                        channel * work.y_channel + vectors[v].y,
                        sums[o][v],
                        vectors[v].count,
                    );
                }
            }
        }
    }
}

/// Adds the residual, clamps and stores.
///
/// # Safety
/// As for [`tiles`].
#[inline(always)]
unsafe fn finish<S: Simd>(work: &Work<'_>, at: usize, sum: S::V, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut value = sum;
        if let Some(residual) = work.residual {
            let residual = match count < S::LANES {
                true => S::load_first(residual.add(at), count),
                false => S::load(residual.add(at)),
            };
            value = S::add(value, residual);
        }
        value = S::at_least(value, S::splat(work.low));
        value = S::at_most(value, S::splat(work.high));
        match count < S::LANES {
            true => S::store_first(work.y.add(at), value, count),
            false => S::store(work.y.add(at), value),
        }
    }
}
