//! Losses, as nodes behind a model's output.

use bantam_graph::ops::{
    Binary, Cast, LogSoftmax, Reduce, ReduceKind, Slice, Softmax, SoftmaxCrossEntropyLoss, Transpose, Unary,
};
use bantam_graph::{Dim, Graph, Op, ValueId, ValueType};
use bantam_tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::{Distillation, TrainError, TrainSettings};

/// What is minimized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// One class of several is right: scores `[samples, classes, ...]`, integer labels.
    #[default]
    CrossEntropy,
    /// Each output is right or not: scores of any shape, labels of the same number of elements.
    BinaryCrossEntropy,
    /// The mean of squared differences from the labels.
    Mse,
    /// The next token of a sequence: scores `[samples, positions, tokens]`; labels `[samples, positions]`, or without labels
    /// the input moved by one.
    NextToken,
}

impl Loss {
    /// Every loss, by the name that users write.
    pub const ALL: &[(&str, Loss)] = &[
        ("cross-entropy", Loss::CrossEntropy),
        ("binary-cross-entropy", Loss::BinaryCrossEntropy),
        ("mse", Loss::Mse),
        ("next-token", Loss::NextToken),
    ];

    fn name(self) -> &'static str {
        let found = Loss::ALL.iter().find(|(_, loss)| *loss == self);
        found.map_or("loss", |(name, _)| name)
    }
}

/// The name of the graph input that takes labels.
pub(super) const LABELS: &str = "bantam:labels";
/// The name of the graph input that takes the teacher's output.
pub(super) const TEACHER: &str = "bantam:teacher";

/// What was put behind a model.
pub(super) struct Losses {
    /// What is minimized, a scalar.
    pub(super) loss: ValueId,
    /// The output that predictions are made from.
    pub(super) scores: ValueId,
    /// Whether the graph has [`LABELS`] as an input.
    pub(super) labels: bool,
}

/// Puts the loss that the settings ask for behind the first output. `shape` is what one batch of labels has.
///
/// # Errors
/// When the output is not what the loss needs.
pub(super) fn append(
    graph: &mut Graph,
    settings: &TrainSettings,
    label_shape: &[usize],
) -> Result<Losses, TrainError> {
    let output = *graph.outputs.first().ok_or(TrainError::NoOutput)?;
    let mut builder = Builder { graph };
    let scores = scores(builder.graph, output, settings.loss);
    let share = settings.distillation.as_ref().map_or(0.0, |it| it.weight);
    let hard = match share < 1.0 {
        true => Some(builder.hard(scores, settings, label_shape)?),
        false => None,
    };
    let soft = match &settings.distillation {
        Some(distillation) => Some(builder.soft(scores, settings.loss, distillation)?),
        None => None,
    };
    let loss = match (hard, soft) {
        (Some(hard), Some(soft)) => {
            let hard = builder.times(hard, 1.0 - share);
            let soft = builder.times(soft, share);
            builder.add(Binary::Add, &[hard, soft])
        }
        (Some(loss), None) | (None, Some(loss)) => loss,
        (None, None) => return Err(TrainError::NoLabels),
    };
    let labels = graph.value_by_name(LABELS).is_some();
    Ok(Losses { loss, scores, labels })
}

/// What comes before a Softmax or Sigmoid at the end: losses want scores.
pub(crate) fn scores(graph: &Graph, output: ValueId, loss: Loss) -> ValueId {
    let producer = graph.nodes.iter().find(|node| node.output(0) == Some(output));
    let input = producer.and_then(|node| match (&node.op, loss) {
        (Op::Softmax(_), Loss::CrossEntropy | Loss::NextToken) => node.input(0),
        (Op::Unary(Unary::Sigmoid), Loss::BinaryCrossEntropy) => node.input(0),
        _ => None,
    });
    input.unwrap_or(output)
}

/// Adds nodes to a graph.
pub(super) struct Builder<'g> {
    pub(super) graph: &'g mut Graph,
}

