//! [`PackedConvolution`]: weights arranged for the microkernels.

use std::sync::OnceLock;

use super::Geometry;
use super::direct::DirectWeights;
use super::winograd::{WinogradWeights, pays_off};
use crate::Isa;

/// What happens to each sum before it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// Added first.
    pub residual: Residual<'a>,
    /// Then what is smaller becomes `low`.
    pub low: f32,
    /// And what is larger becomes `high`.
    pub high: f32,
}

/// What is added to a convolution.
#[derive(Clone, Copy, Debug)]
pub enum Residual<'a> {
    /// Nothing.
    None,
    /// Values laid out like the output.
    Values(&'a [f32]),
    /// What the output held before.
    Output,
}

impl Default for Epilogue<'_> {
    /// Stores the sums as they are.
    fn default() -> Self {
        Epilogue {
            residual: Residual::None,
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
        }
    }
}

/// A convolution whose weights are arranged when they are first used, in the form that suits the sizes.
#[derive(Debug)]
pub struct PackedConvolution {
    isa: Isa,
    groups: usize,
    taps: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
    direct: OnceLock<DirectWeights>,
    winograd: OnceLock<WinogradWeights>,
}

impl PackedConvolution {
    /// For `weights` of shape `[out_channels, taps]`, `out_channels` a multiple of `groups`, and an instruction set (or
    /// the widest narrower one that the CPU has).
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn new(
        isa: Isa,
        groups: usize,
        taps: usize,
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> PackedConvolution {
        let out_channels = weights
            .len()
            .checked_div(taps)
            .or(bias.map(<[f32]>::len))
            .unwrap_or(0);
        assert_eq!(out_channels * taps, weights.len(), "whole rows of weights");
        assert!(groups > 0 && out_channels.is_multiple_of(groups), "whole groups");
        assert!(
            bias.is_none_or(|bias| bias.len() == out_channels),
            "one bias for each output channel"
        );
        PackedConvolution {
            isa: isa.or_narrower(),
            groups,
            taps,
            weights: weights.to_vec(),
            bias: bias.map_or_else(|| vec![0.0; out_channels], <[f32]>::to_vec),
            direct: OnceLock::new(),
            winograd: OnceLock::new(),
        }
    }

    /// The instruction set that the weights are arranged for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// `y = clamp(x * weights + bias + residual)`.
    ///
    /// # Panics
    /// When the slices or the weights do not fit `geometry`.
    pub fn run(&self, geometry: &Geometry, x: &[f32], epilogue: Epilogue<'_>, y: &mut [f32]) {
        assert!(
            geometry.fits(x.len(), self.weights.len(), y.len()),
            "slices do not fit {geometry:?}"
        );
        let same = (geometry.groups, geometry.out_channels, geometry.taps());
        assert_eq!(
            same,
            (self.groups, self.bias.len(), self.taps),
            "weights do not fit {geometry:?}"
        );
        let residual = match epilogue.residual {
            Residual::None => None,
            Residual::Output => Some(Shared(y.as_mut_ptr())),
            Residual::Values(values) => {
                assert_eq!(values.len(), y.len(), "a residual for each output");
                Some(Shared(values.as_ptr().cast_mut()))
            }
        };
        if y.is_empty() {
            return;
        }
        let output = Output {
            y: Shared(y.as_mut_ptr()),
            residual,
            low: epilogue.low,
            high: epilogue.high,
        };
        let (isa, groups, weights, bias) = (self.isa, self.groups, &self.weights, &self.bias);
        if pays_off(geometry) {
            let arranged = self
                .winograd
                .get_or_init(|| WinogradWeights::new(isa, groups, weights, bias));
            arranged.run(isa, geometry, x, &output);
        } else {
            let arranged = self
                .direct
                .get_or_init(|| DirectWeights::new(isa, groups, self.taps, weights, bias));
            arranged.run(isa, geometry, x, &output);
        }
    }
}

/// Where results go, and how.
pub(super) struct Output {
    pub(super) y: Shared,
    pub(super) residual: Option<Shared>,
    pub(super) low: f32,
    pub(super) high: f32,
}

/// A pointer that several threads write through, to different elements.
#[derive(Clone, Copy)]
pub(super) struct Shared(*mut f32);
// SAFETY: every unit of work reads and writes its own outputs only.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The element at an index.
    ///
    /// # Safety
    /// The element exists.
    pub(super) unsafe fn at(self, index: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(index) }
    }
}

/// Weights `[groups * channels, taps]` as `[groups][blocks][taps][block]`, and the bias as `[groups][blocks][block]`, zeros
/// where there is no channel.
pub(super) fn arrange(
    groups: usize,
    block: usize,
    taps: usize,
    weights: &[f32],
    bias: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let channels = bias.len() / groups;
    let padded = channels.div_ceil(block) * block;
    let mut packed = vec![0.0; groups * padded * taps];
    let mut packed_bias = vec![0.0; groups * padded];
    for (index, &bias) in bias.iter().enumerate() {
        let (group, channel) = (index / channels, index % channels);
        packed_bias[group * padded + channel] = bias;
        let first = (group * padded + channel / block * block) * taps + channel % block;
        for tap in 0..taps {
            packed[first + tap * block] = weights[index * taps + tap];
        }
    }
    (packed, packed_bias)
}
