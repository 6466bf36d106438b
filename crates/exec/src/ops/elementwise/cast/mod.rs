//! Conversion between element types.

mod narrow;
mod numbers;
mod text;

use bantam_graph::ops::{Cast, CastLike};
use bantam_kernels::stored::{round, widen};
use bantam_tensor::{DType, Tensor};
use half::bf16;

use crate::inputs::Inputs;
use crate::{Context, OpError};

/// How values that do not fit are converted; only for floats of 8 bits.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct CastRules<'a> {
    /// To the largest value instead of infinity or NaN.
    pub(in crate::ops) saturate: bool,
    /// Rounding to powers of two (`f8e8m0`): `up`, `down` or `nearest`.
    pub(in crate::ops) round_mode: &'a str,
}

impl Default for CastRules<'_> {
    fn default() -> Self {
        CastRules {
            saturate: true,
            round_mode: "up",
        }
    }
}

impl<'a> From<&'a Cast> for CastRules<'a> {
    fn from(op: &'a Cast) -> CastRules<'a> {
        CastRules {
            saturate: op.saturate,
            round_mode: &op.round_mode,
        }
    }
}

/// Input 0 in the type of input 1.
pub(in crate::ops) fn cast_like(
    op: &CastLike,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let rules = CastRules {
        saturate: op.saturate,
        round_mode: &op.round_mode,
    };
    cast(inputs.required(1)?.dtype(), &rules, inputs, context)
}

/// Input 0 in another type.
pub(in crate::ops) fn cast(
    to: DType,
    rules: &CastRules<'_>,
    inputs: &mut Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    if inputs.required(0)?.dtype() == to {
        return inputs.keep(0);
    }
    let x = inputs.required(0)?;
    match (x.dtype(), to) {
        (DType::F32, DType::BF16) => {
            let values = x.values::<f32>()?;
            context.fill(x.shape(), |y: &mut [bf16]| round(&values, y))
        }
        (DType::BF16, DType::F32) => {
            let values = x.values::<bf16>()?;
            context.fill(x.shape(), |y| widen(&values, y))
        }
        _ => convert(x, to, rules, context),
    }
}

/// A tensor in another type.
pub(super) fn convert(
    x: &Tensor,
    to: DType,
    rules: &CastRules<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let complex = |dtype| matches!(dtype, DType::Complex64 | DType::Complex128);
    let from = x.dtype();
    if from == to {
        return Ok(x.clone());
    }
    if complex(from) || complex(to) {
        return Err(OpError::Unsupported(format!("a cast from {from} to {to}")));
    }
    match (from, to) {
        (DType::String, _) => text::parse(x, to, rules, context),
        (_, DType::String) => text::format(x),
        (_, DType::Bool) => Ok(Tensor::from_bools(x.shape(), &truths(x)?)?),
        _ if narrow::is_narrow(to) => narrow::encode(x, to, rules, context),
        _ if narrow::is_narrow(from) => numbers::convert(&narrow::decode(x)?, to, context),
        _ => numbers::convert(x, to, context),
    }
}

/// Which elements are not zero (or empty).
pub(in crate::ops) fn truths(x: &Tensor) -> Result<Vec<bool>, OpError> {
    Ok(match x.dtype() {
        DType::String => x.strings()?.iter().map(|text| !text.is_empty()).collect(),
        DType::Bool => x.as_bytes().iter().map(|&byte| byte != 0).collect(),
        dtype if dtype.is_integer() => x.to_i64()?.into_iter().map(|value| value != 0).collect(),
        _ => x.to_f64()?.into_iter().map(|value| value != 0.0).collect(),
    })
}

