//! One case: a model and what it gives for some inputs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_formats::onnx::{SaveOptions, save};
use bantam_graph::coupling::Group;
use bantam_graph::{Graph, InferOptions, Model, Op, Patch, coupling, infer_shapes};
use bantam_tensor::{SplitMix64, Tensor};

use crate::comparison::{Tolerance, compare, same_model};
use crate::protobuf;

const KINDS: &[&str] = &["node", "simple", "pytorch-converted", "pytorch-operator", "light"];

/// A case of the standard.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// Domain and name of the ops in the file.
    pub(crate) ops: Vec<(String, String)>,
}

/// Every case under a folder of kinds, sorted by kind and name.
pub(crate) fn find(folder: &Path) -> io::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for kind in KINDS
        .iter()
        .map(|kind| folder.join(kind))
        .filter(|kind| kind.is_dir())
    {
        let mut folders = fs::read_dir(kind)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        folders.sort();
        for folder in folders
            .into_iter()
            .filter(|folder| folder.join("model.onnx").is_file())
        {
            let name = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let model = fs::read(folder.join("model.onnx"))?;
            let ops = protobuf::ops_of_model(&model).map_err(io::Error::other)?;
            cases.push(Case { name, folder, ops });
        }
    }
    Ok(cases)
}

impl Case {
    pub(crate) fn model_path(&self) -> PathBuf {
        self.folder.join("model.onnx")
    }

    /// Loads, compiles and runs the model on each data set and compares the outputs.
    pub(crate) fn run(&self) -> Result<(), String> {
        let graph = load(&self.model_path())?.graph;
        self.data_sets()?
            .iter()
            .try_for_each(|data_set| self.check(&graph, data_set))
    }

    /// Loads, saves and loads the model: both must say the same, and give the same outputs where the first gives any.
    pub(crate) fn round_trip(&self) -> Result<(), String> {
        let first = load(&self.model_path())?;
        let second = self.save_and_load(&first)?;
        same_model(&first, &second)?;
        // What Bantam has written once it writes again without any change.
        if self.save_and_load(&second)? != second {
            return Err("the model changed when it was saved again".to_owned());
        }
        for data_set in self.data_sets()? {
            let Ok(inputs) = tensors(&data_set, "input") else {
                continue;
            };
            let Ok(expected) = run(&first.graph, inputs.clone()) else {
                continue;
            };
            if run(&second.graph, inputs)? != expected {
                return Err("the outputs changed".to_owned());
            }
        }
        Ok(())
    }

    /// Removes half of what can go of each group, and compares with zeros in its place; gives how many units went.
    pub(crate) fn prune(&self) -> Result<usize, String> {
        let mut graph = load(&self.model_path())?.graph;
        with_random_weights(&mut graph)?;
        infer_shapes(&mut graph, &InferOptions::default()).map_err(|error| error.to_string())?;
        let coupling = coupling(&graph);
        let half =
            |(number, group): (usize, &Group)| (0..group.units.len() / 2).map(move |unit| (number, unit));
        let units: Vec<(usize, usize)> = coupling.groups.iter().enumerate().flat_map(half).collect();
        let smaller = coupling
            .remove(&graph, &units)
            .map_err(|error| error.to_string())?;
        let masked = coupling.mask(&graph, &units).map_err(|error| error.to_string())?;
        let inputs = random_inputs(&graph)?;
        let expected = run(&masked, inputs.clone())?;
        for (got, expected) in run(&smaller, inputs)?.iter().zip(&expected) {
            compare(got, expected, self.tolerance()?)?;
        }
        Ok(units.len())
    }

