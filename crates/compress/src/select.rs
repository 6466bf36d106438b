//! Selectors: which nodes a user means.

use bantam_graph::{Graph, Node, NodeId};
use globset::{Glob, GlobMatcher};

/// One selector, as `op:Conv`, `name:*/layer1/*` or `role:last`; without a prefix it is a name.
#[derive(Clone, Debug)]
pub struct Selector {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Op(String),
    Name(GlobMatcher),
    First,
    Last,
    Depthwise,
}

/// A selector that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum SelectorError {
    #[error(
        "`{text}` is not a glob: {reason}\nhint: `*` stands for any characters, `?` for one, `[ab]` for one of some"
    )]
    Glob { text: String, reason: String },
    #[error("there is no role `{role}`\nhint: the roles are first, last and depthwise")]
    Role { role: String },
    #[error(
        "the selector `{text}` matches no node\nhint: `bantam inspect` lists the nodes; selectors are op:CONV, name:GLOB or role:first|last|depthwise"
    )]
    Unmatched { text: String },
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// When a glob is malformed or a role unknown.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let kind = match text.split_once(':') {
            Some(("op", op)) => Kind::Op(op.to_owned()),
            Some(("role", "first")) => Kind::First,
            Some(("role", "last")) => Kind::Last,
            Some(("role", "depthwise")) => Kind::Depthwise,
            Some(("role", role)) => {
                return Err(SelectorError::Role {
                    role: role.to_owned(),
                });
            }
            Some(("name", glob)) => Kind::Name(matcher(glob)?),
            _ => Kind::Name(matcher(text)?),
        };
        Ok(Selector {
            text: text.to_owned(),
            kind,
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The selector of the nodes with this very name, or an output of it.
    ///
    /// # Errors
    /// Never in practice: the name is taken as it is.
    pub fn of_name(name: &str) -> Result<Selector, SelectorError> {
        Selector::parse(&format!("name:{}", globset::escape(name)))
    }

    /// The nodes that it means.
    ///
    /// # Errors
    /// When there are none.
    pub fn select(&self, graph: &Graph) -> Result<Vec<NodeId>, SelectorError> {
        let products: Vec<NodeId> = graph
            .node_ids()
            .filter(|(_, node)| is_product(node))
            .map(|(id, _)| id)
            .collect();
        let found: Vec<NodeId> = match &self.kind {
            Kind::First => products.first().copied().into_iter().collect(),
            Kind::Last => products.last().copied().into_iter().collect(),
            _ => graph
                .node_ids()
                .filter(|(_, node)| self.matches(graph, node))
                .map(|(id, _)| id)
                .collect(),
        };
        if found.is_empty() {
            return Err(SelectorError::Unmatched {
                text: self.text.clone(),
            });
        }
        Ok(found)
    }

    fn matches(&self, graph: &Graph, node: &Node) -> bool {
        match &self.kind {
            Kind::Op(op) => node.op.name().eq_ignore_ascii_case(op),
            Kind::Name(glob) => {
                let outputs = node
                    .outputs
                    .iter()
                    .flatten()
                    .map(|&id| graph.value(id).name.as_str());
                glob.is_match(&node.name) || outputs.into_iter().any(|name| glob.is_match(name))
            }
            Kind::Depthwise => match &node.op {
                bantam_graph::Op::Conv(conv) => conv.group > 1 && is_depthwise(graph, node, conv.group),
                _ => false,
            },
            Kind::First | Kind::Last => false,
        }
    }
}

/// For each node, why the user's selectors keep it as it is, if they do. Nothing to include means all.
///
/// # Errors
/// When a selector matches nothing.
pub(crate) fn kept_by_user(
    graph: &Graph,
    include: &[Selector],
    exclude: &[Selector],
) -> Result<Vec<Option<&'static str>>, SelectorError> {
    let chosen = |selectors: &[Selector]| -> Result<Vec<NodeId>, SelectorError> {
        let mut nodes = Vec::new();
        for selector in selectors {
            nodes.extend(selector.select(graph)?);
        }
        Ok(nodes)
    };
    let mut kept = vec![None; graph.nodes.len()];
    if !include.is_empty() {
        let included = chosen(include)?;
        let others = graph.node_ids().filter(|(id, _)| !included.contains(id));
        others.for_each(|(id, _)| kept[id.index()] = Some("not among the nodes to include"));
    }
    for id in chosen(exclude)? {
        kept[id.index()] = Some("excluded by the user");
    }
    Ok(kept)
}

/// A pattern of names.
///
/// # Errors
/// When it is malformed.
pub fn matcher(glob: &str) -> Result<GlobMatcher, SelectorError> {
    let error = |e: globset::Error| SelectorError::Glob {
        text: glob.to_owned(),
        reason: e.kind().to_string(),
    };
    Glob::new(glob).map(|glob| glob.compile_matcher()).map_err(error)
}

fn is_depthwise(graph: &Graph, node: &Node, group: i64) -> bool {
    let weight = graph.constant_input(node, 1);
    weight.is_some_and(|weight| {
        weight.rank() > 2 && weight.shape()[1] == 1 && weight.shape()[0] as i64 >= group
    })
}

/// True for convolutions and products with weights, by which "first" and "last" are counted.
fn is_product(node: &Node) -> bool {
    matches!(node.op.name(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul")
}