impl Builder<'_> {
    pub(super) fn add(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let op = op.into();
        let name = format!("loss_{}", op.name());
        self.graph.add_node(&name, op, inputs)
    }

    pub(super) fn number(&mut self, value: f32) -> ValueId {
        self.graph.add_constant("loss_factor", Tensor::scalar(value))
    }

    pub(super) fn times(&mut self, value: ValueId, factor: f32) -> ValueId {
        if factor == 1.0 {
            return value;
        }
        let factor = self.number(factor);
        self.add(Binary::Mul, &[value, factor])
    }

    /// The mean of all elements.
    pub(super) fn mean(&mut self, value: ValueId) -> ValueId {
        let op = Reduce {
            kind: ReduceKind::Mean,
            keepdims: false,
            noop_with_empty_axes: false,
        };
        self.add(op, &[value])
    }

    fn dims(&self, value: ValueId) -> Vec<Dim> {
        self.graph.value(value).ty.shape().unwrap_or_default().to_vec()
    }

    fn needs(&self, loss: Loss, needed: &'static str, value: ValueId) -> TrainError {
        TrainError::Output {
            loss: loss.name(),
            needed,
            output: self.graph.value(value).name.clone(),
            got: self.graph.value(value).ty.to_string(),
        }
    }

    fn labels(&mut self, dtype: DType, shape: &[usize]) -> ValueId {
        let dims = shape.iter().map(|&size| Dim::Known(size)).collect();
        self.graph.add_input(LABELS, dtype, dims)
    }

    fn hard(
        &mut self,
        scores: ValueId,
        settings: &TrainSettings,
        label_shape: &[usize],
    ) -> Result<ValueId, TrainError> {
        let rank = self.dims(scores).len();
        match settings.loss {
            Loss::CrossEntropy if rank >= 2 => {
                let labels = self.labels(DType::I64, label_shape);
                Ok(self.cross_entropy(scores, labels, settings.label_smoothing))
            }
            Loss::CrossEntropy => Err(self.needs(Loss::CrossEntropy, "[samples, classes, ...]", scores)),
            Loss::NextToken if rank == 3 => {
                let (scores, labels) = self.tokens(scores, label_shape);
                Ok(self.cross_entropy(scores, labels, settings.label_smoothing))
            }
            Loss::NextToken => Err(self.needs(Loss::NextToken, "[samples, positions, tokens]", scores)),
            Loss::Mse => {
                let labels = self.real_labels(scores, label_shape);
                let difference = self.add(Binary::Sub, &[scores, labels]);
                let square = self.add(Binary::Mul, &[difference, difference]);
                Ok(self.mean(square))
            }
            Loss::BinaryCrossEntropy => {
                let labels = self.real_labels(scores, label_shape);
                // -y log(sigmoid(x)) - (1 - y) log(1 - sigmoid(x)) = softplus(x) - x y.
                let softplus = self.add(Unary::Softplus, &[scores]);
                let product = self.add(Binary::Mul, &[scores, labels]);
                let difference = self.add(Binary::Sub, &[softplus, product]);
                Ok(self.mean(difference))
            }
        }
    }

    fn cross_entropy(&mut self, scores: ValueId, labels: ValueId, smoothing: f32) -> ValueId {
        let op = SoftmaxCrossEntropyLoss {
            ignore_index: None,
            reduction: "mean".to_owned(),
        };
        let loss = self.add(op, &[scores, labels]);
        if smoothing == 0.0 {
            return loss;
        }
        let logarithms = self.add(LogSoftmax { axis: 1 }, &[scores]);
        let uniform = self.mean(logarithms);
        let uniform = self.times(uniform, -smoothing);
        let loss = self.times(loss, 1.0 - smoothing);
        self.add(Binary::Add, &[loss, uniform])
    }

    /// Scores `[samples, tokens, positions]` and the tokens that follow.
    fn tokens(&mut self, scores: ValueId, label_shape: &[usize]) -> (ValueId, ValueId) {
        let perm = Some(vec![0, 2, 1]);
        let by_token = self.add(Transpose { perm }, &[scores]);
        if !label_shape.is_empty() {
            let labels = self.labels(DType::I64, label_shape);
            return (by_token, labels);
        }
        let input = self.graph.inputs[0];
        let cast = Cast {
            saturate: true,
            to: DType::I64,
            round_mode: "up".to_owned(),
        };
        let tokens = self.add(cast, &[input]);
        (
            self.part(by_token, 2, [0, -1]),
            self.part(tokens, 1, [1, i64::MAX]),
        )
    }

    /// The elements from one position to before another along an axis.
    fn part(&mut self, value: ValueId, axis: i64, bounds: [i64; 2]) -> ValueId {
        let [start, end] =
            bounds.map(|bound| self.graph.add_constant("loss_bound", Tensor::from_vec1(&[bound])));
        let axes = self.graph.add_constant("loss_axis", Tensor::from_vec1(&[axis]));
        self.add(Slice {}, &[value, start, end, axes])
    }

    /// Labels as numbers, in the shape of the scores.
    fn real_labels(&mut self, scores: ValueId, label_shape: &[usize]) -> ValueId {
        let known: Option<Vec<usize>> = self.dims(scores).iter().map(Dim::known).collect();
        let same_count =
            known.filter(|shape| shape.iter().product::<usize>() == label_shape.iter().product::<usize>());
        self.labels(DType::F32, same_count.as_deref().unwrap_or(label_shape))
    }

    /// `T^2` times the cross-entropy of both distributions at temperature T; for other losses the squared difference.
    fn soft(&mut self, scores: ValueId, loss: Loss, how: &Distillation) -> Result<ValueId, TrainError> {
        let dims = self.dims(scores);
        let teacher = self.graph.add_input(TEACHER, DType::F32, dims.clone());
        if !matches!(loss, Loss::CrossEntropy | Loss::NextToken) {
            let difference = self.add(Binary::Sub, &[scores, teacher]);
            let square = self.add(Binary::Mul, &[difference, difference]);
            return Ok(self.mean(square));
        }
        if dims.len() < 2 {
            return Err(self.needs(loss, "[samples, classes]", scores));
        }
        let axis = if loss == Loss::NextToken { -1 } else { 1 };
        let classes = dims[if loss == Loss::NextToken {
            dims.len() - 1
        } else {
            1
        }]
        .known()
        .unwrap_or(1);
        let colder = |builder: &mut Self, value| builder.times(value, 1.0 / how.temperature);
        let (student, teacher) = (colder(self, scores), colder(self, teacher));
        let logarithms = self.add(LogSoftmax { axis }, &[student]);
        let shares = self.add(Softmax { axis }, &[teacher]);
        let products = self.add(Binary::Mul, &[logarithms, shares]);
        let mean = self.mean(products);
        // The mean is over classes too, of which the sum is wanted.
        Ok(self.times(mean, -how.temperature * how.temperature * classes as f32))
    }
}

/// The type of a value with a dimension for samples of this size.
pub(super) fn with_batch(ty: &ValueType, batch: usize) -> Option<ValueType> {
    let mut dims = ty.shape()?.to_vec();
    *dims.first_mut()? = Dim::Known(batch);
    Some(ValueType::tensor(ty.dtype()?, dims))
}
