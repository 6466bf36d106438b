//! The Python packages that hold test cases.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::{root, run, say};

/// The ONNX standard's package, whose node test cases our operators must pass, and what its import needs.
const PACKAGES: &[&str] = &["onnx==1.23.2", "numpy==2.4.6"];

/// The folder of the ONNX standard's test cases, installed into a virtual environment under `target` first.
pub(crate) fn onnx_cases() -> Result<PathBuf, String> {
    let venv = root().join("target/onnx-cases");
    let marker = venv.join("installed");
    if std::fs::read_to_string(&marker).ok().as_deref() != Some(&PACKAGES.join(" ")) {
        say(&format!("installing {} into a virtual environment", PACKAGES.join(" and ")));
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
        std::fs::write(&marker, PACKAGES.join(" ")).map_err(|error| error.to_string())?;
    }
    find_cases(&venv.join("lib")).ok_or_else(|| format!("no test cases under {}", venv.display()))
}

fn find_cases(lib: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(lib).ok()?.flatten();
    versions.map(|version| version.path().join("site-packages/onnx/backend/test/data")).find(|path| path.is_dir())
}
