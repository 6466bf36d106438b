//! Overlap of segmented areas.

use bantam_tensor::Tensor;

use super::bootstrap::Aggregate;
use super::metric::first;
use super::{EvaluateError, Metric, Statistics};

/// The label of pixels that do not count.
const IGNORED: i64 = 255;

/// Classes that integer outputs may have.
const MOST_CLASSES: i64 = 1 << 16;

const NEEDS: &str = "an output [samples, classes, height, width] of floats, or of integer classes [samples, height, width], and integer labels \
                     [samples, height, width]";

/// Intersection over union of predicted and labelled areas of all images, its mean over the classes that either has (Everingham
/// et al. 2010, PASCAL VOC). Pixels of label 255 do not count.
pub(super) struct MeanIou;

impl Metric for MeanIou {
    fn name(&self) -> &'static str {
        "mean-iou"
    }

    fn summary(&self) -> &'static str {
        "segmentation: intersection over union of all images, mean over classes; label 255 does not count"
    }

    fn is_proportion(&self) -> bool {
        true
    }

    /// For each class that the image or its labels have: the class, the pixels in both, those in either.
    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let wrong = || EvaluateError::form(self.name(), NEEDS, outputs, labels);
        let map = ClassMap::new(first(outputs)?, labels).ok_or_else(wrong)?;
        let labels = labels.to_i64().map_err(|_| wrong())?;
        let mut statistics = Statistics::default();
        for (predicted, labels) in map
            .predicted
            .chunks_exact(map.pixels)
            .zip(labels.chunks_exact(map.pixels))
        {
            statistics.push(&areas(predicted, labels, map.classes)?);
        }
        Ok(statistics)
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        let last = statistics.rows().flat_map(|row| row.iter().step_by(3));
        let classes = last.fold(0.0, |last: f64, class| last.max(*class + 1.0)) as usize;
        Box::new(move |weights| {
            let mut areas = vec![[0.0; 2]; classes];
            for (row, &weight) in statistics.rows().zip(weights) {
                for entry in row.chunks_exact(3) {
                    let [both, either] = &mut areas[entry[0] as usize];
                    *both += f64::from(weight) * entry[1];
                    *either += f64::from(weight) * entry[2];
                }
            }
            let seen = areas.iter().filter(|[_, either]| *either > 0.0);
            let (count, sum) = seen.fold((0.0, 0.0), |(n, sum), [both, either]| {
                (n + 1.0, sum + both / either)
            });
            sum / count
        })
    }
}

/// The class of each pixel.
struct ClassMap {
    /// `[samples, pixels]`.
    predicted: Vec<i64>,
    pixels: usize,
    /// Of the output, where it has scores.
    classes: Option<usize>,
}

impl ClassMap {
    /// `None` if output and labels do not fit.
    fn new(output: &Tensor, labels: &Tensor) -> Option<ClassMap> {
        let without_one = |shape: &[usize]| match *shape {
            [samples, 1, height, width] | [samples, height, width] => Some([samples, height, width]),
            _ => None,
        };
        let [samples, height, width] = without_one(labels.shape())?;
        let pixels = height * width;
        if pixels == 0 {
            return None;
        }
        match *output.shape() {
            [n, classes, h, w] if [n, h, w] == [samples, height, width] && output.dtype().is_float() => {
                let values = output.to_f32().ok()?;
                let image = |image: &[f32]| (0..pixels).map(|pixel| largest(image, pixel, pixels)).collect();
                let maps: Vec<Vec<i64>> = values
                    .chunks_exact((classes * pixels).max(1))
                    .map(image)
                    .collect();
                (classes > 1).then(|| ClassMap {
                    predicted: maps.concat(),
                    pixels,
                    classes: Some(classes),
                })
            }
            ref shape if without_one(shape) == Some([samples, height, width]) => Some(ClassMap {
                predicted: output.to_i64().ok()?,
                pixels,
                classes: None,
            }),
            _ => None,
        }
    }
}

/// The class with the largest score of a pixel, the first of equal ones; classes are `stride` apart.
fn largest(image: &[f32], pixel: usize, stride: usize) -> i64 {
    let scores = image[pixel..].iter().step_by(stride).enumerate();
    let best = scores.fold((0, f32::NEG_INFINITY), |best, (class, &score)| {
        if score > best.1 { (class, score) } else { best }
    });
    best.0 as i64
}

/// Class, intersection and union of each class of an image.
fn areas(predicted: &[i64], labels: &[i64], classes: Option<usize>) -> Result<Vec<f64>, EvaluateError> {
    let mut areas = std::collections::BTreeMap::<i64, [f64; 2]>::new();
    for (&predicted, &label) in predicted.iter().zip(labels) {
        if label == IGNORED {
            continue;
        }
        let known = 0..classes.map_or(MOST_CLASSES, |classes| classes as i64);
        if let Some(&label) = [label, predicted].iter().find(|class| !known.contains(class)) {
            let classes = known.end as usize;
            return Err(EvaluateError::Class { label, classes });
        }
        if predicted == label {
            let area = areas.entry(label).or_default();
            *area = [area[0] + 1.0, area[1] + 1.0];
        } else {
            areas.entry(label).or_default()[1] += 1.0;
            areas.entry(predicted).or_default()[1] += 1.0;
        }
    }
    Ok(areas
        .iter()
        .flat_map(|(class, [both, either])| [*class as f64, *both, *either])
        .collect())
}
