//! Quantizers of activations.

use bantam_graph::ops::{Binary, Clip, FakeQuant, FakeSign};
use bantam_graph::{Op, ValueId};
use bantam_tensor::Tensor;

use super::builder::{Builder, gradient_scale};
use super::grid::Grid;
use super::settings::{ActivationMapping, AwareSettings, ScaleTraining};
use super::sites::ActivationGroup;

/// Width of the slope of signs in units of the scale: for the normal distribution, whose mean magnitude is 0.8, the slope of
/// Bi-Real Net reaches to 1.
const SIGN_BOUND: f32 = 1.25;

/// The bounds of PACT lie so far within those of the codes, so that what is clipped counts as clipped once.
const WITHIN: f32 = 1.0 - 1.0 / (1 << 20) as f32;

/// The quantizer that the values of a group share.
pub(super) struct ActivationQuantizer {
    op: Op,
    scale: ValueId,
    /// Zero point or threshold.
    second: ValueId,
    /// PACT's lower and upper bound.
    bounds: Option<[Option<ValueId>; 2]>,
}

impl ActivationQuantizer {
    /// Adds the parameters of a group, named after `stem`.
    pub(super) fn new(
        builder: &mut Builder<'_>,
        stem: &str,
        group: &ActivationGroup,
        settings: &AwareSettings,
        is_input: bool,
    ) -> ActivationQuantizer {
        // Nothing before an input is trained, so its gradient would be for its scale alone; some scales are the target's.
        let training = if is_input || group.prescribed {
            ScaleTraining::Fixed
        } else {
            settings.scales
        };
        match group.mapping(settings.activation_mapping, is_input) {
            ActivationMapping::Pact => ActivationQuantizer::clipped(builder, stem, group),
            ActivationMapping::Binary if group.is_signed() => {
                ActivationQuantizer::sign(builder, stem, group, settings)
            }
            ActivationMapping::Uniform | ActivationMapping::Binary => {
                ActivationQuantizer::uniform(builder, stem, group, training)
            }
        }
    }

    fn uniform(
        builder: &mut Builder<'_>,
        stem: &str,
        group: &ActivationGroup,
        training: ScaleTraining,
    ) -> ActivationQuantizer {
        let (grid, step) = (&group.grid, group.params.scale[0]);
        let scale = builder.scale(stem, &Tensor::scalar(step), training);
        let zero_point = if training == ScaleTraining::LearnedOffset {
            let offset = Tensor::scalar(step * grid.zero_point);
            let offset = builder.parameter(&format!("{stem}_offset"), offset, None, false);
            let real = builder.node(&format!("{stem}_offset_in_codes"), Binary::Div, &[offset, scale]);
            builder.rounded(&format!("{stem}_zero_point"), real, [grid.low, grid.high])
        } else {
            builder.number(&format!("{stem}_zero_point"), grid.zero_point)
        };
        let largest = grid.largest().max(-grid.smallest());
        ActivationQuantizer {
            op: fake_quant(grid, gradient_scale(group.elements, largest)),
            scale,
            second: zero_point,
            bounds: None,
        }
    }

    /// `y = clip(x, 0, alpha)`, rounded; alpha is trained with weight decay (Choi et al. 2018, section 3). Where the codes reach
    /// below zero, the lower bound moves in proportion.
    fn clipped(builder: &mut Builder<'_>, stem: &str, group: &ActivationGroup) -> ActivationQuantizer {
        let (grid, largest) = (&group.grid, group.grid.largest());
        let bound = group.params.scale[0] * largest;
        let alpha = Tensor::scalar(bound);
        let alpha = builder.parameter(&format!("{stem}_bound"), alpha, Some(bound * 0.01), true);
        let mut times = |name: &str, factor: f32| {
            let factor = builder.number(&format!("{stem}_{name}_factor"), factor);
            builder.node(&format!("{stem}_{name}"), Binary::Mul, &[alpha, factor])
        };
        let scale = times("scale", 1.0 / largest);
        let upper = times("upper", WITHIN);
        let lower = (grid.smallest() < 0.0).then(|| times("lower", WITHIN * grid.smallest() / largest));
        let zero_point = builder.number(&format!("{stem}_zero_point"), grid.zero_point);
        ActivationQuantizer {
            op: fake_quant(grid, 0.0),
            scale,
            second: zero_point,
            bounds: Some([lower, Some(upper)]),
        }
    }

    fn sign(
        builder: &mut Builder<'_>,
        stem: &str,
        group: &ActivationGroup,
        settings: &AwareSettings,
    ) -> ActivationQuantizer {
        let mean = group.mean.filter(|mean| *mean > 0.0).unwrap_or(1.0);
        let scale = builder.scale(stem, &Tensor::scalar(mean), settings.scales);
        let op = FakeSign {
            axis: None,
            bound: SIGN_BOUND,
            estimator: settings.activation_estimator,
            gradient_scale: gradient_scale(group.elements, 1.0),
        };
        ActivationQuantizer {
            op: op.into(),
            scale,
            second: builder.number(&format!("{stem}_threshold"), 0.0),
            bounds: None,
        }
    }

    /// Puts the quantizer behind a value. Gives its name, and how many nodes lie between the two.
    pub(super) fn add(&self, builder: &mut Builder<'_>, value: ValueId) -> (String, usize) {
        let (name, ty) = {
            let value = builder.graph.value(value);
            (value.name.clone(), value.ty.clone())
        };
        let mut x = value;
        if let Some([lower, upper]) = self.bounds {
            let inputs = vec![Some(x), lower, upper];
            x = builder
                .node_with(&format!("{name}_clipped"), Clip {}, inputs, ty.clone())
                .0;
        }
        let inputs = vec![Some(x), Some(self.scale), Some(self.second)];
        let (output, node) = builder.node_with(&format!("{name}_rounded"), self.op.clone(), inputs, ty);
        builder.patch.replace_uses(value, output);
        (node, usize::from(self.bounds.is_some()))
    }
}

fn fake_quant(grid: &Grid, gradient_scale: f32) -> Op {
    let op = FakeQuant {
        axis: None,
        gradient_scale,
        high: grid.high,
        low: grid.low,
    };
    op.into()
}
