//! Losses: negative log-likelihood, and softmax with it.

use std::borrow::Cow;

use bantam_graph::ops::{NegativeLogLikelihoodLoss, SoftmaxCrossEntropyLoss};
use bantam_kernels::Real;
use bantam_kernels::softmax::{SoftmaxKind, softmax};
use bantam_tensor::Tensor;

use super::axes::count;
use super::floats::{fill, in_real, read, read_optional};
use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::{Context, OpError};

/// What the two losses share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss<'a> {
    pub(super) ignore_index: Option<i64>,
    pub(super) reduction: &'a str,
}

impl<'a> From<&'a NegativeLogLikelihoodLoss> for Loss<'a> {
    fn from(op: &'a NegativeLogLikelihoodLoss) -> Loss<'a> {
        Loss {
            ignore_index: op.ignore_index,
            reduction: &op.reduction,
        }
    }
}

impl<'a> From<&'a SoftmaxCrossEntropyLoss> for Loss<'a> {
    fn from(op: &'a SoftmaxCrossEntropyLoss) -> Loss<'a> {
        Loss {
            ignore_index: op.ignore_index,
            reduction: &op.reduction,
        }
    }
}

/// The view `[N, C, positions]` of scores.
pub(super) struct Sizes {
    pub(super) classes: usize,
    pub(super) positions: usize,
}

fn sizes(inputs: &Inputs<'_>) -> Result<Sizes, OpError> {
    sizes_of(inputs.required(0)?.shape(), inputs, 1, 2)
}

/// As the shape of the scores and the inputs `targets` and `weights` give them.
pub(super) fn sizes_of(
    scores: &[usize],
    inputs: &Inputs<'_>,
    targets: usize,
    weights: usize,
) -> Result<Sizes, OpError> {
    let targets = inputs.required(targets)?.shape();
    let fits = scores.len() >= 2
        && targets.len() == scores.len() - 1
        && targets[0] == scores[0]
        && targets[1..] == scores[2..];
    if !fits {
        let shapes = format!("scores of shape {scores:?} do not fit targets of shape {targets:?}");
        return Err(OpError::shape(format!(
            "{shapes}: [N, C, ...] and [N, ...] are needed"
        )));
    }
    let classes = scores[1];
    if let Some(weights) = inputs
        .optional(weights)
        .filter(|weights| weights.shape() != [classes])
    {
        return Err(OpError::shape(format!(
            "weights must have shape [{classes}], got {:?}",
            weights.shape()
        )));
    }
    Ok(Sizes {
        classes,
        positions: count(&scores[2..]),
    })
}

/// log-probabilities, targets, optional class weights.
pub(super) fn negative_log_likelihood(
    loss: Loss<'_>,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let sizes = sizes(inputs)?;
    in_real!(inputs.required(0)?.dtype(), 0, T => {
        reduce::<T>(loss, &read(inputs, 0)?, &sizes, inputs, context)
    })
}

/// Scores, labels, optional class weights. Outputs: the loss, and the log-probabilities.
pub(super) fn softmax_cross_entropy(
    loss: Loss<'_>,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Outputs, OpError> {
    let sizes = sizes(inputs)?;
    let scores = inputs.required(0)?;
    in_real!(scores.dtype(), 0, T => {
        let values: Cow<'_, [T]> = read(inputs, 0)?;
        let mut wide = vec![T::ZERO; values.len()];
        softmax(SoftmaxKind::LogSoftmax, &values, &mut wide, sizes.classes, sizes.positions);
        let reduced = reduce::<T>(loss, &wide, &sizes, inputs, context)?;
        let probabilities = fill(context, scores.dtype(), scores.shape(), |out: &mut [T]| out.copy_from_slice(&wide))?;
        Ok(vec![Some(reduced), Some(probabilities)])
    })
}

/// The class that a target names; `None` where it is ignored.
pub(super) fn class_of(loss: Loss<'_>, target: i64, classes: usize) -> Result<Option<usize>, OpError> {
    if Some(target) == loss.ignore_index {
        return Ok(None);
    }
    let class = usize::try_from(target).ok().filter(|&class| class < classes);
    let class =
        class.ok_or_else(|| OpError::value(format!("target {target} is not one of the {classes} classes")));
    class.map(Some)
}