    fn save_and_load(&self, model: &Model) -> Result<Model, String> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.onnx", self.name));
        let saved = save(model, &path, &SaveOptions::default()).map_err(|error| error.to_string());
        let again = saved.and_then(|()| load(&path));
        let _ = fs::remove_file(&path);
        again
    }

    /// The folders of inputs and outputs.
    pub(crate) fn data_sets(&self) -> Result<Vec<PathBuf>, String> {
        let folders = (0..).map(|index| self.folder.join(format!("test_data_set_{index}")));
        let folders: Vec<PathBuf> = folders.take_while(|folder| folder.is_dir()).collect();
        if folders.is_empty() {
            Err("the case has no data".to_owned())
        } else {
            Ok(folders)
        }
    }

    fn check(&self, graph: &Graph, data_set: &Path) -> Result<(), String> {
        let expected = tensors(data_set, "output")?;
        let outputs = run(graph, tensors(data_set, "input")?)?;
        let tolerance = self.tolerance()?;
        for (index, (got, expected)) in outputs.iter().zip(&expected).enumerate() {
            compare(got, expected, tolerance).map_err(|why| format!("output {index}: {why}"))?;
        }
        if outputs.len() < expected.len() {
            return Err(format!("{} outputs instead of {}", outputs.len(), expected.len()));
        }
        Ok(())
    }

    fn tolerance(&self) -> Result<Tolerance, String> {
        let text = fs::read_to_string(self.folder.join("data.json")).unwrap_or_else(|_| "{}".to_owned());
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let number = |key: &str, default| json[key].as_f64().unwrap_or(default);
        Ok(Tolerance {
            relative: number("rtol", 1e-3),
            absolute: number("atol", 1e-7),
        })
    }
}

fn load(path: &Path) -> Result<Model, String> {
    bantam_formats::onnx::load(path).map_err(|error| error.to_string())
}

/// Compiles and runs a graph on inputs in the graph's order.
pub(crate) fn run(graph: &Graph, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, String> {
    let program = compile(graph, &CompileOptions::default()).map_err(|error| error.to_string())?;
    let given = graph
        .inputs
        .iter()
        .filter(|id| graph.value(**id).initializer.is_none());
    let names = given.map(|id| graph.value(*id).name.as_str());
    let named: Vec<(&str, Tensor)> = names.zip(inputs).collect();
    program
        .run(&named, &mut Taps::none())
        .map_err(|error| error.to_string())
}

/// The tensors `input_0.pb`, `input_1.pb`... or `output_0.pb`...
pub(crate) fn tensors(folder: &Path, what: &str) -> Result<Vec<Tensor>, String> {
    let paths = (0..)
        .map(|index| folder.join(format!("{what}_{index}.pb")))
        .take_while(|path| path.is_file());
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).map_err(|error| error.to_string())?;
        protobuf::tensor(&bytes).map_err(|why| format!("{}: {why}", path.display()))
    };
    paths.map(read).collect()
}

/// Weights that the file only gives the shapes of, as random numbers.
fn with_random_weights(graph: &mut Graph) -> Result<(), String> {
    let mut random = SplitMix64::new(1);
    let mut patch = Patch::new(graph);
    for (id, node) in graph.node_ids() {
        let (Op::ConstantOfShape(_), Some(output)) = (&node.op, node.output(0)) else {
            continue;
        };
        let shape = graph.constant_input(node, 0).map(Tensor::to_i64).transpose();
        let shape = shape.map_err(|error| error.to_string())?.ok_or("no shape")?;
        let shape: Vec<usize> = shape
            .into_iter()
            .filter_map(|size| usize::try_from(size).ok())
            .collect();
        let fan: usize = shape.iter().skip(1).product();
        let scale = if shape.len() > 1 {
            (3.0 / fan as f32).sqrt()
        } else {
            0.1
        };
        // Scales and variances are around one.
        let around = if shape.len() > 1 { 0.0 } else { 1.0 };
        let numbers: Vec<f32> = (0..shape.iter().product())
            .map(|_| around + (random.unit() * 2.0 - 1.0) * scale)
            .collect();
        let tensor = Tensor::from_slice(&shape, &numbers).map_err(|error| error.to_string())?;
        let weight = patch.add_constant(&graph.value(output).name, tensor);
        patch.replace_uses(output, weight);
        patch.remove_node(id);
    }
    patch.apply(graph).map_err(|error| error.to_string())
}

/// Numbers from -1 to 1 for each input.
fn random_inputs(graph: &Graph) -> Result<Vec<Tensor>, String> {
    let mut random = SplitMix64::new(2);
    let given = graph.inputs.iter().map(|id| graph.value(*id));
    let given = given.filter(|value| value.initializer.is_none());
    given
        .map(|value| {
            let shape = value.ty.static_shape().ok_or("an input of unknown shape")?;
            let count = shape.iter().product();
            let numbers: Vec<f32> = (0..count).map(|_| random.unit() * 2.0 - 1.0).collect();
            Tensor::from_slice(&shape, &numbers).map_err(|error| error.to_string())
        })
        .collect()
}
