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
    use bantam_tensor::format_by_name;

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
            for (op, _) in target.roles {
                assert!(known.contains(&("", op)), "{}: {op}", target.name);
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
            for slow in [("int16", true), ("uint16", false)] {
                assert_eq!(
                    target.warnings(slow, weights).len(),
                    1,
                    "{} {slow:?}",
                    target.name
                );
            }
            for slow in [("uint8", true), ("uint8", false), ("int8", false)] {
                assert_eq!(
                    target.warnings(activations, slow).len(),
                    1,
                    "{} {slow:?}",
                    target.name
                );
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
