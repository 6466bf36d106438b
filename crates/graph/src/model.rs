//! [`Model`]: a graph and what the file says about it.

use crate::{Attribute, Graph};

/// A version of a domain's operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorSet {
    /// Empty for the standard domain.
    pub domain: String,
    /// The version.
    pub version: i64,
}

/// A function of the model: nodes that calls stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Domain of the calling op.
    pub domain: String,
    /// Name of the calling op.
    pub name: String,
    /// Overload, mostly empty.
    pub overload: String,
    /// Attributes without a default.
    pub attributes: Vec<String>,
    /// Attributes with a default.
    pub default_attributes: Vec<(String, Attribute)>,
    /// The body; its inputs and outputs are the function's. Nodes are [`crate::Op::Custom`], of the opsets below,
    /// because they may refer to the function's attributes.
    pub body: Graph,
    /// The opsets that the body is written in.
    pub opsets: Vec<OperatorSet>,
    /// The file's documentation.
    pub doc: String,
    /// The file's key-value pairs.
    pub metadata: Vec<(String, String)>,
}

/// A network with all that its file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The network, in canonical form.
    pub graph: Graph,
    /// ONNX IR version of the file, 0 for a model that comes from none.
    pub ir_version: i64,
    /// Operator sets of the file, the standard one among them; what saving starts from.
    pub opsets: Vec<OperatorSet>,
    /// Local functions.
    pub functions: Vec<Function>,
    /// Name of the tool that wrote it.
    pub producer_name: String,
    /// Version of that tool.
    pub producer_version: String,
    /// Namespace of the model.
    pub domain: String,
    /// Version of the model.
    pub model_version: i64,
    /// The file's documentation.
    pub doc: String,
    /// The file's key-value pairs.
    pub metadata: Vec<(String, String)>,
    /// Fields of the file that Bantam has no place for (as `training_info`), encoded as they were.
    pub raw_fields: Vec<u8>,
}

impl Model {
    /// A model around a graph that comes from no file.
    pub fn new(graph: Graph) -> Model {
        Model {
            graph,
            producer_name: "bantam".to_owned(),
            ..Model::default()
        }
    }

    /// The version of a domain's operators that the file names.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets
            .iter()
            .find(|opset| opset.domain == domain)
            .map(|opset| opset.version)
    }
}
