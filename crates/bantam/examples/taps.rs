//! What it costs to look at every activation of a network: time beside the plain run, and memory by the number of samples.
//!
//!     cargo run --release -p bantam --example taps -- MODEL.onnx DATA.toml [SAMPLES]
//!     cargo run --release -p bantam --example taps -- target/models/resnet50.onnx target/models/images.npy 32
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use bantam::compress::stats::{ObserveOptions, Request, Stat, observe};
use bantam::formats::data::Split;
use bantam::graph::{Graph, ValueId};
use bantam::tensor::{BatchSize, DType, Samples};
use bantam::{Error, pipeline};

const ROUNDS: usize = 7;
const BATCH: usize = 8;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, data, samples @ ..] = arguments.as_slice() else {
        println!("usage: taps MODEL DATA [SAMPLES]");
        return Ok(());
    };
    let count = samples
        .first()
        .and_then(|count| count.parse().ok())
        .unwrap_or(512);
    let model = pipeline::prepare(&pipeline::load(Path::new(model))?)?;
    let graph = &model.graph;
    let split = pipeline::open_split(Path::new(data), "train", graph)?;
    let activations = activations(graph);
    println!(
        "{} activations, {count} samples, batches of {BATCH}",
        activations.len()
    );
    let output = Request {
        value: graph.outputs[0],
        stat: Stat::MinMax,
    };
    let asks = [
        ("the output only", vec![output]),
        ("min-max of all", all(&activations, Stat::MinMax)),
        ("histograms of all", all(&activations, Stat::Histogram)),
        ("channel means of all", all(&activations, Stat::ChannelMeans)),
    ];
    let mut times = vec![Vec::new(); asks.len()];
    for _ in 0..ROUNDS {
        for ((_, requests), times) in asks.iter().zip(&mut times) {
            times.push(seconds(graph, &split, requests, count)?);
        }
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    for ((name, _), seconds) in asks.iter().zip(&medians) {
        println!(
            "{name:22} {:8.1} ms  {:.2} times the plain run",
            seconds * 1e3,
            seconds / medians[0]
        );
    }
    Ok(())
}

/// Everything that a node computes in `f32` from the inputs.
fn activations(graph: &Graph) -> Vec<ValueId> {
    let computed = graph.nodes.iter().flat_map(|node| node.outputs.iter().flatten());
    computed
        .copied()
        .filter(|id| graph.value(*id).ty.dtype() == Some(DType::F32))
        .collect()
}

fn all(values: &[ValueId], stat: Stat) -> Vec<Request> {
    values.iter().map(|&value| Request { value, stat }).collect()
}

fn seconds(graph: &Graph, split: &Split, requests: &[Request], count: usize) -> Result<f64, Error> {
    let indices: Vec<usize> = (0..count).map(|index| index % split.len()).collect();
    let start = Instant::now();
    let options = ObserveOptions {
        indices: &indices,
        batch_size: BatchSize::AtMost(BATCH),
        progress: &|_| {},
    };
    observe(graph, split, requests, &options)?;
    Ok(start.elapsed().as_secs_f64())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
