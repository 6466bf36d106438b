//! The gradient of the weights.

use half::bf16;
use rayon::prelude::*;

use super::{Write, check, depthwise, direct, winograd};
use crate::Isa;
use crate::conv::Geometry;
use crate::scratch::Scratch;
use crate::stored::widen;

/// `dw[o, c, k] = sum of dy[q, o] * x[p, c]` over all images and outputs `q`, where `p` is what `q` sees by element `k` of
/// the kernel. `dw` has the shape of the weights, `[out_channels, channels of a group, kernel...]`.
///
/// # Panics
/// When the slices do not fit `geometry`.
pub fn weight(isa: Isa, geometry: &Geometry, x: &[f32], dy: &[f32], write: Write, dw: &mut [f32]) {
    check(geometry, x.len(), dw.len(), dy.len());
    if dw.is_empty() || x.is_empty() || dy.is_empty() {
        if write == Write::Replace {
            dw.fill(0.0);
        }
        return;
    }
    let isa = isa.or_narrower();
    if geometry.groups > 1 && geometry.group_channels() == 1 && geometry.group_out_channels() == 1 {
        depthwise::weight(isa, geometry, x, dy, write, dw);
    } else if winograd::pays_off(geometry) {
        winograd::weight(isa, geometry, x, dy, write, dw);
    } else {
        direct::weight(isa, geometry, x, dy, write, dw);
    }
}

/// As [`weight`] of BF16 data. Winograd's form rounds what it transforms to BF16.
///
/// # Panics
/// When the slices do not fit `geometry`.
pub fn weight_bf16(isa: Isa, geometry: &Geometry, x: &[bf16], dy: &[bf16], write: Write, dw: &mut [f32]) {
    check(geometry, x.len(), dw.len(), dy.len());
    if winograd::pays_off(geometry) && !dw.is_empty() && !x.is_empty() {
        return winograd::weight(isa.or_narrower(), geometry, x, dy, write, dw);
    }
    let (mut wide_x, mut wide_dy) = (Scratch::take(x.len()), Scratch::take(dy.len()));
    widen(x, &mut wide_x);
    widen(dy, &mut wide_dy);
    weight(isa, geometry, &wide_x, &wide_dy, write, dw);
}

/// Calls `work` on every filter of the gradient, `taps` elements each; in parallel when there are many.
pub(super) fn for_filters(dw: &mut [f32], taps: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    /// Fewer elements are not worth waking threads for.
    const PARALLEL: usize = 1 << 14;
    if dw.len() < PARALLEL {
        dw.chunks_exact_mut(taps)
            .enumerate()
            .for_each(|(filter, dw)| work(filter, dw));
    } else {
        dw.par_chunks_exact_mut(taps)
            .enumerate()
            .for_each(|(filter, dw)| work(filter, dw));
    }
}
