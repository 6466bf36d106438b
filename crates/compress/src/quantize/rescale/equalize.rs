//! Cross-layer equalization (Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", section 4.1).

use bantam_graph::{Graph, ValueId};
use bantam_tensor::TensorError;

use super::constant::Scaled;
use super::{Link, links};
use crate::plan::Decision;
use crate::rewrite::scaled_constant;

/// Most times that all links are gone through.
const SWEEPS: usize = 50;
/// The largest change, as a factor less 1, at which factors have settled.
const SETTLED: f32 = 1e-3;

/// Gives each channel between two products the scale at which its weights have the same range on both sides,
/// `s = sqrt(r1 r2) / r2` (equation 11), link after link until nothing changes. Looks at no data.
///
/// # Errors
/// When a weight cannot be read.
pub fn equalize(graph: &Graph) -> Result<Vec<Decision>, TensorError> {
    let found = links(graph);
    let mut decisions = found.left;
    let links: Vec<Link> = found.links.into_iter().filter(|link| link.from_product).collect();
    let mut scales: Vec<Vec<f32>> = links.iter().map(|link| vec![1.0; link.channels]).collect();
    let mut work = graph.clone();
    for _ in 0..SWEEPS {
        let mut largest = 0f32;
        for (link, scales) in links.iter().zip(&mut scales) {
            let step = step(&work, link);
            for (scale, by) in scales.iter_mut().zip(&step) {
                *scale *= by;
                largest = largest.max((by - 1.0).abs());
            }
            apply(&mut work, link, &step)?;
        }
        if largest < SETTLED {
            break;
        }
    }
    for (link, scales) in links.iter().zip(&scales) {
        let why = "equal ranges of the weights before and behind each channel";
        decisions.extend(link.rescale(graph, scales, why));
    }
    Ok(decisions)
}

/// By what the channels of a link are divided to have equal ranges; 1 for those that are not used.
fn step(graph: &Graph, link: &Link) -> Vec<f32> {
    let pairs = link.written_peaks(graph).into_iter().zip(link.read_peaks(graph));
    pairs
        .map(|(written, read)| {
            let scale = (written / read).sqrt();
            if scale.is_finite() && scale > 0.0 {
                scale
            } else {
                1.0
            }
        })
        .collect()
}

fn apply(graph: &mut Graph, link: &Link, step: &[f32]) -> Result<(), TensorError> {
    for writer in &link.writers {
        multiply(graph, writer, |channel| 1.0 / step[channel])?;
    }
    for reader in &link.readers {
        multiply(graph, &reader.weight, |channel| step[channel])?;
    }
    Ok(())
}

fn multiply(graph: &mut Graph, scaled: &Scaled, by: impl Fn(usize) -> f32) -> Result<(), TensorError> {
    let value: ValueId = scaled.value;
    if let Some(constant) = &graph.value(value).initializer {
        let result = scaled_constant(constant, &scaled.shape, &scaled.factors(by))?;
        graph.value_mut(value).initializer = Some(result);
    }
    Ok(())
}
