//! Numbers of 8 bits and more.

use bantam_tensor::{DType, Element, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::ops::dispatch::{in_number, in_number_or_bool};
use crate::ops::units::Unit;
use crate::{Context, OpError};
use bantam_kernels::chunks::for_chunks;

/// A number in the widest type of its kind.
#[derive(Clone, Copy)]
pub(super) enum Wide {
    Float(f64),
    Signed(i64),
    Unsigned(u64),
}

/// Conversion by way of [`Wide`], which is exact from every type.
pub(super) trait Convert: Element + Copy {
    fn widen(self) -> Wide;
    /// Floats round to nearest; integers keep the low bits, and cut fractions off.
    fn narrow(wide: Wide) -> Self;
}

macro_rules! integers {
    ($kind:ident $wide:ty: $($integer:ty)*) => {$(
        impl Convert for $integer {
            #[inline(always)]
            fn widen(self) -> Wide {
                Wide::$kind(self as $wide)
            }
            #[inline(always)]
            fn narrow(wide: Wide) -> $integer {
                match wide {
                    // By way of 64 bits, so that -1.0 gives the same as -1.
                    Wide::Float(value) if value < 0.0 => value as i64 as $integer,
                    Wide::Float(value) => value as $wide as $integer,
                    Wide::Signed(value) => value as $integer,
                    Wide::Unsigned(value) => value as $integer,
                }
            }
        }
    )*};
}
integers!(Signed i64: i8 i16 i32 i64);
integers!(Unsigned u64: u8 u16 u32 u64);

macro_rules! floats {
    ($($float:ty, $to_f64:expr, $from_f64:expr;)*) => {$(
        impl Convert for $float {
            #[inline(always)]
            fn widen(self) -> Wide {
                Wide::Float($to_f64(self))
            }
            #[inline(always)]
            fn narrow(wide: Wide) -> $float {
                match wide {
                    Wide::Float(value) => $from_f64(value),
                    Wide::Signed(value) => $from_f64(value as f64),
                    Wide::Unsigned(value) => $from_f64(value as f64),
                }
            }
        }
    )*};
}
floats! {
    f64, f64::from, f64::from;
    f16, f16::to_f64, f16::from_f64;
    bf16, bf16::to_f64, bf16::from_f64;
}

impl Convert for f32 {
    #[inline(always)]
    fn widen(self) -> Wide {
        Wide::Float(f64::from(self))
    }
    #[inline(always)]
    fn narrow(wide: Wide) -> f32 {
        match wide {
            Wide::Float(value) => value as f32,
            Wide::Signed(value) => value as f32,
            Wide::Unsigned(value) => value as f32,
        }
    }
}

/// A tensor of numbers or booleans as other numbers.
pub(super) fn convert(x: &Tensor, to: DType, context: &Context) -> Result<Tensor, OpError> {
    match (x.dtype(), to) {
        (DType::F32, DType::F16) => {
            halves(x, context, |x: &[f32], y: &mut [f16]| y.convert_from_f32_slice(x))
        }
        (DType::F32, DType::BF16) => halves(x, context, |x: &[f32], y: &mut [bf16]| {
            y.convert_from_f32_slice(x)
        }),
        (DType::F16, DType::F32) => halves(x, context, |x: &[f16], y: &mut [f32]| x.convert_to_f32_slice(y)),
        (DType::BF16, DType::F32) => {
            halves(x, context, |x: &[bf16], y: &mut [f32]| x.convert_to_f32_slice(y))
        }
        (from, to) => {
            in_number_or_bool!(from, 0, S => in_number!(to, 0, D => one_by_one::<S, D>(x, context)))
        }
    }
}

fn halves<S: Element, D: Element>(
    x: &Tensor,
    context: &Context,
    convert: impl Fn(&[S], &mut [D]) + Sync,
) -> Result<Tensor, OpError> {
    let values = x.values::<S>()?;
    context.fill(x.shape(), |y: &mut [D]| {
        for_chunks(y, |start, y| convert(&values[start..start + y.len()], y));
    })
}

fn one_by_one<S: Convert + Unit, D: Convert>(x: &Tensor, context: &Context) -> Result<Tensor, OpError> {
    let values = S::read(x)?;
    context.fill(x.shape(), |y: &mut [D]| {
        for_chunks(y, |start, y| {
            y.iter_mut()
                .zip(&values[start..])
                .for_each(|(y, &x)| *y = D::narrow(x.widen()));
        });
    })
}
