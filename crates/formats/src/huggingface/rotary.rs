//! The frequencies of rotary position embedding (Su et al. 2021), with the ways to stretch them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::HuggingFaceError;

/// `rope_parameters`: one for all layers, or one for each kind of layer.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Rope {
    ByLayerType(BTreeMap<String, RopeParameters>),
    Same(RopeParameters),
}

/// `rope_scaling` or `rope_parameters`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct RopeParameters {
    #[serde(alias = "type")]
    pub(crate) rope_type: Option<String>,
    pub(crate) rope_theta: Option<f64>,
    pub(crate) partial_rotary_factor: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

impl RopeParameters {
    /// Elements of each head that turn.
    pub(crate) fn turning(&self, head_size: usize) -> usize {
        self.partial_rotary_factor.map_or(head_size, |factor| {
            (head_size as f64 * factor.clamp(0.0, 1.0)) as usize
        })
    }

    /// True when frequencies are not the plain ones.
    pub(crate) fn is_stretched(&self) -> bool {
        self.rope_type.as_deref().is_some_and(|kind| kind != "default")
    }

    /// The base of the frequencies.
    pub(crate) fn theta(&self) -> f64 {
        self.rope_theta.unwrap_or(10_000.0)
    }

    /// Angle between neighbouring tokens, for each pair of elements that turn: `theta^(-2 i / turning)`.
    pub(crate) fn frequencies(&self, head_size: usize) -> Result<Vec<f32>, HuggingFaceError> {
        let turning = self.turning(head_size);
        let plain = (0..turning / 2).map(|pair| self.theta().powf(-2.0 * pair as f64 / turning as f64));
        let factor = self.factor.unwrap_or(1.0);
        Ok(match self.rope_type.as_deref().unwrap_or("default") {
            "default" => plain.map(|frequency| frequency as f32).collect(),
            "linear" => plain.map(|frequency| (frequency / factor) as f32).collect(),
            "llama3" => plain
                .map(|frequency| self.llama3(frequency, factor) as f32)
                .collect(),
            other => {
                return Err(HuggingFaceError::Config {
                    fact: format!("rotary embedding of the type `{other}` is not known"),
                    hint: "known are default, linear and llama3",
                });
            }
        })
    }

    /// Llama 3.1: long waves are stretched, short ones stay, those between are mixed (Grattafiori et al. 2024, in the
    /// form of the reference code).
    fn llama3(&self, frequency: f64, factor: f64) -> f64 {
        let (low, high) = (
            self.low_freq_factor.unwrap_or(1.0),
            self.high_freq_factor.unwrap_or(4.0),
        );
        let original = self.original_max_position_embeddings.unwrap_or(8192.0);
        let turns = original * frequency / std::f64::consts::TAU;
        let smooth = ((turns - low) / (high - low)).clamp(0.0, 1.0);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}
