//! Tables that rows are looked up in (embeddings), also those that are a head too.

use bantam_graph::{Graph, Node, Op, ValueId};
use bantam_tensor::DType;

use crate::plan::Site;
use crate::quantize::layerwise::{Layout, layout};

/// A constant matrix that lookups of rows read, and perhaps products whose outputs are its rows.
pub(super) struct Table {
    pub(super) weight: ValueId,
    pub(super) name: String,
    pub(super) depth: usize,
    /// Where it is read.
    pub(super) sites: Vec<Site>,
}

impl Table {
    /// Whether the node with this first output reads it.
    pub(super) fn is_read_by(&self, node: &str) -> bool {
        let is = |site: &Site| matches!(site, Site::Input { node: reader, .. } if reader == node);
        self.sites.iter().any(is)
    }
}

/// In the order of the graph's values; those that something else reads, or a node that stays in float, are left out.
pub(super) fn tables(graph: &Graph, kept: &[Option<&'static str>]) -> Vec<Table> {
    let consumers = graph.consumers();
    let mut tables = Vec::new();
    for (index, readers) in consumers.iter().enumerate() {
        let weight = ValueId::new(index);
        let Some(&[rows, depth]) = graph
            .constant(weight)
            .filter(|it| it.dtype() == DType::F32)
            .map(|it| it.shape())
        else {
            continue;
        };
        let nodes = || readers.iter().map(|(id, position)| (graph.node(*id), *position));
        let is_lookup = |(node, position): &(&Node, usize)| {
            matches!(&node.op, Op::Gather(gather) if gather.axis == 0) && *position == 0
        };
        let is_head = |(node, position): &(&Node, usize)| {
            !matches!(node.op, Op::Conv(_)) && layout(&node.op) == Some(Layout::Rows) && *position == 1
        };
        let stays = readers.iter().any(|(id, _)| kept[id.index()].is_some());
        if rows * depth == 0
            || stays
            || !nodes().any(|it| is_lookup(&it))
            || !nodes().all(|it| is_lookup(&it) || is_head(&it))
        {
            continue;
        }
        let name = graph.value(weight).name.clone();
        let site = |(node, input): (&Node, usize)| {
            Some(Site::Input {
                value: name.clone(),
                node: graph.value(node.output(0)?).name.clone(),
                input,
            })
        };
        tables.push(Table {
            weight,
            depth,
            sites: nodes().filter_map(site).collect(),
            name,
        });
    }
    tables
}
