//! [`Node`].

use super::{Value, ValueId};
use crate::{Attributes, Op};

/// One application of an op.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// May be empty; not necessarily unique.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// `None` for an optional input that is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// `None` for an optional output that is left out.
    pub outputs: Vec<Option<ValueId>>,
    /// Attributes of the file that the op does not know; written back as they were.
    pub extra: Attributes,
    /// What few nodes have, apart so that the others are small.
    pub notes: Option<Box<Notes>>,
}

/// What a file may say of a node beside what it computes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    /// The file's documentation.
    pub doc: String,
    /// The file's key-value pairs.
    pub metadata: Vec<(String, String)>,
    /// The overload of the function that is called.
    pub overload: String,
}

impl Node {
    /// A node whose inputs and outputs are all present.
    pub fn new(name: impl Into<String>, op: Op, inputs: &[ValueId], outputs: &[ValueId]) -> Node {
        Node {
            name: name.into(),
            op,
            inputs: inputs.iter().copied().map(Some).collect(),
            outputs: outputs.iter().copied().map(Some).collect(),
            extra: Attributes::new(),
            notes: None,
        }
    }

    /// The overload of the function that is called, mostly empty.
    pub fn overload(&self) -> &str {
        self.notes.as_ref().map_or("", |notes| &notes.overload)
    }

    /// Input `index`, if it is present.
    pub fn input(&self, index: usize) -> Option<ValueId> {
        self.inputs.get(index).copied().flatten()
    }

    /// Output `index`, if it is present.
    pub fn output(&self, index: usize) -> Option<ValueId> {
        self.outputs.get(index).copied().flatten()
    }
}

/// Readers allow a graph a small multiple of its file's size: larger nodes would refuse honest files.
const _: () = assert!(size_of::<Node>() <= 224 && size_of::<Value>() <= 176);
