//! Products with a constant matrix, packed once, with the bias and the activation that follow.

use bantam_kernels::Isa;
use bantam_kernels::conv::{Epilogue, Geometry, PackedConvolution};
use bantam_tensor::{DType, Tensor};

use super::convolution::Activation;
use crate::inputs::Inputs;
use crate::operator::{Operator, Outputs, Reads};
use crate::{Context, OpError};

/// A product of rows with a matrix: a convolution with windows of one element.
struct PackedProduct {
    packed: PackedConvolution,
    depth: usize,
    columns: usize,
    activation: Option<Activation>,
}

/// The product of input 0 with a constant `matrix` `[depth, columns]` of `f32`, plus `bias` `[columns]`; `None` where the
/// tensors are others.
pub(crate) fn prepare(
    matrix: &Tensor,
    bias: Option<&Tensor>,
    activation: Option<Activation>,
) -> Option<Box<dyn Operator>> {
    let &[depth, columns] = matrix.shape() else {
        return None;
    };
    if matrix.dtype() != DType::F32 || matrix.is_empty() {
        return None;
    }
    let values = matrix.to_f32().ok()?;
    let bias = match bias {
        Some(bias) => Some(bias.to_f32().ok().filter(|values| values.len() == columns)?),
        None => None,
    };
    let mut filters = vec![0.0; values.len()];
    bantam_kernels::copy::permute(&values, &[depth, columns], &[1, 0], &mut filters);
    Some(Box::new(PackedProduct {
        packed: PackedConvolution::pointwise(Isa::best(), &filters, &[columns, depth, 1], bias.as_deref()),
        depth,
        columns,
        activation,
    }))
}

/// The dimensions of rows that are multiplied with columns of `depth` elements, but for the last.
pub(super) fn outer_dims(x: &Tensor, depth: usize) -> Result<&[usize], OpError> {
    match x.shape().split_last() {
        None => Err(OpError::shape("a matrix product of a scalar")),
        Some((&elements, outer)) if elements == depth => Ok(outer),
        Some((elements, _)) => Err(OpError::shape(format!(
            "rows of {elements} elements times columns of {depth}"
        ))),
    }
}

impl Operator for PackedProduct {
    fn run(&self, inputs: &mut Inputs<'_>, context: &Context) -> Result<Outputs, OpError> {
        let x = inputs.required(0)?;
        let outer = outer_dims(x, self.depth)?;
        let shape = [outer, &[self.columns]].concat();
        let geometry = Geometry::rows(outer.iter().product(), self.depth, self.columns);
        let epilogue = Epilogue {
            activation: self.activation.map(|activation| activation.apply),
            ..Epilogue::default()
        };
        let values = inputs.values::<f32>(0)?;
        let y = context.fill(&shape, |y: &mut [f32]| {
            self.packed.run(&geometry, &values, &[], epilogue, y);
        })?;
        Ok(vec![Some(y)])
    }

    fn kernel(&self) -> String {
        let mut kernel = format!("product, packed for {}", self.packed.isa().name());
        if let Some(activation) = self.activation {
            kernel += &format!(", {}", activation.name);
        }
        kernel
    }

    fn reads(&self, index: usize) -> Reads {
        if index == 0 { Reads::Always } else { Reads::Never }
    }
}
