//! Rows of tensors as blocks.

use bantam_kernels::blocks::{BlockSizeError, Source, encode_rows};
use bantam_tensor::{BlockFormat, DType, Tensor, TensorError};
use half::{bf16, f16};

/// Why rows cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum BlocksError {
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Size(#[from] BlockSizeError),
}

/// All rows of a tensor, which lie along its last dimension, as blocks of a format.
pub(super) fn encode(
    format: &dyn BlockFormat,
    tensor: &Tensor,
    importance: Option<&[f32]>,
) -> Result<Vec<u8>, BlocksError> {
    let row = tensor.shape().last().copied().unwrap_or(1);
    let rows = tensor.len().checked_div(row).unwrap_or(0);
    let bytes = format.row_bytes(row).and_then(|bytes| bytes.checked_mul(rows));
    let mut bytes = vec![0; bytes.unwrap_or(0)];
    let mut encode = |values: Source<'_>| encode_rows(format, values, row, importance, &mut bytes);
    match tensor.dtype() {
        DType::F16 => encode(Source::F16(&tensor.values::<f16>()?)),
        DType::BF16 => encode(Source::BF16(&tensor.values::<bf16>()?)),
        DType::F32 => encode(Source::F32(&tensor.values::<f32>()?)),
        _ => encode(Source::F32(&tensor.to_f32()?)),
    }?;
    Ok(bytes)
}
