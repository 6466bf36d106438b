//! The Python packages that hold test cases.

use std::path::PathBuf;
use std::process::Command;

use crate::steps::{root, run, say};

/// The ONNX standard's package, whose node test cases our operators must pass, and what its import needs.
const PACKAGES: &[&str] = &["onnx==1.23.2", "numpy==2.4.6"];

/// Writes the cases, most of which the package holds as Python code, as files.
const EXPORTER: &str = "crates/bantam/tests/onnx_conformance/export_cases.py";

/// The folder of the ONNX standard's test cases, exported with a virtual environment under `target` first.
pub(crate) fn onnx_cases() -> Result<PathBuf, String> {
    let venv = root().join("target/onnx-cases");
    let (cases, marker) = (venv.join("cases"), venv.join("exported"));
    let exporter = std::fs::read_to_string(root().join(EXPORTER)).map_err(|error| error.to_string())?;
    let done = format!("{}\n{exporter}", PACKAGES.join(" "));
    if std::fs::read_to_string(&marker).ok().as_deref() != Some(&done) {
        say(&format!(
            "installing {} into a virtual environment",
            PACKAGES.join(" and ")
        ));
        let python = venv.join("bin/python");
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(PACKAGES))?;
        run(Command::new(&python)
            .arg("-W")
            .arg("ignore")
            .arg(root().join(EXPORTER))
            .arg(&cases))?;
        std::fs::write(&marker, done).map_err(|error| error.to_string())?;
    }
    Ok(cases)
}
