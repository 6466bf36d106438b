//! Targets: what the runtimes that take our files can run in integers, and how they want it written.
//!
//! A target is a table. To add one: a file with a `static`, and a line in [`TARGETS`].

mod bantam;
pub mod cost;
mod edgetpu;
mod facts;
mod fpga;
mod memory;
mod micro;
mod npu;
mod onnxruntime;
mod openvino;
mod scales;
mod support;
mod tensorrt;
mod tflite;

use bantam_graph::Op;
use bantam_tensor::NumberFormat;

pub use facts::Facts;
pub use memory::{Memory, activation_elements};
pub use scales::{ScaleForm, is_power_of_two};
pub use support::{Others, Unsupported};

/// How a target takes the op's part in a quantized network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpRole {
    /// Convolutions and products: integer kernels, when all inputs are quantized.
    Product {
        /// The integer kernel needs a quantized output as well.
        output: bool,
    },
    /// Element-wise ops and pools of which the target has an integer form; inputs and output are quantized.
    Arithmetic,
    /// The op moves or selects elements, so its output has the scale of its input.
    Movement,
    /// The op joins values; the integer kernel takes them and gives the result each in a scale of its own.
    Join,
    /// The runtime fuses the op into the product or sum before it.
    Activation,
    /// Runs in float.
    Float,
}

/// What happens where a residual connection is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResidualAdd {
    /// Both inputs are quantized: the addition is an integer kernel of its own.
    BothInputs,
    /// The product before it takes the addition in; only the other input is quantized.
    FusedIntoProduct,
}

/// How biases are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BiasForm {
    /// 32-bit codes whose scale is the product of the input's and the weight's.
    Int32,
    /// As they are.
    Float,
}

/// A number format and whether its zero point is fixed to the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference {
    /// Name of the number format.
    pub format: &'static str,
    /// Zero point fixed.
    pub symmetric: bool,
}

/// A runtime.
#[derive(Debug)]
pub struct Target {
    /// The name that users write.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// The fastest form of activations; the default.
    pub activations: Preference,
    /// Forms of activations that have integer kernels, with a warning where they are not fast.
    pub activation_formats: &'static [(&'static str, Option<&'static str>)],
    /// What to know about activations with their zero point in the middle.
    pub symmetric_activations: Option<&'static str>,
    /// What to know about activations with any zero point.
    pub asymmetric_activations: Option<&'static str>,
    /// The fastest form of weights; the default.
    pub weights: Preference,
    /// Forms of weights that have integer kernels, with a warning where they are not fast.
    pub weight_formats: &'static [(&'static str, Option<&'static str>)],
    /// What to know about weights with any zero point.
    pub asymmetric_weights: Option<&'static str>,
    /// Float convolutions and Gemms that read scalar-scaled codes would be quantized by the runtime itself.
    pub requantizes: bool,
    /// Form of biases.
    pub bias: BiasForm,
    /// Residual connections.
    pub residual_add: ResidualAdd,
    /// Role of each op by its ONNX name, in lists that relatives share.
    pub roles: &'static [Roles],
    /// What becomes of all other ops.
    pub others: Others,
    /// Ops whose weights must have one scale for all channels.
    pub one_scale_weights: &'static [&'static str],
    /// Ops whose results have a scale and a zero point that the target prescribes.
    pub fixed_outputs: &'static [(&'static str, f32, i32)],
    /// Which scales there may be.
    pub scales: ScaleForm,
    /// Channels of a block that kernels work on: other numbers of channels take the time of the next multiple.
    pub channel_multiple: usize,
    /// It computes what depends on constants alone once, when it loads a file: codes that are packed there become weights.
    pub folds_constants: bool,
    /// Patterns of zeros in weights that make it faster, as `bantam prune --structure` names them.
    pub sparsity: &'static [&'static str],
    /// What fits.
    pub memory: Memory,
    /// Published limits of a machine of this kind; `None` where times are measured instead.
    pub rates: Option<&'static cost::Rates>,
}

/// Ops with the parts that they take.
pub type Roles = &'static [(&'static str, OpRole)];

/// What most runtimes move in codes as they are, and the activations that they fuse into the product before.
const MOVES: Roles = &[
    ("MaxPool", OpRole::Movement),
    ("Reshape", OpRole::Movement),
    ("Flatten", OpRole::Movement),
    ("Transpose", OpRole::Movement),
    ("Squeeze", OpRole::Movement),
    ("Unsqueeze", OpRole::Movement),
    ("Slice", OpRole::Movement),
    ("Pad", OpRole::Movement),
    ("Relu", OpRole::Activation),
    ("Clip", OpRole::Activation),
];

/// Every target.
pub static TARGETS: &[&Target] = &[
    &onnxruntime::ONNXRUNTIME,
    &openvino::OPENVINO,
    &tensorrt::TENSORRT,
    &tflite::TFLITE,
    &micro::TFLITE_MICRO,
    &micro::CORTEX_M,
    &edgetpu::EDGETPU,
    &npu::NPU,
    &fpga::FPGA,
    &bantam::BANTAM,
];

