//! NonMaxSuppression.

use bantam_graph::ops::NonMaxSuppression;
use bantam_tensor::Tensor;
use rayon::prelude::*;

use super::floats::read;
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// A box by its lower and upper corner.
#[derive(Clone, Copy, Debug)]
struct Corners {
    low: [f32; 2],
    high: [f32; 2],
}

impl Corners {
    fn new(given: &[f32], centre: bool) -> Corners {
        let [a, b, c, d] = [given[0], given[1], given[2], given[3]];
        if centre {
            // x centre, y centre, width, height
            return Corners {
                low: [a - c / 2.0, b - d / 2.0],
                high: [a + c / 2.0, b + d / 2.0],
            };
        }
        // Any two opposite corners.
        Corners {
            low: [a.min(c), b.min(d)],
            high: [a.max(c), b.max(d)],
        }
    }

    fn area(&self) -> f32 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// Area of the intersection over area of the union; 0 when there is none.
    fn overlap(&self, other: &Corners) -> f32 {
        let side = |axis: usize| self.high[axis].min(other.high[axis]) - self.low[axis].max(other.low[axis]);
        let (width, height) = (side(0), side(1));
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let intersection = width * height;
        let union = self.area() + other.area() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }
}

/// Bounds on what is selected.
struct Limits {
    count: usize,
    overlap: f32,
    score: Option<f32>,
}

/// boxes `[N, boxes, 4]`, scores `[N, classes, boxes]`, optional count per class, overlap, score: `[selected, 3]`, each
/// sample, class and box.
pub(super) fn non_max_suppression(
    op: &NonMaxSuppression,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (boxes, scores) = (inputs.required(0)?.shape(), inputs.required(1)?.shape());
    let (&[batch, count, 4], &[scored, classes, of_class]) = (boxes, scores) else {
        return Err(wrong_shapes(boxes, scores));
    };
    if (scored, of_class) != (batch, count) {
        return Err(wrong_shapes(boxes, scores));
    }
    let scalar = |index: usize| -> Result<Option<f32>, OpError> {
        Ok(inputs
            .optional(index)
            .map(Tensor::to_f32)
            .transpose()?
            .and_then(|values| values.first().copied()))
    };
    let most = inputs
        .integers(2)?
        .and_then(|values| values.first().copied())
        .unwrap_or(0);
    let limits = Limits {
        count: usize::try_from(most).unwrap_or(0),
        overlap: scalar(3)?.unwrap_or(0.0),
        score: scalar(4)?,
    };
    if !(0.0..=1.0).contains(&limits.overlap) {
        return Err(OpError::value(format!(
            "iou_threshold must be between 0 and 1, got {}",
            limits.overlap
        )));
    }
    let (boxes, scores) = (read::<f32>(inputs, 0)?, read::<f32>(inputs, 1)?);
    let corners: Vec<Corners> = boxes
        .chunks_exact(4)
        .map(|given| Corners::new(given, op.center_point_box != 0))
        .collect();
    let of_class = |(index, scores): (usize, &[f32])| {
        let (sample, class) = (index / classes, index % classes);
        let selected = select(&corners[sample * count..][..count], scores, &limits);
        selected
            .into_iter()
            .map(|chosen| [sample as i64, class as i64, chosen as i64])
            .collect::<Vec<_>>()
    };
    let rows: Vec<[i64; 3]> = scores
        .par_chunks_exact(count.max(1))
        .enumerate()
        .flat_map(of_class)
        .collect();
    context.fill(&[rows.len(), 3], |out: &mut [i64]| {
        out.copy_from_slice(rows.as_flattened())
    })
}

fn wrong_shapes(boxes: &[usize], scores: &[usize]) -> OpError {
    OpError::shape(format!(
        "boxes of shape {boxes:?} and scores of shape {scores:?}: [N, boxes, 4] and [N, classes, boxes] are needed"
    ))
}

/// The boxes of one class, best first, that overlap none that is better.
fn select(corners: &[Corners], scores: &[f32], limits: &Limits) -> Vec<usize> {
    let wanted = |&index: &usize| limits.score.is_none_or(|least| scores[index] > least);
    let mut candidates: Vec<usize> = (0..scores.len()).filter(wanted).collect();
    candidates.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut selected: Vec<usize> = Vec::new();
    for candidate in candidates {
        if selected.len() >= limits.count {
            break;
        }
        let suppressed = |&better: &usize| corners[candidate].overlap(&corners[better]) > limits.overlap;
        if !selected.iter().any(suppressed) {
            selected.push(candidate);
        }
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::run;

    /// Two pairs of boxes that overlap by a half, as corners; the second box of each pair scores higher.
    fn select_with(count: i64, overlap: f32, score: f32, centre: bool) -> Result<Vec<i64>, OpError> {
        let corners = [
            [0.0f32, 0.0, 1.0, 1.0],
            [0.5, 0.0, 1.5, 1.0],
            [5.0, 5.0, 6.0, 6.0],
            [6.5, 6.0, 5.5, 5.0],
        ];
        let centres =
            corners.map(|[a, b, c, d]| [(a + c) / 2.0, (b + d) / 2.0, (c - a).abs(), (d - b).abs()]);
        let boxes = if centre { centres } else { corners };
        let inputs = [
            Tensor::from_slice(&[1, 4, 4], boxes.as_flattened()).unwrap(),
            Tensor::from_slice(&[1, 1, 4], &[0.1f32, 0.9, 0.5, 0.7]).unwrap(),
            Tensor::from_vec1(&[count]),
            Tensor::from_vec1(&[overlap]),
            Tensor::from_vec1(&[score]),
        ];
        let op = NonMaxSuppression {
            center_point_box: i64::from(centre),
        };
        let selected = run(op, &inputs)?.swap_remove(0).to_i64().unwrap();
        Ok(selected.chunks_exact(3).map(|row| row[2]).collect())
    }

    #[test]
    fn better_boxes_suppress_those_that_overlap() {
        // The overlap of each pair is 0.5 / 1.5.
        for (count, overlap, score, expected) in [
            (9, 0.3, 0.0, &[1, 3][..]),
            (9, 0.4, 0.0, &[1, 3, 2, 0]),
            (9, 0.4, 0.5, &[1, 3]),
            (1, 0.3, 0.0, &[1]),
            (0, 0.3, 0.0, &[]),
            (-1, 0.3, 0.0, &[]),
        ] {
            for centre in [false, true] {
                assert_eq!(
                    select_with(count, overlap, score, centre).unwrap(),
                    expected,
                    "{count} {overlap} {score}"
                );
            }
        }
        assert!(select_with(1, 1.5, 0.0, false).is_err());
    }
}
