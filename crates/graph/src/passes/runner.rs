//! Applies passes until nothing changes.

use super::{NotApplied, Pass};
use crate::{Graph, GraphError, verify};

/// How often a pass may run in a row; a pass that still finds something then is reported.
const MAX_ROUNDS: usize = 16;

/// What a pass did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassReport {
    /// The pass.
    pub pass: &'static str,
    /// How many places it rewrote.
    pub applied: usize,
    /// How many rounds it took, the last of which found nothing.
    pub rounds: usize,
    /// It still found something in its last round.
    pub unfinished: bool,
    /// Places that it left alone in its last round.
    pub not_applied: Vec<NotApplied>,
}

/// A pass that met or made a broken graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// The graph was broken before any pass.
    #[error("the graph is not well-formed: {source}")]
    Before {
        /// The broken rule.
        source: GraphError,
    },
    /// A pass broke it.
    #[error("pass {pass} left a graph that is not well-formed: {source}")]
    After {
        /// The pass.
        pass: &'static str,
        /// The broken rule.
        source: GraphError,
    },
}

/// Runs each pass to its fixed point, in order, and verifies the graph before the first and after each.
///
/// # Errors
/// When the graph is not well-formed; it is then as it was before the failing pass.
pub fn run_passes(graph: &mut Graph, passes: &[Pass]) -> Result<Vec<PassReport>, PassError> {
    verify(graph).map_err(|source| PassError::Before { source })?;
    passes.iter().map(|pass| run_pass(graph, pass)).collect()
}

fn run_pass(graph: &mut Graph, pass: &Pass) -> Result<PassReport, PassError> {
    let after = |source| PassError::After {
        pass: pass.name,
        source,
    };
    let mut applied = 0;
    for round in 1..=MAX_ROUNDS {
        let outcome = (pass.find)(graph);
        if outcome.patch.is_empty() || round == MAX_ROUNDS {
            let left = &outcome.not_applied;
            left.iter().for_each(|left| log::debug!("{}: {left}", pass.name));
            return Ok(PassReport {
                pass: pass.name,
                applied,
                rounds: round,
                unfinished: !outcome.patch.is_empty(),
                not_applied: outcome.not_applied,
            });
        }
        let mut edited = graph.clone();
        outcome.patch.apply(&mut edited).map_err(after)?;
        verify(&edited).map_err(after)?;
        *graph = edited;
        applied += outcome.applied;
    }
    unreachable!("the last round returns")
}
