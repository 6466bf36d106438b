//! Control flow, and ops that Bantam does not know.

use crate::attributes::{Attribute, Attributes, op_attributes};
use crate::graph::Graph;

op_attributes! {
    /// Runs one of two graphs.
    If { else_branch: Box<Graph>, then_branch: Box<Graph> }
    /// Repeats a graph: trip count, condition, carried values.
    Loop { body: Box<Graph> }
    /// Runs a graph over slices: carried values, then scanned ones.
    Scan {
        body: Box<Graph>,
        num_scan_inputs: i64,
        scan_input_axes: Vec<i64> = Vec::new(),
        scan_input_directions: Vec<i64> = Vec::new(),
        scan_output_axes: Vec<i64> = Vec::new(),
        scan_output_directions: Vec<i64> = Vec::new(),
    }
}

/// An op that Bantam does not know, or a call of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Custom {
    /// Domain.
    pub domain: String,
    /// Name within the domain.
    pub name: String,
    /// Everything the file says.
    pub attributes: Attributes,
}

impl Custom {
    /// A node of this domain and name.
    pub fn new(domain: &str, name: &str, attributes: Attributes) -> Custom {
        Custom {
            domain: domain.to_owned(),
            name: name.to_owned(),
            attributes,
        }
    }

    pub(crate) fn subgraphs(&self) -> Vec<&Graph> {
        let attributes = self.attributes.iter().map(|(_, attribute)| attribute);
        attributes
            .flat_map(|attribute| match attribute {
                Attribute::Graph(graph) => vec![graph.as_ref()],
                Attribute::Graphs(graphs) => graphs.iter().collect(),
                _ => Vec::new(),
            })
            .collect()
    }

    pub(crate) fn subgraphs_mut(&mut self) -> Vec<&mut Graph> {
        let attributes = self.attributes.iter_mut().map(|(_, attribute)| attribute);
        attributes
            .flat_map(|attribute| match attribute {
                Attribute::Graph(graph) => vec![graph.as_mut()],
                Attribute::Graphs(graphs) => graphs.iter_mut().collect(),
                _ => Vec::new(),
            })
            .collect()
    }
}
