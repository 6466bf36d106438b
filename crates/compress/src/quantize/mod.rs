//! Quantization methods: each says what it must observe, then decides.
//!
//! To add one: a file with an `impl Method`, and a line in [`METHODS`].

mod activations;
pub mod aware;
mod bias_correction;
mod dynamic;
pub mod groups;
mod half;
pub mod layerwise;
mod placement;
mod post_training;
mod products;
pub mod rescale;
pub mod rotate;
mod settings;
mod weights;

use bantam_graph::Graph;
use bantam_tensor::DType;

use crate::plan::Plan;
use crate::select::SelectorError;
use crate::stats::{Request, Stats};

pub use settings::QuantizeSettings;

/// A quantization method.
pub trait Method: Sync {
    /// The name that users write.
    fn name(&self) -> &'static str;
    /// One line for lists.
    fn summary(&self) -> &'static str;
    /// What must be observed before it can decide.
    fn requests(&self, graph: &Graph, settings: &QuantizeSettings) -> Result<Vec<Request>, QuantizeError>;
    /// Decides. Edits nothing.
    fn plan(&self, graph: &Graph, stats: &Stats, settings: &QuantizeSettings) -> Result<Plan, QuantizeError>;
}

/// Every method.
pub static METHODS: &[&dyn Method] = &[
    &post_training::PostTraining,
    &dynamic::Dynamic,
    &half::Half {
        name: "f16",
        summary: "weights and arithmetic in 16-bit floats; in float32 what overflows on the calibration data",
        dtype: DType::F16,
        weights_only: false,
    },
    &half::Half {
        name: "bf16",
        summary: "weights and arithmetic in bfloat16, which has the range of float32; no data needed",
        dtype: DType::BF16,
        weights_only: false,
    },
    &half::Half {
        name: "f16-weights",
        summary: "weights stored in 16-bit floats, arithmetic in float32; no data needed",
        dtype: DType::F16,
        weights_only: true,
    },
    &half::Half {
        name: "bf16-weights",
        summary: "weights stored in bfloat16, arithmetic in float32; no data needed",
        dtype: DType::BF16,
        weights_only: true,
    },
];

/// The method with this name.
pub fn method_by_name(name: &str) -> Option<&'static dyn Method> {
    METHODS.iter().copied().find(|method| method.name() == name)
}

/// Why nothing could be decided.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum QuantizeError {
    #[error(transparent)]
    Selector(#[from] SelectorError),
    #[error(
        "the constant `{name}` of node {node} holds {count} values that are infinite or no number\nhint: such a network gives no finite result; find where training went wrong"
    )]
    NonFiniteWeight {
        name: String,
        node: String,
        count: usize,
    },
    #[error(
        "the value `{name}` became infinite or no number on the calibration data\nhint: check the data set's preprocessing, or exclude what comes before with --exclude"
    )]
    NonFiniteActivation { name: String },
    #[error(
        "the range method {range} looks for codes that are evenly spaced, {format} are floats\nhint: --range minmax, moving-average or percentile, and --weight-range likewise"
    )]
    RangeOfFloats {
        range: &'static str,
        format: &'static str,
    },
    #[error(
        "dynamic quantization needs weights of 8 bits, `{format}` is stored as {storage}\nhint: --weights int8 or --weights uint8"
    )]
    DynamicFormat { format: &'static str, storage: DType },
    #[error(
        "there is nothing to quantize for {target}: {reasons}\nhint: `bantam inspect` lists the ops of the model"
    )]
    Nothing { target: &'static str, reasons: String },
}
