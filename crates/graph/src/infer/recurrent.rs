//! Recurrent cells and attention.

use super::context::{Context, Outputs};
use super::dims::{equal, positive, size, times};
use super::elementwise::same;
use super::error::Problem;
use super::spatial::appended;
use crate::ops::{Attention, Direction, RotaryEmbedding};
use crate::{Dim, ValueType};

/// Outputs y, last h and (LSTM) last c, from x `[sequence, batch, inputs]`, w `[directions, gates * hidden, inputs]`
/// and r `[directions, gates * hidden, hidden]`. With `batch_first`, the batch is the first dimension.
pub(super) fn cell(
    context: &Context<'_>,
    gates: usize,
    direction: Direction,
    hidden_size: Option<i64>,
    batch_first: bool,
) -> Outputs {
    let dtype = context.same_dtype([0, 1, 2, 3])?;
    let (x, w, r) = (
        context.shape_of_rank(0, 3)?,
        context.shape_of_rank(1, 3)?,
        context.shape_of_rank(2, 3)?,
    );
    let directions = Dim::Known(if direction == Direction::Bidirectional {
        2
    } else {
        1
    });
    let mut hidden = match hidden_size {
        Some(value) => Dim::Known(positive("hidden_size", value)?),
        None => Dim::Unknown,
    };
    if let Some(r) = r {
        hidden = equal("`hidden_size` and the recurrent weight", &hidden, &r[2])?;
        equal(
            "the gates of the recurrent weight and `hidden_size` times their number",
            &r[1],
            &times(&hidden, gates)?,
        )?;
    }
    for weight in [w, r].into_iter().flatten() {
        equal("the directions of the weights", &weight[0], &directions)?;
    }
    if let (Some(x), Some(w)) = (x, w) {
        equal("the input sizes of x and w", &x[2], &w[2])?;
    }
    let dim = |axis: usize| x.map_or(Dim::Unknown, |x| x[axis].clone());
    let (first, second) = (dim(0), dim(1));
    let (y, last) = if batch_first {
        (
            vec![&first, &second, &directions, &hidden],
            vec![&first, &directions, &hidden],
        )
    } else {
        (
            vec![&first, &directions, &second, &hidden],
            vec![&directions, &second, &hidden],
        )
    };
    let ty = |dims: Vec<&Dim>| ValueType::Tensor {
        dtype,
        shape: Some(dims.into_iter().cloned().collect()),
    };
    Ok(vec![ty(y), ty(last.clone()), ty(last)])
}

/// `[batch, heads, sequence, size]` of q, k or v, whichever of the two layouts it has.
fn heads(context: &Context<'_>, position: usize, count: Option<i64>) -> Result<Option<[Dim; 4]>, Problem> {
    match context.shape(position) {
        None => Ok(None),
        Some([batch, heads, sequence, size]) => Ok(Some([
            batch.clone(),
            heads.clone(),
            sequence.clone(),
            size.clone(),
        ])),
        Some([batch, sequence, hidden]) => {
            let name = if position == 0 {
                "q_num_heads"
            } else {
                "kv_num_heads"
            };
            let count = count
                .ok_or_else(|| Problem::argument(name, "missing", "a number, as inputs have 3 dimensions"))?;
            let count = positive(name, count)?;
            let size = match hidden.known() {
                Some(hidden) if !hidden.is_multiple_of(count) => {
                    return Err(Problem::argument(name, count, format!("a divisor of {hidden}")));
                }
                Some(hidden) => Dim::Known(hidden / count),
                None => Dim::Unknown,
            };
            Ok(Some([batch.clone(), Dim::Known(count), sequence.clone(), size]))
        }
        Some(shape) => Err(Problem::Rank {
            position,
            got: shape.len(),
            expected: "3 or 4".to_owned(),
        }),
    }
}

/// Outputs y, present key, present value and the product of q and k.
pub(super) fn attention(context: &Context<'_>, op: &Attention) -> Outputs {
    let unknown = unknown_heads();
    let q = heads(context, 0, op.q_num_heads)?;
    let k = heads(context, 1, op.kv_num_heads)?.unwrap_or_else(|| unknown.clone());
    let v = heads(context, 2, op.kv_num_heads)?.unwrap_or_else(|| unknown.clone());
    let past = |position: usize| Ok::<_, Problem>(context.shape_of_rank(position, 4)?.map(|past| &past[2]));
    let total = appended(past(4)?, &k[2])?;
    let total_values = appended(past(5)?, &v[2])?;
    let dtype = context.dtype(0);
    let y = match (&q, context.shape(0).map(<[Dim]>::len)) {
        (Some([batch, heads, sequence, size]), Some(rank)) => {
            equal("the sizes of the heads of q and k", size, &k[3])?;
            equal("the lengths of k and v", &k[2], &v[2])?;
            Some(match rank {
                3 => vec![
                    batch.clone(),
                    sequence.clone(),
                    heads
                        .known()
                        .map_or(Ok(Dim::Unknown), |heads| times(&v[3], heads))?,
                ],
                _ => vec![batch.clone(), heads.clone(), sequence.clone(), v[3].clone()],
            })
        }
        _ => None,
    };
    let [batch, query_heads, sequence, _] = q.unwrap_or(unknown);
    let tensor = |dtype, shape: Vec<Dim>| ValueType::Tensor {
        dtype,
        shape: Some(shape),
    };
    Ok(vec![
        ValueType::Tensor { dtype, shape: y },
        tensor(
            context.dtype(1),
            vec![k[0].clone(), k[1].clone(), total.clone(), k[3].clone()],
        ),
        tensor(
            context.dtype(2),
            vec![v[0].clone(), v[1].clone(), total_values, v[3].clone()],
        ),
        tensor(dtype, vec![batch, query_heads, sequence, total]),
    ])
}

fn unknown_heads() -> [Dim; 4] {
    [const { Dim::Unknown }; 4]
}

pub(super) fn rotary_embedding(context: &Context<'_>, op: &RotaryEmbedding) -> Outputs {
    size("num_heads", op.num_heads)?;
    match context.shape(0).map(<[Dim]>::len) {
        Some(3 | 4) | None => same(context),
        Some(got) => Err(Problem::Rank {
            position: 0,
            got,
            expected: "3 or 4".to_owned(),
        }),
    }
}
