//! From the bytes of a stored sample to those that the network gets: order of dimensions, `(x * scale - mean) / std`,
//! type.

mod values;

use bantam_tensor::DType;

use super::layout::{Channels, Layout};
use super::preprocess::Preprocess;
use values::{Transpose, Values};

/// Why a source cannot be turned into what a manifest or a model asks for; the caller adds which input it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum TransformError {
    #[error(
        "samples of shape {shape:?} do not fit layout {layout}\nhint: a sample of {layout} has {rank} dimensions \
         (the first letter, N, is the number of samples)"
    )]
    Layout {
        shape: Vec<usize>,
        layout: Layout,
        rank: usize,
    },
    #[error("{channels} channels cannot become layout {to}, which has no dimension for them")]
    Channels { channels: usize, to: Layout },
    #[error(
        "`{key}` has {got} values, the samples have {channels} channels (shape {shape:?}, layout {layout})\nhint: set \
         `source_layout` if the channels are elsewhere in the file"
    )]
    PerChannel {
        key: &'static str,
        got: usize,
        channels: usize,
        shape: Vec<usize>,
        layout: Layout,
    },
    #[error(
        "`source_layout` is {said}, but image folders are read as {fixed}\nhint: leave `source_layout` out"
    )]
    FixedLayout { fixed: Layout, said: Layout },
    #[error(
        "{from} values cannot become {to} without loss\nhint: set `dtype` in [preprocess], or store them as {to}"
    )]
    Type { from: DType, to: DType },
}

/// How each sample of an input is made; compiled once.
#[derive(Clone, Debug)]
pub(crate) struct Transform {
    source: DType,
    pub(crate) target: DType,
    pub(crate) row_shape: Vec<usize>,
    elements: usize,
    /// That of the stored samples, if it is known.
    pub(crate) source_layout: Option<Layout>,
    transpose: Option<Transpose>,
    values: Values,
}

impl Transform {
    /// Samples as they are stored.
    pub(crate) fn identity(dtype: DType, row_shape: &[usize]) -> Transform {
        Transform {
            source: dtype,
            target: dtype,
            row_shape: row_shape.to_vec(),
            elements: row_shape.iter().product(),
            source_layout: None,
            transpose: None,
            values: Values::Copy,
        }
    }

    /// What `preprocess` says, for samples of this type, shape and (where the format fixes it) layout.
    pub(crate) fn new(
        source: DType,
        row_shape: &[usize],
        fixed_layout: Option<Layout>,
        preprocess: &Preprocess,
    ) -> Result<Transform, TransformError> {
        let mut transform = Transform::identity(source, row_shape);
        let (mut channels, mut inner) = (1, 1);
        if let Some(to) = preprocess.layout {
            let from = source_layout(row_shape, to, fixed_layout, preprocess)?;
            transform.source_layout = Some(from);
            channels = from.channel_count(row_shape);
            let converted = from.converted_shape(row_shape, to);
            transform.row_shape = converted.ok_or(TransformError::Channels { channels, to })?;
            transform.transpose = Transpose::between(from, to, channels, transform.elements);
            let space = transform.elements.checked_div(channels).unwrap_or(0);
            inner = if to.channels == Channels::Last { 1 } else { space };
            check_per_channel(preprocess, channels, row_shape, from)?;
        }
        if preprocess.is_affine() {
            transform.target = DType::F32;
            transform.values = Values::affine(source, preprocess, channels, inner);
        }
        match preprocess.dtype {
            Some(dtype) => transform.with_target(dtype),
            None => Ok(transform),
        }
    }

    /// The same with results of another type, if that loses no more than rounding between floats does. Floats are
    /// made in `f32`; integers that become a narrower integer type are checked one by one.
    pub(crate) fn with_target(mut self, target: DType) -> Result<Transform, TransformError> {
        let from = self.target;
        let from_integer = from.is_integer() || from == DType::Bool;
        let to_float = matches!(target, DType::F32 | DType::F64 | DType::F16 | DType::BF16);
        let to_integer = target.is_integer() && target.bits() >= 8;
        let allowed =
            from == target || (to_float && (from_integer || from.is_float())) || (to_integer && from_integer);
        if !allowed {
            return Err(TransformError::Type { from, to: target });
        }
        self.target = target;
        if !matches!(self.values, Values::Affine { .. }) {
            self.values = if self.source == target {
                Values::Copy
            } else {
                Values::Cast
            };
        }
        Ok(self)
    }

