//! Targets: what the runtimes that take our files can run in integers, and how they want it written.
//!
//! A target is a table. To add one: a file with a `static`, and a line in [`TARGETS`].

mod onnxruntime;
mod openvino;
mod tensorrt;

use bantam_graph::Op;

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
    /// The fastest form of weights; the default.
    pub weights: Preference,
    /// Activations must be symmetric.
    pub symmetric_only: bool,
    /// Form of biases.
    pub bias: BiasForm,
    /// Residual connections.
    pub residual_add: ResidualAdd,
    /// Role of each op by its ONNX name; others run in float.
    pub roles: &'static [(&'static str, OpRole)],
}

/// Every target.
pub static TARGETS: &[&Target] = &[
    &onnxruntime::ONNXRUNTIME,
    &openvino::OPENVINO,
    &tensorrt::TENSORRT,
];

/// The target with this name.
pub fn target_by_name(name: &str) -> Option<&'static Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}

impl Target {
    /// The part that an op takes.
    pub fn role(&self, op: &Op) -> OpRole {
        if !op.domain().is_empty() {
            return OpRole::Float;
        }
        self.roles
            .iter()
            .find(|(name, _)| *name == op.name())
            .map_or(OpRole::Float, |(_, role)| *role)
    }

    /// What to know about activations of this form before shipping the result.
    pub fn activation_warning(&self, format: &str, symmetric: bool) -> Option<String> {
        let name = self.name;
        match self.activation_formats.iter().find(|(known, _)| *known == format) {
            None => Some(format!(
                "{name} has no integer kernels for {format} activations; the network will run in float, slower than before"
            )),
            Some((_, Some(warning))) => Some(format!("{name}: {warning}")),
            Some((_, None)) if self.symmetric_only && !symmetric => Some(format!(
                "{name} takes symmetric activations only and will refuse these"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam_tensor::format_by_name;

    #[test]
    fn tables_name_known_formats_and_ops() {
        let known = Op::known();
        for target in TARGETS {
            for format in [target.activations.format, target.weights.format] {
                assert!(format_by_name(format).is_some(), "{}: {format}", target.name);
            }
            assert_eq!(
                target.activation_warning(target.activations.format, target.activations.symmetric),
                None,
                "the default of {} must be one without a warning",
                target.name
            );
            for (op, _) in target.roles {
                assert!(known.contains(&("", op)), "{}: {op}", target.name);
            }
        }
    }
}
