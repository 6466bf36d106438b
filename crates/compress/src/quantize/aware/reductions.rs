//! Means and the like over the elements that share a scale.

use bantam_graph::ValueId;
use bantam_graph::ops::{Binary, Cast, Reduce, ReduceKind, Unary, Variadic};
use bantam_tensor::{DType, Tensor};

use super::builder::Builder;

/// A weight whose scales lie along an axis.
pub(super) struct Channels<'a> {
    pub(super) stem: &'a str,
    pub(super) weight: ValueId,
    pub(super) axis: Option<usize>,
    pub(super) rank: usize,
}

impl Channels<'_> {
    fn name(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.stem)
    }

    /// One number for each channel, or with `keepdims` the same along the weight's axis.
    fn reduce(
        &self,
        builder: &mut Builder<'_>,
        kind: ReduceKind,
        name: &str,
        x: ValueId,
        keepdims: bool,
    ) -> ValueId {
        let axes: Vec<i64> = (0..self.rank)
            .filter(|axis| Some(*axis) != self.axis)
            .map(|axis| axis as i64)
            .collect();
        let axes = builder.constant(&self.name(&format!("{name}_axes")), Tensor::from_vec1(&axes));
        let op = Reduce {
            kind,
            keepdims,
            noop_with_empty_axes: true,
        };
        builder.node(&self.name(name), op, &[x, axes])
    }

    fn magnitudes(&self, builder: &mut Builder<'_>) -> ValueId {
        builder.node(&self.name("magnitudes"), Unary::Abs, &[self.weight])
    }

    /// The mean magnitude of each channel.
    pub(super) fn mean_magnitude(&self, builder: &mut Builder<'_>) -> ValueId {
        let magnitudes = self.magnitudes(builder);
        self.reduce(builder, ReduceKind::Mean, "mean", magnitudes, false)
    }

    /// The largest magnitude of all.
    pub(super) fn largest_magnitude(&self, builder: &mut Builder<'_>) -> ValueId {
        let magnitudes = self.magnitudes(builder);
        self.reduce(builder, ReduceKind::Max, "largest", magnitudes, false)
    }

    /// `factor` times the mean magnitude of each channel; above zero, so that channels of zeros stay zeros.
    pub(super) fn threshold(&self, builder: &mut Builder<'_>, factor: f32, keepdims: bool) -> ValueId {
        let magnitudes = self.magnitudes(builder);
        let mean = self.reduce(builder, ReduceKind::Mean, "mean", magnitudes, keepdims);
        let factor = builder.number(&self.name("factor"), factor);
        let threshold = builder.node(&self.name("threshold"), Binary::Mul, &[mean, factor]);
        let least = builder.number(&self.name("least"), f32::MIN_POSITIVE);
        builder.node(
            &self.name("threshold_above_zero"),
            Variadic::Max,
            &[threshold, least],
        )
    }

    /// The mean of the magnitudes above the threshold, for each channel (Li et al. 2016, equation 4).
    pub(super) fn mean_above(&self, builder: &mut Builder<'_>, factor: f32) -> ValueId {
        let magnitudes = self.magnitudes(builder);
        let threshold = self.threshold(builder, factor, true);
        let above = builder.node(&self.name("above"), Binary::Greater, &[magnitudes, threshold]);
        let cast = Cast {
            saturate: true,
            to: DType::F32,
            round_mode: "up".to_owned(),
        };
        let mask = builder.node(&self.name("mask"), cast, &[above]);
        let kept = builder.node(&self.name("kept"), Binary::Mul, &[magnitudes, mask]);
        let sum = self.reduce(builder, ReduceKind::Sum, "sum", kept, false);
        let count = self.reduce(builder, ReduceKind::Sum, "count", mask, false);
        let one = builder.number(&self.name("one"), 1.0);
        let count = builder.node(&self.name("count_at_least_one"), Variadic::Max, &[count, one]);
        builder.node(&self.name("scale"), Binary::Div, &[sum, count])
    }
}
