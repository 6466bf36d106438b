//! Which codes can change their type: those that DequantizeLinear alone reads, with their zero points.

use std::collections::{BTreeMap, BTreeSet};

use bantam_graph::{Graph, NodeId, Op, ValueId};

/// Where constants are read.
pub(super) struct Readers {
    consumers: Vec<Vec<(NodeId, usize)>>,
}

impl Readers {
    pub(super) fn of(graph: &Graph) -> Readers {
        Readers {
            consumers: graph.consumers(),
        }
    }

    fn dequantize(&self, graph: &Graph, value: ValueId, (at, groups): (usize, bool)) -> bool {
        let readers = &self.consumers[value.index()];
        let takes = |&(node, position): &(NodeId, usize)| {
            let op = &graph.node(node).op;
            position == at && matches!(op, Op::DequantizeLinear(op) if (op.block_size != 0) == groups)
        };
        !readers.is_empty() && readers.iter().all(takes) && !graph.outputs.contains(&value)
    }

    /// Whether DequantizeLinear of whole channels or tensors alone reads these codes.
    pub(super) fn are_codes(&self, graph: &Graph, value: ValueId) -> bool {
        self.dequantize(graph, value, (0, false))
    }

    /// Whether DequantizeLinear of groups alone reads these codes.
    pub(super) fn are_codes_in_groups(&self, graph: &Graph, value: ValueId) -> bool {
        self.dequantize(graph, value, (0, true))
    }

    /// Those of some codes whose type can change, with the zero points that change with them: none that other codes need as they are.
    pub(super) fn can_change(
        &self,
        graph: &Graph,
        codes: &BTreeSet<ValueId>,
    ) -> BTreeMap<ValueId, Vec<ValueId>> {
        let mut found: BTreeMap<ValueId, Vec<ValueId>> = codes
            .iter()
            .filter(|value| self.are_codes(graph, **value))
            .map(|value| (*value, self.zero_points(graph, *value)))
            .collect();
        loop {
            let stays = |zero_point: &ValueId| {
                let readers = self.consumers[zero_point.index()].iter();
                let mut codes = readers.map(|(node, _)| graph.node(*node).input(0));
                graph.constant(*zero_point).is_none()
                    || !self.dequantize(graph, *zero_point, (2, false))
                    || codes.any(|codes| codes.is_none_or(|codes| !found.contains_key(&codes)))
            };
            let zero_points: BTreeSet<ValueId> = found.values().flatten().copied().collect();
            let stuck: BTreeSet<ValueId> = zero_points.into_iter().filter(stays).collect();
            if stuck.is_empty() {
                return found;
            }
            found.retain(|_, zero_points| !zero_points.iter().any(|zero_point| stuck.contains(zero_point)));
        }
    }

    fn zero_points(&self, graph: &Graph, codes: ValueId) -> Vec<ValueId> {
        let readers = self.consumers[codes.index()].iter();
        let mut zero_points: Vec<ValueId> = readers
            .filter_map(|(node, _)| graph.node(*node).input(2))
            .collect();
        zero_points.sort_unstable();
        zero_points.dedup();
        zero_points
    }
}
