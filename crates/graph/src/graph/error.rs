//! What can be wrong with a graph.

/// Why a graph is not well-formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum GraphError {
    #[error("node {node} has an output `{value}` that already has a producer")]
    TwoProducers { node: String, value: String },
    #[error("two values are named `{name}`")]
    DuplicateName { name: String },
    #[error("node {node} reads `{value}`, which nothing defines")]
    Undefined { node: String, value: String },
    #[error("the graph's output `{value}` is defined by nothing")]
    UndefinedOutput { value: String },
    #[error("the nodes form a cycle through {node}")]
    Cycle { node: String },
    #[error("node {node} refers to a value outside of its graph")]
    DanglingId { node: String },
    #[error("`{value}` is a constant or an input and is also the output of {node}")]
    ProducedConstant { node: String, value: String },
    #[error("a value has no name")]
    EmptyName,
    #[error("node {node} reads `{value}`, which a later node defines")]
    ReadTooEarly { node: String, value: String },
    #[error("node {node} has {got} {what}, not {}", between(*min, *max))]
    Arity {
        node: String,
        what: &'static str,
        got: usize,
        min: usize,
        max: usize,
    },
    #[error("node {node} lacks its required input {position} (counted from 0)")]
    MissingInput { node: String, position: usize },
}

fn between(min: usize, max: usize) -> String {
    match max {
        usize::MAX => format!("at least {min}"),
        _ if min == max => min.to_string(),
        _ => format!("{min} to {max}"),
    }
}
