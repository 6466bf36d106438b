//! Numbers of 16 bits: half the bytes, nothing to calibrate but what overflows.

use std::collections::HashSet;

use bantam_graph::{Graph, Node, Op, ValueId};
use bantam_tensor::{DType, Tensor};

use super::{Method, QuantizeError, QuantizeSettings};
use crate::plan::{Action, Decision, Plan, Site};
use crate::stats::{Observed, Request, Stat, Stats};

/// 16-bit floats for weights, and for what nodes compute with them; inputs and outputs of the network keep their type.
///
/// Nodes stay in float32 where a value that they read or give comes near the largest float16 (65504) on the calibration data, where a constant does not
/// fit, where numbers come from positions alone, and where the standard has no such form of the op.
pub(super) struct Half {
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) dtype: DType,
    /// Nodes go on computing in float32.
    pub(super) weights_only: bool,
}

/// Values up to this share of the largest number are safe: what was seen is not all there is.
const SAFE: f32 = 0.5;

impl Half {
    fn largest(&self) -> f32 {
        match self.dtype {
            DType::F16 => 65504.0,
            _ => f32::MAX,
        }
    }

    /// Whether values must be looked at: those of the exponents of float32 cannot overflow.
    fn may_overflow(&self) -> bool {
        self.dtype == DType::F16 && !self.weights_only
    }
}

impl Method for Half {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn requests(&self, graph: &Graph, settings: &QuantizeSettings) -> Result<Vec<Request>, QuantizeError> {
        settings.kept_by_user(graph)?;
        if !self.may_overflow() {
            return Ok(Vec::new());
        }
        let outputs = graph.nodes.iter().flat_map(|node| node.outputs.iter().flatten());
        let values = graph.inputs.iter().chain(outputs).copied();
        let floats = values.filter(|value| is_float(graph, *value) && graph.constant(*value).is_none());
        Ok(floats
            .map(|value| Request {
                value,
                stat: Stat::MinMax,
            })
            .collect())
    }

    fn plan(&self, graph: &Graph, stats: &Stats, settings: &QuantizeSettings) -> Result<Plan, QuantizeError> {
        let kept = settings.kept_by_user(graph)?;
        let counted = counted(graph);
        let is_counted = |node: &Node| {
            node.outputs
                .iter()
                .flatten()
                .any(|output| counted.contains(output))
        };
        let mut decisions = Vec::new();
        let mut stored = HashSet::new();
        for (node, kept) in graph.nodes.iter().zip(kept) {
            let kept = kept.or_else(|| is_counted(node).then_some(COUNTED));
            let kept = kept.map(str::to_owned);
            match self.weights_only {
                true => decisions.extend(self.constants(graph, node, kept, &mut stored)?),
                false => decisions.extend(self.node(graph, stats, node, kept)?),
            }
        }
        if decisions.iter().all(|decision| decision.action == Action::Keep) {
            return Err(QuantizeError::Nothing {
                target: settings.target.name,
                reasons: "no node has floats that may have 16 bits".to_owned(),
            });
        }
        Ok(Plan {
            version: Plan::VERSION,
            model: None,
            method: self.name.to_owned(),
            target: settings.target.name.to_owned(),
            decisions,
        })
    }
}

impl Half {
    /// What becomes of a node; nothing is said of one without floats.
    fn node(
        &self,
        graph: &Graph,
        stats: &Stats,
        node: &Node,
        kept: Option<String>,
    ) -> Result<Option<Decision>, QuantizeError> {
        let Some(output) = node.outputs.iter().flatten().next() else {
            return Ok(None);
        };
        let values = || node.inputs.iter().chain(&node.outputs).flatten().copied();
        if !values().any(|value| is_float(graph, value)) {
            return Ok(None);
        }
        let mut why = kept.or_else(|| obstacle(&node.op).map(str::to_owned));
        for value in values().filter(|value| is_float(graph, *value)) {
            why = match why {
                None => self.overflow(graph, stats, node, value)?,
                some => some,
            };
        }
        let (action, why) = match why {
            Some(why) => (Action::Keep, why),
            None => (
                Action::Convert(self.dtype),
                "all that it reads and gives fits".to_owned(),
            ),
        };
        Ok(Some(Decision {
            site: Site::Node(graph.value(*output).name.clone()),
            action,
            why,
            sqnr_db: None,
        }))
    }

