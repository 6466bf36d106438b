//! [`Plan`]: what is to be done to a model and why, as data that can be printed, compared, saved and applied later.

use bantam_tensor::{DType, QParams};
use serde::{Deserialize, Serialize};

use crate::packed::{Mask, Numbers};

/// Decisions about one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of this form; files of another version are refused.
    pub version: u32,
    /// Digest of the names and shapes of the weights of the model that it was made for, if that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The method that decided.
    pub method: String,
    /// The target that it decided for.
    pub target: String,
    /// In the order of the graph.
    pub decisions: Vec<Decision>,
}

impl Plan {
    /// The version of the form that this program reads and writes.
    pub const VERSION: u32 = 1;
}

/// One thing that is done, or deliberately not done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Where.
    pub site: Site,
    /// What.
    pub action: Action,
    /// The reason, for people.
    pub why: String,
    /// Signal to quantization noise at this site in decibels, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqnr_db: Option<f64>,
}

/// A place in a graph. Names are those of the prepared graph (BatchNormalization folded), or in plans that prune those of the graph as
/// it was loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Site {
    /// A value, for all its readers.
    Value(String),
    /// A value as one node reads it; the node is named by its first output.
    Input {
        /// The value.
        value: String,
        /// First output of the node.
        node: String,
        /// Position among the node's inputs.
        input: usize,
    },
    /// A node, named by its first output.
    Node(String),
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Action {
    /// The value passes through QuantizeLinear and DequantizeLinear.
    QuantizeActivation(QParams),
    /// The constant is stored as codes of this number format, and read through DequantizeLinear.
    QuantizeConstant {
        /// Name of the number format.
        format: String,
        /// Scales and zero points.
        params: QParams,
    },
    /// The constant is stored as codes that say which of these values, times the scale of its group, an element is.
    LookUpConstant {
        /// Name of the table.
        table: String,
        /// What codes stand for, rising.
        values: Vec<f32>,
        /// Scales.
        params: QParams,
    },
    /// The node reads the codes of a quantized value through a DequantizeLinear of its own, with these scales.
    DequantizeApart(QParams),
    /// The node works on integers: its input is quantized at run time, its constant weight or table beforehand.
    QuantizeDynamically {
        /// Name of the weight's number format.
        format: String,
        /// Scales and zero points of the weight.
        params: QParams,
    },
    /// These numbers are added to the constant, before it is quantized.
    ShiftConstant(Vec<f32>),
    /// Elements of the constant that do not stay become zero.
    Mask(Mask),
    /// The constant gets these numbers.
    SetWeight {
        /// Where they go, if not everywhere; all others become zero.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept: Option<Mask>,
        /// As many as there are places, in the order of the tensor.
        values: Numbers,
    },
    /// Positions along an axis of the constant go, and all that is coupled with them.
    RemoveChannels {
        /// The axis.
        axis: usize,
        /// Positions along it.
        positions: Vec<u32>,
    },
    /// What is at position `order[i]` along an axis of the constant comes to position `i`, with all that is coupled with it: the network
    /// computes the same. Before anything else is done to constants.
    PermuteChannels {
        /// The axis.
        axis: usize,
        /// Each position once.
        order: Vec<u32>,
    },
    /// The node, a sum, goes, with what is computed for it alone.
    RemoveLayer {
        /// The operand that its readers read instead.
        keeps: String,
    },
    /// The constant is multiplied by these factors, before anything else is done to it.
    ScaleConstant {
        /// Shape of the factors, which is broadcast to that of the constant.
        shape: Vec<usize>,
        /// The factors.
        by: Vec<f32>,
    },
    /// The node computes in this type, or the constant is stored in it.
    Convert(DType),
    /// The constant is turned along its first or last axis by an orthogonal matrix, after it was scaled and before anything else.
    RotateConstant {
        /// The axis.
        axis: usize,
        /// Chooses the matrix.
        seed: u64,
    },
    /// The value is multiplied by an orthogonal matrix, for all its readers.
    Rotate {
        /// Its last dimension.
        size: usize,
        /// Chooses the matrix.
        seed: u64,
    },
    /// The node reads the value times the transpose of the matrix.
    RotateBack {
        /// The value's last dimension.
        size: usize,
        /// Chooses the matrix.
        seed: u64,
    },
    /// A product of two small matrices with the node's first input is added to the node, a product: numbers of 16 bits.
    AddLowRank {
        /// What lies between them.
        rank: usize,
        /// Of the shape `[inputs, rank]`.
        down: Numbers,
        /// Of the shape `[rank, outputs]`.
        up: Numbers,
    },
    /// Elements of the node's weight, which is in codes, have these values of 16 bits instead.
    KeepOutliers {
        /// Their places in the tensor, ascending.
        places: Vec<u64>,
        /// As many.
        values: Numbers,
    },
    /// Nothing: the channels that the node makes keep their scale.
    KeepScale,
    /// The node, a clamp between zero and a bound, becomes Relu.
    Unbound,
    /// Nothing: it stays as it is.
    Keep,
}

