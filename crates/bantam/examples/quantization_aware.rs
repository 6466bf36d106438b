//! Quantization-aware training by plain gradient descent, without augmentation: the score in float, in codes before any
//! training, and after it.
//!
//!     cargo run --release -p bantam --example quantization_aware -- MODEL.onnx DATA.toml int4 uint4 300 [RATE] [RESULT.onnx] [RANGE]
#![allow(clippy::print_stdout)]

#[path = "../../compress/tests/aware/descent.rs"]
mod descent;

use std::path::Path;
use std::time::Instant;

use bantam::compress::evaluate::{EvaluateOptions, evaluate, metric_by_name};
use bantam::compress::quantize::aware::{Aware, AwareSettings, WeightMapping, bake, make_aware, prepare};
use bantam::compress::range::range_by_name;
use bantam::compress::stats::{ObserveOptions, Stats, observe};
use bantam::compress::target::target_by_name;
use bantam::exec::{CompileOptions, compile};
use bantam::formats::data::{Split, sample_indices};
use bantam::formats::onnx::SaveOptions;
use bantam::graph::{Graph, Model};
use bantam::pipeline;
use bantam::tensor::{BatchSize, DType, Samples, Tensor};
use descent::Descent;

const BATCH: usize = 128;
const CALIBRATION: usize = 512;
const SEED: u64 = 1;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, data, weights, activations, steps, rest @ ..] = arguments.as_slice() else {
        println!(
            "usage: quantization_aware MODEL DATA WEIGHTS|binary|ternary ACTIVATIONS STEPS [RATE] [RESULT] [RANGE]"
        );
        return Ok(());
    };
    let (steps, rate) = (
        steps.parse()?,
        rest.first().map_or(Ok(0.01), |rate| rate.parse::<f32>())?,
    );
    let model = pipeline::load(Path::new(model))?;
    let split = |name| pipeline::open_split(Path::new(data), name, &model.graph);
    let (train, test) = (split("train")?, split("test")?);
    let range = rest.get(2).map_or("mse", String::as_str);
    let mut aware = start(&model.graph, &train, [weights, activations], range)?;
    println!(
        "float      {:.2}",
        score(&pipeline::prepare(&model)?.graph, &test)?
    );
    println!("start      {:.2}", score(&bake(&aware)?.graph, &test)?);
    if steps > 0 {
        descend(&mut aware, &train, steps, rate)?;
        println!(
            "trained    {:.2}, with its quantizers",
            score(&aware.graph, &test)?
        );
    }
    let baked = bake(&aware)?;
    println!("in codes   {:.2}", score(&baked.graph, &test)?);
    if let Some(path) = rest.get(1) {
        let result = Model {
            graph: baked.graph,
            ..model
        };
        pipeline::export(&result, Path::new(path), &SaveOptions::default())?;
    }
    Ok(())
}

/// The graph with quantizers, their scales from calibration.
fn start(
    graph: &Graph,
    train: &Split,
    [weights, activations]: [&str; 2],
    range: &str,
) -> Result<Aware, Failure> {
    let mut settings = AwareSettings::for_target(target_by_name("onnxruntime").expect("listed"));
    match WeightMapping::from_name(weights) {
        Some(mapping) => {
            settings.weight_mapping = mapping;
            settings.set_formats("int4", activations)?;
        }
        None => settings.set_formats(weights, activations)?,
    }
    settings.quantize.range = range_by_name(range).ok_or("there is no such range method")?;
    let preparation = prepare(graph, &settings)?;
    let options = ObserveOptions {
        indices: &sample_indices(train.len(), CALIBRATION, SEED),
        batch_size: BatchSize::AtMost(32),
        progress: &|_| (),
    };
    let stats = match preparation.requests.as_slice() {
        [] => Stats::default(),
        requests => observe(&preparation.observed, train, requests, &options)?,
    };
    Ok(make_aware(&preparation, &stats)?)
}

/// Steps with a rate that falls as a cosine.
fn descend(aware: &mut Aware, train: &Split, steps: usize, rate: f32) -> Result<(), Failure> {
    let mut descent = Descent::new(aware);
    let mut order: Vec<usize> = Vec::new();
    let (begin, mut losses) = (Instant::now(), Vec::new());
    for step in 0..steps {
        if order.len() < BATCH {
            order = sample_indices(train.len(), train.len(), SEED + step as u64);
        }
        let batch = train.batch(&order.split_off(order.len() - BATCH))?;
        let labels = batch.labels.ok_or("the data set has no labels")?;
        let labels = Tensor::from_i64(DType::I64, labels.shape(), &labels.to_i64()?)?;
        let part = step as f32 / steps as f32;
        let now = rate * 0.5 * (1.0 + (std::f32::consts::PI * part).cos());
        losses.push(descent.step(&batch.inputs[0].1, &labels, now));
        if (step + 1) % 25 == 0 {
            let mean = losses.drain(..).sum::<f32>() / 25.0;
            let speed = ((step + 1) * BATCH) as f64 / begin.elapsed().as_secs_f64();
            println!("step {:4}  loss {mean:.3}  {speed:.0} images/s", step + 1);
        }
    }
    descent.write(aware);
    Ok(())
}

/// Top-1 accuracy on a split in percent.
fn score(graph: &Graph, split: &Split) -> Result<f64, Failure> {
    let mut program = compile(graph, &CompileOptions::default())?;
    let options = EvaluateOptions {
        limit: usize::MAX,
        batch_size: BatchSize::AtMost(64),
        progress: &|_| (),
    };
    let scores = evaluate(
        &mut program,
        split,
        &[metric_by_name("top1").expect("listed")],
        &options,
    )?;
    Ok(scores.metrics[0].1.value * 100.0)
}
