//! Channels in an order in which patterns keep more (Pool and Yu 2021): the inputs of a layer change places, together with the outputs
//! that make them.

use bantam_graph::coupling::Group;
use bantam_graph::{Graph, coupling};
use bantam_tensor::SplitMix64;

use super::structure::kept_sum;
use super::{PruneError, Weight};
use crate::plan::{Action, Decision, Site};

/// Most numbers that the search of one group looks at.
const EFFORT: usize = 500_000_000;
/// So often the search leaves a best order by random exchanges, and takes the way back if it comes to no better one.
const ESCAPES: usize = 10;
/// Exchanges of one escape.
const EXCHANGES: usize = 3;

/// The graph with its channels in another order, with which it computes the same, and decisions that say so. `saliency` is by rows; the sum
/// of what a pattern keeps of it grows.
pub(super) fn permuted(
    graph: &Graph,
    weights: &[Weight],
    saliency: &[Vec<f32>],
    pattern: (usize, usize),
    seed: u64,
) -> Result<(Graph, Vec<Decision>), PruneError> {
    let coupling = coupling(graph);
    let mut readers: Vec<Reader> = (weights.iter().zip(saliency))
        .map(|(weight, saliency)| Reader::new(weight, saliency, pattern))
        .collect();
    let (mut permuted, mut decisions) = (graph.clone(), Vec::new());
    let mut random = SplitMix64::new(seed);
    for (number, group) in coupling.groups.iter().enumerate() {
        if !group.is_permutable() || group.units.len() < 2 {
            continue;
        }
        let mut search = Search::new(weights, group, &mut readers);
        if search.readers.is_empty() {
            continue;
        }
        let before = search.kept();
        search.run(&mut random);
        let (order, after) = (search.order.clone(), search.kept());
        if after > before {
            permuted = coupling.permute(&permuted, number, &order)?;
            decisions.extend(decision(graph, group, &order, [before, after]));
        }
    }
    Ok((permuted, decisions))
}

/// What the plan says of a group, at the first constant that it touches.
fn decision(graph: &Graph, group: &Group, order: &[usize], [before, after]: [f64; 2]) -> Option<Decision> {
    let mut axes = group.axes.iter().enumerate();
    let (number, (value, axis)) = axes.find(|(_, (value, _))| graph.constant(*value).is_some())?;
    let size = graph.constant(*value)?.shape()[*axis];
    let positions: Vec<usize> = group.units.iter().flat_map(|unit| unit.along(number)).collect();
    let mut by_position: Vec<u32> = (0..size as u32).collect();
    for (to, from) in positions.iter().zip(order) {
        by_position[*to] = positions[*from] as u32;
    }
    Some(Decision {
        site: Site::Value(graph.value(*value).name.clone()),
        action: Action::PermuteChannels {
            axis: *axis,
            order: by_position,
        },
        why: format!(
            "patterns keep {:.2}% more where these channels are read",
            100.0 * (after / before.max(f64::MIN_POSITIVE) - 1.0)
        ),
        sqnr_db: None,
    })
}

/// A weight by its inputs.
struct Reader {
    pattern: (usize, usize),
    /// By input, the saliencies of all outputs and places.
    columns: Vec<Vec<f32>>,
    /// Which of them is at each position.
    at: Vec<usize>,
    /// What is kept of each run of neighbouring positions.
    kept: Vec<f64>,
}

impl Reader {
    fn new(weight: &Weight, saliency: &[f32], pattern: (usize, usize)) -> Reader {
        let inputs = weight.depth / weight.places;
        let column = |input: usize| {
            let rows = saliency.chunks_exact(weight.depth);
            rows.flat_map(|row| &row[input * weight.places..][..weight.places])
                .map(|value| value.max(0.0))
                .collect()
        };
        let mut reader = Reader {
            pattern,
            columns: (0..inputs).map(column).collect(),
            at: (0..inputs).collect(),
            kept: Vec::new(),
        };
        reader.kept = (0..inputs.div_ceil(pattern.1))
            .map(|run| reader.keeps(run, [0, 0]))
            .collect();
        reader
    }

