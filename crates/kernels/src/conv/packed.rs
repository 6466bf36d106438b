//! [`PackedConvolution`]: weights arranged for the microkernels.

use std::sync::OnceLock;

use half::bf16;

use super::Geometry;
use super::dense::Dense;
use super::depthwise::Depthwise;
use super::source::Source;
use super::winograd::{self, Winograd};
use crate::{Isa, Precision};

/// What happens to each sum before it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// Added first.
    pub residual: Residual<'a>,
    /// Then what is smaller becomes `low`.
    pub low: f32,
    /// And what is larger becomes `high`.
    pub high: f32,
    /// Applied last, in place.
    pub activation: Option<fn(&mut [f32])>,
}

impl Epilogue<'_> {
    /// Applies the activation to elements that are finished.
    pub(super) fn activate(&self, y: &mut [f32]) {
        if let Some(activation) = self.activation {
            activation(y);
        }
    }
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
            activation: None,
        }
    }
}

/// A convolution of data with the channels last, `[batch, spatial..., channels]`, whose weights are arranged when they
/// are first used, in the form that suits the sizes.
#[derive(Debug)]
pub struct PackedConvolution {
    isa: Isa,
    precision: Precision,
    /// `[out_channels, channels of a group, kernel...]`.
    shape: Vec<usize>,
    groups: usize,
    dilation: usize,
    bias: Vec<f32>,
    dense: OnceLock<Dense>,
    depthwise: OnceLock<Depthwise>,
    winograd: OnceLock<Winograd<f32>>,
    winograd_bf16: OnceLock<Winograd<bf16>>,
}

impl PackedConvolution {
    /// For weights of shape `[out_channels, channels of a group, kernel...]`, the dilation of the last dimension, and
    /// an instruction set (or the widest narrower one that the CPU has).
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn new(
        isa: Isa,
        shape: &[usize],
        groups: usize,
        dilation: usize,
        bias: Option<&[f32]>,
    ) -> PackedConvolution {
        assert!(shape.len() > 2, "a shape of filters");
        assert!(groups > 0 && shape[0].is_multiple_of(groups), "whole groups");
        assert!(
            bias.is_none_or(|bias| bias.len() == shape[0]),
            "one bias for each output channel"
        );
        PackedConvolution {
            isa: isa.or_narrower(),
            precision: Precision::Float32,
            shape: shape.to_vec(),
            groups,
            dilation,
            bias: bias.map_or_else(|| vec![0.0; shape[0]], <[f32]>::to_vec),
            dense: OnceLock::new(),
            depthwise: OnceLock::new(),
            winograd: OnceLock::new(),
            winograd_bf16: OnceLock::new(),
        }
    }

