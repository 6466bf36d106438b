//! Bantam's own ops: gradients, and what training needs beside the standard's ops. They are made by
//! [`crate::differentiate()`] and [`crate::training_mode`] and never reach a file.
//!
//! `dy` is the gradient of an output `y`: the derivative of the loss with respect to it. It has the shape and type of `y`.

use super::{AutoPad, Direction, KeepAspectRatio, NearestMode, PadMode, ResizeMode, ResizeTransform};
use crate::attributes::{op_attributes, string_attribute};

string_attribute! {
    /// The function that [`ActivationGradient`] is the derivative of, and which of its values the op reads.
    ActivationFunction {
        /// By y: `y > 0`.
        Relu = "Relu",
        /// By y: `y * (1 - y)`.
        Sigmoid = "Sigmoid",
        /// By y: `1 - y^2`.
        Tanh = "Tanh",
        /// By x, as all that follow.
        Elu = "Elu",
        Selu = "Selu", Celu = "Celu", LeakyRelu = "LeakyRelu", HardSigmoid = "HardSigmoid", HardSwish = "HardSwish",
        ThresholdedRelu = "ThresholdedRelu", Shrink = "Shrink", Gelu = "Gelu", GeluTanh = "GeluTanh", Swish = "Swish",
        Mish = "Mish", Softplus = "Softplus", Softsign = "Softsign",
    }
}

string_attribute! {
    /// The cell that [`RecurrentGradient`] belongs to.
    CellKind { Lstm = "LSTM", Gru = "GRU", Rnn = "RNN" }
}

string_attribute! {
    /// What stands for the slope of [`FakeSign`], which has none.
    SignEstimator {
        /// 1 everywhere (Courbariaux et al. 2015; Li et al. 2016).
        Identity = "identity",
        /// 1 where `|x| <= bound * scale`, else 0 (Hubara et al. 2016, equation 4).
        Clip = "clip",
        /// That of a sign of two parabolas, `(2 - 2 u) / bound` where `u = |x| / (bound * scale)` is at most 1 (Liu et al.
        /// 2018, equation 8).
        Polynomial = "polynomial",
    }
}

