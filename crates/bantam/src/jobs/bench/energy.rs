//! Energy: counters of the processor where they can be read, else a model.

use std::path::{Path, PathBuf};

use bantam_compress::search::energy::{multiply_accumulate, read_weights};
use bantam_compress::target::cost::Work;
use serde::Serialize;

/// Energy of a sample, and where it is from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Energy {
    /// Millijoules.
    pub millijoules: f64,
    /// What tells.
    pub source: EnergySource,
}

/// What tells how much energy is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnergySource {
    /// Counters of all processors and their memory, whatever else runs on them (RAPL).
    Rapl,
    /// A model of each operation (Horowitz 2014): arithmetic of products, and reading constants once a run.
    Model,
}

impl Energy {
    /// In words.
    pub fn describe(&self) -> String {
        let source = match self.source {
            EnergySource::Rapl => "measured by RAPL: the whole processor",
            EnergySource::Model => "by a model of operations in 45 nm",
        };
        format!("{:.4} mJ a sample, {source}", self.millijoules)
    }

    /// Of a run of so many samples, by a model.
    pub(super) fn modelled(nodes: &[Work], samples: usize) -> Energy {
        let of = |node: &Work| {
            node.operations / 2.0 * multiply_accumulate(node.bits, node.bits)
                + read_weights(node.constant_bytes)
        };
        let picojoules: f64 = nodes.iter().map(of).sum();
        Energy {
            millijoules: picojoules / 1e9 / samples.max(1) as f64,
            source: EnergySource::Model,
        }
    }
}

/// Where Linux has the counters.
const ROOT: &str = "/sys/class/powercap";

/// Adds up what counters say.
pub(crate) struct Meter {
    domains: Vec<Domain>,
    microjoules: u64,
}

/// A counter.
struct Domain {
    counter: PathBuf,
    /// Where it starts again from zero.
    range: u64,
}

impl Meter {
    /// Of this machine.
    pub(crate) fn here() -> Meter {
        Meter::of(Path::new(ROOT))
    }

    /// Of the counters in a folder: those of whole packages, and of the memory beside them; without any that can be read, none.
    fn of(root: &Path) -> Meter {
        let folders = std::fs::read_dir(root).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
        paths.sort();
        let domains: Vec<Domain> = paths.iter().filter_map(|path| domain(path)).collect();
        // A part that cannot be read would be missing from the sum.
        let complete = domains
            .iter()
            .all(|domain| read_number(&domain.counter).is_some());
        Meter {
            domains: if complete { domains } else { Vec::new() },
            microjoules: 0,
        }
    }

    /// What all counters say now.
    pub(super) fn read(&self) -> Vec<u64> {
        let read = |domain: &Domain| read_number(&domain.counter).unwrap_or(0);
        self.domains.iter().map(read).collect()
    }

    /// Adds what was used since counters said this.
    pub(super) fn add_since(&mut self, before: &[u64]) {
        let now = self.read();
        for ((domain, before), now) in self.domains.iter().zip(before).zip(now) {
            self.microjoules += match now >= *before {
                true => now - before,
                false => (domain.range + now).saturating_sub(*before),
            };
        }
    }

    /// Energy of a sample, if anything could be read.
    pub(super) fn energy(&self, samples: usize) -> Option<Energy> {
        (!self.domains.is_empty() && samples > 0).then(|| Energy {
            millijoules: self.microjoules as f64 / 1e3 / samples as f64,
            source: EnergySource::Rapl,
        })
    }
}

/// The counter in a folder such as `intel-rapl:0`, if it is that of a package or of memory.
fn domain(folder: &Path) -> Option<Domain> {
    let file = folder.file_name()?.to_str()?;
    let name = std::fs::read_to_string(folder.join("name")).ok()?;
    let parts = file.strip_prefix("intel-rapl:")?.split(':').count();
    let counts = match parts {
        1 => name.starts_with("package"),
        2 => name.trim() == "dram",
        _ => false,
    };
    counts.then(|| Domain {
        counter: folder.join("energy_uj"),
        range: read_number(&folder.join("max_energy_range_uj")).unwrap_or(u64::MAX / 2),
    })
}

fn read_number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, folder: &str, name: &str, microjoules: u64) {
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let files = [
            ("name", name.to_owned()),
            ("energy_uj", microjoules.to_string()),
            ("max_energy_range_uj", "1000000".to_owned()),
        ];
        files
            .iter()
            .for_each(|(file, text)| std::fs::write(folder.join(file), format!("{text}\n")).unwrap());
    }

    #[test]
    fn packages_and_memory_are_added_up_across_the_end_of_a_counter() {
        let root = tempfile::tempdir().unwrap();
        let at = |package, core, dram| {
            write(root.path(), "intel-rapl:0", "package-0", package);
            write(root.path(), "intel-rapl:0:0", "core", core);
            write(root.path(), "intel-rapl:0:1", "dram", dram);
            write(root.path(), "intel-rapl:1", "psys", 77);
        };
        at(999_000, 5, 100);
        let mut meter = Meter::of(root.path());
        let before = meter.read();
        at(4_000, 999, 2_100);
        meter.add_since(&before);
        // 5,000 of the package, whose counter began again, and 2,000 of memory; cores are part of the package.
        let energy = meter.energy(2).unwrap();
        assert_eq!((energy.millijoules, energy.source), (3.5, EnergySource::Rapl));
        assert!(energy.describe().contains("RAPL"));
    }

    #[test]
    fn without_counters_there_is_no_energy() {
        let root = tempfile::tempdir().unwrap();
        for empty in [root.path().to_owned(), root.path().join("missing")] {
            assert_eq!(Meter::of(&empty).energy(1), None);
        }
        write(root.path(), "intel-rapl:0", "package-0", 5);
        std::fs::remove_file(root.path().join("intel-rapl:0/energy_uj")).unwrap();
        assert_eq!(
            Meter::of(root.path()).energy(1),
            None,
            "a counter that cannot be read"
        );
    }

    #[test]
    fn the_model_counts_narrow_products_less() {
        let node = |bits| Work {
            node: String::new(),
            operations: 2e6,
            sums: 0.0,
            elements: 0.0,
            bits,
            constant_bytes: 1000.0,
            data_bytes: 0.0,
        };
        // 1e6 products of 4.6 or 0.3 picojoules, 1,000 bytes of 162.5.
        let float = Energy::modelled(&[node(32)], 1).millijoules;
        let codes = Energy::modelled(&[node(8)], 1).millijoules;
        assert!((float - (4.6e6 + 162_500.0) / 1e9).abs() < 1e-12, "{float}");
        assert!((codes - (0.3e6 + 162_500.0) / 1e9).abs() < 1e-12, "{codes}");
    }
}
