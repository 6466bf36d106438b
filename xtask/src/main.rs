//! One command that runs what CI runs: `cargo xtask check`, or one part of it.

mod fuzz;
mod ladder;
mod page;
mod python;
mod steps;

use std::process::ExitCode;

/// A part of the check.
struct Task {
    name: &'static str,
    summary: &'static str,
    run: fn() -> Result<(), String>,
}

/// What `check` runs, in this order.
const CHECKS: &[Task] = &[
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
    Task {
        name: "page",
        summary: "pages of reports in Chromium, in two widths and themes (where it is installed)",
        run: page::check,
    },
];

/// What is run by name only.
const OTHERS: &[Task] = &[
    Task {
        name: "fuzz",
        summary: "ten minutes for each reader of untrusted files (needs cargo-fuzz)",
        run: fuzz::fuzz,
    },
    Task {
        name: "models",
        summary: "writes benchmark networks with seeded random weights to target/models",
        run: steps::models,
    },
];

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let all = || CHECKS.iter().chain(OTHERS);
    let tasks: Vec<&Task> = match wanted.as_str() {
        "check" => CHECKS.iter().collect(),
        name => all().filter(|task| task.name == name).collect(),
    };
    if tasks.is_empty() {
        let list = all().map(|task| format!("  {:8} {}\n", task.name, task.summary));
        steps::say(&format!(
            "cargo xtask check   runs all of these but the last two; each runs by its name\n{}",
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