    /// Bytes of one result; `None` when too large to address.
    pub(crate) fn row_bytes(&self) -> Option<usize> {
        self.target.bytes_for(self.elements)
    }

    /// Makes one result of `row_bytes` bytes from the bytes of one stored sample.
    ///
    /// # Errors
    /// Gives the integer that the target type cannot hold.
    pub(crate) fn apply(&self, sample: &[u8], out: &mut [u8]) -> Result<(), i128> {
        let transposed;
        let sample = match self.transpose {
            Some(transpose) => {
                transposed = transpose.apply(sample, self.source.bits() / 8);
                &transposed
            }
            None => sample,
        };
        self.values.apply(self.source, sample, self.target, out)
    }
}

/// The layout of the stored samples: fixed by the format, said in the manifest, or detected; its rank is checked.
fn source_layout(
    row_shape: &[usize],
    to: Layout,
    fixed: Option<Layout>,
    preprocess: &Preprocess,
) -> Result<Layout, TransformError> {
    if let (Some(fixed), Some(said)) = (fixed, preprocess.source_layout)
        && fixed != said
    {
        return Err(TransformError::FixedLayout { fixed, said });
    }
    let lists = preprocess.mean().into_iter().chain(preprocess.std());
    let channels = lists.map(<[f64]>::len).max().filter(|&length| length > 1);
    let from = fixed
        .or(preprocess.source_layout)
        .or_else(|| Layout::detect(row_shape, to, channels));
    let from = from.filter(|from| from.row_rank() == row_shape.len() && from.spatial == to.spatial);
    from.ok_or_else(|| TransformError::Layout {
        shape: row_shape.to_vec(),
        layout: fixed.or(preprocess.source_layout).unwrap_or(to),
        rank: fixed.or(preprocess.source_layout).unwrap_or(to).row_rank(),
    })
}