    /// Why a value does not fit, if so.
    fn overflow(
        &self,
        graph: &Graph,
        stats: &Stats,
        node: &Node,
        value: ValueId,
    ) -> Result<Option<String>, QuantizeError> {
        let name = &graph.value(value).name;
        if let Some(constant) = graph.constant(value) {
            let largest = super::weights::finite_values(graph, node, name, constant)?
                .into_iter()
                .fold(0f32, |largest, x| largest.max(x.abs()));
            return Ok((largest > self.largest()).then(|| {
                format!(
                    "a number of the constant `{name}` is {largest:e}, {} ends at {}",
                    self.name,
                    self.largest()
                )
            }));
        }
        let Some(Observed::MinMax(seen)) = stats.get(value, Stat::MinMax).filter(|_| self.may_overflow())
        else {
            return Ok(None);
        };
        let (low, high) = seen.bounds();
        let largest = high.max(-low);
        Ok((largest > SAFE * self.largest()).then(|| {
            format!(
                "`{name}` reaches {largest:e}, {} ends at {}",
                self.name,
                self.largest()
            )
        }))
    }

    /// Constants of a node that are stored in 16 bits.
    fn constants(
        &self,
        graph: &Graph,
        node: &Node,
        kept: Option<String>,
        stored: &mut HashSet<ValueId>,
    ) -> Result<Vec<Decision>, QuantizeError> {
        let mut decisions = Vec::new();
        for value in node.inputs.iter().flatten().copied() {
            if !graph.constant(value).is_some_and(is_weight) || !stored.insert(value) {
                continue;
            }
            let why = match &kept {
                Some(why) => Some(why.clone()),
                None => self.overflow(graph, &Stats::default(), node, value)?,
            };
            decisions.push(Decision {
                site: Site::Value(graph.value(value).name.clone()),
                action: if why.is_some() {
                    Action::Keep
                } else {
                    Action::Convert(self.dtype)
                },
                why: why.unwrap_or_else(|| "read in float32".to_owned()),
                sqnr_db: None,
            });
        }
        Ok(decisions)
    }
}

/// Why numbers that come from integers stay.
const COUNTED: &str =
    "positions and the like need all their digits: angles of rotary embeddings are products of them";

/// Float values that come from integers (positions, masks) and constants alone, before they meet what the network reads or weighs.
fn counted(graph: &Graph) -> HashSet<ValueId> {
    let mut counted = HashSet::new();
    for node in &graph.nodes {
        let starts = match &node.op {
            Op::Cast(_) => node.input(0).is_some_and(|input| {
                let dtype = graph.value(input).ty.dtype();
                dtype.is_some_and(|dtype| !dtype.is_float())
            }),
            Op::Range(_) => true,
            _ => false,
        };
        let floats: Vec<ValueId> = (node.inputs.iter().flatten().copied())
            .filter(|input| is_float(graph, *input))
            .collect();
        let is_plain = |value: &ValueId| {
            graph
                .constant(*value)
                .is_some_and(|constant| !is_weight(constant))
        };
        let goes_on = floats.iter().any(|value| counted.contains(value))
            && floats
                .iter()
                .all(|value| counted.contains(value) || is_plain(value));
        if starts || goes_on {
            let outputs = node.outputs.iter().flatten().copied();
            counted.extend(outputs.filter(|output| is_float(graph, *output)));
        }
    }
    counted
}

fn is_float(graph: &Graph, value: ValueId) -> bool {
    graph.value(value).ty.dtype() == Some(DType::F32)
}

/// Matrices, kernels and tables: where the bytes are.
fn is_weight(constant: &Tensor) -> bool {
    constant.dtype() == DType::F32 && constant.rank() >= 2
}

/// Why the standard has no such form of an op, if so.
fn obstacle(op: &Op) -> Option<&'static str> {
    match op.name() {
        _ if !op.domain().is_empty() => Some("ops beyond the standard keep their types"),
        _ if !op.subgraphs().is_empty() => Some("ops with graphs inside keep their types"),
        "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear" => Some("it has codes already"),
        // Some inputs are float32 whatever the others are.
        "Resize" | "Upsample" | "NonMaxSuppression" | "Range" | "STFT" | "MelWeightMatrix"
        | "RandomNormal" | "RandomUniform" | "Multinomial" | "TfIdfVectorizer" | "DFT" | "HannWindow"
        | "HammingWindow" | "BlackmanWindow" | "ImageDecoder" => {
            Some("the standard has no 16-bit form of all its inputs")
        }
        _ => None,
    }
}
