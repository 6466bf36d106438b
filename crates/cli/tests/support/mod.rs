//! A folder with the demo's files, and the program to run in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub struct Demo {
    folder: TempDir,
}

impl Demo {
    pub fn new() -> Demo {
        let folder = tempfile::tempdir().unwrap();
        bantam::demo::write_files(folder.path()).unwrap();
        Demo { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn write(&self, name: &str, contents: &[u8]) {
        std::fs::write(self.path(name), contents).unwrap();
    }

    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bantam"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn succeed(&self, arguments: &[&str]) {
        let run = self.run(arguments);
        assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

/// The program must fail without a panic, with this in its message and a hint, and leave the folder as it was.
pub fn check_refused(demo: &Demo, arguments: &[&str], message: &str) {
    let before = demo.files();
    let run = demo.run(arguments);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{arguments:?} must fail: {said}");
    assert!(said.contains(message), "{arguments:?}: `{message}` is not in: {said}");
    assert!(said.contains("hint:"), "{arguments:?}: no hint in: {said}");
    assert!(run.stdout.is_empty(), "{arguments:?} wrote data");
    assert_eq!(demo.files(), before, "{arguments:?} changed the folder");
}

/// The model with one weight that is no number.
pub fn with_nan_weight(model: &Path) -> Vec<u8> {
    let mut model = bantam::pipeline::load(model).unwrap();
    let weights = model.graph.values.iter_mut().filter_map(|value| value.initializer.as_mut());
    let weight = weights.into_iter().find(|tensor| tensor.rank() == 4).expect("a convolution");
    weight.values_mut::<f32>().unwrap()[0] = f32::NAN;
    bantam::formats::onnx::encode(&model, None).unwrap()
}

/// A file system with almost no room, unmounted when dropped.
pub struct FullDisk(PathBuf);

impl FullDisk {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A full file system; `None`, and a word about it, where this user may not mount one.
pub fn full_disk(demo: &Demo) -> Option<FullDisk> {
    let folder = demo.path("full");
    std::fs::create_dir(&folder).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(&folder).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        println!("skipped: a small file system cannot be mounted here");
        return None;
    }
    std::fs::write(folder.join("filler"), vec![0; 48 << 10]).unwrap();
    Some(FullDisk(folder))
}
