//! Which detected boxes find a labelled one.

use bantam_tensor::Tensor;

use super::THRESHOLDS;

/// Most boxes of a class that count in an image.
const MOST: usize = 100;

/// x1, y1, x2, y2.
type Corners = [f64; 4];

pub(super) struct Detection {
    class: i64,
    score: f64,
    corners: Corners,
}

/// The boxes of an image.
pub(super) struct Image {
    pub(super) detected: Vec<Detection>,
    /// Class and corners.
    pub(super) labelled: Vec<(i64, Corners)>,
}

impl Image {
    /// All images; `None` where outputs and labels are not of this form. Boxes of negative class are padding.
    pub(super) fn all(outputs: &[Tensor], labels: &Tensor) -> Option<Vec<Image>> {
        let &[samples, marks, 5] = labels.shape() else {
            return None;
        };
        let boxes = outputs
            .iter()
            .find(|output| output.rank() == 3 && output.shape()[2] == 4)?;
        let &[n, count, 4] = boxes.shape() else {
            return None;
        };
        let mut flat = outputs.iter().filter(|output| output.shape() == [samples, count]);
        let (first, second) = (flat.next()?, flat.next()?);
        // Classes are the integers; where both are floats, the second.
        let (scores, classes) = if first.dtype().is_float() {
            (first, second)
        } else {
            (second, first)
        };
        if n != samples || !scores.dtype().is_float() || !boxes.dtype().is_float() {
            return None;
        }
        let (boxes, scores) = (boxes.to_f64().ok()?, scores.to_f64().ok()?);
        let (classes, labels) = (classes.to_f64().ok()?, labels.to_f64().ok()?);
        let image = |image: usize| {
            let detected = (image * count..(image + 1) * count).map(|index| Detection {
                class: classes[index].round() as i64,
                score: scores[index],
                corners: corners(&boxes[index * 4..]),
            });
            let marks = labels[image * marks * 5..(image + 1) * marks * 5].chunks_exact(5);
            let labelled = marks.map(|mark| (mark[0].round() as i64, corners(&mark[1..])));
            Image {
                detected: detected
                    .filter(|box_| box_.class >= 0 && !box_.score.is_nan())
                    .collect(),
                labelled: labelled.filter(|(class, _)| *class >= 0).collect(),
            }
        };
        Some((0..samples).map(image).collect())
    }
}

fn corners(values: &[f64]) -> Corners {
    [values[0], values[1], values[2], values[3]]
}

/// Class, score and a bit for each threshold of the detected boxes that count. At each threshold, the best box first, each takes the
/// labelled box of its class that it overlaps most and that is still free.
pub(super) fn matches(image: &Image) -> Vec<(i64, f64, u16)> {
    let mut order: Vec<&Detection> = image.detected.iter().collect();
    order.sort_by(|a, b| a.class.cmp(&b.class).then(b.score.total_cmp(&a.score)));
    let of_class = order.chunk_by(|a, b| a.class == b.class);
    let mut found = Vec::new();
    for detected in of_class {
        let detected = &detected[..detected.len().min(MOST)];
        let class = detected[0].class;
        let labelled = image.labelled.iter().filter(|(label, _)| *label == class);
        let labelled: Vec<Corners> = labelled.map(|(_, corners)| *corners).collect();
        let overlaps = |box_: &&Detection| labelled.iter().map(|mark| overlap(&box_.corners, mark)).collect();
        let overlaps: Vec<Vec<f64>> = detected.iter().map(overlaps).collect();
        let mut bits = vec![0u16; detected.len()];
        for threshold in 0..THRESHOLDS {
            take(&overlaps, 0.5 + 0.05 * threshold as f64, |box_| {
                bits[box_] |= 1 << threshold
            });
        }
        found.extend(
            detected
                .iter()
                .zip(bits)
                .map(|(box_, bits)| (box_.class, box_.score, bits)),
        );
    }
    found
}

/// Tells which of the boxes, in their order, find a labelled one.
fn take(overlaps: &[Vec<f64>], threshold: f64, mut found: impl FnMut(usize)) {
    let mut is_free = vec![true; overlaps.first().map_or(0, Vec::len)];
    for (box_, overlaps) in overlaps.iter().enumerate() {
        let mut best = (threshold.min(1.0 - 1e-10), None);
        for (mark, &overlap) in overlaps.iter().enumerate() {
            // Of equal ones the last.
            if is_free[mark] && overlap >= best.0 {
                best = (overlap, Some(mark));
            }
        }
        if let Some(mark) = best.1 {
            is_free[mark] = false;
            found(box_);
        }
    }
}

/// Intersection over union.
fn overlap(a: &Corners, b: &Corners) -> f64 {
    let area = |c: &Corners| (c[2] - c[0]) * (c[3] - c[1]);
    let side = |low: usize| (a[low + 2].min(b[low + 2]) - a[low].max(b[low])).max(0.0);
    let both = side(0) * side(1);
    if both <= 0.0 {
        0.0
    } else {
        both / (area(a) + area(b) - both)
    }
}
