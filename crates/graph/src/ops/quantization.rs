//! The standard's quantization ops.

use bantam_tensor::DType;

use crate::attributes::op_attributes;

op_attributes! {
    /// x, scale, optional zero point (which gives the output dtype) to codes.
    QuantizeLinear {
        axis: i64 = 1,
        block_size: i64 = 0,
        output_dtype: Option<DType> = None,
        precision: Option<DType> = None,
        saturate: bool = true,
    }
    /// codes, scale, optional zero point to reals.
    DequantizeLinear {
        axis: i64 = 1,
        block_size: i64 = 0,
        output_dtype: Option<DType> = None,
    }
    /// x to uint8 codes, scale and zero point, found from x.
    DynamicQuantizeLinear {}
}
