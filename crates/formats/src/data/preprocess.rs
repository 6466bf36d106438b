//! The `[preprocess.INPUT]` section of a manifest.

use bantam_tensor::DType;
use serde::Deserialize;

use super::images::{Colour, ImageOptions, Resize};
use super::layout::Layout;
use super::manifest::OneOrMany;

/// Longest side that images are resized or cropped to.
pub(crate) const MAX_SIDE: usize = 1 << 14;

/// How an input is made from its file: `x -> (x * scale - mean) / std`, per channel.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Preprocess {
    /// Layout of the graph's input.
    pub(crate) layout: Option<Layout>,
    /// Layout of the file; detected from the shape when absent.
    pub(crate) source_layout: Option<Layout>,
    pub(crate) scale: Option<f64>,
    mean: Option<OneOrMany<f64>>,
    std: Option<OneOrMany<f64>>,
    /// Type of the graph's input.
    pub(crate) dtype: Option<DType>,
    resize: Option<OneOrMany<usize>>,
    crop: Option<OneOrMany<usize>>,
    colour: Option<Colour>,
}

impl Preprocess {
    /// One number, or one per channel.
    pub(crate) fn mean(&self) -> Option<&[f64]> {
        self.mean.as_ref().map(OneOrMany::as_slice)
    }

    /// One number, or one per channel.
    pub(crate) fn std(&self) -> Option<&[f64]> {
        self.std.as_ref().map(OneOrMany::as_slice)
    }

    /// True when values are computed, so that the result is a float.
    pub(crate) fn is_affine(&self) -> bool {
        self.scale.is_some() || self.mean.is_some() || self.std.is_some()
    }

    /// True when it holds a key that only images know.
    pub(crate) fn has_image_keys(&self) -> bool {
        self.resize.is_some() || self.crop.is_some() || self.colour.is_some()
    }

    /// The options for image folders.
    pub(crate) fn image_options(&self) -> ImageOptions {
        let sides = |value: &OneOrMany<usize>| match *value.as_slice() {
            [height, width] => (height, width),
            [ref side, ..] => (*side, *side),
            [] => (0, 0),
        };
        ImageOptions {
            resize: self.resize.as_ref().map(|resize| match *resize {
                OneOrMany::One(shorter) => Resize::Shorter(shorter),
                OneOrMany::Many(_) => Resize::Exact(sides(resize)),
            }),
            crop: self.crop.as_ref().map(sides),
            colour: self.colour.unwrap_or_default(),
        }
    }

    /// The first rule that it breaks.
    pub(crate) fn problem(&self) -> Option<String> {
        let finite = |name: &str, values: &[f64]| {
            (values.is_empty() || !values.iter().all(|value| value.is_finite()))
                .then(|| format!("`{name}` has to be a finite number or a list of them"))
        };
        let sides = |name: &str, value: &Option<OneOrMany<usize>>| {
            let sides = value.as_ref()?.as_slice();
            let is_list = matches!(value, Some(OneOrMany::Many(_)));
            let bad =
                (is_list && sides.len() != 2) || !sides.iter().all(|side| (1..=MAX_SIDE).contains(side));
            bad.then(|| format!("`{name}` has to be one side or [height, width], 1 to {MAX_SIDE} pixels"))
        };
        finite("scale", &[self.scale.unwrap_or(1.0)])
            .or_else(|| finite("mean", self.mean().unwrap_or(&[0.0])))
            .or_else(|| finite("std", self.std().unwrap_or(&[1.0])))
            .or_else(|| {
                let positive = self
                    .std()
                    .is_none_or(|std| std.iter().all(|&std| std as f32 > 0.0));
                (!positive).then(|| "`std` has to be above zero".to_owned())
            })
            .or_else(|| sides("resize", &self.resize))
            .or_else(|| sides("crop", &self.crop))
            .or_else(|| self.dtype_problem())
            .or_else(|| self.layout_problem())
    }

    fn dtype_problem(&self) -> Option<String> {
        let dtype = self.dtype?;
        if dtype.bits() < 8
            || !(dtype.is_float() || dtype.is_integer())
            || (dtype.is_float() && dtype.bits() == 8)
        {
            return Some(format!(
                "`dtype` cannot be {dtype}; use f32, f16, bf16, f64 or an integer type from i8 to u64"
            ));
        }
        (self.is_affine() && !dtype.is_float())
            .then(|| format!("`dtype` {dtype} cannot hold what scale, mean and std make; use f32"))
    }

    fn layout_problem(&self) -> Option<String> {
        let channels = self
            .mean()
            .map_or(1, <[f64]>::len)
            .max(self.std().map_or(1, <[f64]>::len));
        if channels > 1 && self.layout.is_none() {
            return Some("`mean` or `std` per channel needs `layout`, such as \"NCHW\"".to_owned());
        }
        match (self.layout, self.source_layout) {
            (None, Some(_)) => Some("`source_layout` needs `layout`, that of the graph's input".to_owned()),
            (Some(to), Some(from)) if to.spatial != from.spatial => {
                Some(format!("`source_layout` {from} cannot become `layout` {to}"))
            }
            _ => None,
        }
    }
}
