//! Where the runtimes' libraries lie.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, iter};

use super::{RuntimeError, RuntimeKind};

/// Facts about a runtime's shared library.
pub(super) struct Library {
    /// Names the file or its folder; if set, the library is looked for nowhere else.
    pub(super) variable: &'static str,
    /// The Python package that carries the library, at a version that is known to work.
    pub(super) package: &'static str,
    /// The file's name without the system's prefix and suffix.
    stem: &'static str,
    /// The library's folder under the folder of Python packages.
    package_folder: &'static str,
    /// Where the library may lie under the folder that `variable` names.
    subfolders: &'static [&'static str],
}

static ONNX_RUNTIME: Library = Library {
    variable: "BANTAM_ONNXRUNTIME",
    package: "onnxruntime==1.32.0",
    stem: "onnxruntime",
    package_folder: "onnxruntime/capi",
    subfolders: &["", "lib", "capi", "onnxruntime/capi"],
};

static OPENVINO: Library = Library {
    variable: "BANTAM_OPENVINO",
    package: "openvino==2026.4.1",
    stem: "openvino_c",
    package_folder: "openvino/libs",
    subfolders: &[
        "",
        "lib",
        "libs",
        "openvino/libs",
        "runtime/lib/intel64",
        "runtime/lib/arm64/Release",
        "runtime/lib/aarch64",
        "runtime/bin/intel64/Release",
    ],
};

impl Library {
    pub(super) fn of(kind: RuntimeKind) -> &'static Library {
        match kind {
            RuntimeKind::OnnxRuntime => &ONNX_RUNTIME,
            RuntimeKind::OpenVino => &OPENVINO,
        }
    }

    /// The file's name as the system's loader knows it, as `libonnxruntime.so`.
    pub(super) fn file_name(&self) -> String {
        format!("{DLL_PREFIX}{}{DLL_SUFFIX}", self.stem)
    }

    /// The version in a file's name, as `1.32.0` in `libonnxruntime.so.1.32.0` (empty without one); `None` if the name is
    /// another file's.
    pub(super) fn version_in<'n>(&self, file_name: &'n str) -> Option<&'n str> {
        let rest = file_name.strip_prefix(DLL_PREFIX)?.strip_prefix(self.stem)?;
        let version = rest
            .strip_prefix(DLL_SUFFIX)
            .or_else(|| rest.strip_suffix(DLL_SUFFIX))?;
        let is_version = version.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
        is_version.then(|| version.trim_start_matches('.'))
    }

    /// Whether `path` is a file of the library's name, with or without a version. The binding of OpenVINO panics on a
    /// library without its symbols, so other names are never tried.
    fn is_at(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| self.version_in(name).is_some()) && path.is_file()
    }

    /// The library in `folder`; the shortest name where there are several.
    fn in_folder(&self, folder: &Path) -> Option<PathBuf> {
        let entries = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
        entries.filter(|path| self.is_at(path)).min()
    }

    /// The library at the file or folder that the user named.
    fn at(&self, path: &Path) -> Option<PathBuf> {
        if self.is_at(path) {
            return Some(path.to_path_buf());
        }
        self.subfolders
            .iter()
            .find_map(|folder| self.in_folder(&path.join(folder)))
    }

    /// The library in each folder of Python packages that has it, in the order of the module's documentation. Python is
    /// asked only when the earlier ones are used up.
    fn in_python_packages(&self) -> impl Iterator<Item = PathBuf> {
        let environments = env::var_os("VIRTUAL_ENV")
            .into_iter()
            .chain([OsString::from(".venv")]);
        let known = environments.flat_map(|folder| package_folders(Path::new(&folder)));
        let asked = iter::once_with(python_path).flatten();
        let folders = known.chain(asked);
        folders.filter_map(|folder| self.in_folder(&folder.join(self.package_folder)))
    }
}

