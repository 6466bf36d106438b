//! Shapes, indexing and movement of data.

use bantam_tensor::{DType, Tensor};

use crate::attributes::{op_attributes, string_attribute};

string_attribute! {
    /// How scattered elements meet what is there.
    ScatterReduction { None = "none", Add = "add", Mul = "mul", Max = "max", Min = "min" }
    /// What [`Pad`] fills with.
    PadMode { Constant = "constant", Reflect = "reflect", Edge = "edge", Wrap = "wrap" }
    /// Order of the elements in [`DepthToSpace`] and [`SpaceToDepth`].
    DepthToSpaceMode { DepthColumnRow = "DCR", ColumnRowDepth = "CRD" }
    /// How [`Resize`] interpolates.
    ResizeMode { Nearest = "nearest", Linear = "linear", Cubic = "cubic" }
    /// How [`Resize`] maps coordinates.
    ResizeTransform {
        HalfPixel = "half_pixel", HalfPixelSymmetric = "half_pixel_symmetric", PytorchHalfPixel = "pytorch_half_pixel",
        AlignCorners = "align_corners", Asymmetric = "asymmetric", TfCropAndResize = "tf_crop_and_resize",
        TfHalfPixelForNearest = "tf_half_pixel_for_nn",
    }
    /// Which neighbour [`Resize`] takes.
    NearestMode { RoundPreferFloor = "round_prefer_floor", RoundPreferCeil = "round_prefer_ceil", Floor = "floor", Ceil = "ceil" }
    /// What [`Resize`] does with the aspect ratio when sizes are given.
    KeepAspectRatio { Stretch = "stretch", NotLarger = "not_larger", NotSmaller = "not_smaller" }
    /// How [`GridSample`] interpolates.
    GridSampleMode { Linear = "linear", Nearest = "nearest", Cubic = "cubic" }
    /// What [`GridSample`] takes outside of its input.
    GridSamplePadding { Zeros = "zeros", Border = "border", Reflection = "reflection" }
    /// How [`TensorScatter`] writes.
    TensorScatterMode { Linear = "linear", Circular = "circular" }
}

op_attributes! {
    /// Joins along an axis.
    Concat { axis: i64 }
    /// Cuts along an axis, into the sizes of input 1 or `num_outputs` equal parts (the number of outputs when absent).
    Split { axis: i64 = 0, num_outputs: Option<i64> = None }
    /// data, starts, ends, optional axes, optional steps.
    Slice {}
    /// Slices of an axis by index.
    Gather { axis: i64 = 0 }
    /// Elements by index along an axis.
    GatherElements { axis: i64 = 0 }
    /// Slices by index tuples.
    GatherNd { batch_dims: i64 = 0 }
    /// data, indices, updates along an axis.
    ScatterElements { axis: i64 = 0, reduction: ScatterReduction = ScatterReduction::None }
    /// data, index tuples, updates.
    ScatterNd { reduction: ScatterReduction = ScatterReduction::None }
    /// past cache, update, optional write indices.
    TensorScatter { axis: i64 = -2, mode: TensorScatterMode = TensorScatterMode::Linear }
    /// data, shape (0 copies the dimension unless `allowzero`, -1 is inferred).
    Reshape { allowzero: bool = false }
    /// To two dimensions, cut before `axis`.
    Flatten { axis: i64 = 1 }
    /// Removes the axes of size 1 in optional input 1.
    Squeeze {}
    /// Adds axes of size 1 at the positions in input 1.
    Unsqueeze {}
    /// Permutes dimensions; reverses them when `perm` is absent.
    Transpose { perm: Option<Vec<i64>> = None }
    /// Broadcasts to the shape in input 1.
    Expand {}
    /// Repeats along each axis.
    Tile {}
    /// data, pads, optional constant, optional axes.
    Pad { mode: PadMode = PadMode::Constant }
    /// x, optional roi, optional scales, optional sizes.
    Resize {
        antialias: bool = false,
        axes: Option<Vec<i64>> = None,
        coordinate_transformation_mode: ResizeTransform = ResizeTransform::HalfPixel,
        cubic_coeff_a: f32 = -0.75,
        exclude_outside: bool = false,
        extrapolation_value: f32 = 0.0,
        keep_aspect_ratio_policy: KeepAspectRatio = KeepAspectRatio::Stretch,
        mode: ResizeMode = ResizeMode::Nearest,
        nearest_mode: NearestMode = NearestMode::RoundPreferFloor,
    }
    /// Moves blocks of channels into space.
    DepthToSpace { blocksize: i64, mode: DepthToSpaceMode = DepthToSpaceMode::DepthColumnRow }
    /// Moves blocks of space into channels.
    SpaceToDepth { blocksize: i64, mode: DepthToSpaceMode = DepthToSpaceMode::DepthColumnRow }
    /// The dimensions from `start` to `end`.
    Shape { end: Option<i64> = None, start: i64 = 0 }
    /// The number of elements.
    Size {}
    /// A tensor of one value (f32 zero when absent) and the shape in input 0.
    ConstantOfShape { value: Option<Tensor> = None }
    /// start, limit, delta.
    Range {}
    /// indices, depth, values (off, on).
    OneHot { axis: i64 = -1 }
    /// Indices of the non-zero elements, `[rank, count]`.
    NonZero {}
    /// Upper or lower triangle; input 1 is the diagonal.
    Trilu { upper: bool = true }
    /// Ones on a diagonal, in the shape of the input.
    EyeLike { dtype: Option<DType> = None, k: i64 = 0 }
    /// Reverses the first part of each sequence.
    ReverseSequence { batch_axis: i64 = 1, time_axis: i64 = 0 }
    /// Keeps the slices where the condition is true.
    Compress { axis: Option<i64> = None }
    /// Samples x at the coordinates of a grid.
    GridSample {
        align_corners: bool = false,
        mode: GridSampleMode = GridSampleMode::Linear,
        padding_mode: GridSamplePadding = GridSamplePadding::Zeros,
    }
    /// Coordinates of affine maps: theta, size.
    AffineGrid { align_corners: bool = false }
    /// Sums columns of patches back into an image.
    Col2Im {
        dilations: Vec<i64> = Vec::new(),
        pads: Vec<i64> = Vec::new(),
        strides: Vec<i64> = Vec::new(),
    }
    /// Crops or pads around the centre to the shape in input 1.
    CenterCropPad { axes: Option<Vec<i64>> = None }
}
