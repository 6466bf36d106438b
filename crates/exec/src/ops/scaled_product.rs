//! Products of codes with a constant matrix, as reals: with the scales, the bias and the activation that follow.

use bantam_kernels::conv::Geometry;
use bantam_kernels::integer::{Filters, Scaled, ZeroPoints, convolve_scaled};
use bantam_tensor::{DType, Tensor};

use super::convolution::Activation;
use super::packed_product::outer_dims;
use super::quantization::{signed, unsigned, zero_point};
use crate::inputs::Inputs;
use crate::operator::{Operator, Outputs, Reads};
use crate::{Context, OpError};

/// A product of rows with a matrix: a convolution with windows of one element.
struct ScaledProduct {
    filters: Filters,
    depth: usize,
    columns: usize,
    scales: Vec<f32>,
    bias: Vec<f32>,
    activation: Option<Activation>,
}

/// Whether these zero points of weights are the middle of their codes.
pub(crate) fn is_centred(weights: &Tensor, zeros: &[i64]) -> bool {
    let middle = match weights.dtype() {
        DType::I8 => 0,
        DType::U8 => 128,
        _ => return false,
    };
    zeros.iter().all(|&zero| zero == middle)
}

/// The product of rows of codes with a constant `matrix` `[depth, columns]`, whose codes [are centred](is_centred), times
/// the scale of the rows and `scales`, plus `bias` `[columns]`. Inputs: codes, matrix, zero point, scale.
pub(crate) fn prepare(
    matrix: &Tensor,
    scales: &Tensor,
    bias: Option<&Tensor>,
    activation: Option<Activation>,
) -> Option<Box<dyn Operator>> {
    let &[depth, columns] = matrix.shape() else {
        return None;
    };
    let (codes, _) = signed(matrix, 1).ok().filter(|(codes, _)| !codes.is_empty())?;
    let mut filters = vec![0; codes.len()];
    bantam_kernels::copy::permute(&codes, &[depth, columns], &[1, 0], &mut filters);
    let mut scales = scales.to_f32().ok()?;
    if scales.len() == 1 {
        scales = vec![scales[0]; columns];
    }
    Some(Box::new(ScaledProduct {
        filters: Filters::new(&filters, &[columns, depth, 1], 1, 1),
        depth,
        columns,
        scales,
        bias: bias.map_or(Some(vec![]), |bias| bias.to_f32().ok())?,
        activation,
    }))
}

impl Operator for ScaledProduct {
    fn run(&self, inputs: &mut Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
        let x = inputs.required(0)?;
        let outer = outer_dims(x, self.depth)?;
        let (codes, moved) = unsigned(x, 0)?;
        let zero = zero_point(inputs, 2)? + moved;
        let zeros = ZeroPoints {
            x: u8::try_from(zero).map_err(|_| OpError::value(format!("{zero} is no zero point")))?,
            weights: &[0],
        };
        let scale = match inputs.values::<f32>(3)?.as_ref() {
            &[scale] => scale,
            many => return Err(OpError::shape(format!("{} scales for a matrix", many.len()))),
        };
        let scales: Vec<f32> = self.scales.iter().map(|weight| scale * weight).collect();
        let scaled = Scaled {
            scales: &scales,
            bias: &self.bias,
            activation: self.activation.map(|activation| activation.apply),
        };
        let geometry = Geometry::rows(outer.iter().product(), self.depth, self.columns);
        let shape = [outer, &[self.columns]].concat();
        let y = context.fill(&shape, |y: &mut [f32]| {
            convolve_scaled(&geometry, &codes, &self.filters, zeros, scaled, y);
        })?;
        Ok(vec![Some(y)])
    }

    fn kernel(&self) -> String {
        let activation = self
            .activation
            .map_or(String::new(), |activation| format!(", {}", activation.name));
        format!("integer product, packed, scaled{activation}")
    }

    fn reads(&self, index: usize) -> Reads {
        match index {
            0 | 2 | 3 => Reads::Always,
            _ => Reads::Never,
        }
    }
}
