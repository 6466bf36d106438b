//! A folder with the demo's files, and the program to run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub(crate) struct Demo {
    folder: TempDir,
}

impl Demo {
    pub(crate) fn new() -> Demo {
        let folder = tempfile::tempdir().unwrap();
        bantam::demo::write_files(folder.path()).unwrap();
        Demo { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, contents: &[u8]) {
        std::fs::write(self.path(name), contents).unwrap();
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn succeed(&self, arguments: &[&str]) {
        let run = self.run(arguments);
        assert!(
            run.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&run.stderr)
        );
    }
}

/// What is wrong with how the program refuses these arguments: it must fail without a panic, with this code and this
/// in its message and a hint, and leave the folder as it was.
pub(crate) fn fault_in_refusal(demo: &Demo, arguments: &[&str], message: &str, code: i32) -> Option<String> {
    let before = demo.files();
    let run = demo.run(arguments);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    let fault = match () {
        () if run.status.code() != Some(code) => "the exit code is wrong",
        () if !said.contains(message) => "the message lacks what it should name",
        () if !said.contains("hint:") => "there is no hint",
        () if !run.stdout.is_empty() => "data was written",
        () if demo.files() != before => "the folder has changed",
        () => return None,
    };
    Some(format!("{arguments:?} ({message}): {fault}: {said}"))
}

/// The model with one weight that is no number.
pub(crate) fn with_nan_weight(model: &Path) -> Vec<u8> {
    let mut model = bantam::pipeline::load(model).unwrap();
    let weights = model
        .graph
        .values
        .iter_mut()
        .filter_map(|value| value.initializer.as_mut());
    let weight = weights
        .into_iter()
        .find(|tensor| tensor.rank() == 4)
        .expect("a convolution");
    weight.values_mut::<f32>().unwrap()[0] = f32::NAN;
    bantam::formats::onnx::encode(&model, None).unwrap()
}

/// A file system with almost no room, unmounted when dropped.
pub(crate) struct FullDisk(PathBuf);

impl FullDisk {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A full file system; `None`, and a word about it, where this user may not mount one.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn full_disk(demo: &Demo) -> Option<FullDisk> {
    let folder = demo.path("full");
    std::fs::create_dir(&folder).unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&folder)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        println!("skipped: a small file system cannot be mounted here");
        return None;
    }
    std::fs::write(folder.join("filler"), vec![0; 48 << 10]).unwrap();
    Some(FullDisk(folder))
}
