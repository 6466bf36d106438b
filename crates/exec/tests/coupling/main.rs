//! Units that are removed leave what zeros in their place would leave, in random graphs of the parts that networks are made of.

mod images;
mod net;
mod sequences;

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::{Dim, Graph, InferOptions, coupling, infer_shapes, verify};
use bantam_tensor::{SplitMix64, Tensor};
use net::Net;

const GRAPHS: u64 = 1000;

#[test]
fn removed_units_are_as_if_their_weights_were_zero() {
    let (mut removed, mut graphs) = (0, 0);
    for seed in 0..GRAPHS {
        let graph = match seed % 2 {
            0 => images::random(seed),
            _ => sequences::random(seed),
        };
        let count = check(graph, seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        removed += count;
        graphs += u64::from(count > 0);
    }
    assert!(
        graphs * 10 > GRAPHS * 9,
        "units were found in {graphs} graphs only"
    );
    assert!(removed > 2 * GRAPHS as usize, "{removed} units");
}

#[test]
fn units_that_change_places_change_nothing() {
    let (mut moved, mut graphs) = (0, 0);
    for seed in 0..GRAPHS {
        let graph = match seed % 2 {
            0 => images::random(seed),
            _ => sequences::random(seed),
        };
        let count = permute(graph, seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        moved += count;
        graphs += u64::from(count > 0);
    }
    assert!(
        graphs * 4 > GRAPHS * 3,
        "units could move in {graphs} graphs only"
    );
    assert!(moved > 2 * GRAPHS as usize, "{moved} groups");
}

/// Puts the units of each group that can be permuted in a random order; gives how many groups there were.
fn permute(mut graph: Graph, seed: u64) -> Result<usize, Box<dyn std::error::Error>> {
    infer_shapes(&mut graph, &InferOptions::default())?;
    let coupling = coupling(&graph);
    let mut random = SplitMix64::new(seed ^ 0x0de5);
    let (mut permuted, mut count) = (graph.clone(), 0);
    for (number, group) in coupling.groups.iter().enumerate() {
        let mut order: Vec<usize> = (0..group.units.len()).collect();
        random.shuffle(&mut order);
        match group.is_permutable() {
            true => permuted = coupling.permute(&permuted, number, &order)?,
            false => assert!(coupling.permute(&permuted, number, &order).is_err()),
        }
        count += usize::from(group.is_permutable());
    }
    compare(&run(&graph)?, &run(&permuted)?)
        .map_err(|difference| format!("{difference}\n{}", bantam_graph_text(&graph)))?;
    Ok(count)
}

/// Removes random units, and compares with the graph in which their weights are zero; gives how many there were.
fn check(mut graph: Graph, seed: u64) -> Result<usize, Box<dyn std::error::Error>> {
    infer_shapes(&mut graph, &InferOptions::default())?;
    verify(&graph)?;
    let coupling = coupling(&graph);
    let mut random = SplitMix64::new(seed ^ 0x5eed);
    let mut units = Vec::new();
    for (number, group) in coupling.groups.iter().enumerate() {
        let mut all: Vec<usize> = (0..group.units.len()).collect();
        random.shuffle(&mut all);
        all.truncate(random.below(group.units.len()));
        units.extend(all.into_iter().map(|unit| (number, unit)));
    }
    let smaller = coupling.remove(&graph, &units)?;
    verify(&smaller)?;
    let masked = coupling.mask(&graph, &units)?;
    compare(&run(&masked)?, &run(&smaller)?)
        .map_err(|difference| format!("{difference}\n{}", bantam_graph_text(&graph)))?;
    let parameters = |graph: &Graph| bantam_graph::cost(graph).parameters;
    assert!(units.is_empty() || parameters(&smaller) < parameters(&graph));
    Ok(units.len())
}

/// What differs by more than the order of sums explains.
fn compare(expected: &[Tensor], got: &[Tensor]) -> Result<(), Box<dyn std::error::Error>> {
    for (expected, got) in expected.iter().zip(got) {
        assert_eq!(expected.shape(), got.shape());
        let (expected, got) = (expected.to_f32()?, got.to_f32()?);
        let scale = expected.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
        for (expected, got) in expected.iter().zip(&got) {
            if !expected.is_finite() || (expected - got).abs() > 2e-4 * scale {
                return Err(format!("{got} instead of {expected}").into());
            }
        }
    }
    Ok(())
}

fn bantam_graph_text(graph: &Graph) -> String {
    let line = |node: &bantam_graph::Node| {
        let named = |values: &[Option<bantam_graph::ValueId>]| -> Vec<String> {
            let known = values.iter().flatten();
            known
                .map(|id| format!("{}: {}", graph.value(*id).name, graph.value(*id).ty))
                .collect()
        };
        format!(
            "{:?} = {}({:?})",
            named(&node.outputs),
            node.op.name(),
            named(&node.inputs)
        )
    };
    graph.nodes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn run(graph: &Graph) -> Result<Vec<Tensor>, Box<dyn std::error::Error>> {
    let program = compile(graph, &CompileOptions::default())?;
    let mut random = SplitMix64::new(7);
    let inputs: Vec<(&str, Tensor)> = (graph.inputs.iter())
        .map(|input| {
            let value = graph.value(*input);
            let size = |dim: &Dim| match dim {
                Dim::Known(size) => *size,
                Dim::Symbol(name) if name == "tokens" => 4,
                _ => 2,
            };
            let shape: Vec<usize> = value.ty.shape().unwrap_or_default().iter().map(size).collect();
            let count = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|_| random.unit() * 2.0 - 1.0).collect();
            (
                value.name.as_str(),
                Tensor::from_slice(&shape, &values).expect("as many"),
            )
        })
        .collect();
    Ok(program.run(&inputs, &mut Taps::none())?)
}

/// What couples with what, in networks that are small enough to count by hand.
mod by_hand {
    use super::*;
    use bantam_graph::ops::Unary;

    fn coupled(net: Net) -> (Graph, bantam_graph::Coupling) {
        let mut graph = net.graph;
        infer_shapes(&mut graph, &InferOptions::default()).unwrap();
        let coupling = coupling(&graph);
        (graph, coupling)
    }

    #[test]
    fn a_residual_stream_is_one_group_and_inner_channels_are_another() {
        let mut net = Net::new(1);
        let x = net.image(3);
        let stem = net.conv(x, 8, 3, 1, 1);
        let inner = net.conv(stem, 5, 3, 1, 1);
        let inner = net.add(Unary::Relu, &[inner]);
        let back = net.conv(inner, 8, 3, 1, 1);
        let sum = net.sum(stem, back);
        let y = net.classes(sum, 4);
        net.graph.outputs = vec![y];
        let (graph, coupling) = coupled(net);
        let sizes: Vec<usize> = coupling.groups.iter().map(|group| group.units.len()).collect();
        assert_eq!(sizes, [8, 5]);
        // The classes and the colours stay.
        let locked: Vec<(usize, &str)> = coupling
            .locked
            .iter()
            .map(|locked| (locked.positions, locked.reason.as_str()))
            .collect();
        assert!(
            locked.contains(&(4, "`output`: it is an output of the model")),
            "{locked:?}"
        );
        assert!(
            locked
                .iter()
                .any(|(count, reason)| *count == 3 && reason.contains("it is an input"))
        );
        assert!(graph.nodes.len() > 5);
    }

    #[test]
    fn nothing_may_be_emptied() {
        let mut net = Net::new(1);
        let x = net.image(3);
        let inner = net.conv(x, 2, 1, 1, 1);
        let y = net.classes(inner, 4);
        net.graph.outputs = vec![y];
        let (graph, coupling) = coupled(net);
        let error = coupling
            .remove(&graph, &[(0, 0), (0, 1)])
            .unwrap_err()
            .to_string();
        assert!(error.contains("nothing would be left"), "{error}");
        assert!(coupling.remove(&graph, &[(0, 2)]).is_err());
    }
}