/// The target with this name.
pub fn target_by_name(name: &str) -> Option<&'static Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}

impl Target {
    /// The part that an op takes.
    pub fn role(&self, op: &Op) -> OpRole {
        self.listed(op).unwrap_or(OpRole::Float)
    }

    /// The part that an op takes, if it is in the table.
    fn listed(&self, op: &Op) -> Option<OpRole> {
        let mut known = self.roles.iter().copied().flatten();
        let found = known.find(|(name, _)| op.domain().is_empty() && *name == op.name());
        found.map(|(_, role)| *role)
    }

    /// Scale and zero point that the target prescribes for the result of an op in its own format of activations.
    pub fn fixed_output(&self, op: &Op, format: &dyn NumberFormat) -> Option<(f32, i32)> {
        let mut fixed = self.fixed_outputs.iter();
        let found = fixed.find(|(name, ..)| op.domain().is_empty() && op.name() == *name);
        let own = format.name() == self.activations.format;
        found
            .filter(|_| own)
            .map(|(_, scale, zero_point)| (*scale, *zero_point))
    }

    /// What to know about activations and weights of these formats, and zero points in the middle or not, before
    /// shipping the result: at most one line for each.
    pub fn warnings(&self, activations: (&str, bool), weights: (&str, bool)) -> Vec<String> {
        let name = self.name;
        let about = |known: &[(&'static str, Option<&'static str>)], format: &str, of_symmetry, what| {
            match known.iter().find(|(known, _)| *known == format) {
                None => Some(format!(
                    "{name} has no integer kernels for {format} {what}; the network will run in float and not get faster"
                )),
                Some((_, warning)) => warning
                    .or(of_symmetry)
                    .map(|warning| format!("{name}: {warning}")),
            }
        };
        let (format, symmetric) = activations;
        let of_symmetry = if symmetric {
            self.symmetric_activations
        } else {
            self.asymmetric_activations
        };
        let of_activations = about(self.activation_formats, format, of_symmetry, "activations");
        let (format, symmetric) = weights;
        let of_symmetry = self.asymmetric_weights.filter(|_| !symmetric);
        let of_weights = about(self.weight_formats, format, of_symmetry, "weights");
        of_activations.into_iter().chain(of_weights).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prune::Structure;
    use bantam_tensor::{format_by_name, trained_format_by_name};

    #[test]
    fn tables_name_known_formats_and_ops() {
        let known = Op::known();
        for target in TARGETS {
            for format in [target.activations.format, target.weights.format] {
                assert!(format_by_name(format).is_some(), "{}: {format}", target.name);
            }
            let (activations, weights) = (target.activations, target.weights);
            assert!(
                target
                    .warnings(
                        (activations.format, activations.symmetric),
                        (weights.format, weights.symmetric)
                    )
                    .is_empty(),
                "the defaults of {} must be without a warning",
                target.name
            );
            let ops = target.roles.iter().copied().flatten().map(|(op, _)| *op);
            let ops: Vec<&str> = ops.collect();
            for op in &ops {
                assert!(known.contains(&("", *op)), "{}: {op}", target.name);
                let times = ops.iter().filter(|other| *other == op).count();
                assert_eq!(times, 1, "{}: {op} is listed twice", target.name);
            }
            let prescribed = target.fixed_outputs.iter().map(|(op, ..)| op);
            for op in target.one_scale_weights.iter().chain(prescribed) {
                assert!(ops.contains(op), "{}: {op} has no role", target.name);
            }
            let formats = target.activation_formats.iter().chain(target.weight_formats);
            for (format, _) in formats {
                assert!(
                    trained_format_by_name(format).is_some(),
                    "{}: {format}",
                    target.name
                );
            }
            assert!(target.channel_multiple > 0, "{}", target.name);
            for pattern in target.sparsity {
                assert!(Structure::parse(pattern).is_ok(), "{}: {pattern}", target.name);
            }
        }
    }

    #[test]
    fn choices_that_are_not_fast_are_told() {
        for target in TARGETS {
            let (activations, weights) = (
                (target.activations.format, target.activations.symmetric),
                (target.weights.format, target.weights.symmetric),
            );
            let known = |format| (target.activation_formats.iter()).any(|(name, _)| *name == format);
            for slow in [("int16", true), ("uint16", false), ("uint4", false)] {
                if !known(slow.0) {
                    let told = target.warnings(slow, weights).len();
                    assert_eq!(told, 1, "{} {slow:?}", target.name);
                }
            }
            for slow in [("uint8", true), ("uint8", false), ("int8", false)] {
                let told = target.warnings(activations, slow);
                assert_eq!(told.len(), 1, "{} {slow:?}", target.name);
            }
        }
        let warnings = target_by_name("onnxruntime")
            .unwrap()
            .warnings(("uint8", true), ("int8", true));
        assert!(
            warnings[0].contains("--symmetric-activations=false"),
            "{warnings:?}"
        );
    }
}
