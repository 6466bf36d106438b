//! Turns the residual stream of a transformer, so that no channel of it is larger than others (QuaRot, Ashkboos et al. 2024, section
//! 4.1; SliceGPT, Ashkboos et al. 2024, section 3: what RMSNorm computes does not change when its input is turned).
//!
//! With an orthogonal `Q`, weights that write to the stream become `W Q`, those that read it behind a norm with the scale `g` become
//! `Q^T diag(g) W`, and the norm's scale one. Whoever cannot be changed so, as an embedding that is also the head, stays behind a product
//! with `Q` or its transpose.

mod stream;

use bantam_graph::{Graph, NodeId, Op, ValueId};

use self::stream::{Stream, streams};
use super::layerwise::{Layout, layout};
use crate::plan::{Action, Decision, Site};

/// The decisions that turn every residual stream of a graph whose shapes were inferred, by matrices that the seed chooses. None where it
/// has no stream that RMSNorm reads.
pub fn rotate(graph: &Graph, seed: u64) -> Vec<Decision> {
    let consumers = graph.consumers();
    let streams = streams(graph);
    let turner = Turner {
        graph,
        consumers,
        seed,
    };
    streams.iter().flat_map(|stream| turner.stream(stream)).collect()
}

struct Turner<'a> {
    graph: &'a Graph,
    consumers: Vec<Vec<(NodeId, usize)>>,
    seed: u64,
}

impl Turner<'_> {
    fn stream(&self, stream: &Stream) -> Vec<Decision> {
        let writers = stream
            .writers
            .iter()
            .map(|value| (*value, self.writer(*value, stream.width)));
        let writers: Vec<_> = writers.collect();
        let readers = stream
            .readers
            .iter()
            .map(|reader| (*reader, self.reader(*reader, stream.width)));
        let readers: Vec<_> = readers.collect();
        let none = readers.iter().all(|(_, found)| found.is_none());
        if none {
            return Vec::new();
        }
        let mut decisions = Vec::new();
        for (value, found) in writers {
            decisions.extend(found.unwrap_or_else(|| vec![self.turn(value, stream.width)]));
        }
        for ((value, node, input), found) in readers {
            decisions
                .extend(found.unwrap_or_else(|| vec![self.turn_back(value, (node, input), stream.width)]));
        }
        decisions
    }

    /// What turns a value that is written to the stream, in the constants that it is made from; `None` where that cannot be.
    fn writer(&self, value: ValueId, width: usize) -> Option<Vec<Decision>> {
        let producer = self.graph.producers()[value.index()]?;
        let node = self.graph.node(producer);
        if let Op::Gather(gather) = &node.op {
            let table = self.own(node.input(0)?, &[None, Some(width)])?;
            return (gather.axis == 0).then(|| vec![self.constant(table, 1)]);
        }
        let weight = node.input(1)?;
        let (shape, axis) = match layout(&node.op).filter(|_| !matches!(node.op, Op::Conv(_)))? {
            Layout::Rows => ([Some(width), None], 0),
            Layout::Columns => ([None, Some(width)], 1),
        };
        let mut decisions = vec![self.constant(self.own(weight, &shape)?, axis)];
        if let Some(bias) = node.input(2) {
            decisions.push(self.constant(self.own(bias, &[Some(width)])?, 0));
        }
        Some(decisions)
    }

    /// What lets a norm read the turned stream: its scale moves into the products behind it, which turn back.
    fn reader(&self, (_, node, _): (ValueId, NodeId, usize), width: usize) -> Option<Vec<Decision>> {
        let norm = self.graph.node(node);
        if !matches!(norm.op, Op::RmsNormalization(_)) {
            return None;
        }
        let scale = self.own(norm.input(1)?, &[Some(width)])?;
        let factors = self.graph.constant(scale)?.to_f32().ok()?;
        // One over the scale must be a number.
        if factors.iter().any(|factor| !(1.0 / factor).is_finite()) {
            return None;
        }
        let output = norm.output(0)?;
        if self.graph.outputs.contains(&output) {
            return None;
        }
        let mut decisions = vec![self.scaled(scale, vec![width], factors.iter().map(|x| 1.0 / x).collect())];
        for &(reader, position) in &self.consumers[output.index()] {
            let product = self.graph.node(reader);
            let layout =
                layout(&product.op).filter(|_| position == 0 && !matches!(product.op, Op::Conv(_)))?;
            let (shape, axis, along) = match layout {
                Layout::Rows => ([None, Some(width)], 1, vec![1, width]),
                Layout::Columns => ([Some(width), None], 0, vec![width, 1]),
            };
            let weight = self.own(product.input(1)?, &shape)?;
            decisions.push(self.scaled(weight, along, factors.clone()));
            decisions.push(self.constant(weight, axis));
        }
        Some(decisions)
    }

    /// A constant of this shape that one node alone reads.
    fn own(&self, value: ValueId, shape: &[Option<usize>]) -> Option<ValueId> {
        let tensor = self.graph.constant(value)?;
        let fits = tensor.rank() == shape.len()
            && (tensor.shape().iter().zip(shape)).all(|(size, wanted)| wanted.is_none_or(|it| it == *size));
        let alone = self.consumers[value.index()].len() == 1 && !self.graph.outputs.contains(&value);
        (fits && alone).then_some(value)
    }

    fn name(&self, value: ValueId) -> String {
        self.graph.value(value).name.clone()
    }

    fn decision(site: Site, action: Action, why: &str) -> Decision {
        Decision {
            site,
            action,
            why: why.to_owned(),
            sqnr_db: None,
        }
    }

    fn constant(&self, value: ValueId, axis: usize) -> Decision {
        let action = Action::RotateConstant {
            axis,
            seed: self.seed,
        };
        let why = "the residual stream is turned, so that its channels are alike";
        Turner::decision(Site::Value(self.name(value)), action, why)
    }

    fn scaled(&self, value: ValueId, shape: Vec<usize>, by: Vec<f32>) -> Decision {
        let why = "the norm's scale moves into the products behind it";
        Turner::decision(
            Site::Value(self.name(value)),
            Action::ScaleConstant { shape, by },
            why,
        )
    }

    fn turn(&self, value: ValueId, size: usize) -> Decision {
        let action = Action::Rotate {
            size,
            seed: self.seed,
        };
        let why = "no constant of its own could be turned instead";
        Turner::decision(Site::Value(self.name(value)), action, why)
    }

    fn turn_back(&self, value: ValueId, (node, input): (NodeId, usize), size: usize) -> Decision {
        let output = self.graph.node(node).outputs.iter().flatten().next();
        let site = Site::Input {
            value: self.name(value),
            node: output.map_or_else(String::new, |output| self.name(*output)),
            input,
        };
        let why = "its reader has no constants of its own that could be turned";
        Turner::decision(
            site,
            Action::RotateBack {
                size,
                seed: self.seed,
            },
            why,
        )
    }
}
