//! The control.

use bantam_tensor::SplitMix64;

use super::{ChannelScope, Criterion, Evidence, Needs, PruneError};

/// Numbers that say nothing about the weights.
pub(super) struct Random;

impl Criterion for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn summary(&self) -> &'static str {
        "nothing: the control that others must beat; chosen by the seed"
    }

    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn channel_scope(&self) -> ChannelScope {
        ChannelScope::Group
    }

    fn saliency(&self, evidence: &Evidence<'_>) -> Result<Vec<Vec<f32>>, PruneError> {
        let mut random = SplitMix64::new(evidence.seed);
        let mut draw = |count: usize| (0..count).map(|_| random.unit()).collect();
        Ok(evidence.weights.iter().map(|weight| draw(weight.len())).collect())
    }
}
