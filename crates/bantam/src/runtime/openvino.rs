//! OpenVINO.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bantam_compress::evaluate::{Runner, RunnerError};
use bantam_tensor::{DType, Tensor};
use openvino::{
    Core, DeviceType, ElementType, InferRequest, InferenceError, RwPropertyKey, SetupError, Shape,
};

use super::{RuntimeError, RuntimeKind, RuntimeVersion, inputs, library};

const KIND: RuntimeKind = RuntimeKind::OpenVino;

/// One model in OpenVINO, compiled for the CPU.
///
/// Dimensions that the model leaves open stay open: a static shape was not faster.
pub(super) struct OpenVino {
    request: InferRequest,
    inputs: Vec<String>,
    /// The tensor that each input was last copied to, for the next one of the same shape.
    slots: Vec<Option<Slot>>,
    output_count: usize,
}

struct Slot {
    dtype: DType,
    shape: Vec<usize>,
    tensor: openvino::Tensor,
}

impl OpenVino {
    pub(super) fn open(model_path: &Path, threads: usize) -> Result<OpenVino, RuntimeError> {
        load()?;
        let refused = |reason: String| RuntimeError::Model {
            runtime: KIND,
            path: model_path.to_path_buf(),
            reason,
        };
        let path = model_path.to_str();
        let path = path.ok_or_else(|| refused("its path is not UTF-8".to_string()))?;
        compile(path, threads).map_err(|error| refused(error.to_string()))
    }

    fn try_run(&mut self, given: &[(&str, Tensor)]) -> Result<Vec<Tensor>, RuntimeError> {
        inputs::check(&self.inputs, given)?;
        for (name, tensor) in given {
            self.set_input(name, tensor)?;
        }
        self.request.infer().map_err(failed)?;
        (0..self.output_count).map(|index| self.output(index)).collect()
    }

    /// Copies `tensor` to the input `name`, which the model has.
    fn set_input(&mut self, name: &str, tensor: &Tensor) -> Result<(), RuntimeError> {
        let Some(index) = self.inputs.iter().position(|input| input == name) else {
            return Ok(());
        };
        let fits = |slot: &Slot| slot.dtype == tensor.dtype() && slot.shape == tensor.shape();
        if !self.slots[index].as_ref().is_some_and(fits) {
            let slot = slot_for(name, tensor)?;
            self.request
                .set_input_tensor_by_index(index, &slot.tensor)
                .map_err(failed)?;
            self.slots[index] = Some(slot);
        }
        match &mut self.slots[index] {
            Some(slot) if !tensor.is_empty() => {
                let memory = slot.tensor.get_raw_data_mut().map_err(failed)?;
                memory.copy_from_slice(tensor.as_bytes());
            }
            _ => {}
        }
        Ok(())
    }

    /// A copy of the output at `index`.
    fn output(&self, index: usize) -> Result<Tensor, RuntimeError> {
        let tensor = self.request.get_output_tensor_by_index(index).map_err(failed)?;
        let element_type = tensor.get_element_type().map_err(failed)?;
        let dtype = dtype_of(element_type).ok_or_else(|| RuntimeError::OutputType {
            runtime: KIND,
            index,
            dtype: element_type.to_string(),
        })?;
        let shape = tensor.get_shape().map_err(failed)?;
        // Dimensions of a tensor in memory are never negative.
        let shape: Vec<usize> = shape
            .get_dimensions()
            .iter()
            .map(|&d| d.unsigned_abs() as usize)
            .collect();
        // An empty tensor has no memory to read.
        if tensor.get_byte_size().map_err(failed)? == 0 {
            return Ok(Tensor::zeros(dtype, &shape)?);
        }
        let memory = tensor.get_raw_data().map_err(failed)?;
        Ok(Tensor::from_raw(dtype, &shape, memory)?)
    }
}

impl Runner for OpenVino {
    fn name(&self) -> &str {
        KIND.name()
    }