fn check_per_channel(
    preprocess: &Preprocess,
    channels: usize,
    shape: &[usize],
    layout: Layout,
) -> Result<(), TransformError> {
    for (key, values) in [("mean", preprocess.mean()), ("std", preprocess.std())] {
        let got = values.map_or(1, <[f64]>::len);
        if got != 1 && got != channels {
            return Err(TransformError::PerChannel {
                key,
                got,
                channels,
                shape: shape.to_vec(),
                layout,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bantam_tensor::{Buffer, Tensor};
    use half::f16;

    use super::*;

    fn run(sample: &Tensor, preprocess: &str) -> Result<Tensor, String> {
        let preprocess: Preprocess = toml::from_str(preprocess).unwrap();
        let transform = Transform::new(sample.dtype(), sample.shape(), None, &preprocess);
        let transform = transform.map_err(|error| error.to_string())?;
        let mut buffer = Buffer::zeroed(transform.row_bytes().unwrap());
        let done = transform.apply(sample.as_bytes(), buffer.as_bytes_mut());
        done.map_err(|value| value.to_string())?;
        Ok(Tensor::from_buffer(transform.target, &transform.row_shape, buffer).unwrap())
    }

    fn tensor<T: bantam_tensor::Element>(shape: &[usize], values: &[T]) -> Tensor {
        Tensor::from_slice(shape, values).unwrap()
    }

    #[test]
    fn samples_are_transformed() {
        let pixels = tensor(&[2, 2, 3], &[1u8, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let planes = tensor(&[3, 2, 2], &[1u8, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12]);
        let affine = "scale = 0.5\nmean = [0, 1, 2]\nstd = [1, 2, 4]";
        let expected = [
            0.5f32, 2.0, 3.5, 5.0, 0.0, 0.75, 1.5, 2.25, -0.125, 0.25, 0.625, 1.0,
        ];
        let channels_first = tensor(&[3, 2, 2], &expected);
        let last = [0.5, 0.0, -0.125, 2.0, 0.75, 0.25, 3.5, 1.5, 0.625, 5.0, 2.25, 1.0];
        let channels_last = tensor(&[2, 2, 3], &last.map(|value: f32| value));
        let halves = |values: &[f32]| {
            values
                .iter()
                .map(|&value| f16::from_f32(value))
                .collect::<Vec<_>>()
        };
        let wide = |tensor: &Tensor| {
            let values: Vec<i32> = tensor
                .to_i64()
                .unwrap()
                .iter()
                .map(|&value| value as i32)
                .collect();
            Tensor::from_slice(tensor.shape(), &values).unwrap()
        };
        let cases = [
            (pixels.clone(), "".into(), pixels.clone()),
            (pixels.clone(), "layout = \"NHWC\"".into(), pixels.clone()),
            (pixels.clone(), "layout = \"NCHW\"".into(), planes.clone()),
            (planes.clone(), "layout = \"NHWC\"".into(), pixels.clone()),
            (wide(&planes), "layout = \"NHWC\"".into(), wide(&pixels)),
            (
                pixels.clone(),
                format!("layout = \"NCHW\"\n{affine}"),
                channels_first.clone(),
            ),
            (
                planes.clone(),
                format!("layout = \"NCHW\"\n{affine}"),
                channels_first.clone(),
            ),
            (
                wide(&planes),
                format!("layout = \"NCHW\"\n{affine}"),
                channels_first.clone(),
            ),
            (
                planes.clone(),
                format!("layout = \"NHWC\"\n{affine}"),
                channels_last.clone(),
            ),
            (
                wide(&pixels),
                format!("layout = \"NHWC\"\n{affine}"),
                channels_last,
            ),
            (
                planes,
                format!("layout = \"NCHW\"\ndtype = \"f16\"\n{affine}"),
                tensor(&[3, 2, 2], &halves(&expected)),
            ),
            (
                tensor(&[2], &[-3i8, 4]),
                "scale = 2".into(),
                tensor(&[2], &[-6.0f32, 8.0]),
            ),
            (
                tensor(&[2], &[1.5f64, 4.0]),
                "mean = 1".into(),
                tensor(&[2], &[0.5f32, 3.0]),
            ),
            (
                tensor(&[2], &[65535u16, 4]),
                "dtype = \"i64\"".into(),
                tensor(&[2], &[65535i64, 4]),
            ),
            (
                tensor(&[2], &[-1i64, 4]),
                "dtype = \"i8\"".into(),
                tensor(&[2], &[-1i8, 4]),
            ),
            (
                tensor(&[1], &[u64::MAX]),
                "dtype = \"f64\"".into(),
                tensor(&[1], &[18446744073709551616f64]),
            ),
            (
                tensor(&[2, 2], &[1u8, 2, 3, 4]),
                "layout = \"NCHW\"".into(),
                tensor(&[1, 2, 2], &[1u8, 2, 3, 4]),
            ),
        ];
        for (sample, preprocess, expected) in cases {
            let got =
                run(&sample, &preprocess).unwrap_or_else(|error| panic!("{sample:?} {preprocess}: {error}"));
            assert_eq!(got, expected, "{sample:?} {preprocess}");
        }
    }

    #[test]
    fn impossible_transforms() {
        let cases = [
            (
                tensor(&[4], &[0u8; 4]),
                "layout = \"NCHW\"",
                "do not fit layout NCHW",
            ),
            (
                tensor(&[2, 2, 3], &[0u8; 12]),
                "layout = \"NHW\"",
                "3 channels cannot become layout NHW",
            ),
            (
                tensor(&[2, 2, 3], &[0u8; 12]),
                "layout = \"NCHW\"\nmean = [1, 2, 3, 4]",
                "`mean` has 4 values, the samples have 2 channels",
            ),
            (
                tensor(&[1], &[0.5f32]),
                "dtype = \"i64\"",
                "f32 values cannot become i64",
            ),
            (tensor(&[1], &[300i32]), "dtype = \"u8\"", "300"),
            (tensor(&[1], &[-1i32]), "dtype = \"u64\"", "-1"),
            (
                tensor(&[1], &[u64::MAX]),
                "dtype = \"i64\"",
                "18446744073709551615",
            ),
        ];
        for (sample, preprocess, expected) in cases {
            let error = run(&sample, preprocess).unwrap_err();
            assert!(error.contains(expected), "{preprocess}: {error}");
        }
    }
}
