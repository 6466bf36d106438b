//! How long a target takes, by a roofline: each node the longer of its arithmetic and its memory traffic (Williams et al. 2009), and a constant.
//!
//! Targets without a runtime here have published limits ([`Rates`]), so that times are lower bounds; for others the same numbers are
//! fitted to times that were measured ([`fit`]).

mod fit;
mod solve;
mod work;

use serde::{Deserialize, Serialize};

use super::Target;
pub use fit::{FitError, Fitted, Timed, fit};
pub use work::{Work, work};

/// Published limits of a machine.
#[derive(Debug)]
pub struct Rates {
    /// Which.
    pub machine: &'static str,
    /// Operations a second, two for each multiply-accumulate, by the bits of the wider factor, rising; 32 is float.
    pub operations: &'static [(u32, f64)],
    /// Bytes a second between arithmetic and the memory that holds values and constants; infinite where it is not published.
    pub bandwidth: f64,
    /// Seconds that each node takes besides.
    pub seconds_per_node: f64,
    /// Where the numbers are from.
    pub source: &'static str,
}

/// A model of the time that networks take on a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostModel {
    /// Of the file's form.
    pub version: u32,
    /// The target that it is for.
    pub target: String,
    /// The machine, and where the numbers are from.
    pub source: String,
    /// Threads of the runs that were timed; 0 for published limits.
    pub threads: usize,
    /// Seconds an operation takes, by the bits of the wider factor, rising.
    pub seconds_per_operation: Vec<(u32, f64)>,
    /// The same of each sum of products, beside its operations.
    pub seconds_per_sum: f64,
    /// The same of ops that are no products, per element.
    pub seconds_per_element: f64,
    /// Seconds to read or write a byte.
    pub seconds_per_byte: f64,
    /// Seconds of each node besides.
    pub seconds_per_node: f64,
    /// Seconds of a run besides.
    pub seconds_per_run: f64,
    /// Bytes of constants that are near the arithmetic, and seconds to read one that is not.
    pub far_constants: Option<(u64, f64)>,
}

impl CostModel {
    /// What [`CostModel::version`] is now.
    pub const VERSION: u32 = 1;

    /// The model of a target's published limits; `None` for one whose times are measured.
    pub fn published(target: &Target) -> Option<CostModel> {
        let rates = target.rates?;
        let far = target.memory.constants.zip(target.memory.beyond);
        Some(CostModel {
            version: CostModel::VERSION,
            target: target.name.to_owned(),
            source: format!("{}: {}", rates.machine, rates.source),
            threads: 0,
            seconds_per_operation: rates
                .operations
                .iter()
                .map(|(bits, rate)| (*bits, 1.0 / rate))
                .collect(),
            seconds_per_sum: 0.0,
            seconds_per_element: 0.0,
            seconds_per_byte: 1.0 / rates.bandwidth,
            seconds_per_node: rates.seconds_per_node,
            seconds_per_run: 0.0,
            far_constants: far.map(|(bytes, rate)| (bytes, 1.0 / rate)),
        })
    }

    /// What is wrong with a model that was read from a file, if anything.
    pub fn problem(&self) -> Option<String> {
        let rising = self.seconds_per_operation.is_sorted_by(|a, b| a.0 < b.0);
        let numbers = [
            self.seconds_per_sum,
            self.seconds_per_element,
            self.seconds_per_byte,
            self.seconds_per_node,
            self.seconds_per_run,
        ];
        let rates = self.seconds_per_operation.iter().map(|(_, seconds)| *seconds);
        let far = self.far_constants.map(|(_, seconds)| seconds);
        let mut all = numbers.into_iter().chain(rates).chain(far);
        if self.version != CostModel::VERSION {
            return Some(format!(
                "its version is {}, not {}",
                self.version,
                CostModel::VERSION
            ));
        }
        if self.seconds_per_operation.is_empty() || !rising {
            return Some("widths must rise, and there must be one".to_owned());
        }
        all.any(|seconds| !seconds.is_finite() || seconds < 0.0)
            .then(|| "times must be finite and not below zero".to_owned())
    }

    /// Seconds that an operation on factors of so many bits takes: that of the narrowest known that holds them, else of the widest.
    fn seconds_of(&self, bits: u32) -> f64 {
        let known = &self.seconds_per_operation;
        let found = known.iter().find(|(width, _)| *width >= bits).or(known.last());
        found.map_or(0.0, |(_, seconds)| *seconds)
    }

    /// Seconds of a run.
    pub fn seconds(&self, nodes: &[Work]) -> f64 {
        let of_nodes: f64 = nodes.iter().map(|node| self.node_seconds(node)).sum();
        let constants: f64 = nodes.iter().map(|node| node.constant_bytes).sum();
        let far = self.far_constants.map_or(0.0, |(near, seconds)| {
            (constants - near as f64).max(0.0) * seconds
        });
        of_nodes + far + self.seconds_per_run
    }

    /// Seconds of a node.
    pub fn node_seconds(&self, node: &Work) -> f64 {
        let arithmetic = node.operations * self.seconds_of(node.bits)
            + node.sums * self.seconds_per_sum
            + node.elements * self.seconds_per_element;
        let traffic = (node.constant_bytes + node.data_bytes) * self.seconds_per_byte;
        arithmetic.max(traffic) + self.seconds_per_node
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{TARGETS, target_by_name};

    fn product(bits: u32, constant_bytes: f64) -> Work {
        Work {
            node: "product".to_owned(),
            operations: 2e9,
            sums: 0.0,
            elements: 0.0,
            bits,
            constant_bytes,
            data_bytes: 0.0,
        }
    }

    #[test]
    fn published_models_are_sound_and_narrow_numbers_are_no_slower() {
        for target in TARGETS.iter().filter(|target| target.rates.is_some()) {
            let model = CostModel::published(target).unwrap();
            assert_eq!(model.problem(), None, "{}", target.name);
            let times = [4, 8, 32].map(|bits| model.seconds(&[product(bits, 0.0)]));
            assert!(times[0] > 0.0 && times.is_sorted(), "{}: {times:?}", target.name);
        }
    }

    /// 2e9 operations at 480e6 a second; 8 MiB more than fit at half a gigabyte a second.
    #[test]
    fn known_machines() {
        let model = |name| CostModel::published(target_by_name(name).unwrap()).unwrap();
        let seconds = model("cortex-m").seconds(&[product(8, 1e3)]);
        assert!((seconds - 2e9 / 480e6).abs() < 1e-9, "{seconds}");
        let seconds = model("cortex-m").seconds(&[product(8, 480e7)]);
        assert!((seconds - 10.0).abs() < 1e-9, "memory bound: {seconds}");
        let seconds = model("edgetpu").seconds(&[product(8, f64::from(16 << 20))]);
        let expected = 2e9 / 4e12 + f64::from(8 << 20) / 0.5e9;
        assert!((seconds / expected - 1.0).abs() < 1e-9, "{seconds} {expected}");
    }
}
