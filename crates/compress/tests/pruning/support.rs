//! Small networks, and samples with labels.

use bantam_compress::plan::Plan;
use bantam_compress::prune::criterion::{CRITERIA, Criterion, Judges, criterion_by_name};
use bantam_compress::prune::reconstruct::reconstruction_by_name;
use bantam_compress::prune::{Calibration, Evidence, PruneError, PruneSettings, Structure, prunable, prune};
use bantam_compress::train::Loss;
use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::ops::{AutoPad, BatchNormalization, Conv, Flatten, Gemm, Unary};
use bantam_graph::{Dim, Graph, InferOptions, ValueId, coupling, infer_shapes};
use bantam_tensor::{Batch, BatchSize, DType, Samples, SamplesError, SplitMix64, Tensor};

/// The criteria that judge elements of weights.
pub(crate) fn of_elements() -> impl Iterator<Item = &'static dyn Criterion> {
    CRITERIA
        .iter()
        .copied()
        .filter(|criterion| criterion.judges() == Judges::Elements)
}

/// Numbers in -1..1.
pub(crate) fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::new(seed);
    (0..count).map(|_| random.unit() * 2.0 - 1.0).collect()
}

/// So many samples of noise whose neighbours depend on each other, with one of three labels.
pub(crate) struct Noise {
    pub(crate) count: usize,
    pub(crate) shape: Vec<usize>,
}

impl Samples for Noise {
    fn len(&self) -> usize {
        self.count
    }

    fn has_labels(&self) -> bool {
        true
    }

    fn batch(&self, indices: &[usize]) -> Result<Batch, SamplesError> {
        let size: usize = self.shape.iter().product();
        let sample = |index: &usize| {
            let noise = noise(size + 1, *index as u64 + 11);
            (0..size)
                .map(move |i| noise[i] + 0.7 * noise[i + 1] + 0.3)
                .collect::<Vec<f32>>()
        };
        let values: Vec<f32> = indices.iter().flat_map(sample).collect();
        let labels: Vec<i64> = indices.iter().map(|index| (*index % 3) as i64).collect();
        let shape = [&[indices.len()][..], &self.shape].concat();
        Ok(Batch {
            inputs: vec![(
                "x".to_owned(),
                Tensor::from_slice(&shape, &values).expect("so many"),
            )],
            labels: Some(Tensor::from_vec1(&labels)),
        })
    }
}

fn constant(graph: &mut Graph, name: &str, shape: &[usize], seed: u64) -> ValueId {
    let values = noise(shape.iter().product(), seed);
    graph.add_constant(name, Tensor::from_slice(shape, &values).unwrap())
}

fn input(graph: &mut Graph, shape: &[usize]) -> ValueId {
    let dims = shape.iter().copied().map(Dim::Known);
    graph.add_input(
        "x",
        DType::F32,
        [Dim::Symbol("N".into())].into_iter().chain(dims).collect(),
    )
}

fn finished(mut graph: Graph, output: ValueId) -> Graph {
    graph.outputs = vec![output];
    infer_shapes(&mut graph, &InferOptions::default()).unwrap();
    graph
}

pub(crate) fn gemm(trans_b: bool) -> Gemm {
    Gemm {
        alpha: 1.0,
        beta: 1.0,
        transA: false,
        transB: trans_b,
    }
}

fn conv(group: i64) -> Conv {
    Conv {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group,
        kernel_shape: vec![],
        pads: vec![1; 4],
        strides: vec![],
    }
}

/// Scores of 5 inputs: one matrix `w` of `[5, 3]` and a bias.
pub(crate) fn linear() -> (Graph, Noise) {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[5]);
    let w = constant(&mut graph, "w", &[5, 3], 1);
    let b = constant(&mut graph, "b", &[3], 2);
    let y = graph.add_node("scores", gemm(false), &[x, w, b]);
    let shape = vec![5];
    (finished(graph, y), Noise { count: 40, shape })
}

/// Two convolutions, the second in groups, with BatchNormalization behind the first; then a matrix.
pub(crate) fn convolutions() -> (Graph, Noise) {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[3, 5, 5]);
    let w = constant(&mut graph, "first", &[8, 3, 3, 3], 1);
    let y = graph.add_node("conv1", conv(1), &[x, w]);
    let mut inputs = vec![y];
    for (name, value) in [("scale", 0.9), ("shift", 0.1), ("mean", 0.2), ("variance", 1.5)] {
        inputs.push(graph.add_constant(name, Tensor::from_vec1(&[value as f32; 8])));
    }
    let normalization = BatchNormalization {
        epsilon: 1e-5,
        momentum: 0.9,
        training_mode: false,
    };
    let y = graph.add_node("norm", normalization, &inputs);
    let y = graph.add_node("relu", Unary::Relu, &[y]);
    let w = constant(&mut graph, "second", &[8, 4, 3, 3], 3);
    let b = constant(&mut graph, "second_b", &[8], 4);
    let y = graph.add_node("conv2", conv(2), &[y, w, b]);
    let y = graph.add_node("tanh", Unary::Tanh, &[y]);
    let y = graph.add_node("flat", Flatten { axis: 1 }, &[y]);
    let w = constant(&mut graph, "last", &[3, 200], 5);
    let b = constant(&mut graph, "last_b", &[3], 6);
    let y = graph.add_node("scores", gemm(true), &[y, w, b]);
    let shape = vec![3, 5, 5];
    (finished(graph, y), Noise { count: 24, shape })
}

