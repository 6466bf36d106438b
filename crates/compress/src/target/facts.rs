//! A target's table for people and programs.

use serde::Serialize;

use super::{Memory, Others, ScaleForm, Target};

/// What there is to know of a target.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Forms of activations with integer kernels, the default first.
    pub activations: Vec<&'static str>,
    /// Forms of weights with integer kernels, the default first.
    pub weights: Vec<&'static str>,
    /// Whether scales must be powers of two.
    pub power_of_two_scales: bool,
    /// Channels of a block that kernels work on.
    pub channel_multiple: usize,
    /// Whether codes of fewer than 8 bits are packed in files for it.
    pub packed_codes: bool,
    /// Patterns of zeros that make it faster.
    pub sparsity: &'static [&'static str],
    /// What becomes of ops that it has no form of.
    pub other_ops: &'static str,
    /// What fits.
    pub memory: Memory,
    /// Where times come from: a machine's published limits, or `measured`.
    pub times: &'static str,
}

impl Target {
    /// The table in short.
    pub fn facts(&self) -> Facts {
        let names = |first: &'static str, formats: &'static [(&'static str, Option<&'static str>)]| {
            let others = formats
                .iter()
                .map(|(name, _)| *name)
                .filter(|name| *name != first);
            std::iter::once(first).chain(others).collect()
        };
        Facts {
            activations: names(self.activations.format, self.activation_formats),
            weights: names(self.weights.format, self.weight_formats),
            power_of_two_scales: self.scales == ScaleForm::PowerOfTwo,
            channel_multiple: self.channel_multiple,
            packed_codes: self.folds_constants,
            sparsity: self.sparsity,
            other_ops: match self.others {
                Others::Float => "in float",
                Others::Host => "on the host, in float",
                Others::Missing => "missing",
            },
            memory: self.memory,
            times: self.rates.map_or("measured", |rates| rates.machine),
        }
    }
}

impl Facts {
    /// In words.
    pub fn lines(&self) -> Vec<String> {
        let mut words = vec![
            format!("activations {}", self.activations.join(" ")),
            format!("weights {}", self.weights.join(" ")),
            format!("channels in blocks of {}", self.channel_multiple),
            format!("other ops {}", self.other_ops),
        ];
        if self.power_of_two_scales {
            words.push("scales are powers of two".to_owned());
        }
        if self.packed_codes {
            words.push("codes packed in files".to_owned());
        }
        if !self.sparsity.is_empty() {
            words.push(format!("zeros in patterns {}", self.sparsity.join(" ")));
        }
        let kibibytes = |bytes: u64| format!("{} KiB", bytes >> 10);
        if let Some(constants) = self.memory.constants {
            let beyond = self.memory.beyond.map_or("", |_| ", more is streamed");
            words.push(format!("{} of constants{beyond}", kibibytes(constants)));
        }
        if let Some(activations) = self.memory.activations {
            words.push(format!("{} of activations", kibibytes(activations)));
        }
        words.push(match self.times {
            "measured" => "times are measured".to_owned(),
            machine => format!("times modelled after {machine}"),
        });
        words
    }
}
