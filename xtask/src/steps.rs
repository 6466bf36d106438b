//! The parts of the check that call cargo.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::python;

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
        .to_owned()
}

/// Prints a line.
pub(crate) fn say(line: &str) {
    // Nothing can be done when nobody listens.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Runs a command to success.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    match command.current_dir(root()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown} ended with {status}")),
        Err(error) => Err(format!("{shown}: {error}")),
    }
}

pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

pub(crate) fn fmt() -> Result<(), String> {
    run(&mut cargo(&["fmt", "--all", "--check"]))
}

pub(crate) fn clippy() -> Result<(), String> {
    run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

pub(crate) fn doc() -> Result<(), String> {
    run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

pub(crate) fn test() -> Result<(), String> {
    let cases = python::onnx_cases()?;
    run(cargo(&["test", "--workspace"]).env("BANTAM_ONNX_TESTS", cases))
}

pub(crate) fn models() -> Result<(), String> {
    run(&mut cargo(&[
        "run",
        "--release",
        "--package",
        "bantam",
        "--example",
        "models",
    ]))
}
