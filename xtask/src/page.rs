//! The page of a report, opened in a browser.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::steps::{cargo, root, run, say};

/// What drives the browser. The browser itself is the system's.
const DRIVER: &str = "playwright==1.65.2";

/// Names that Chromium goes by.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

/// Makes the reports and the checks.
const SCRIPTS: &str = "crates/bantam/tests/report_page";

/// Checks the pages of sample reports in Chromium, if it is there, and says so if not.
pub(crate) fn check() -> Result<(), String> {
    let Some(browser) = BROWSERS.iter().find(|name| answers(name)) else {
        say("skipped: no Chromium is installed (CONTRIBUTING.md says how)");
        return Ok(());
    };
    let folder = root().join("target/report-page");
    let Some(python) = driver(&folder)? else {
        say(&format!("skipped: {DRIVER} could not be installed"));
        return Ok(());
    };
    let (scripts, pages) = (root().join(SCRIPTS), folder.join("pages"));
    run(Command::new(&python).arg(scripts.join("sample.py")).arg(&pages))?;
    // Of the whole workspace, as the tests are: for one package alone its dependencies would be built again with fewer features.
    run(&mut cargo(&[
        "build",
        "--quiet",
        "--workspace",
        "--example",
        "report_page",
    ]))?;
    let programs = std::env::current_exe().map_err(|error| error.to_string())?;
    run(Command::new(programs.with_file_name("examples").join("report_page")).arg(&pages))?;
    run(Command::new(&python)
        .arg(scripts.join("check.py"))
        .arg(browser)
        .arg(&pages))
}

/// Whether a program of this name starts.
fn answers(name: &str) -> bool {
    let mut command = Command::new(name);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The Python of a virtual environment with the driver, made when it is missing; none where it cannot be installed.
fn driver(folder: &Path) -> Result<Option<PathBuf>, String> {
    let (python, marker) = (folder.join("bin/python"), folder.join("driver"));
    if std::fs::read_to_string(&marker).ok().as_deref() == Some(DRIVER) {
        return Ok(Some(python));
    }
    say(&format!("installing {DRIVER} into a virtual environment"));
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(folder));
    let install = || run(Command::new(&python).args(["-m", "pip", "install", "--quiet", DRIVER]));
    if let Err(error) = made.and_then(|()| install()) {
        say(&error);
        return Ok(None);
    }
    std::fs::write(&marker, DRIVER).map_err(|error| format!("{}: {error}", marker.display()))?;
    Ok(Some(python))
}
