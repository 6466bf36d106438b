//! Values of the network that are compared with the teacher's.

use bantam_graph::ops::{Binary, Reduce, ReduceKind, Unary};
use bantam_graph::{Dim, Graph, InferOptions, ValueId, infer_shapes};
use bantam_tensor::{DType, Tensor};

use super::loss::Builder;
use super::{Distillation, TrainError};

/// Added to the squared length of a map.
const EPSILON: f32 = 1e-12;

/// A value of the student that is to be as one of the teacher.
#[derive(Clone, Debug)]
pub(super) struct Feature {
    /// The student's.
    pub(super) value: ValueId,
    /// What the teacher's has behind the samples.
    dims: Vec<Dim>,
    /// Whether maps of where channels are large are compared, instead of the channels.
    by_attention: bool,
}

/// The values that the settings ask to compare. Where both have the same shape, they are compared as they are, where they only differ in
/// their number of channels (axis 1), by attention.
///
/// # Errors
/// When one is missing in either graph, or the shapes do not fit.
pub(super) fn features(
    how: &Distillation,
    student: &Graph,
    teacher: &Graph,
) -> Result<Vec<Feature>, TrainError> {
    let mut teacher = teacher.clone();
    infer_shapes(&mut teacher, &InferOptions::default())?;
    let find = |pair: &String| {
        let names = pair.split_once('=');
        let found = names.and_then(|(of_student, of_teacher)| {
            Some((
                student.value_by_name(of_student)?,
                teacher.value_by_name(of_teacher)?,
            ))
        });
        let (value, other) = found.ok_or_else(|| TrainError::Feature {
            feature: pair.clone(),
        })?;
        feature(pair, value, (student, value), (&teacher, other))
    };
    how.features.iter().map(find).collect()
}

fn feature(
    pair: &str,
    value: ValueId,
    student: (&Graph, ValueId),
    teacher: (&Graph, ValueId),
) -> Result<Feature, TrainError> {
    let shape = |(graph, value): (&Graph, ValueId)| graph.value(value).ty.shape().map(<[Dim]>::to_vec);
    let (Some(own), Some(dims)) = (shape(student), shape(teacher)) else {
        return Err(TrainError::Feature {
            feature: pair.to_owned(),
        });
    };
    let differs =
        |(own, other): (&Dim, &Dim)| matches!((own.known(), other.known()), (Some(a), Some(b)) if a != b);
    // The number of samples is that of the batch in both.
    let apart: Vec<usize> = (1..own.len().min(dims.len()))
        .filter(|&axis| differs((&own[axis], &dims[axis])))
        .collect();
    let by_attention = apart == [1] && own.len() > 2;
    if own.len() != dims.len() || own.is_empty() || !(apart.is_empty() || by_attention) {
        return Err(TrainError::FeatureShape {
            feature: pair.to_owned(),
            student: student.0.value(student.1).ty.to_string(),
            teacher: teacher.0.value(teacher.1).ty.to_string(),
        });
    }
    Ok(Feature {
        value,
        dims: (dims.iter().zip(&own).skip(1))
            .map(|(dim, own)| if dim.known().is_some() { dim } else { own }.clone())
            .collect(),
        by_attention,
    })
}

impl Feature {
    /// Adds `factor` times how far the value is from that of the teacher, which becomes an input called `name`, to a loss.
    pub(super) fn add_to(
        &self,
        graph: &mut Graph,
        loss: ValueId,
        name: &str,
        (batch, factor): (usize, f32),
    ) -> ValueId {
        let dims = [&[Dim::Known(batch)], self.dims.as_slice()].concat();
        let other = graph.add_input(name, DType::F32, dims);
        let mut builder = Builder { graph };
        let term = match self.by_attention {
            true => attention(&mut builder, self.value, other, self.dims.len() + 1),
            false => {
                let square = squared_difference(&mut builder, self.value, other);
                builder.mean(square)
            }
        };
        let term = builder.times(term, factor);
        builder.add(Binary::Add, &[loss, term])
    }
}

fn squared_difference(builder: &mut Builder<'_>, a: ValueId, b: ValueId) -> ValueId {
    let difference = builder.add(Binary::Sub, &[a, b]);
    builder.add(Binary::Mul, &[difference, difference])
}

/// The mean over samples of the squared distance of two attention maps (Zagoruyko and Komodakis 2017, section 3.1): the sums of the squared
/// channels at each position, of length 1.
fn attention(builder: &mut Builder<'_>, a: ValueId, b: ValueId, rank: usize) -> ValueId {
    let all: Vec<i64> = (1..rank as i64).collect();
    let [a, b] = [a, b].map(|value| {
        let map = reduce(builder, ReduceKind::SumSquare, value, &[1]);
        let squares = reduce(builder, ReduceKind::SumSquare, map, &all);
        let epsilon = builder.number(EPSILON);
        let squares = builder.add(Binary::Add, &[squares, epsilon]);
        let length = builder.add(Unary::Sqrt, &[squares]);
        builder.add(Binary::Div, &[map, length])
    });
    let square = squared_difference(builder, a, b);
    let distances = reduce(builder, ReduceKind::Sum, square, &all);
    builder.mean(distances)
}

fn reduce(builder: &mut Builder<'_>, kind: ReduceKind, value: ValueId, axes: &[i64]) -> ValueId {
    let axes = builder.graph.add_constant("loss_axes", Tensor::from_vec1(axes));
    let op = Reduce {
        kind,
        keepdims: true,
        noop_with_empty_axes: false,
    };
    builder.add(op, &[value, axes])
}
