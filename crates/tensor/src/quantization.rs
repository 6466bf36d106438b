//! How a value is quantized.

use serde::{Deserialize, Serialize};

use crate::{DType, FormatKind, NumberFormat, Tensor, TensorError};

/// Which elements share one scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// One scale for the whole tensor.
    Tensor,
    /// One scale per index of an axis (output channels of a weight).
    Channel,
    /// One scale per run of this many elements along the reduced axis.
    Group(usize),
}

/// How a number that is not on the grid is moved to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// To the nearest code, ties to even (IEEE 754 `roundTiesToEven`; what ONNX `QuantizeLinear` does).
    #[default]
    NearestEven,
    /// To the nearest code, ties away from zero.
    HalfAway,
}

/// How a value is to be quantized; orthogonal fields. The range method is the calibration's business.
#[derive(Clone, Debug)]
pub struct QuantSpec {
    /// Number format of the codes.
    pub format: &'static dyn NumberFormat,
    /// Which elements share a scale.
    pub granularity: Granularity,
    /// Zero point fixed to the middle of the codes (0 for signed formats).
    pub symmetric: bool,
    /// Scale found from each input at run time instead of by calibration.
    pub dynamic: bool,
    /// How to round.
    pub rounding: Rounding,
}

/// Scales and zero points: `real = (code - zero_point) * scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QParams {
    /// Storage type of the codes.
    pub dtype: DType,
    /// Axis along which the scales differ, if there is more than one.
    pub axis: Option<usize>,
    /// So many neighbours along `axis` share a scale, the last ones perhaps fewer; the scales then differ along all other axes
    /// too (ONNX: `block_size`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<usize>,
    /// One per tensor, one per index of `axis`, or one per group, in the order of the elements; finite and above zero.
    pub scale: Vec<f32>,
    /// As many as scales.
    pub zero_point: Vec<i32>,
}

impl QParams {
    /// Chooses scale and zero point so that `[low, high]`, widened to hold zero, maps onto the codes of `format`
    /// (for symmetric, onto the same number of codes on either side of zero; Jacob et al. 2018, section 2.1).
    ///
    /// A range of width zero gets scale 1. The zero point is rounded to nearest, so zero is exact. Of floats the largest number maps onto the largest
    /// of `format`, and there is no zero point.
    pub fn for_range(format: &dyn NumberFormat, symmetric: bool, low: f32, high: f32) -> (f32, i32) {
        let (low, high) = (low.min(0.0), high.max(0.0));
        if format.kind() == FormatKind::Float {
            return (usable_scale(low.abs().max(high) / format.max_value()), 0);
        }
        let (code_min, code_max) = (format.min_code(), format.max_code());
        if symmetric {
            let middle = if code_min < 0 { 0 } else { (code_max + 1) / 2 };
            let bound = low.abs().max(high);
            let scale = bound / (code_max - middle) as f32;
            return (usable_scale(scale), middle);
        }
        let scale =
            usable_scale(((f64::from(high) - f64::from(low)) / f64::from(code_max - code_min)) as f32);
        let zero_point = (f64::from(code_min) - f64::from(low) / f64::from(scale)).round_ties_even() as i32;
        (scale, zero_point.clamp(code_min, code_max))
    }

    /// The shape that the scales of a tensor of this shape have: rank 0 for one, rank 1 for those of an axis, that of the
    /// tensor with fewer elements along the axis for groups.
    ///
    /// # Panics
    /// When there are groups, and the tensor has no such axis or they are empty.
    pub fn scale_shape(&self, shape: &[usize]) -> Vec<usize> {
        match (self.axis, self.group) {
            (None, _) => Vec::new(),
            (Some(_), None) => vec![self.scale.len()],
            (Some(axis), Some(group)) => {
                let mut shape = shape.to_vec();
                shape[axis] = shape[axis].div_ceil(group);
                shape
            }
        }
    }

    /// The scales of a tensor of this shape.
    ///
    /// # Errors
    /// When there are not as many.
    ///
    /// # Panics
    /// As [`QParams::scale_shape`].
    pub fn scale_tensor(&self, shape: &[usize]) -> Result<Tensor, TensorError> {
        Tensor::from_slice(&self.scale_shape(shape), &self.scale)
    }

    /// The zero points of a tensor of this shape, in the storage type.
    ///
    /// # Errors
    /// When there are not as many.
    ///
    /// # Panics
    /// As [`QParams::scale_shape`].
    pub fn zero_point_tensor(&self, shape: &[usize]) -> Result<Tensor, TensorError> {
        if matches!(
            self.dtype,
            DType::F8E4M3FN | DType::F8E4M3FNUZ | DType::F8E5M2 | DType::F8E5M2FNUZ
        ) {
            return Tensor::zeros(self.dtype, &self.scale_shape(shape));
        }
        let codes: Vec<i64> = self.zero_point.iter().map(|&z| i64::from(z)).collect();
        Tensor::from_i64(self.dtype, &self.scale_shape(shape), &codes)
    }
}

/// The scale, or 1 where a range is empty or so small that dividing by the scale would overflow.
fn usable_scale(scale: f32) -> f32 {
    if scale.is_finite() && scale >= f32::MIN_POSITIVE {
        scale
    } else {
        1.0
    }
}

impl QuantSpec {
    /// True when codes are integers with a zero point.
    pub fn is_integer(&self) -> bool {
        self.format.kind() == FormatKind::Integer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format_by_name;

    #[test]
    fn ranges_to_parameters() {
        let cases = [
            ("uint8", false, 0.0, 255.0, (1.0, 0)),
            ("uint8", false, -128.0, 127.0, (1.0, 128)),
            ("int8", false, -128.0, 127.0, (1.0, 0)),
            ("int8", true, -3.0, 12.7, (0.1, 0)),
            ("uint8", true, -12.7, 3.0, (0.1, 128)),
            ("uint8", false, 5.0, 10.0, (10.0 / 255.0, 0)),
            ("int8", false, 0.0, 0.0, (1.0, -128)),
            ("f8e4m3fn", true, -44.8, 3.0, (0.1, 0)),
        ];
        for (format, symmetric, low, high, expected) in cases {
            let format = format_by_name(format).unwrap();
            let (scale, zero_point) = QParams::for_range(format, symmetric, low, high);
            assert!((scale - expected.0).abs() < 1e-7, "{low}..{high}: {scale}");
            assert_eq!(zero_point, expected.1, "{low}..{high}");
        }
    }
}
