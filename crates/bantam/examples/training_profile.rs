//! Where the time of a training step goes: cross-entropy of the first output (the sum of its squares, if it is no list of
//! scores), gradients of all weights, random data.
//!
//!     cargo run --release -p bantam --example training_profile -- MODEL.onnx [BATCH] [STEPS] [bf16]
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use bantam::exec::{CompileOptions, Program, Taps, compile};
use bantam::graph::ops::{Reduce, ReduceKind, SoftmaxCrossEntropyLoss};
use bantam::graph::{
    Dim, Graph, InferOptions, ValueId, ValueType, differentiate, infer_shapes, training_mode,
};
use bantam::pipeline;
use bantam::tensor::{DType, Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("give an ONNX file")?;
    let batch = arguments.next().map_or(Ok(128), |count| count.parse())?;
    let steps = arguments.next().map_or(Ok(10), |count| count.parse())?;
    let bf16 = arguments.next().as_deref() == Some("bf16");
    let mut graph = pipeline::inline(&pipeline::load(Path::new(&model))?)?
        .into_owned()
        .graph;
    let inputs = inputs(&mut graph, batch)?;
    let program = step(&mut graph, bf16)?;
    let named: Vec<(&str, Tensor)> = inputs
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor.clone()))
        .collect();
    let mut whole = Vec::new();
    for _ in 0..steps {
        let start = Instant::now();
        program.run(&named, &mut Taps::none())?;
        whole.push(start.elapsed());
    }
    whole.sort();
    let median = whole[whole.len() / 2];
    println!(
        "{:.1} images/s, {:.1} ms a step (median)",
        batch as f64 / median.as_secs_f64(),
        median.as_secs_f64() * 1e3
    );
    report(&program, program.profile(&named)?);
    Ok(())
}

/// Makes weights inputs of the graph, as training does; gives values for all inputs.
fn inputs(graph: &mut Graph, batch: usize) -> Result<Vec<(String, Tensor)>, Box<dyn std::error::Error>> {
    let mut inputs = Vec::new();
    for &input in &graph.inputs.clone() {
        let value = &mut graph.values[input.index()];
        let ValueType::Tensor {
            shape: Some(dims), ..
        } = &mut value.ty
        else {
            return Err("an input without a shape".into());
        };
        dims[0] = Dim::Known(batch);
        let shape: Vec<usize> = dims.iter().map(|dim| dim.known().unwrap_or(1)).collect();
        let count: usize = shape.iter().product();
        let name = value.name.clone();
        if value.ty.dtype() == Some(DType::I64) {
            let indices: Vec<i64> = (0..count as i64).map(|i| (i * 7919) % 1009).collect();
            inputs.push((name, Tensor::from_slice(&shape, &indices)?));
            continue;
        }
        let noise: Vec<f32> = (0..count)
            .map(|i| ((i * 7919) % 1009) as f32 / 504.0 - 1.0)
            .collect();
        inputs.push((name, Tensor::from_slice(&shape, &noise)?));
    }
    let statistics: Vec<ValueId> = (graph.nodes.iter())
        .filter(|node| matches!(node.op, bantam::graph::Op::BatchNormalization(_)))
        .flat_map(|node| [node.input(3), node.input(4)])
        .flatten()
        .collect();
    for index in 0..graph.values.len() {
        let id = ValueId::new(index);
        let is_weight = |tensor: &Tensor| tensor.dtype() == DType::F32 && tensor.len() > 1;
        if statistics.contains(&id) || !graph.values[index].initializer.as_ref().is_some_and(is_weight) {
            continue;
        }
        let value = &mut graph.values[index];
        let tensor = value.initializer.take().ok_or("a weight")?;
        value.ty = ValueType::tensor(
            DType::F32,
            tensor.shape().iter().copied().map(Dim::Known).collect(),
        );
        inputs.push((value.name.clone(), tensor));
        graph.inputs.push(id);
    }
    Ok(inputs)
}

fn step(graph: &mut Graph, bf16: bool) -> Result<Program, Box<dyn std::error::Error>> {
    infer_shapes(graph, &InferOptions::default())?;
    let logits = *graph.outputs.first().ok_or("no output")?;
    let loss = loss(graph, logits);
    let training = training_mode(graph);
    let weights: Vec<ValueId> = graph.inputs[1..].to_vec();
    let mut step = differentiate(&training.graph, loss, &weights)?;
    step.graph.outputs = vec![loss];
    step.graph.outputs.extend(step.gradients.iter().flatten());
    step.graph
        .outputs
        .extend(training.running.iter().map(|(_, updated)| updated));
    let options = CompileOptions {
        bf16,
        ..CompileOptions::default()
    };
    Ok(compile(&step.graph, &options)?)
}

fn loss(graph: &mut Graph, output: ValueId) -> ValueId {
    let dims = graph.value(output).ty.shape().unwrap_or_default();
    if let &[Dim::Known(batch), _] = dims {
        let labels: Vec<i64> = (0..batch as i64).map(|i| i % 10).collect();
        let labels = graph.add_constant("labels", Tensor::from_vec1(&labels));
        let loss = SoftmaxCrossEntropyLoss {
            ignore_index: None,
            reduction: "mean".to_owned(),
        };
        return graph.add_node("loss", loss, &[output, labels]);
    }
    let sum = Reduce {
        kind: ReduceKind::SumSquare,
        keepdims: false,
        noop_with_empty_axes: false,
    };
    graph.add_node("loss", sum, &[output])
}

/// The time of each kernel, then of each step that takes more than a hundredth.
fn report(program: &Program, times: Vec<Duration>) {
    let total: Duration = times.iter().sum();
    let mut kernels: BTreeMap<String, (Duration, usize)> = BTreeMap::new();
    let steps = program.steps();
    for (step, time) in steps.iter().zip(&times) {
        let op = step.node.rsplit('(').next().unwrap_or_default();
        let entry = kernels.entry(format!("{} ({op}", step.kernel)).or_default();
        entry.0 += *time;
        entry.1 += 1;
    }
    let mut kernels: Vec<_> = kernels.into_iter().collect();
    kernels.sort_by_key(|(_, (time, _))| std::cmp::Reverse(*time));
    for (kernel, (time, count)) in kernels {
        println!("{:8.2} ms {count:4} x {kernel}", time.as_secs_f64() * 1e3);
    }
    println!("steps of more than a hundredth:");
    for (step, time) in steps.iter().zip(&times).filter(|(_, time)| **time * 100 > total) {
        println!(
            "{:8.2} ms {} {} [{}]",
            time.as_secs_f64() * 1e3,
            step.node,
            step.output,
            step.kernel
        );
    }
}