/// The same bits under another type of the same width.
pub(in crate::ops) fn bit_cast(to: DType, inputs: &Inputs<'_>) -> Result<Tensor, OpError> {
    let x = inputs.required(0)?;
    if x.dtype().bits() != to.bits() || to == DType::String {
        return Err(OpError::value(format!(
            "the bits of {} cannot be read as {to}",
            x.dtype()
        )));
    }
    Ok(Tensor::from_raw(to, x.shape(), x.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{BitCast, Cast, CastLike};
    use bantam_tensor::{DType, Tensor};

    use crate::ops::testing::{run, run_one};

    pub(super) fn to(to: DType) -> Cast {
        Cast {
            saturate: true,
            to,
            round_mode: "up".to_owned(),
        }
    }

    #[test]
    fn every_pair_of_types_keeps_zero_and_one() {
        let real = DType::ALL
            .iter()
            .filter(|dtype| !matches!(dtype, DType::Complex64 | DType::Complex128));
        for &from in real.clone() {
            // A zero in a type of powers of two is the smallest one; one is exact.
            let x = run_one(to(from), &[Tensor::from_vec1(&[1.0f32, 1.0, 1.0])]);
            assert_eq!(x.dtype(), from);
            for &other in real.clone() {
                let y = run_one(to(other), std::slice::from_ref(&x));
                assert_eq!((y.dtype(), y.shape()), (other, &[3][..]));
                let back = run_one(to(DType::F32), &[y]);
                assert_eq!(back, Tensor::from_vec1(&[1.0f32, 1.0, 1.0]), "{from} -> {other}");
            }
        }
    }

    #[test]
    fn integers_lose_their_high_bits() {
        let x = Tensor::from_vec1(&[200i16, -1, 300]);
        assert_eq!(
            run_one(to(DType::I8), std::slice::from_ref(&x)),
            Tensor::from_vec1(&[-56i8, -1, 44])
        );
        assert_eq!(
            run_one(to(DType::U64), std::slice::from_ref(&x)),
            Tensor::from_vec1(&[200u64, u64::MAX, 300])
        );
        assert_eq!(run_one(to(DType::I4), &[x]).to_i64().unwrap(), [-8, -1, -4]);
        let large = Tensor::from_vec1(&[u64::MAX]);
        assert_eq!(
            run_one(to(DType::F64), &[large]),
            Tensor::from_vec1(&[u64::MAX as f64])
        );
    }

    #[test]
    fn floats_are_cut_off() {
        let x = Tensor::from_vec1(&[1.9f32, -1.9, 0.5]);
        assert_eq!(
            run_one(to(DType::I32), std::slice::from_ref(&x)),
            Tensor::from_vec1(&[1i32, -1, 0])
        );
        let truths = run_one(
            to(DType::Bool),
            &[Tensor::from_vec1(&[0.0f32, -0.0, f32::NAN, 0.1])],
        );
        assert_eq!(
            truths,
            Tensor::from_bools(&[4], &[false, false, true, true]).unwrap()
        );
    }

    #[test]
    fn long_tensors_are_converted_in_chunks() {
        let x: Vec<i32> = (0..150_000).collect();
        let y = run_one(
            to(DType::F16),
            &[Tensor::from_vec1(
                &x.iter().map(|&i| (i % 2048) as f32).collect::<Vec<_>>(),
            )],
        );
        let y = run_one(to(DType::I32), &[y]);
        assert_eq!(
            y,
            Tensor::from_vec1(&x.iter().map(|&i| i % 2048).collect::<Vec<_>>())
        );
    }

    #[test]
    fn bits_and_the_type_of_another_input() {
        let x = Tensor::from_vec1(&[1.0f32]);
        let bits = run_one(BitCast { to: DType::U32 }, std::slice::from_ref(&x));
        assert_eq!(bits, Tensor::from_vec1(&[0x3f80_0000u32]));
        assert!(run(BitCast { to: DType::U16 }, std::slice::from_ref(&x)).is_err());
        let like = CastLike {
            saturate: true,
            round_mode: "up".to_owned(),
        };
        assert_eq!(
            run_one(like, &[x, Tensor::scalar(0u8)]),
            Tensor::from_vec1(&[1u8])
        );
    }
}
