//! Mean average precision of detected boxes, as the COCO evaluation computes it.

mod matching;

use std::collections::BTreeMap;

use bantam_tensor::Tensor;

use super::bootstrap::Aggregate;
use super::{EvaluateError, Metric, Statistics};
use matching::{Image, matches};

/// Overlaps from which a box counts as found: 0.50, 0.55 ... 0.95.
const THRESHOLDS: usize = 10;

/// Points of recall at which precision is read: 0, 0.01 ... 1.
const POINTS: usize = 101;

const NEEDS: &str = "outputs boxes [samples, k, 4], scores [samples, k] and classes [samples, k], and labels [samples, m, 5] of class, x1, y1, x2, y2";

/// COCO's `AP@[.50:.05:.95]` over boxes of all sizes, at most 100 of a class in an image (Lin et al. 2014; pycocotools).
pub(super) struct MeanAveragePrecision;

impl Metric for MeanAveragePrecision {
    fn name(&self) -> &'static str {
        "map"
    }

    fn summary(&self) -> &'static str {
        "detection: COCO's mean average precision, overlaps 0.50 to 0.95"
    }

    fn is_proportion(&self) -> bool {
        true
    }

    /// The number of labelled boxes, their classes, then class, score and matches (a bit for each threshold) of each detected box.
    fn statistics(&self, outputs: &[Tensor], labels: &Tensor) -> Result<Statistics, EvaluateError> {
        let wrong = || EvaluateError::form(self.name(), NEEDS, outputs, labels);
        let images = Image::all(outputs, labels).ok_or_else(wrong)?;
        let mut statistics = Statistics::default();
        for image in images {
            let mut row = vec![image.labelled.len() as f64];
            row.extend(image.labelled.iter().map(|(class, _)| *class as f64));
            for (class, score, found) in matches(&image) {
                row.extend([class as f64, score, f64::from(found)]);
            }
            statistics.push(&row);
        }
        Ok(statistics)
    }

    fn aggregate<'a>(&self, statistics: &'a Statistics) -> Aggregate<'a> {
        let classes = classes(statistics);
        Box::new(move |weights| {
            let precisions: Vec<f64> = classes
                .values()
                .filter_map(|class| class.precision(weights))
                .collect();
            precisions.iter().sum::<f64>() / precisions.len() as f64
        })
    }
}

/// The boxes of a class in all images.
#[derive(Default)]
struct Class {
    /// Images with labelled boxes, and how many.
    labelled: BTreeMap<usize, u32>,
    /// Image, score and matches of detected boxes, the largest score first.
    detected: Vec<(usize, f64, u16)>,
}

/// The classes of labelled boxes.
fn classes(statistics: &Statistics) -> BTreeMap<i64, Class> {
    let mut classes = BTreeMap::<i64, Class>::new();
    for (image, row) in statistics.rows().enumerate() {
        for class in &row[1..][..row[0] as usize] {
            *classes
                .entry(*class as i64)
                .or_default()
                .labelled
                .entry(image)
                .or_default() += 1;
        }
    }
    for (image, row) in statistics.rows().enumerate() {
        for box_ in row[1 + row[0] as usize..].chunks_exact(3) {
            if let Some(class) = classes.get_mut(&(box_[0] as i64)) {
                class.detected.push((image, box_[1], box_[2] as u16));
            }
        }
    }
    for class in classes.values_mut() {
        class.detected.sort_by(|a, b| b.1.total_cmp(&a.1));
    }
    classes
}

impl Class {
    /// The mean over thresholds and points of recall; `None` where no labelled box counts.
    fn precision(&self, weights: &[u32]) -> Option<f64> {
        let labelled = self
            .labelled
            .iter()
            .map(|(image, count)| u64::from(weights[*image]) * u64::from(*count));
        let labelled = labelled.sum::<u64>() as f64;
        if labelled == 0.0 {
            return None;
        }
        let curves = (0..THRESHOLDS).map(|threshold| self.curve(threshold, weights, labelled));
        Some(curves.sum::<f64>() / (THRESHOLDS * POINTS) as f64)
    }

    /// The sum of the precision at the points of recall, each the largest at this recall or a larger one.
    fn curve(&self, threshold: usize, weights: &[u32], labelled: f64) -> f64 {
        let (mut found, mut all) = (0.0, 0.0);
        let mut curve: Vec<(f64, f64)> = Vec::with_capacity(self.detected.len());
        for &(image, _, matches) in self.detected.iter().filter(|(image, ..)| weights[*image] > 0) {
            let weight = f64::from(weights[image]);
            all += weight;
            if matches >> threshold & 1 == 1 {
                found += weight;
            }
            curve.push((found / labelled, found / all));
        }
        let mut largest = 0.0f64;
        for (_, precision) in curve.iter_mut().rev() {
            largest = largest.max(*precision);
            *precision = largest;
        }
        let at = |point: usize| {
            let recall = point as f64 * 0.01;
            let position = curve.partition_point(|(reached, _)| *reached < recall);
            curve.get(position).map_or(0.0, |(_, precision)| *precision)
        };
        (0..POINTS).map(at).sum()
    }
}