/// Two convolutions of 6 and 4 channels with Relu behind them, then a matrix.
pub(crate) fn chain() -> (Graph, Noise) {
    let mut graph = Graph::default();
    let x = input(&mut graph, &[3, 5, 5]);
    let w = constant(&mut graph, "first", &[6, 3, 3, 3], 1);
    let b = constant(&mut graph, "first_b", &[6], 2);
    let y = graph.add_node("conv1", conv(1), &[x, w, b]);
    let y = graph.add_node("relu1", Unary::Relu, &[y]);
    let w = constant(&mut graph, "second", &[4, 6, 3, 3], 3);
    let b = constant(&mut graph, "second_b", &[4], 4);
    let y = graph.add_node("conv2", conv(1), &[y, w, b]);
    let y = graph.add_node("relu2", Unary::Relu, &[y]);
    let y = graph.add_node("flat", Flatten { axis: 1 }, &[y]);
    let w = constant(&mut graph, "last", &[3, 100], 5);
    let b = constant(&mut graph, "last_b", &[3], 6);
    let y = graph.add_node("scores", gemm(true), &[y, w, b]);
    let shape = vec![3, 5, 5];
    (finished(graph, y), Noise { count: 24, shape })
}

pub(crate) fn settings(criterion: &str, structure: &str, sparsity: f64) -> PruneSettings {
    let structure = Structure::parse(structure).unwrap();
    PruneSettings {
        criterion: criterion_by_name(criterion).unwrap(),
        structure,
        sparsity: structure.implied_sparsity().is_none().then_some(sparsity),
        steps: 1,
        permute: false,
        scope: None,
        reconstruction: None,
        recalibrate: false,
        include: Vec::new(),
        exclude: Vec::new(),
        seed: 3,
    }
}

pub(crate) fn with(mut settings: PruneSettings, reconstruction: &str) -> PruneSettings {
    settings.reconstruction = reconstruction_by_name(reconstruction);
    settings.recalibrate = true;
    settings
}

/// Calls `run` with all samples.
pub(crate) fn calibrated<T>(samples: &Noise, run: impl FnOnce(&Calibration<'_>) -> T) -> T {
    let indices: Vec<usize> = (0..samples.count).collect();
    run(&Calibration {
        samples,
        indices: &indices,
        batch_size: BatchSize::AtMost(7),
        loss: Loss::CrossEntropy,
        seed: 1,
        progress: &|_, _, _| (),
    })
}

pub(crate) fn plan(graph: &Graph, samples: &Noise, settings: &PruneSettings) -> Result<Plan, PruneError> {
    calibrated(samples, |calibration| prune(graph, settings, Some(calibration)))
}

/// The saliencies of all weights.
pub(crate) fn saliency(graph: &Graph, samples: &Noise, criterion: &str) -> Vec<Vec<f32>> {
    saliency_by_seed(graph, samples, criterion, 3)
}

/// The same, with another seed.
pub(crate) fn saliency_by_seed(graph: &Graph, samples: &Noise, criterion: &str, seed: u64) -> Vec<Vec<f32>> {
    let (weights, _) = prunable(graph, &vec![None; graph.nodes.len()]);
    let scored = calibrated(samples, |calibration| {
        criterion_by_name(criterion).unwrap().saliency(&Evidence {
            graph,
            weights: &weights,
            calibration: Some(calibration),
            seed,
        })
    });
    scored.unwrap()
}

/// The saliencies of the units of all groups.
pub(crate) fn of_units(graph: &Graph, samples: &Noise, criterion: &str) -> Result<Vec<Vec<f64>>, PruneError> {
    let (weights, _) = prunable(graph, &vec![None; graph.nodes.len()]);
    let coupling = coupling(graph);
    let groups: Vec<_> = coupling.groups.iter().collect();
    calibrated(samples, |calibration| {
        let evidence = Evidence {
            graph,
            weights: &weights,
            calibration: Some(calibration),
            seed: 3,
        };
        criterion_by_name(criterion).unwrap().of_units(&evidence, &groups)
    })
}

/// The first output for all samples, and a value on the way.
pub(crate) fn run(graph: &Graph, samples: &Noise, observed: &str) -> [Vec<f32>; 2] {
    let mut graph = graph.clone();
    let observed = graph.value_by_name(observed).unwrap();
    if !graph.outputs.contains(&observed) {
        graph.outputs.push(observed);
    }
    let program = compile(&graph, &CompileOptions::default()).unwrap();
    let batch = samples.batch(&(0..samples.count).collect::<Vec<_>>()).unwrap();
    let outputs = program
        .run(&[("x", batch.inputs[0].1.clone())], &mut Taps::none())
        .unwrap();
    let values = |output: &Tensor| output.to_f32().unwrap();
    [values(&outputs[0]), values(&outputs[outputs.len() - 1])]
}

/// All samples, one after another.
pub(crate) fn samples_of(samples: &Noise) -> Vec<f32> {
    let batch = samples.batch(&(0..samples.count).collect::<Vec<_>>()).unwrap();
    batch.inputs[0].1.to_f32().unwrap()
}

/// The elements of a constant.
pub(crate) fn values(graph: &Graph, name: &str) -> Vec<f32> {
    graph
        .constant(graph.value_by_name(name).unwrap())
        .unwrap()
        .to_f32()
        .unwrap()
}
