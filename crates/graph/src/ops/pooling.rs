//! Pooling.

use super::AutoPad;
use crate::attributes::{op_attributes, string_attribute};

string_attribute! {
    /// What [`RoiAlign`] does with its samples.
    RoiAlignMode { Average = "avg", Max = "max" }
    /// How [`RoiAlign`] maps coordinates.
    RoiAlignTransform { HalfPixel = "half_pixel", OutputHalfPixel = "output_half_pixel" }
}

/// The attributes that sliding windows share. Empty lists mean the default (ones; zeros for `pads`).
macro_rules! pools {
    ($($(#[$meta:meta])* $op:ident { $($extra:tt)* })*) => {
        op_attributes! {$(
            $(#[$meta])*
            $op {
                auto_pad: AutoPad = AutoPad::NotSet,
                ceil_mode: bool = false,
                dilations: Vec<i64> = Vec::new(),
                kernel_shape: Vec<i64>,
                pads: Vec<i64> = Vec::new(),
                strides: Vec<i64> = Vec::new(),
                $($extra)*
            }
        )*}
    };
}

pools! {
    /// Mean over windows.
    AveragePool { count_include_pad: bool = false }
    /// Maximum over windows, and its flat index as optional output 1.
    MaxPool { storage_order: i64 = 0 }
    /// p-norm over windows.
    LpPool { p: i64 = 2 }
    /// ONNX Runtime's quantized mean over windows: x, scale, zero point, output scale, zero point.
    QLinearAveragePool { count_include_pad: bool = false, channels_last: bool = false }
}

op_attributes! {
    /// Mean over all spatial positions.
    GlobalAveragePool {}
    /// Maximum over all spatial positions.
    GlobalMaxPool {}
    /// p-norm over all spatial positions.
    GlobalLpPool { p: i64 = 2 }
    /// Inverse of MaxPool: x, indices, optional output shape.
    MaxUnpool {
        kernel_shape: Vec<i64>,
        pads: Vec<i64> = Vec::new(),
        strides: Vec<i64> = Vec::new(),
    }
    /// Maximum over parts of regions.
    MaxRoiPool { pooled_shape: Vec<i64>, spatial_scale: f32 = 1.0 }
    /// Interpolated pooling of regions: x, rois, batch indices.
    RoiAlign {
        coordinate_transformation_mode: RoiAlignTransform = RoiAlignTransform::HalfPixel,
        mode: RoiAlignMode = RoiAlignMode::Average,
        output_height: i64 = 1,
        output_width: i64 = 1,
        sampling_ratio: i64 = 0,
        spatial_scale: f32 = 1.0,
    }
}
