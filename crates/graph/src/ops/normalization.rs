//! Normalization and softmax.

use crate::attributes::op_attributes;

op_attributes! {
    /// x, scale, bias, mean, variance; by channel (axis 1).
    BatchNormalization { epsilon: f32 = 1e-5, momentum: f32 = 0.9, training_mode: bool = false }
    /// x, scale, bias; statistics per sample and channel.
    InstanceNormalization { epsilon: f32 = 1e-5 }
    /// x, scale `[C]`, bias `[C]`; statistics per sample and group of channels.
    GroupNormalization { epsilon: f32 = 1e-5, num_groups: i64, stash_type: i64 = 1 }
    /// x, scale, optional bias; outputs y, mean, inverse standard deviation.
    LayerNormalization { axis: i64 = -1, epsilon: f32 = 1e-5, stash_type: i64 = 1 }
    /// x, scale; division by the root of the mean square.
    RmsNormalization { axis: i64 = -1, epsilon: f32 = 1e-5, stash_type: i64 = 1 }
    /// The name under which older exporters write RMSNormalization.
    SimplifiedLayerNormalization { axis: i64 = -1, epsilon: f32 = 1e-5, stash_type: i64 = 1 }
    /// Local response normalization across channels.
    Lrn { alpha: f32 = 1e-4, beta: f32 = 0.75, bias: f32 = 1.0, size: i64 }
    /// Division by the p-norm along an axis.
    LpNormalization { axis: i64 = -1, p: i64 = 2 }
    /// `(x - mean) / sqrt(variance + 1e-9)` over axes.
    MeanVarianceNormalization { axes: Vec<i64> = vec![0, 2, 3] }
    /// `exp(x) / sum(exp(x))` along an axis.
    Softmax { axis: i64 = -1 }
    /// Logarithm of Softmax.
    LogSoftmax { axis: i64 = -1 }
    /// 1 at the first maximum along an axis, else 0.
    Hardmax { axis: i64 = -1 }
    /// Negative log-likelihood: log-probabilities, targets, optional class weights.
    NegativeLogLikelihoodLoss { ignore_index: Option<i64> = None, reduction: String = "mean".to_owned() }
    /// Softmax and negative log-likelihood: scores, labels, optional class weights; output 1 the log-probabilities.
    SoftmaxCrossEntropyLoss { ignore_index: Option<i64> = None, reduction: String = "mean".to_owned() }
}
