//! One command that runs what CI runs: `cargo xtask check`, or one part of it.

mod ladder;
mod python;
mod steps;

use std::process::ExitCode;

/// A part of the check.
struct Task {
    name: &'static str,
    summary: &'static str,
    run: fn() -> Result<(), String>,
}

/// Everything that can be run, in the order in which `check` runs it.
const TASKS: &[Task] = &[
    Task {
        name: "fmt",
        summary: "rustfmt would change nothing",
        run: steps::fmt,
    },
    Task {
        name: "ladder",
        summary: "crates depend only on crates above them",
        run: ladder::check,
    },
    Task {
        name: "clippy",
        summary: "no lint warns",
        run: steps::clippy,
    },
    Task {
        name: "doc",
        summary: "the documentation builds without a warning",
        run: steps::doc,
    },
    Task {
        name: "test",
        summary: "all tests, with the ONNX standard's own cases",
        run: steps::test,
    },
];

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let tasks: Vec<&Task> = TASKS
        .iter()
        .filter(|task| wanted == "check" || wanted == task.name)
        .collect();
    if tasks.is_empty() {
        let list = TASKS
            .iter()
            .map(|task| format!("  {:8} {}\n", task.name, task.summary));
        steps::say(&format!(
            "cargo xtask check   runs all of\n{}",
            list.collect::<String>()
        ));
        return ExitCode::FAILURE;
    }
    for task in tasks {
        steps::say(&format!("== {}: {}", task.name, task.summary));
        if let Err(error) = (task.run)() {
            steps::say(&format!("error: {}: {error}", task.name));
            return ExitCode::FAILURE;
        }
    }
    steps::say("== all passed");
    ExitCode::SUCCESS
}