op_attributes! {
    /// `x` summed over the dimensions along which a tensor of the shape in input 1 was repeated to get the shape of `x`.
    SumTo {}
    /// `dy * f'`: dy, x or y of the activation. `alpha` and `beta` are those of the activation (Selu's gamma and
    /// Shrink's lambd are `beta`, Shrink's bias is not needed).
    ActivationGradient { function: ActivationFunction, alpha: f32 = 0.0, beta: f32 = 0.0 }
    /// `dy` where y, the result of Clip, is strictly within the bounds, else 0: dy, y, optional min, optional max.
    ClipGradient {}
    /// Gradient of Conv with respect to x: dy, weight, shape of x.
    ConvInputGradient {
        auto_pad: AutoPad = AutoPad::NotSet,
        dilations: Vec<i64> = Vec::new(),
        group: i64 = 1,
        pads: Vec<i64> = Vec::new(),
        strides: Vec<i64> = Vec::new(),
    }
    /// Gradient of Conv with respect to its weight: dy, x, shape of the weight.
    ConvWeightGradient {
        auto_pad: AutoPad = AutoPad::NotSet,
        dilations: Vec<i64> = Vec::new(),
        group: i64 = 1,
        pads: Vec<i64> = Vec::new(),
        strides: Vec<i64> = Vec::new(),
    }
    /// Gradient of MaxPool: dy, x. It goes to the first of equal maxima.
    MaxPoolGradient {
        auto_pad: AutoPad = AutoPad::NotSet,
        ceil_mode: bool = false,
        dilations: Vec<i64> = Vec::new(),
        kernel_shape: Vec<i64>,
        pads: Vec<i64> = Vec::new(),
        strides: Vec<i64> = Vec::new(),
    }
    /// Gradient of AveragePool: dy, shape of x.
    AveragePoolGradient {
        auto_pad: AutoPad = AutoPad::NotSet,
        ceil_mode: bool = false,
        count_include_pad: bool = false,
        dilations: Vec<i64> = Vec::new(),
        kernel_shape: Vec<i64>,
        pads: Vec<i64> = Vec::new(),
        strides: Vec<i64> = Vec::new(),
        #[doc = "windows were summed, not averaged"] sum: bool = false,
    }
    /// BatchNormalization by the statistics of the batch: x, scale, bias, running mean, running variance. Outputs: y,
    /// the running mean and variance after this batch, and the batch's mean and `1 / sqrt(variance + epsilon)`.
    ///
    /// As in ONNX's `training_mode`, running values are `running * momentum + batch * (1 - momentum)`, and the variance
    /// is that of the population (divided by the number of elements), also in the running one. PyTorch counts momentum
    /// the other way round and keeps the unbiased variance.
    BatchNormalizationTraining { epsilon: f32 = 1e-5, momentum: f32 = 0.9 }
    /// dy, x, scale, mean, `1 / sqrt(variance + epsilon)`. Outputs: the gradients of x, scale and bias. With `frozen`
    /// the statistics do not depend on x.
    BatchNormalizationGradient { frozen: bool = false }
    /// Gradient of LayerNormalization and RMSNormalization: dy, x, scale. Outputs: the gradients of x, scale and bias; that
    /// of the bias has the shape of the scale. The statistics are computed again.
    LayerNormalizationGradient { axis: i64 = -1, epsilon: f32 = 1e-5, root_mean_square: bool = false }
    /// Gradient of GroupNormalization (with 0 groups: InstanceNormalization): dy, x, scale. Outputs: the gradients of x,
    /// scale and bias.
    GroupNormalizationGradient { epsilon: f32 = 1e-5, num_groups: i64 = 0 }
    /// Gradient of LRN: dy, x.
    LrnGradient { alpha: f32 = 1e-4, beta: f32 = 0.75, bias: f32 = 1.0, size: i64 }
    /// `y * (dy - sum(dy * y))` along the axis: dy, y.
    SoftmaxGradient { axis: i64 = -1 }
    /// `dy - exp(y) * sum(dy)` along the axis: dy, y.
    LogSoftmaxGradient { axis: i64 = -1 }
    /// Gradient of SoftmaxCrossEntropyLoss with respect to the scores: gradient of the loss, log-probabilities, labels,
    /// optional class weights.
    SoftmaxCrossEntropyGradient { ignore_index: Option<i64> = None, reduction: String = "mean".to_owned() }
    /// Gradient of NegativeLogLikelihoodLoss with respect to the log-probabilities: gradient of the loss, labels, shape
    /// of the log-probabilities, optional class weights.
    NegativeLogLikelihoodGradient { ignore_index: Option<i64> = None, reduction: String = "mean".to_owned() }
    /// Gradient of Gather: dy, indices, shape of the data. Slices that were taken several times get the sum.
    GatherGradient { axis: i64 = 0 }
    /// Gradient of GatherND: dy, indices, shape of the data.
    GatherNdGradient { batch_dims: i64 = 0 }
    /// Gradient of Slice: dy, shape of the data, starts, ends, optional axes, optional steps.
    SliceGradient {}
    /// Gradient of Pad: dy, shape of the data, pads, optional axes.
    PadGradient { mode: PadMode = PadMode::Constant }
    /// Gradient of Resize: dy, shape of x, optional roi, optional scales, optional sizes.
    ResizeGradient {
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
    /// Gradient of Attention: q, k, v, mask, past key, past value, sequence lengths (those of Attention, which may be left
    /// out), dy. Outputs: the gradients of q, k, v, and that of the masked scores, `[batch, heads, queries, keys]`. The past
    /// gets none.
    AttentionGradient {
        is_causal: bool = false,
        kv_num_heads: Option<i64> = None,
        left_window_size: i64 = -1,
        q_num_heads: Option<i64> = None,
        right_window_size: i64 = -1,
        scale: Option<f32> = None,
        softcap: f32 = 0.0,
    }
    /// Gradient of LSTM, GRU or RNN: x, w, r, bias, sequence lengths, initial h, initial c, peepholes (those of the cell),
    /// and the gradients of all h, the last h and the last c; all but the first three may be left out. Outputs: the gradients
    /// of x, w, r, bias, initial h, initial c and peepholes.
    RecurrentGradient {
        activation_alpha: Vec<f32> = Vec::new(),
        activation_beta: Vec<f32> = Vec::new(),
        activations: Vec<String> = Vec::new(),
        cell: CellKind = CellKind::Lstm,
        clip: Option<f32> = None,
        direction: Direction = Direction::Forward,
        hidden_size: Option<i64> = None,
        input_forget: bool = false,
        layout: i64 = 0,
        linear_before_reset: bool = false,
    }
    /// Dropout with random numbers: x, ratio, step. An element is kept, and divided by `1 - ratio`, or 0; which one is a
    /// function of `seed`, the step (an integer) and the element's position alone, so that the op is its own gradient.
    /// Output 1 tells what was kept.
    DropoutTraining { seed: i64 = 0 }
    /// Rounding to codes and back: x, scale, zero point (a float).
    /// `y = (clamp(round_half_even(x / scale + zero_point), low, high) - zero_point) * scale`; one scale and zero point
    /// for all, or one for each position along `axis`. `gradient_scale` is for [`FakeQuantGradient`] only.
    FakeQuant { axis: Option<i64> = None, gradient_scale: f32 = 1.0, high: i64 = 127, low: i64 = -128 }
    /// Straight-through gradient of [`FakeQuant`]: dy, x, scale, zero point. Outputs: the gradients of x, scale and zero
    /// point (LSQ, Esser et al. 2020, equations 3 and 5; LSQ+, Bhalgat et al. 2020, equations 5 and 6). Those of scale
    /// and zero point are multiplied by `gradient_scale`.
    FakeQuantGradient { axis: Option<i64> = None, gradient_scale: f32 = 1.0, high: i64 = 127, low: i64 = -128 }
    /// Two or three levels: x, scale, threshold. `y = scale` where `x > threshold` (or `x = threshold = 0`), `-scale` where
    /// `x < -threshold`, else 0; one scale and threshold for all, or one for each position along `axis`. The other
    /// attributes are for [`FakeSignGradient`] only.
    FakeSign {
        axis: Option<i64> = None,
        bound: f32 = 1.0,
        estimator: SignEstimator = SignEstimator::Clip,
        gradient_scale: f32 = 1.0,
    }
    /// Gradient of [`FakeSign`]: dy, x, scale, threshold. Outputs: the gradients of x (dy times the estimator's slope), of the
    /// scale (the sum of `dy * y / scale`, multiplied by `gradient_scale`), and of the threshold, which is 0.
    FakeSignGradient {
        axis: Option<i64> = None,
        bound: f32 = 1.0,
        estimator: SignEstimator = SignEstimator::Clip,
        gradient_scale: f32 = 1.0,
    }
}
