//! [`PackedConvolution`]: weights arranged for the microkernels.

use std::sync::OnceLock;

use half::bf16;

use super::Geometry;
use super::dense::Dense;
use super::depthwise::Depthwise;
use super::source::Source;
use super::winograd::{self, Winograd};
use crate::Isa;
use crate::scratch::Scratch;
use crate::simd::{Factor, Operand, Simd};
use crate::stored::{round, widen};

/// What happens to each sum before it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, T = f32> {
    /// Added first.
    pub residual: Residual<'a, T>,
    /// Then what is smaller becomes `low`.
    pub low: f32,
    /// And what is larger becomes `high`.
    pub high: f32,
    /// Applied last, in place.
    pub activation: Option<fn(&mut [T])>,
}

impl<T> Epilogue<'_, T> {
    /// Applies the activation to elements that are finished.
    pub(super) fn activate(&self, y: &mut [T]) {
        if let Some(activation) = self.activation {
            activation(y);
        }
    }
}

/// What is added to a convolution.
#[derive(Clone, Copy, Debug)]
pub enum Residual<'a, T = f32> {
    /// Nothing.
    None,
    /// Values laid out like the output.
    Values(&'a [T]),
    /// What the output held before.
    Output,
}

impl<T> Default for Epilogue<'_, T> {
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
    /// `[out_channels, channels of a group, kernel...]`.
    shape: Vec<usize>,
    groups: usize,
    dilation: usize,
    bias: Vec<f32>,
    depthwise: OnceLock<Depthwise>,
    single: Arranged<f32>,
    half: Arranged<bf16>,
}

/// Weights rounded to one type of factors.
#[derive(Debug, Default)]
pub(crate) struct Arranged<T> {
    dense: OnceLock<Dense<T>>,
    winograd: OnceLock<Winograd<T>>,
}

/// Types of data that convolutions read and write.
pub(crate) trait Data: Factor {
    fn arranged(packed: &PackedConvolution) -> &Arranged<Self>;
}

impl Data for f32 {
    fn arranged(packed: &PackedConvolution) -> &Arranged<f32> {
        &packed.single
    }
}

