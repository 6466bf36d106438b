//! How far each value of a quantized graph is from the same value in float.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::{Graph, Op, ValueId};
use bantam_tensor::{Batch, Tensor};

use crate::plan::{Action, Plan, Site};
use crate::quantizer::sqnr_db;
use crate::stats::ObserveError;

/// Runs one batch through the float graph and through the graph that the plan made of it, and notes the signal to
/// noise ratio of every quantized activation in its decision. The noise is all that has gathered up to there.
///
/// # Errors
/// When compiling or running fails.
pub fn measure_layer_errors(
    float: &Graph,
    quantized: &Graph,
    plan: &mut Plan,
    batch: &Batch,
) -> Result<(), ObserveError> {
    let mut pairs: BTreeMap<String, (ValueId, ValueId)> = BTreeMap::new();
    for decision in &plan.decisions {
        if let (Site::Value(name), Action::QuantizeActivation(_)) = (&decision.site, &decision.action)
            && let (Some(reference), Some(value)) = (float.value_by_name(name), dequantized(quantized, name))
        {
            pairs.insert(name.clone(), (reference, value));
        }
    }
    let references = values(float, pairs.values().map(|pair| pair.0).collect(), batch)?;
    let results = values(quantized, pairs.values().map(|pair| pair.1).collect(), batch)?;
    for decision in &mut plan.decisions {
        let Site::Value(name) = &decision.site else {
            continue;
        };
        let Some((reference, value)) = pairs.get(name) else {
            continue;
        };
        if let (Some(reference), Some(value)) = (references.get(reference), results.get(value)) {
            decision.sqnr_db = ratio(reference, value).filter(|db| db.is_finite());
        }
    }
    Ok(())
}

/// The value that readers of `name` get after QuantizeLinear and DequantizeLinear.
fn dequantized(graph: &Graph, name: &str) -> Option<ValueId> {
    let value = graph.value_by_name(name)?;
    let of = |input: ValueId, wanted: fn(&Op) -> bool| {
        let node = graph
            .nodes
            .iter()
            .find(|node| node.input(0) == Some(input) && wanted(&node.op))?;
        node.output(0)
    };
    let codes = of(value, |op| matches!(op, Op::QuantizeLinear(_)));
    match codes {
        Some(codes) => of(codes, |op| matches!(op, Op::DequantizeLinear(_))),
        None => Some(value),
    }
}

fn values(
    graph: &Graph,
    wanted: HashSet<ValueId>,
    batch: &Batch,
) -> Result<BTreeMap<ValueId, Tensor>, ObserveError> {
    let program = compile(
        graph,
        &CompileOptions {
            observed: wanted.clone(),
            ..CompileOptions::default()
        },
    )?;
    let seen = Mutex::new(BTreeMap::new());
    let mut taps = Taps::none();
    for value in wanted {
        let seen = &seen;
        taps.add(value, move |tensor| {
            seen.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .insert(value, tensor.clone());
        });
    }
    let inputs: Vec<(&str, Tensor)> = batch
        .inputs
        .iter()
        .map(|(n, t)| (n.as_str(), t.clone()))
        .collect();
    program.run(&inputs, &mut taps)?;
    drop(taps);
    Ok(seen
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn ratio(reference: &Tensor, value: &Tensor) -> Option<f64> {
    let (reference, value) = (reference.to_f32().ok()?, value.to_f32().ok()?);
    if reference.len() != value.len() {
        return None;
    }
    let square = |x: f32| f64::from(x) * f64::from(x);
    let signal: f64 = reference.iter().map(|&x| square(x)).sum();
    let noise: f64 = reference.iter().zip(&value).map(|(&a, &b)| square(a - b)).sum();
    Some(sqnr_db(signal, noise))
}