    fn run(&mut self, inputs: &[(&str, Tensor)]) -> Result<Vec<Tensor>, RunnerError> {
        self.try_run(inputs).map_err(|error| RunnerError(Box::new(error)))
    }
}

/// The version of the library.
pub(super) fn version() -> Result<RuntimeVersion, RuntimeError> {
    let library = load()?;
    let version = openvino::version().build_number;
    // As 2026.4.1-22982-e213a147257-releases/2026/4.
    let version = version.split('-').next().unwrap_or_default().to_string();
    Ok(RuntimeVersion {
        kind: KIND,
        version,
        library,
    })
}

/// Opens the library, once for the process.
fn load() -> Result<PathBuf, RuntimeError> {
    static LOADED: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*loaded {
        return Ok(path.clone());
    }
    let ((), path) = library::load(KIND, |path| openvino_sys::library::load_from(path))?;
    Ok(loaded.insert(path).clone())
}

fn compile(model_path: &str, threads: usize) -> Result<OpenVino, SetupError> {
    let mut core = Core::new()?;
    let threads = threads.to_string();
    let properties = [
        (RwPropertyKey::HintPerformanceMode, "LATENCY"),
        (RwPropertyKey::HintInferencePrecision, "f32"),
        (RwPropertyKey::InferenceNumThreads, &threads),
    ];
    core.set_properties(&DeviceType::CPU, properties)?;
    // The second path is of a separate file of weights, which only OpenVINO's own format has.
    let model = core.read_model_from_file(model_path, "")?;
    let inputs = (0..model.get_inputs_len()?)
        .map(|index| model.get_input_by_index(index)?.get_name())
        .collect::<Result<Vec<_>, _>>()?;
    let mut compiled = core.compile_model(&model, DeviceType::CPU)?;
    Ok(OpenVino {
        request: compiled.create_infer_request()?,
        slots: inputs.iter().map(|_| None).collect(),
        inputs,
        output_count: compiled.get_output_size()?,
    })
}

fn failed(error: InferenceError) -> RuntimeError {
    RuntimeError::Run {
        runtime: KIND,
        reason: error.to_string(),
    }
}

/// Zeroed memory for a tensor like `tensor`.
fn slot_for(name: &str, tensor: &Tensor) -> Result<Slot, RuntimeError> {
    let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
    let known = ELEMENT_TYPES.iter().find(|(known, _)| *known == dtype);
    let &(_, element_type) = known.ok_or_else(|| RuntimeError::InputType {
        runtime: KIND,
        name: name.to_string(),
        dtype,
    })?;
    // Dimensions of a tensor in memory fit: their product is an address.
    let dimensions: Vec<i64> = shape.iter().map(|&dimension| dimension as i64).collect();
    let dimensions = Shape::new(&dimensions).map_err(failed)?;
    let tensor = openvino::Tensor::new(element_type, &dimensions).map_err(failed)?;
    Ok(Slot { dtype, shape, tensor })
}

/// The types that both sides store in the same bytes.
const ELEMENT_TYPES: &[(DType, ElementType)] = &[
    (DType::F32, ElementType::F32),
    (DType::F64, ElementType::F64),
    (DType::F16, ElementType::F16),
    (DType::BF16, ElementType::Bf16),
    (DType::I8, ElementType::I8),
    (DType::I16, ElementType::I16),
    (DType::I32, ElementType::I32),
    (DType::I64, ElementType::I64),
    (DType::U8, ElementType::U8),
    (DType::U16, ElementType::U16),
    (DType::U32, ElementType::U32),
    (DType::U64, ElementType::U64),
    (DType::Bool, ElementType::Boolean),
];

fn dtype_of(element_type: ElementType) -> Option<DType> {
    let known = ELEMENT_TYPES.iter().find(|(_, known)| *known == element_type);
    known.map(|&(dtype, _)| dtype)
}
