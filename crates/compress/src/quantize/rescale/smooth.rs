//! SmoothQuant (Xiao et al. 2022, "SmoothQuant: accurate and efficient post-training quantization for large language models").

use bantam_graph::{Graph, Op};

use super::{Link, Reader, links};
use crate::plan::Decision;
use crate::stats::{Observed, Request, Stat, Stats};

/// Moves the largest inputs of products into their weights, `s = max|x|^alpha / max|w|^(1 - alpha)` for each channel (equation 4),
/// and into what makes these inputs: a norm, or another product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Smooth {
    /// How much of the ranges moves: 0 makes the weights even, 1 the inputs.
    pub alpha: f32,
    /// Whether products take factors too, which makes the ranges of their rows uneven: harmless where each row has a scale of its own.
    pub products: bool,
}

impl Smooth {
    /// What must be observed: the largest magnitudes of the inputs of products, channel by channel.
    pub fn requests(&self, graph: &Graph) -> Vec<Request> {
        let links = self.links(links(graph).links);
        let readers = links.iter().flat_map(|link| &link.readers);
        let request = |reader: &Reader| Request {
            value: reader.input,
            stat: stat(graph, reader),
        };
        let mut requests: Vec<Request> = readers.map(request).collect();
        requests.dedup();
        requests
    }

    fn links(&self, links: Vec<Link>) -> Vec<Link> {
        let wanted = |link: &Link| self.products || !link.from_product;
        links.into_iter().filter(wanted).collect()
    }

    /// The factors. Links whose inputs were not observed, or are no finite numbers, stay as they are.
    pub fn decide(&self, graph: &Graph, stats: &Stats) -> Vec<Decision> {
        let found = links(graph);
        let mut decisions = found.left;
        for link in self.links(found.links) {
            let Some(inputs) = input_peaks(graph, &link, stats) else {
                continue;
            };
            let weights = link.read_peaks(graph);
            let scale = |(x, w): (&f32, &f32)| {
                let scale = x.powf(self.alpha) / w.powf(1.0 - self.alpha);
                if scale.is_finite() && scale > 0.0 {
                    scale
                } else {
                    1.0
                }
            };
            let scales: Vec<f32> = inputs.iter().zip(&weights).map(scale).collect();
            let why = format!("the largest inputs move into the weights, alpha {}", self.alpha);
            decisions.extend(link.rescale(graph, &scales, &why));
        }
        decisions
    }
}

fn stat(graph: &Graph, reader: &Reader) -> Stat {
    match graph.node(reader.node).op {
        Op::Conv(_) => Stat::ChannelPeaks,
        _ => Stat::FeaturePeaks,
    }
}

/// The largest magnitude that each channel of a link has as an input.
fn input_peaks(graph: &Graph, link: &Link, stats: &Stats) -> Option<Vec<f32>> {
    let mut peaks = vec![0f32; link.channels];
    for reader in &link.readers {
        let observed = stats.get(reader.input, stat(graph, reader))?;
        let Observed::Peaks(found) = observed else {
            return None;
        };
        if observed.has_non_finite() || found.peaks().len() != reader.channels.len() {
            return None;
        }
        for (peak, channel) in found.peaks().iter().zip(&reader.channels) {
            peaks[*channel] = peaks[*channel].max(*peak);
        }
    }
    Some(peaks)
}
