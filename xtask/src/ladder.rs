//! The ladder of crates: each uses only crates that it may.

use std::fs;

/// Crate folder and the workspace crates that it may use; the same table as in ARCHITECTURE.md.
const LADDER: &[(&str, &[&str])] = &[
    ("tensor", &[]),
    ("kernels", &["bantam-tensor"]),
    ("graph", &["bantam-tensor"]),
    ("formats", &["bantam-tensor", "bantam-graph"]),
    ("exec", &["bantam-tensor", "bantam-kernels", "bantam-graph"]),
    (
        "compress",
        &["bantam-tensor", "bantam-kernels", "bantam-graph", "bantam-exec"],
    ),
    (
        "bantam",
        &[
            "bantam-tensor",
            "bantam-kernels",
            "bantam-graph",
            "bantam-formats",
            "bantam-exec",
            "bantam-compress",
        ],
    ),
    ("cli", &["bantam"]),
];

/// Fails on a crate that is not in the table and on an edge that is not.
pub(crate) fn check() -> Result<(), String> {
    let root = crate::steps::root();
    let folders = fs::read_dir(root.join("crates")).map_err(|error| format!("crates: {error}"))?;
    for folder in folders.flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let Some((_, allowed)) = LADDER.iter().find(|(known, _)| *known == name) else {
            return Err(format!("crate `{name}` is not in the ladder"));
        };
        let manifest =
            fs::read_to_string(folder.path().join("Cargo.toml")).map_err(|e| format!("{name}: {e}"))?;
        check_manifest(&name, &manifest, allowed)?;
    }
    Ok(())
}

/// Checks the dependencies of one crate, those of its tests excepted.
fn check_manifest(name: &str, manifest: &str, allowed: &[&str]) -> Result<(), String> {
    let manifest: toml::Table = manifest.parse().map_err(|error| format!("{name}: {error}"))?;
    for section in ["dependencies", "build-dependencies"] {
        let dependencies = manifest.get(section).and_then(toml::Value::as_table);
        for dependency in dependencies.into_iter().flat_map(toml::Table::keys) {
            if dependency.starts_with("bantam") && !allowed.contains(&dependency.as_str()) {
                return Err(format!("crate `{name}` must not use `{dependency}`"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_against_the_ladder_are_found() {
        let manifest = "[dependencies]\nbantam-tensor.workspace = true\nbantam-exec.workspace = true\n";
        assert_eq!(
            check_manifest("formats", manifest, &["bantam-tensor", "bantam-exec"]),
            Ok(())
        );
        let error = check_manifest("formats", manifest, &["bantam-tensor"]).unwrap_err();
        assert_eq!(error, "crate `formats` must not use `bantam-exec`");
    }
}
