//! Small networks with fixed weights, calibration data, and what a quantized graph computes.

use bantam_compress::plan::{Action, Decision, Plan, Site};
use bantam_compress::quantize::{QuantizeError, QuantizeSettings, method_by_name};
use bantam_compress::stats::{ObserveOptions, observe};
use bantam_compress::target::Target;
use bantam_compress::{measure_layer_errors, rewrite};
use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::ops::{AutoPad, Conv, MaxPool};
use bantam_graph::{Dim, Graph, InferOptions, ValueId, infer_shapes, verify};
use bantam_tensor::{Batch, BatchSize, DType, Samples, SamplesError, Tensor};

/// Numbers in -1..1 that look random.
pub(crate) fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// A constant of noise.
pub(crate) fn constant(graph: &mut Graph, name: &str, shape: &[usize], gain: f32) -> ValueId {
    let seed = name.bytes().fold(7u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    let values = noise(shape.iter().product(), seed);
    let values: Vec<f32> = values.iter().map(|x| x * gain).collect();
    graph.add_constant(name, Tensor::from_slice(shape, &values).unwrap())
}

/// An input `[N, ...]`.
pub(crate) fn input(graph: &mut Graph, shape: &[usize]) -> ValueId {
    let dims = shape.iter().copied().map(Dim::Known);
    let dims = [Dim::Symbol("N".into())].into_iter().chain(dims).collect();
    graph.add_input("x", DType::F32, dims)
}

/// The attributes of a convolution that keeps the size.
pub(crate) fn same_size(kernel: usize, group: i64) -> Conv {
    Conv {
        auto_pad: AutoPad::NotSet,
        dilations: Vec::new(),
        group,
        kernel_shape: Vec::new(),
        pads: vec![kernel as i64 / 2; 4],
        strides: Vec::new(),
    }
}

/// A 3x3 convolution with a bias.
pub(crate) fn convolution(graph: &mut Graph, name: &str, x: ValueId, [from, to]: [usize; 2]) -> ValueId {
    let weight = constant(graph, &format!("{name}_w"), &[to, from, 3, 3], 0.5);
    let bias = constant(graph, &format!("{name}_b"), &[to], 0.3);
    graph.add_node(name, same_size(3, 1), &[x, weight, bias])
}

/// The largest of 2x2 windows.
pub(crate) fn max_pool(graph: &mut Graph, name: &str, x: ValueId) -> ValueId {
    let pool = MaxPool {
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
        dilations: Vec::new(),
        kernel_shape: vec![2, 2],
        pads: Vec::new(),
        storage_order: 0,
        strides: vec![2, 2],
    };
    graph.add_node(name, pool, &[x])
}

/// Makes values outputs, and finds types and shapes.
pub(crate) fn finish(mut graph: Graph, outputs: &[ValueId]) -> Graph {
    graph.outputs.extend(outputs);
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    verify(&graph).unwrap();
    graph
}

/// Eight samples of noise for the input `x` of a graph.
pub(crate) struct Noise(Vec<usize>);

impl Noise {
    pub(crate) fn for_graph(graph: &Graph) -> Noise {
        let dims = graph.value(graph.inputs[0]).ty.shape().unwrap();
        Noise(dims[1..].iter().map(|dim| dim.known().unwrap()).collect())
    }

    pub(crate) fn all(&self) -> Batch {
        self.batch(&[0, 1, 2, 3, 4, 5, 6, 7]).unwrap()
    }
}

impl Samples for Noise {
    fn len(&self) -> usize {
        8
    }

    fn has_labels(&self) -> bool {
        false
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, SamplesError> {
        let size: usize = self.0.iter().product();
        let values: Vec<f32> = indices
            .iter()
            .flat_map(|&index| noise(size, index as u32))
            .collect();
        let shape: Vec<usize> = [&[indices.len()][..], &self.0].concat();
        let x = Tensor::from_slice(&shape, &values).expect("so many values");
        Ok(Batch {
            inputs: vec![("x".to_owned(), x)],
            labels: None,
        })
    }
}

/// The plan and the graph that it makes.
pub(crate) fn quantized(
    graph: &Graph,
    method: &str,
    target: &'static Target,
    edit: impl Fn(&mut QuantizeSettings),
) -> Result<(Plan, Graph), QuantizeError> {
    let mut settings = QuantizeSettings::for_target(target);
    edit(&mut settings);
    let (method, samples) = (method_by_name(method).unwrap(), Noise::for_graph(graph));
    let options = ObserveOptions {
        indices: &[0, 1, 2, 3, 4, 5, 6, 7],
        batch_size: BatchSize::AtMost(3),
        progress: &|_| (),
    };
    let requests = method.requests(graph, &settings)?;
    let stats = observe(graph, &samples, &requests, &options).unwrap();
    let mut plan = method.plan(graph, &stats, &settings)?;
    let result = rewrite(graph, &plan).unwrap();
    verify(&result).unwrap();
    measure_layer_errors(graph, &result, &mut plan, &samples.all()).unwrap();
    let names = result.nodes.iter().map(|node| node.name.as_str());
    let mut names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    Ok((plan, result))
}

/// Signal to noise in decibels of the outputs of `second` against those of `first`, the worst of all outputs.
pub(crate) fn agreement(first: &Graph, second: &Graph) -> f64 {
    let batch = Noise::for_graph(first).all();
    let run = |graph: &Graph| {
        let program = compile(graph, &CompileOptions::default()).unwrap();
        let inputs: Vec<(&str, Tensor)> = batch
            .inputs
            .iter()
            .map(|(n, t)| (n.as_str(), t.clone()))
            .collect();
        program.run(&inputs, &mut Taps::none()).unwrap()
    };
    let of_output = |(a, b): (Tensor, Tensor)| {
        let (a, b) = (a.to_f64().unwrap(), b.to_f64().unwrap());
        let noise: f64 = a.iter().zip(&b).map(|(a, b)| (a - b) * (a - b)).sum();
        10.0 * (a.iter().map(|a| a * a).sum::<f64>() / noise).log10()
    };
    let outputs = run(first).into_iter().zip(run(second));
    outputs.map(of_output).fold(f64::INFINITY, f64::min)
}

/// Scale and zero point of a quantized activation.
pub(crate) fn scale_of(plan: &Plan, name: &str) -> Option<(f32, i32)> {
    plan.decisions
        .iter()
        .find_map(|decision| match (&decision.site, &decision.action) {
            (Site::Value(value), Action::QuantizeActivation(params)) if value == name => {
                Some((params.scale[0], params.zero_point[0]))
            }
            _ => None,
        })
}

/// The reason why a node stays in float.
pub(crate) fn kept<'a>(plan: &'a Plan, node: &str) -> Option<&'a str> {
    let is_kept = |decision: &&Decision| {
        decision.action == Action::Keep && decision.site == Site::Node(node.to_owned())
    };
    plan.decisions
        .iter()
        .find(is_kept)
        .map(|decision| decision.why.as_str())
}
