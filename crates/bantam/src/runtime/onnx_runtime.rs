//! ONNX Runtime.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bantam_compress::evaluate::{Runner, RunnerError};
use bantam_graph::Op;
use bantam_tensor::{DType, Element, Tensor};
use half::{bf16, f16};
use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};

use super::library::{self, Library};
use super::{RuntimeError, RuntimeKind, RuntimeVersion, inputs};

const KIND: RuntimeKind = RuntimeKind::OnnxRuntime;

/// One model in ONNX Runtime.
pub(super) struct OnnxRuntime {
    session: Session,
    inputs: Vec<String>,
}

impl OnnxRuntime {
    pub(super) fn open(model_path: &Path, threads: usize) -> Result<OnnxRuntime, RuntimeError> {
        let (environment, _) = load()?;
        let session = session(&environment, model_path, threads).map_err(|error| RuntimeError::Model {
            runtime: KIND,
            path: model_path.to_path_buf(),
            reason: error.to_string(),
        })?;
        let inputs = session
            .inputs()
            .iter()
            .map(|input| input.name().to_string())
            .collect();
        Ok(OnnxRuntime { session, inputs })
    }

    fn try_run(&mut self, given: &[(&str, Tensor)]) -> Result<Vec<Tensor>, RuntimeError> {
        inputs::check(&self.inputs, given)?;
        let values: Vec<(&str, SessionInputValue<'_>)> = given
            .iter()
            .map(|(name, tensor)| Ok((*name, input(name, tensor)?)))
            .collect::<Result<_, RuntimeError>>()?;
        let outputs = self.session.run(values).map_err(failed)?;
        (0..outputs.len())
            .map(|index| output(index, &outputs[index]))
            .collect()
    }
}

impl Runner for OnnxRuntime {
    fn name(&self) -> &str {
        KIND.name()
    }

    fn run(&mut self, inputs: &[(&str, Tensor)]) -> Result<Vec<Tensor>, RunnerError> {
        self.try_run(inputs).map_err(|error| RunnerError(Box::new(error)))
    }
}

/// The version of the library.
pub(super) fn version() -> Result<RuntimeVersion, RuntimeError> {
    let (_, library) = load()?;
    let version = version_of_file(&library).unwrap_or_else(|| commit_of_build(ort::info()));
    Ok(RuntimeVersion {
        kind: KIND,
        version,
        library,
    })
}

/// The environment of all sessions, of which a process may have one, and the library it came from.
fn load() -> Result<(Environment, PathBuf), RuntimeError> {
    static LOADED: Mutex<Option<(Environment, PathBuf)>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = &*loaded {
        return Ok(loaded.clone());
    }
    let (environment, path) = library::load(KIND, |path| {
        let environment = ort::init_from(path).map_err(|error| error.to_string())?;
        let environment = environment.with_name("bantam").with_telemetry(false);
        environment.build().map_err(|error| error.to_string())
    })?;
    Ok(loaded.insert((environment, path)).clone())
}

fn session(environment: &Environment, model_path: &Path, threads: usize) -> ort::Result<Session> {
    let mut builder = Session::builder(environment)?.with_intra_threads(threads)?;
    if rounds_to_small_floats(model_path) {
        builder = builder.with_optimization_level(GraphOptimizationLevel::Level1)?;
    }
    builder.commit_from_file(model_path)
}

/// Whether activations become floats of 8 bits: from its second level of optimization on, ONNX Runtime (1.32) removes a Relu before these as if
/// their code of zero were the least.
fn rounds_to_small_floats(model_path: &Path) -> bool {
    let Ok(model) = bantam_formats::onnx::load(model_path) else {
        return false;
    };
    let graph = &model.graph;
    graph.nodes.iter().any(|node| {
        let zero = graph.constant_input(node, 2).map(Tensor::dtype);
        matches!(node.op, Op::QuantizeLinear(_)) && zero.is_some_and(DType::is_float)
    })
}

/// The version in the name of the library's file, behind any symbolic links.
fn version_of_file(library: &Path) -> Option<String> {
    let file = library.canonicalize().ok()?;
    let version = Library::of(KIND).version_in(file.file_name()?.to_str()?)?;
    Some(version.to_string()).filter(|version| version.contains('.'))
}

/// The commit in ONNX Runtime's description of its build, or else all of the description.
fn commit_of_build(description: &str) -> String {
    let fields = description.split(", ");
    let mut commits = fields.filter_map(|field| field.strip_prefix("git-commit-id="));
    commits
        .next()
        .map_or_else(|| description.to_string(), |commit| format!("commit {commit}"))
}

fn failed(error: ort::Error) -> RuntimeError {
    RuntimeError::Run {
        runtime: KIND,
        reason: error.to_string(),
    }
}

/// A view of `tensor`.
fn input<'t>(name: &str, tensor: &'t Tensor) -> Result<SessionInputValue<'t>, RuntimeError> {
    match tensor.dtype() {
        DType::F32 => view::<f32>(tensor),
        DType::F64 => view::<f64>(tensor),
        DType::F16 => view::<f16>(tensor),
        DType::BF16 => view::<bf16>(tensor),
        DType::I8 => view::<i8>(tensor),
        DType::I16 => view::<i16>(tensor),
        DType::I32 => view::<i32>(tensor),
        DType::I64 => view::<i64>(tensor),
        DType::U8 => view::<u8>(tensor),
        DType::U16 => view::<u16>(tensor),
        DType::U32 => view::<u32>(tensor),
        DType::U64 => view::<u64>(tensor),
        DType::Bool => {
            let values: Vec<bool> = tensor.bools()?.iter().map(|&value| value != 0).collect();
            owned(tensor.shape(), values)
        }
        dtype => Err(RuntimeError::InputType {
            runtime: KIND,
            name: name.to_string(),
            dtype,
        }),
    }
}