impl Data for bf16 {
    fn arranged(packed: &PackedConvolution) -> &Arranged<bf16> {
        &packed.half
    }
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
            shape: shape.to_vec(),
            groups,
            dilation,
            bias: bias.map_or_else(|| vec![0.0; shape[0]], <[f32]>::to_vec),
            depthwise: OnceLock::new(),
            single: Arranged::default(),
            half: Arranged::default(),
        }
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
        packed.dense::<f32>(weights);
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
            Form::Winograd => self.single.winograd.get().is_some(),
            Form::Dense => self.single.dense.get().is_some(),
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
            Form::Winograd => _ = self.winograd::<f32>(weights),
            Form::Dense => _ = self.dense::<f32>(weights),
        }
        true
    }

    fn form(&self, geometry: &Geometry) -> Form {
        let shape = &self.shape;
        if self.groups > 1 && self.groups == shape[0] && shape[1] == 1 && shape.len() == 4 {
            Form::Depthwise
        } else if winograd::pays_off(geometry) {
            Form::Winograd
        } else {
            Form::Dense
        }
    }

    fn depthwise(&self, weights: &[f32]) -> &Depthwise {
        self.depthwise
            .get_or_init(|| Depthwise::new(weights, &self.shape, &self.bias))
    }

    fn winograd<T: Data>(&self, weights: &[f32]) -> &Winograd<T> {
        (T::arranged(self).winograd)
            .get_or_init(|| Winograd::new(T::isa(self.isa), weights, &self.shape, &self.bias))
    }

    fn dense<T: Data>(&self, weights: &[f32]) -> &Dense<T> {
        let (shape, groups) = (&self.shape, self.groups);
        (T::arranged(self).dense).get_or_init(|| {
            Dense::new(
                T::isa(self.isa),
                weights,
                shape,
                groups,
                self.dilation,
                &self.bias,
            )
        })
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
        assert!(
            weights.len() == self.shape.iter().product() || self.is_arranged_for(geometry),
            "as many weights as the shape says"
        );
        if self.form(geometry) == Form::Depthwise {
            self.check(geometry, x.len(), y.len());
            let source = Source::new(geometry, x, 0.0, false, 1);
            return self.depthwise(weights).run(self.isa, &source, epilogue, y);
        }
        self.run_data(geometry, x, weights, epilogue, y);
    }

    /// `y = x * weights + bias`, or what `y` held before added to it, with factors rounded to BF16 (in the transformed form,
    /// where Winograd's is used) and sums of `f32`.
    ///
    /// # Panics
    /// When the slices or the weights do not fit `geometry`.
    pub fn run_bf16(&self, geometry: &Geometry, x: &[bf16], weights: &[f32], add: bool, y: &mut [bf16]) {
        assert_eq!(
            weights.len(),
            self.shape.iter().product(),
            "as many weights as the shape says"
        );
        let residual = if add { Residual::Output } else { Residual::None };
        if self.form(geometry) != Form::Depthwise {
            let epilogue = Epilogue {
                residual,
                ..Epilogue::default()
            };
            return self.run_data(geometry, x, weights, epilogue, y);
        }
        let (mut wide_x, mut wide_y) = (Scratch::take(x.len()), Scratch::take(y.len()));
        widen(x, &mut wide_x);
        let mut epilogue = Epilogue::default();
        if add {
            widen(y, &mut wide_y);
            epilogue.residual = Residual::Output;
        }
        self.run(geometry, &wide_x, weights, epilogue, &mut wide_y);
        round(&wide_y, y);
    }

    /// # Panics
    /// When so many elements or the weights do not fit `geometry`.
    fn check(&self, geometry: &Geometry, x: usize, y: usize) {
        assert!(
            geometry.fits(x, self.shape.iter().product(), y),
            "slices do not fit {geometry:?}"
        );
        let dilation = geometry.dilations[geometry.dilations.len() - 1];
        assert!(
            geometry.groups == self.groups
                && geometry.out_channels == self.shape[0]
                && geometry.kernel == self.shape[2..]
                && (dilation == self.dilation || self.shape[self.shape.len() - 1] < 2),
            "weights do not fit {geometry:?}"
        );
    }

    /// In any form but that of one channel per group.
    fn run_data<T: Data>(
        &self,
        geometry: &Geometry,
        x: &[T],
        weights: &[f32],
        epilogue: Epilogue<'_, T>,
        y: &mut [T],
    ) {
        self.check(geometry, x.len(), y.len());
        if let Residual::Values(values) = epilogue.residual {
            assert_eq!(values.len(), y.len(), "a residual for each output");
        }
        let isa = T::isa(self.isa);
        match self.form(geometry) {
            Form::Winograd if geometry.channels.is_multiple_of(T::DEPTH) => {
                self.winograd::<T>(weights).run(isa, geometry, x, epilogue, y);
            }
            _ => {
                let arranged = self.dense::<T>(weights);
                let source = Source::new(geometry, x, T::default(), arranged.blocks.merged, T::DEPTH);
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
    Dense,
}

/// The part of an epilogue that belongs to some elements of the output.
#[derive(Clone, Copy)]
pub(super) struct Finish<T> {
    /// What is added, laid out like the elements; null for nothing. May be the elements themselves.
    pub(super) residual: *const T,
    pub(super) low: f32,
    pub(super) high: f32,
}

impl<T: Factor> Finish<T> {
    /// For `len` elements at `y`, which are `at` in the whole output. They are written through `y` only.
    pub(super) fn new(epilogue: Epilogue<'_, T>, y: *mut T, len: usize, at: usize) -> Finish<T> {
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
    pub(super) unsafe fn store<S: Simd, O: Operand<S, Element = T>>(
        &self,
        sums: S::V,
        y: *mut T,
        at: usize,
        count: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut value = sums;
            if !self.residual.is_null() {
                value = S::add(value, O::widen(self.residual.add(at), count));
            }
            let value = S::at_most(S::at_least(value, S::splat(self.low)), S::splat(self.high));
            O::store(y.add(at), value, count);
        }
    }
}
