//! Whether a split gives what a model's inputs need.

use bantam_tensor::DType;

use super::layout::Layout;
use super::source::Source;
use super::split::{Input, Split};
use super::{DataError, suggest};

/// An input of a model, as its graph declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// Name of the graph input.
    pub name: String,
    /// Type of its elements.
    pub dtype: DType,
    /// Its dimensions, the first being the number of samples; `None` where it may be anything.
    pub shape: Vec<Option<usize>>,
}

impl Split {
    /// The split with exactly the inputs of a model, in their order.
    ///
    /// Values become the model's type where that is a matter of course: integers (pixels, token numbers) become floats
    /// or other integers, floats become other floats. A single input of data without names (a bare npy file or image
    /// folder) takes the name of the model's only input.
    ///
    /// # Errors
    /// When an input is missing or is too many, or its shape or type does not fit; the message names both sides.
    pub fn for_inputs(mut self, specs: &[InputSpec]) -> Result<Split, DataError> {
        if let ([spec], [input], true) = (specs, self.inputs.as_mut_slice(), self.is_unnamed) {
            input.name.clone_from(&spec.name);
        }
        let model_names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        if let Some(extra) = self
            .inputs
            .iter()
            .find(|input| !model_names.contains(&input.name.as_str()))
        {
            return Err(DataError::UnknownInput {
                name: extra.name.clone(),
                hint: suggest::hint(&extra.name, &model_names),
            });
        }
        let mut inputs = Vec::with_capacity(specs.len());
        for spec in specs {
            let Some(position) = self.inputs.iter().position(|input| input.name == spec.name) else {
                return Err(DataError::MissingInput {
                    name: spec.name.clone(),
                    hint: format!(
                        "add inputs.{} = \"FILE\" to [splits.{}] of a manifest",
                        spec.name, self.name
                    ),
                });
            };
            inputs.push(fitted(self.inputs.swap_remove(position), spec)?);
        }
        self.inputs = inputs;
        Ok(self)
    }
}

fn fitted(mut input: Input, spec: &InputSpec) -> Result<Input, DataError> {
    let row_shape = &input.transform.row_shape;
    let expected = spec.shape.split_first().map(|(_, row)| row);
    if !expected.is_some_and(|expected| matches_shape(row_shape, expected)) {
        return Err(DataError::InputShape {
            name: spec.name.clone(),
            path: input.path.clone(),
            expected: shown(spec.shape.iter().copied()).into(),
            found: shown([None].into_iter().chain(row_shape.iter().copied().map(Some))).into(),
            hint: shape_hint(&input, expected.unwrap_or_default()),
        });
    }
    let found = input.transform.target;
    let wrong_type = |hint: &str| DataError::InputType {
        name: spec.name.clone(),
        path: input.path.clone(),
        expected: spec.dtype,
        found,
        hint: hint.to_owned(),
    };
    if found != spec.dtype && input.preprocess.dtype.is_some() {
        return Err(wrong_type(
            "`dtype` in [preprocess] says so; change it or leave it out",
        ));
    }
    let transform = input.transform.clone().with_target(spec.dtype);
    input.transform = transform.map_err(|_| wrong_type("store the values in the model's type"))?;
    Ok(input)
}

fn matches_shape(row: &[usize], expected: &[Option<usize>]) -> bool {
    let fits = |(dimension, expected): (&usize, &Option<usize>)| expected.is_none_or(|e| e == *dimension);
    row.len() == expected.len() && row.iter().zip(expected).all(fits)
}

/// `[N, 3, 32, ?]`: the first dimension is N whatever it is.
fn shown(shape: impl Iterator<Item = Option<usize>>) -> String {
    let dimensions = shape
        .enumerate()
        .map(|(position, dimension)| match (position, dimension) {
            (0, _) => "N".to_owned(),
            (_, Some(dimension)) => dimension.to_string(),
            (_, None) => "?".to_owned(),
        });
    format!("[{}]", dimensions.collect::<Vec<_>>().join(", "))
}

/// What would make the shape fit: another layout, or a size for images.
fn shape_hint(input: &Input, expected: &[Option<usize>]) -> String {
    let row = input.transform.row_shape.as_slice();
    let name = &input.name;
    for (from, to) in [
        ("NHWC", "NCHW"),
        ("NCHW", "NHWC"),
        ("NHW", "NCHW"),
        ("NHW", "NHWC"),
        ("NCW", "NWC"),
        ("NWC", "NCW"),
    ] {
        let [Ok(from), Ok(to)] = [from, to].map(|name| Layout::try_from(name.to_owned())) else {
            continue;
        };
        let converted = (from.row_rank() == row.len())
            .then(|| from.converted_shape(row, to))
            .flatten();
        if converted.is_some_and(|shape| matches_shape(&shape, expected)) {
            return match input.preprocess.layout {
                None => format!(
                    "the data look like {from}, the model wants {to}: set layout = \"{to}\" in [preprocess.{name}] of a \
                     manifest"
                ),
                Some(layout) => format!(
                    "[preprocess.{name}] says layout = \"{layout}\", but the model seems to want {to}; check `layout` and \
                     `source_layout`"
                ),
            };
        }
    }
    match input.source {
        Source::Images(_) => format!(
            "bring images to the model's size and order with `layout`, `resize`, `crop` and `colour` in \
             [preprocess.{name}] of a manifest"
        ),
        Source::Arrays(_) => "check that this data set belongs to this model".to_owned(),
    }
}