    /// The same with factors of this precision.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> PackedConvolution {
        PackedConvolution { precision, ..self }
    }

    /// As [`PackedConvolution::new`] for windows of one element, arranged at once: [`PackedConvolution::run`] does not
    /// need the weights any more.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn pointwise(
        isa: Isa,
        weights: &[f32],
        shape: &[usize; 3],
        bias: Option<&[f32]>,
    ) -> PackedConvolution {
        assert_eq!(
            weights.len(),
            shape.iter().product(),
            "as many weights as the shape says"
        );
        let packed = PackedConvolution::new(isa, shape, 1, 1, bias);
        packed.dense(weights);
        packed
    }

    /// The instruction set that the weights are arranged for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The shape of the weights.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether [`PackedConvolution::run`] needs the weights no more for such a geometry.
    pub fn is_arranged_for(&self, geometry: &Geometry) -> bool {
        match self.form(geometry) {
            Form::Depthwise => self.depthwise.get().is_some(),
            Form::Winograd => self.winograd.get().is_some(),
            Form::WinogradBf16 => self.winograd_bf16.get().is_some(),
            Form::Dense => self.dense.get().is_some(),
        }
    }

    /// Arranges the weights now if all batches of such a geometry use the same form; [`PackedConvolution::run`] does not
    /// need them any more then, and the answer is true.
    ///
    /// # Panics
    /// When there are not as many weights as the shape says.
    pub fn arrange(&self, geometry: &Geometry, weights: &[f32]) -> bool {
        assert_eq!(
            weights.len(),
            self.shape.iter().product(),
            "as many weights as the shape says"
        );
        let [one, many] = [1, usize::MAX].map(|batch| {
            let geometry = Geometry {
                batch,
                ..geometry.clone()
            };
            self.form(&geometry)
        });
        if one != many {
            return false;
        }
        match one {
            Form::Depthwise => _ = self.depthwise(weights),
            Form::Winograd => _ = self.winograd(weights),
            Form::WinogradBf16 => _ = self.winograd_bf16(weights),
            Form::Dense => _ = self.dense(weights),
        }
        true
    }

    fn form(&self, geometry: &Geometry) -> Form {
        let shape = &self.shape;
        if self.groups > 1 && self.groups == shape[0] && shape[1] == 1 && shape.len() == 4 {
            Form::Depthwise
        } else if winograd::pays_off(geometry) {
            match self.precision {
                Precision::Bf16 if shape[1].is_multiple_of(2) => Form::WinogradBf16,
                _ => Form::Winograd,
            }
        } else {
            Form::Dense
        }
    }

    fn depthwise(&self, weights: &[f32]) -> &Depthwise {
        self.depthwise
            .get_or_init(|| Depthwise::new(weights, &self.shape, &self.bias))
    }

    fn winograd(&self, weights: &[f32]) -> &Winograd<f32> {
        self.winograd
            .get_or_init(|| Winograd::new(self.isa, weights, &self.shape, &self.bias))
    }

    fn winograd_bf16(&self, weights: &[f32]) -> &Winograd<bf16> {
        self.winograd_bf16
            .get_or_init(|| Winograd::new(self.isa, weights, &self.shape, &self.bias))
    }

    fn dense(&self, weights: &[f32]) -> &Dense {
        let (shape, groups) = (&self.shape, self.groups);
        self.dense
            .get_or_init(|| Dense::new(self.isa, weights, shape, groups, self.dilation, &self.bias))
    }

    /// `y = activation(clamp(x * weights + bias + residual))`. The weights are always the same ones; they are looked at
    /// when a form is used for the first time, and may be empty when [`PackedConvolution::is_arranged_for`] is true.
    ///
    /// # Panics
    /// When the slices or the weights do not fit `geometry`.
    pub fn run(
        &self,
        geometry: &Geometry,
        x: &[f32],
        weights: &[f32],
        epilogue: Epilogue<'_>,
        y: &mut [f32],
    ) {
        let count = self.shape.iter().product();
        assert!(
            geometry.fits(x.len(), count, y.len()),
            "slices do not fit {geometry:?}"
        );
        assert!(
            weights.len() == count || self.is_arranged_for(geometry),
            "as many weights as the shape says"
        );
        let dilation = geometry.dilations[geometry.dilations.len() - 1];
        assert!(
            geometry.groups == self.groups
                && geometry.out_channels == self.shape[0]
                && geometry.kernel == self.shape[2..]
                && (dilation == self.dilation || self.shape[self.shape.len() - 1] < 2),
            "weights do not fit {geometry:?}"
        );
        if let Residual::Values(values) = epilogue.residual {
            assert_eq!(values.len(), y.len(), "a residual for each output");
        }
        let isa = self.isa;
        match self.form(geometry) {
            Form::Depthwise => {
                let source = Source::new(geometry, x, 0.0, false, 1);
                self.depthwise(weights).run(isa, &source, epilogue, y);
            }
            Form::Winograd => self.winograd(weights).run(isa, geometry, x, epilogue, y),
            Form::WinogradBf16 => self.winograd_bf16(weights).run(isa, geometry, x, epilogue, y),
            Form::Dense => {
                let arranged = self.dense(weights);
                let source = Source::new(geometry, x, 0.0, arranged.blocks.merged, 1);
                arranged.run(isa, &source, epilogue, y);
            }
        }
    }
}

/// The ways to compute a convolution.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Depthwise,
    Winograd,
    WinogradBf16,
    Dense,
}

/// The part of an epilogue that belongs to some elements of the output.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    /// What is added, laid out like the elements; null for nothing. May be the elements themselves.
    pub(super) residual: *const f32,
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Finish {
    /// For `len` elements at `y`, which are `at` in the whole output. They are written through `y` only.
    pub(super) fn new(epilogue: Epilogue<'_>, y: *mut f32, len: usize, at: usize) -> Finish {
        Finish {
            residual: match epilogue.residual {
                Residual::None => std::ptr::null(),
                Residual::Values(values) => values[at..at + len].as_ptr(),
                Residual::Output => y.cast_const(),
            },
            low: epilogue.low,
            high: epilogue.high,
        }
    }

    /// Writes the first `count` elements of a vector of sums to `y[at..]`.
    ///
    /// # Safety
    /// As for [`crate::simd::Simd`]; `count` elements from `at` on exist in `y`, and so in the residual.
    #[inline(always)]
    pub(super) unsafe fn store<S: crate::simd::Simd>(
        &self,
        sums: S::V,
        y: *mut f32,
        at: usize,
        count: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut value = sums;
            if !self.residual.is_null() {
                let residual = self.residual.add(at);
                let residual = if count >= S::LANES {
                    S::load(residual)
                } else {
                    S::load_first(residual, count)
                };
                value = S::add(value, residual);
            }
            let value = S::at_most(S::at_least(value, S::splat(self.low)), S::splat(self.high));
            if count >= S::LANES {
                S::store(y.add(at), value)
            } else {
                S::store_first(y.add(at), value, count)
            }
        }
    }
}