impl Action {
    /// True for what pruning does: weights become zero or others, channels and layers go.
    pub fn prunes(&self) -> bool {
        matches!(
            self,
            Action::Mask(_)
                | Action::SetWeight { .. }
                | Action::RemoveChannels { .. }
                | Action::PermuteChannels { .. }
                | Action::RemoveLayer { .. }
        )
    }

    /// Whether something is quantized, or shifted because of that.
    pub fn quantizes(&self) -> bool {
        !matches!(
            self,
            Action::Keep
                | Action::KeepScale
                | Action::ScaleConstant { .. }
                | Action::RotateConstant { .. }
                | Action::Rotate { .. }
                | Action::RotateBack { .. }
                | Action::Unbound
        )
    }

    /// A few words.
    pub fn summary(&self) -> String {
        let scales = |params: &QParams| match params.axis {
            Some(axis) => format!("{} scales along axis {axis}", params.scale.len()),
            None => format!(
                "scale {:.6}, zero point {}",
                params.scale[0], params.zero_point[0]
            ),
        };
        match self {
            Action::QuantizeActivation(params) => format!("{} activation, {}", params.dtype, scales(params)),
            Action::DequantizeApart(params) => format!("read as floats, {}", scales(params)),
            Action::QuantizeConstant { format, params } if params.dtype == DType::I32 => {
                format!("{format} bias, {} scales", params.scale.len())
            }
            Action::QuantizeConstant { format, params } => format!("{format} constant, {}", scales(params)),
            Action::LookUpConstant {
                table,
                values,
                params,
            } => {
                format!("{} values of {table}, {}", values.len(), scales(params))
            }
            Action::QuantizeDynamically { format, params } => {
                format!("{format} weight, dynamic input, {}", scales(params))
            }
            Action::ShiftConstant(by) => {
                let largest = by.iter().fold(0f32, |largest, x| largest.max(x.abs()));
                format!("constant shifted by at most {largest:.6}")
            }
            Action::Mask(mask) => format!("{} of {} stay", mask.kept(), mask.len()),
            Action::SetWeight { kept: Some(mask), .. } => {
                format!("{} of {} stay, with other values", mask.kept(), mask.len())
            }
            Action::SetWeight { kept: None, values } => format!("{} new values", values.0.len()),
            Action::RemoveChannels { axis, positions } => {
                format!("{} positions along axis {axis} are removed", positions.len())
            }
            Action::PermuteChannels { axis, order } => {
                let moved = (0..).zip(order).filter(|(place, from)| place != *from).count();
                format!("{moved} positions along axis {axis} change places")
            }
            Action::RemoveLayer { keeps } => format!("the layer is removed, `{keeps}` passes it"),
            Action::ScaleConstant { by, .. } => {
                let smallest = by.iter().copied().fold(f32::INFINITY, f32::min);
                let largest = by.iter().copied().fold(0.0, f32::max);
                format!("constant multiplied by {smallest:.6} to {largest:.6}")
            }
            Action::Convert(dtype) => format!("in {dtype}"),
            Action::RotateConstant { axis, .. } => format!("turned along axis {axis}"),
            Action::Rotate { .. } => "turned".to_owned(),
            Action::RotateBack { .. } => "turned back".to_owned(),
            Action::AddLowRank { rank, .. } => format!("a product of rank {rank} added"),
            Action::KeepOutliers { places, .. } => format!("{} elements keep 16 bits", places.len()),
            Action::KeepScale => "scale kept".to_owned(),
            Action::Unbound => "bound removed".to_owned(),
            Action::Keep => "kept in float".to_owned(),
        }
    }
}

impl Site {
    /// The value or node that it is about.
    pub fn name(&self) -> &str {
        match self {
            Site::Value(name) | Site::Node(name) | Site::Input { value: name, .. } => name,
        }
    }
}