fn reduce<T: Real>(
    loss: Loss<'_>,
    log_probabilities: &[T],
    sizes: &Sizes,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let targets = inputs.integers(1)?.ok_or(OpError::MissingInput { index: 1 })?;
    let weights = read_optional::<T>(inputs, 2)?;
    let (mut losses, mut total, mut total_weight) = (Vec::with_capacity(targets.len()), 0.0, 0.0);
    for (i, &target) in targets.iter().enumerate() {
        let Some(class) = class_of(loss, target, sizes.classes)? else {
            losses.push(T::ZERO);
            continue;
        };
        let weight = weights.as_ref().map_or(1.0, |weights| weights[class].to_f64());
        let (sample, position) = (i / sizes.positions, i % sizes.positions);
        let chosen = log_probabilities[(sample * sizes.classes + class) * sizes.positions + position];
        let value = -weight * chosen.to_f64();
        losses.push(T::from_f64(value));
        total += value;
        total_weight += weight;
    }
    let dtype = inputs.required(0)?.dtype();
    let scalar = |value: f64| fill(context, dtype, &[], |out: &mut [T]| out.fill(T::from_f64(value)));
    match loss.reduction {
        "none" => fill(context, dtype, inputs.required(1)?.shape(), |out: &mut [T]| {
            out.copy_from_slice(&losses)
        }),
        "sum" => scalar(total),
        "mean" => scalar(total / total_weight),
        other => Err(OpError::value(format!(
            "reduction must be none, sum or mean, got `{other}`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{run, run_one};

    fn nll(reduction: &str, ignore_index: Option<i64>) -> NegativeLogLikelihoodLoss {
        NegativeLogLikelihoodLoss {
            ignore_index,
            reduction: reduction.to_owned(),
        }
    }

    /// Two samples, two classes, two positions; targets; weights.
    fn inputs() -> [Tensor; 3] {
        let scores = [-1.0f32, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0];
        [
            Tensor::from_slice(&[2, 2, 2], &scores).unwrap(),
            Tensor::from_slice(&[2, 2], &[0i64, 1, 1, -1]).unwrap(),
            Tensor::from_slice(&[2], &[1.0f32, 2.0]).unwrap(),
        ]
    }

    #[test]
    fn reductions_weigh_and_ignore() {
        let cases: [(&str, &[f32]); 3] = [
            ("none", &[1.0, 8.0, 14.0, 0.0]),
            ("sum", &[23.0]),
            ("mean", &[23.0 / 5.0]),
        ];
        for (reduction, expected) in cases {
            assert_eq!(
                run_one(nll(reduction, Some(-1)), &inputs()).to_f32().unwrap(),
                expected,
                "{reduction}"
            );
        }
        assert_eq!(
            run_one(nll("sum", Some(-1)), &inputs()[..2]).to_f32().unwrap(),
            [12.0]
        );
    }

    #[test]
    fn wrong_targets_and_reductions_are_errors() {
        let error = run(nll("mean", None), &inputs()).unwrap_err();
        assert_eq!(error.to_string(), "target -1 is not one of the 2 classes");
        assert!(run(nll("median", Some(-1)), &inputs()).is_err());
        let [scores, _, weights] = inputs();
        assert!(
            run(
                nll("mean", None),
                &[scores, Tensor::from_slice(&[2], &[0i64, 1]).unwrap(), weights]
            )
            .is_err()
        );
    }

    #[test]
    fn cross_entropy_gives_the_log_probabilities() {
        let scores = Tensor::from_slice(&[1, 2], &[0.0f32, 0.0]).unwrap();
        let target = Tensor::from_slice(&[1], &[1i32]).unwrap();
        let op = SoftmaxCrossEntropyLoss {
            ignore_index: None,
            reduction: "mean".to_owned(),
        };
        let outputs = run(op, &[scores, target]).unwrap();
        let log_2 = std::f32::consts::LN_2;
        assert!((outputs[0].to_f32().unwrap()[0] - log_2).abs() < 1e-6);
        assert!(
            outputs[1]
                .to_f32()
                .unwrap()
                .iter()
                .all(|p| (p + log_2).abs() < 1e-6)
        );
    }
}