fn view<T>(tensor: &Tensor) -> Result<SessionInputValue<'_>, RuntimeError>
where
    T: Element + PrimitiveTensorElementType + std::fmt::Debug,
{
    match tensor.values::<T>()? {
        Cow::Borrowed(values) => {
            let view = TensorRef::from_array_view((tensor.shape().to_vec(), values));
            Ok(view.map_err(failed)?.into())
        }
        Cow::Owned(values) => owned(tensor.shape(), values),
    }
}

fn owned<T>(shape: &[usize], values: Vec<T>) -> Result<SessionInputValue<'static>, RuntimeError>
where
    T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static,
{
    let tensor = ort::value::Tensor::from_array((shape.to_vec(), values));
    Ok(tensor.map_err(failed)?.into())
}

/// A copy of the output at `index`.
fn output(index: usize, value: &DynValue) -> Result<Tensor, RuntimeError> {
    use TensorElementType as Type;
    let dtype = match value.dtype() {
        ValueType::Tensor { ty, .. } => *ty,
        _ => Type::Undefined,
    };
    match dtype {
        Type::Float32 => copy::<f32>(value),
        Type::Float64 => copy::<f64>(value),
        Type::Float16 => copy::<f16>(value),
        Type::Bfloat16 => copy::<bf16>(value),
        Type::Int8 => copy::<i8>(value),
        Type::Int16 => copy::<i16>(value),
        Type::Int32 => copy::<i32>(value),
        Type::Int64 => copy::<i64>(value),
        Type::Uint8 => copy::<u8>(value),
        Type::Uint16 => copy::<u16>(value),
        Type::Uint32 => copy::<u32>(value),
        Type::Uint64 => copy::<u64>(value),
        Type::Bool => {
            let (shape, values) = value.try_extract_tensor::<bool>().map_err(failed)?;
            Ok(Tensor::from_bools(&dimensions(shape), values)?)
        }
        _ => Err(RuntimeError::OutputType {
            runtime: KIND,
            index,
            dtype: value.dtype().to_string(),
        }),
    }
}

fn copy<T: Element + PrimitiveTensorElementType>(value: &DynValue) -> Result<Tensor, RuntimeError> {
    let (shape, values) = value.try_extract_tensor::<T>().map_err(failed)?;
    Ok(Tensor::from_slice(&dimensions(shape), values)?)
}

/// The dimensions of a computed tensor, which are never negative.
fn dimensions(shape: &[i64]) -> Vec<usize> {
    shape
        .iter()
        .map(|&dimension| dimension.unsigned_abs() as usize)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_stands_for_an_unknown_version() {
        let description = "ORT Build Info: git-branch=HEAD, git-commit-id=fab30a4, build type=Release";
        assert_eq!(commit_of_build(description), "commit fab30a4");
        assert_eq!(commit_of_build("something else"), "something else");
    }
}
