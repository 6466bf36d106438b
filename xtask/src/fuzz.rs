//! Fuzzing of the readers of untrusted files. Not a part of `check`: it takes forty minutes.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::python;
use crate::steps::{cargo, root, run, say};

/// Time for each target.
const SECONDS: u32 = 600;

/// Largest file to start from, in bytes, and largest that is made from it.
const LARGEST: u64 = 16 << 10;

/// Runs every target, starting from the ONNX standard's models and from the files of the tests.
pub(crate) fn fuzz() -> Result<(), String> {
    let seeds = [
        ("onnx", python::onnx_cases()?),
        ("npy", root().join("crates")),
        ("safetensors", root().join("crates")),
        ("gguf", root().join("crates")),
    ];
    for (target, folder) in seeds {
        let corpus = root().join("fuzz/corpus").join(target);
        let copied = copy_seeds(&folder, target, &corpus).map_err(|error| error.to_string())?;
        say(&format!("{target}: {copied} files to start from"));
        run(&mut libfuzzer(target))?;
    }
    Ok(())
}

fn libfuzzer(target: &str) -> Command {
    let mut command = cargo(&["fuzz", "run", target, "--"]);
    command
        .arg(format!("-max_total_time={SECONDS}"))
        .arg(format!("-max_len={LARGEST}"))
        // Instrumentation is an unstable flag, which this lets the pinned compiler take.
        .env("RUSTC_BOOTSTRAP", "1");
    command
}

/// Copies the small files with this extension, from all folders below; gives their number.
fn copy_seeds(folder: &Path, extension: &str, corpus: &Path) -> std::io::Result<usize> {
    fs::create_dir_all(corpus)?;
    let mut copied = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            copied += copy_seeds(&path, extension, corpus)?;
        } else if path.extension().is_some_and(|found| found == extension)
            && path.metadata()?.len() <= LARGEST
        {
            // Files of one name lie in folders of different names.
            let name = path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "_");
            fs::copy(&path, corpus.join(name))?;
            copied += 1;
        }
    }
    Ok(copied)
}
