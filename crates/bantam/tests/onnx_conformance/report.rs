//! Counting and printing.

use std::collections::BTreeMap;

use crate::case::Case;

/// How a case went.
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    NotCovered(&'static str),
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    not_covered: usize,
}

/// All outcomes.
#[derive(Default)]
pub(crate) struct Report {
    by_op: BTreeMap<String, Counts>,
    failures: Vec<(String, String)>,
    reasons: BTreeMap<&'static str, usize>,
    total: Counts,
}

impl Report {
    pub(crate) fn add(&mut self, case: &Case, outcome: Outcome) {
        let of_op = self.by_op.entry(label(case)).or_default();
        for counts in [of_op, &mut self.total] {
            match outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::Failed(_) => counts.failed += 1,
                Outcome::NotCovered(_) => counts.not_covered += 1,
            }
        }
        match outcome {
            Outcome::Failed(why) => self.failures.push((case.name.clone(), why)),
            Outcome::NotCovered(reason) => *self.reasons.entry(reason).or_default() += 1,
            Outcome::Passed => {}
        }
    }

    pub(crate) fn failed(&self) -> usize {
        self.total.failed
    }

    /// One line per op, the failures, then the summary as the last line.
    pub(crate) fn print(&self) {
        for (op, counts) in &self.by_op {
            let Counts {
                passed,
                failed,
                not_covered,
            } = counts;
            println!("{op}: {passed} passed, {failed} failed, {not_covered} not covered");
        }
        for (name, why) in &self.failures {
            println!("FAILED {name}: {}", why.replace('\n', " "));
        }
        for (reason, count) in &self.reasons {
            println!("not covered: {count} of {reason}");
        }
        let Counts {
            passed,
            failed,
            not_covered,
        } = self.total;
        println!("conformance: {passed} passed, {failed} failed, {not_covered} not covered");
    }
}

/// The op of a case of one node; else "networks", or for expanded functions and the like "several ops".
fn label(case: &Case) -> String {
    match case.ops.as_slice() {
        [(domain, name)] if domain.is_empty() => name.clone(),
        [(domain, name)] => format!("{domain}.{name}"),
        _ if case.folder.parent().is_some_and(|kind| kind.ends_with("light")) => "networks".to_owned(),
        _ => "several ops".to_owned(),
    }
}