/// Calls `load` on each place where the library may be, until one works; gives what it returned and the place.
///
/// # Errors
/// What the first library that exists said if none works, or that there is none.
pub(super) fn load<T>(
    kind: RuntimeKind,
    load: impl Fn(&Path) -> Result<T, String>,
) -> Result<(T, PathBuf), RuntimeError> {
    let library = Library::of(kind);
    let load = |path: PathBuf| match load(&path) {
        Ok(loaded) => Ok((loaded, path)),
        Err(reason) => Err(RuntimeError::Load {
            runtime: kind,
            path,
            reason,
        }),
    };
    if let Some(value) = env::var_os(library.variable).filter(|value| !value.is_empty()) {
        return load(configured(kind, Path::new(&value))?);
    }
    let mut first_error = None;
    for path in library.in_python_packages() {
        match load(path) {
            Ok(loaded) => return Ok(loaded),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    let by_system = load(PathBuf::from(library.file_name()));
    by_system.map_err(|_| first_error.unwrap_or(RuntimeError::NotFound { runtime: kind }))
}

/// The library at the file or folder that the user named.
fn configured(kind: RuntimeKind, path: &Path) -> Result<PathBuf, RuntimeError> {
    let library = Library::of(kind);
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    library.at(&path).ok_or(RuntimeError::Configured {
        runtime: kind,
        variable: library.variable,
        path,
    })
}

/// The folders of Python packages in a virtual environment.
fn package_folders(environment: &Path) -> Vec<PathBuf> {
    let Ok(environment) = std::path::absolute(environment) else {
        return Vec::new();
    };
    if cfg!(windows) {
        return vec![environment.join("Lib").join("site-packages")];
    }
    let entries = fs::read_dir(environment.join("lib"))
        .into_iter()
        .flatten()
        .flatten();
    let mut folders: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python"))
        .map(|entry| entry.path().join("site-packages"))
        .collect();
    folders.sort();
    folders
}

/// The absolute folders in which the first Python on the path looks for packages.
fn python_path() -> Vec<PathBuf> {
    let program = if cfg!(windows) { "python" } else { "python3" };
    let output = Command::new(program)
        .args(["-c", "import sys; print('\\n'.join(sys.path))"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else {
        return Vec::new();
    };
    let printed = String::from_utf8_lossy(&output.stdout);
    let folders = printed.lines().map(PathBuf::from);
    // An empty or relative entry means the current folder, whose contents nobody chose to run.
    folders.filter(|folder| folder.is_absolute()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn versions_in_file_names() {
        let cases = [
            ("libonnxruntime.so", Some("")),
            ("libonnxruntime.so.1", Some("1")),
            ("libonnxruntime.so.1.32.0", Some("1.32.0")),
            ("libonnxruntime.so.bak", None),
            ("libonnxruntime_providers_shared.so", None),
            ("onnxruntime.so", None),
        ];
        for (name, expected) in cases {
            assert_eq!(ONNX_RUNTIME.version_in(name), expected, "{name}");
        }
    }

    #[test]
    fn a_named_folder_is_searched() {
        let kind = RuntimeKind::OnnxRuntime;
        let folder = tempfile::tempdir().unwrap();
        let error = configured(kind, folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("hint: set BANTAM_ONNXRUNTIME to that file"),
            "{error}"
        );
        let capi = folder.path().join("onnxruntime").join("capi");
        fs::create_dir_all(&capi).unwrap();
        let file = capi.join(ONNX_RUNTIME.file_name());
        fs::write(&file, "").unwrap();
        assert_eq!(configured(kind, folder.path()).unwrap(), file);
        assert_eq!(configured(kind, &file).unwrap(), file);
        assert!(configured(RuntimeKind::OpenVino, folder.path()).is_err());
        assert!(configured(RuntimeKind::OpenVino, &file).is_err());
    }

    #[test]
    #[cfg(unix)]
    fn packages_of_a_virtual_environment() {
        let folder = tempfile::tempdir().unwrap();
        assert!(package_folders(folder.path()).is_empty());
        let packages = folder.path().join("lib/python3.12/site-packages");
        fs::create_dir_all(&packages).unwrap();
        fs::create_dir_all(folder.path().join("lib/other")).unwrap();
        assert_eq!(package_folders(folder.path()), [packages]);
    }
}