    /// What is kept of a run of positions when what is at two positions is exchanged.
    fn keeps(&self, run: usize, exchanged: [usize; 2]) -> f64 {
        let (kept, of) = self.pattern;
        let [a, b] = exchanged;
        let column = |position: usize| {
            let position = match position {
                _ if position == a => b,
                _ if position == b => a,
                _ => position,
            };
            &self.columns[self.at[position]][..]
        };
        let positions = run * of..((run + 1) * of).min(self.at.len());
        kept_sum(&positions.map(column).collect::<Vec<_>>(), kept)
    }

    /// What two runs keep more, by run, when what is at these positions is exchanged.
    fn gain(&self, [a, b]: [usize; 2]) -> f64 {
        let of = self.pattern.1;
        if a / of == b / of {
            return 0.0;
        }
        let gain = |run: usize| self.keeps(run, [a, b]) - self.kept[run];
        gain(a / of) + gain(b / of)
    }

    fn exchange(&mut self, [a, b]: [usize; 2]) {
        self.at.swap(a, b);
        for run in [a / self.pattern.1, b / self.pattern.1] {
            self.kept[run] = self.keeps(run, [0, 0]);
        }
    }
}

/// The search for an order of the units of one group.
struct Search<'a> {
    /// Weights that read the group, with the position of each unit.
    readers: Vec<(&'a mut Reader, Vec<usize>)>,
    /// Which unit is at the place of each.
    order: Vec<usize>,
    /// Numbers that an exchange looks at.
    price: usize,
    spent: usize,
}

impl<'a> Search<'a> {
    fn new(weights: &[Weight], group: &Group, all: &'a mut [Reader]) -> Search<'a> {
        let mut readers = Vec::new();
        for (weight, reader) in weights.iter().zip(all) {
            let inputs = match weight.layout {
                crate::quantize::layerwise::Layout::Rows => 1,
                crate::quantize::layerwise::Layout::Columns => 0,
            };
            let number = group.axes.iter().position(|axis| *axis == (weight.value, inputs));
            if let Some(number) = number.filter(|_| weight.groups == 1) {
                let positions = group.units.iter().flat_map(|unit| unit.along(number)).collect();
                readers.push((reader, positions));
            }
        }
        let length = |reader: &Reader| reader.columns.first().map_or(0, Vec::len);
        Search {
            price: readers
                .iter()
                .map(|(reader, _)| 2 * reader.pattern.1 * length(reader))
                .sum(),
            readers,
            order: (0..group.units.len()).collect(),
            spent: 0,
        }
    }

    fn kept(&self) -> f64 {
        self.readers
            .iter()
            .map(|(reader, _)| reader.kept.iter().sum::<f64>())
            .sum()
    }

    fn gain(&mut self, [a, b]: [usize; 2]) -> f64 {
        self.spent += self.price;
        let gains = self
            .readers
            .iter()
            .map(|(reader, positions)| reader.gain([positions[a], positions[b]]));
        gains.sum()
    }

    fn exchange(&mut self, [a, b]: [usize; 2]) {
        self.order.swap(a, b);
        for (reader, positions) in &mut self.readers {
            reader.exchange([positions[a], positions[b]]);
        }
    }

    /// Exchanges pairs as long as that gains; then leaves the place by random exchanges, and comes back if no better one is found.
    fn run(&mut self, random: &mut SplitMix64) {
        self.climb(random);
        for _ in 0..ESCAPES {
            let (best, order) = (self.kept(), self.order.clone());
            for _ in 0..EXCHANGES {
                let pair = [random.below(order.len()), random.below(order.len())];
                self.exchange(pair);
            }
            self.climb(random);
            if self.kept() <= best {
                self.restore(&order);
            }
            if self.spent >= EFFORT {
                break;
            }
        }
    }

    fn climb(&mut self, random: &mut SplitMix64) {
        let count = self.order.len();
        let mut pairs: Vec<[usize; 2]> = (0..count).flat_map(|a| (0..a).map(move |b| [a, b])).collect();
        let least = 1e-7 * self.kept();
        loop {
            random.shuffle(&mut pairs);
            let mut gained = false;
            for &pair in &pairs {
                if self.spent >= EFFORT {
                    return;
                }
                if self.gain(pair) > least {
                    self.exchange(pair);
                    gained = true;
                }
            }
            if !gained {
                return;
            }
        }
    }

    /// Goes back to an order.
    fn restore(&mut self, order: &[usize]) {
        for (place, unit) in order.iter().enumerate() {
            let from = self.order.iter().position(|other| other == unit).unwrap_or(place);
            if from != place {
                self.exchange([place, from]);
            }
        }
    }
}
