//! Scan of opset 8, which looped over a batch first.

use bantam_graph::{Attribute, Attributes, Graph, Node, Op, OpError, Value, ValueId};

use super::{DAMAGED, Fault, Lifted, Lifter, RawNode};

/// Scan of opset 8 is a Scan over the batch (axis 0 of every input) whose body is the Scan over the sequence.
pub(super) fn batched_scan(_: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    if raw.input(0).is_some() {
        return Err(Fault {
            fact: "it is given lengths of sequences, which no later opset can say".to_owned(),
            hint: "export the model again at opset 9 or later",
        });
    }
    let (Some(Attribute::Graph(body)), Some(scanned)) =
        (raw.attributes.take("body"), raw.take::<i64>("num_scan_inputs")?)
    else {
        return Err(Fault {
            fact: "it has no `body`, or no `num_scan_inputs`".to_owned(),
            hint: DAMAGED,
        });
    };
    let directions = raw.take::<Vec<i64>>("directions")?;
    raw.inputs.remove(0);
    let outer = batch_body(body, scanned, directions, raw.inputs.len(), raw.outputs.len());
    let outer = outer.map_err(|error| Fault {
        fact: error.to_string(),
        hint: DAMAGED,
    })?;
    raw.set("body", &Box::new(outer));
    raw.set("num_scan_inputs", &(raw.inputs.len() as i64));
    Ok(Lifted::Node)
}

/// A graph of one node: the scan over one sequence.
fn batch_body(
    body: Box<Graph>,
    scanned: i64,
    directions: Option<Vec<i64>>,
    inputs: usize,
    outputs: usize,
) -> Result<Graph, OpError> {
    let mut attributes = Attributes::new();
    attributes.set("body", Attribute::Graph(body));
    attributes.set("num_scan_inputs", Attribute::Int(scanned));
    if let Some(directions) = directions {
        attributes.set("scan_input_directions", Attribute::Ints(directions));
    }
    let mut graph = Graph {
        name: "scan_over_batch".to_owned(),
        ..Graph::default()
    };
    let mut values = |prefix: &str, count: usize| -> Vec<ValueId> {
        let value = |index| Value {
            name: format!("scan_over_batch_{prefix}_{index}"),
            ..Value::default()
        };
        (0..count).map(|index| graph.add_value(value(index))).collect()
    };
    let (inputs, outputs) = (values("input", inputs), values("output", outputs));
    let op = Op::parse("", "Scan", &mut attributes)?;
    graph.nodes.push(Node::new("", op, &inputs, &outputs));
    (graph.inputs, graph.outputs) = (inputs, outputs);
    Ok(graph)
}
