//! The manifest of a data set: a TOML file beside the data.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::preprocess::{MAX_SIDE, Preprocess};
use super::{DataError, suggest};

/// Longest manifest that is read.
const MAX_BYTES: u64 = 1 << 20;

/// Most tokens of a row of text.
const MAX_LENGTH: usize = 1 << 20;

/// What a manifest says, checked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    version: Option<u32>,
    pub(crate) splits: BTreeMap<String, SplitEntry>,
    #[serde(default)]
    pub(crate) preprocess: BTreeMap<String, Preprocess>,
    #[serde(default)]
    pub(crate) augment: BTreeMap<String, Augment>,
}

/// The files of one split.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SplitEntry {
    #[serde(default)]
    pub(crate) inputs: BTreeMap<String, OneOrMany<String>>,
    pub(crate) labels: Option<OneOrMany<String>>,
    /// Rows of token ids, instead of inputs and labels.
    pub(crate) tokens: Option<OneOrMany<String>>,
    /// Texts, likewise.
    pub(crate) text: Option<OneOrMany<String>>,
    pub(crate) tokenizer: Option<String>,
    /// Targets of each row of a text.
    pub(crate) length: Option<usize>,
    /// The line that ends a document of a text.
    pub(crate) separator: Option<String>,
    /// The first sample and the one after the last, of all that the files hold.
    pub(crate) rows: Option<[usize; 2]>,
}

/// A value or a list of values.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a value or a list of values of the right type"
)]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(values) => values,
        }
    }
}

/// What training does to an input at random.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Mirror half of the samples.
    pub flip: Option<Flip>,
    /// Pad by this many zeros on every side, then crop at random to the old size.
    #[serde(default)]
    pub crop_padding: usize,
    /// Set a square of this side to zero, its middle anywhere in the sample (DeVries and Taylor 2017).
    #[serde(default)]
    pub cutout: usize,
}

/// Along which axis samples are mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flip {
    /// Left and right change places.
    Horizontal,
    /// Top and bottom change places.
    Vertical,
}

impl Manifest {
    /// Splits alone.
    pub(crate) fn of_splits(splits: BTreeMap<String, SplitEntry>) -> Manifest {
        Manifest {
            splits,
            ..Manifest::default()
        }
    }

    /// Reads and checks a manifest; the files that it names are not opened.
    pub(crate) fn read(path: &Path) -> Result<Manifest, DataError> {
        let io = |problem| DataError::io(path, problem);
        let length = std::fs::metadata(path).map_err(io)?.len();
        if length > MAX_BYTES {
            return Err(invalid(
                path,
                format!("{length} bytes are too many for a manifest"),
            ));
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        let manifest: Manifest =
            toml::from_str(&text).map_err(|error| invalid(path, toml_problem(&error)))?;
        match manifest.problem() {
            Some(problem) => Err(invalid(path, problem)),
            None => Ok(manifest),
        }
    }

    /// The first rule that it breaks.
    fn problem(&self) -> Option<String> {
        if let Some(version) = self.version.filter(|&version| version != 1) {
            return Some(format!(
                "version {version} is not known\nhint: this Bantam reads version 1"
            ));
        }
        if self.splits.is_empty() {
            return Some("it has no split\nhint: add [splits.train] with inputs.NAME = \"FILE\"".to_owned());
        }
        for (name, split) in &self.splits {
            if let Some(problem) = split.problem() {
                return Some(format!("split {name:?} {problem}"));
            }
            let files = split.inputs.values().chain(&split.labels);
            let files = files.chain(&split.tokens).chain(&split.text);
            if files.into_iter().any(|files| files.as_slice().is_empty()) {
                return Some(format!("split {name:?} has an empty list of files"));
            }
        }
        let inputs: Vec<&str> = self
            .splits
            .values()
            .flat_map(|split| split.inputs.keys())
            .map(String::as_str)
            .collect();
        let sections = self.preprocess.keys().map(|key| ("preprocess", key));
        for (section, key) in sections.chain(self.augment.keys().map(|key| ("augment", key))) {
            if !inputs.contains(&key.as_str()) {
                let hint = suggest::hint(key, &inputs);
                return Some(format!(
                    "[{section}.{key}] is for an input that no split has\nhint: {hint}"
                ));
            }
        }
        let preprocess = self
            .preprocess
            .iter()
            .find_map(|(key, entry)| Some((key, entry.problem()?)));
        if let Some((key, problem)) = preprocess {
            return Some(format!("[preprocess.{key}]: {problem}"));
        }
        self.augment.iter().find_map(|(key, augment)| {
            let sides = [("crop_padding", augment.crop_padding), ("cutout", augment.cutout)];
            let (name, _) = sides.into_iter().find(|(_, side)| *side > MAX_SIDE)?;
            Some(format!("[augment.{key}]: `{name}` is more than {MAX_SIDE}"))
        })
    }
}

impl SplitEntry {
    /// The first rule that it breaks.
    fn problem(&self) -> Option<String> {
        let kinds = [
            !self.inputs.is_empty(),
            self.tokens.is_some(),
            self.text.is_some(),
        ];
        let kinds = kinds.iter().filter(|there| **there).count();
        let of_text = self.tokenizer.is_some() || self.length.is_some() || self.separator.is_some();
        let problem = if kinds == 0 {
            "has no input\nhint: add inputs.NAME = \"FILE\", or for a language model tokens = \"FILE\" or text = \"FILE\""
        } else if kinds > 1 {
            "has more than one of `inputs`, `tokens` and `text`\nhint: give each its own split"
        } else if self.inputs.is_empty() && self.labels.is_some() {
            "has `labels` beside tokens\nhint: leave them out; each token's label is the next one"
        } else if self.text.is_none() && of_text {
            "has `tokenizer`, `length` or `separator` without `text`\nhint: they are for texts"
        } else if self
            .length
            .is_some_and(|length| length == 0 || length > MAX_LENGTH)
        {
            "has a `length` that is zero or above 1048576"
        } else if self.rows.is_some_and(|[first, end]| first >= end) {
            "has `rows` without a sample\nhint: give the first row and the one after the last, as [0, 100]"
        } else {
            return None;
        };
        Some(problem.to_owned())
    }
}

fn invalid(path: &Path, problem: String) -> DataError {
    DataError::Manifest {
        path: path.to_owned(),
        problem,
    }
}

/// The parser's message with its excerpt, and the nearest spelling for an unknown name.
fn toml_problem(error: &toml::de::Error) -> String {
    let shown = error.to_string();
    let shown = shown.trim_end();
    // serde says: unknown field `std_`, expected one of `mean`, `std`
    let names: Vec<&str> = error.message().split('`').skip(1).step_by(2).collect();
    match names.split_first() {
        Some((wrong, known)) if error.message().starts_with("unknown") => {
            format!("{shown}\nhint: {}", suggest::hint(wrong, known))
        }
        _ => shown.to_owned(),
    }
}

/// The path of a file that a manifest in `folder` names.
///
/// # Errors
/// When the name is absolute or climbs out of the folder, so that a manifest from elsewhere reads nothing else.
pub(crate) fn resolve(folder: &Path, name: &str) -> Result<PathBuf, DataError> {
    let path = Path::new(name);
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if name.is_empty() || !inside {
        return Err(DataError::OutsideFolder {
            name: name.to_owned(),
            folder: folder.to_owned(),
        });
    }
    Ok(folder.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::images::{Colour, Resize};

    fn check(text: &str) -> Result<Manifest, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.toml");
        std::fs::write(&path, text).unwrap();
        Manifest::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key() {
        let manifest = check(
            r#"
            version = 1
            [splits.train]
            inputs.input = ["a.npy", "b.npy"]
            labels = "y.npy"
            [preprocess.input]
            layout = "NCHW"
            source_layout = "NHWC"
            scale = 1
            mean = 0
            std = [1, 2.5, 3]
            dtype = "f16"
            resize = 256
            crop = [224, 200]
            colour = "gray"
            [augment.input]
            flip = "horizontal"
            crop_padding = 4
            cutout = 8
            "#,
        )
        .unwrap();
        let input = &manifest.preprocess["input"];
        assert_eq!(
            manifest.splits["train"].inputs["input"].as_slice(),
            ["a.npy", "b.npy"]
        );
        assert_eq!(
            (input.mean(), input.std()),
            (Some(&[0.0][..]), Some(&[1.0, 2.5, 3.0][..]))
        );
        let options = input.image_options();
        assert_eq!(options.resize, Some(Resize::Shorter(256)));
        assert_eq!((options.crop, options.colour), (Some((224, 200)), Colour::Gray));
        assert_eq!(manifest.augment["input"].flip, Some(Flip::Horizontal));
    }

    #[test]
    fn broken_manifests() {
        let with = |rest: &str| format!("[splits.train]\ninputs.input = \"x.npy\"\n{rest}");
        let preprocess = |keys: &str| with(&format!("[preprocess.input]\n{keys}"));
        let cases = [
            ("".into(), "missing field `splits`"),
            ("splits = 3".into(), "invalid type"),
            ("[splits]".into(), "it has no split"),
            (
                "[splits.train]\ninputs = {}".into(),
                "split \"train\" has no input",
            ),
            ("[splits.train]\ninputs.input = []".into(), "empty list of files"),
            (
                "[splits.train]\ninputs.input = 3".into(),
                "expected a value or a list",
            ),
            (
                "[splits.train]\ninput.x = \"x\"".into(),
                "hint: did you mean \"inputs\"?",
            ),
            ("version = 2\n".to_owned() + &with(""), "version 2 is not known"),
            (with("[preproces.input]"), "hint: did you mean \"preprocess\"?"),
            (with("[preprocess.inputt]"), "hint: did you mean \"input\"?"),
            (with("[augment.x]"), "hint: use one of: input"),
            (
                with("[augment.input]\nflip = \"horizontl\""),
                "hint: did you mean \"horizontal\"?",
            ),
            (with("[augment.input]\ncrop_padding = -1"), "invalid value"),
            (with("[augment.input]\ncrop_padding = 99999"), "crop_padding"),
            (preprocess("means = 3"), "hint: did you mean \"mean\"?"),
            (preprocess("layout = \"NHCW\""), "did you mean \"NCHW\"?"),
            (preprocess("std = 0"), "`std` has to be above zero"),
            (preprocess("std = 1e-300"), "`std` has to be above zero"),
            (preprocess("mean = []"), "`mean` has to be a finite number"),
            (preprocess("scale = nan"), "`scale` has to be a finite number"),
            (preprocess("mean = [1, 2]"), "needs `layout`"),
            (preprocess("source_layout = \"NHWC\""), "needs `layout`"),
            (
                preprocess("source_layout = \"NC\"\nlayout = \"NCHW\""),
                "cannot become",
            ),
            (preprocess("dtype = \"i4\""), "`dtype` cannot be i4"),
            (preprocess("dtype = \"int64\""), "hint: use one of: f32"),
            (preprocess("dtype = \"i64\"\nscale = 2"), "cannot hold what scale"),
            (
                preprocess("crop = 0"),
                "`crop` has to be one side or [height, width]",
            ),
            (preprocess("resize = [1, 2, 3]"), "`resize` has to be one side"),
            ("a = [".repeat(5000), "TOML parse error"),
            ("[".repeat(50_000), "TOML parse error"),
        ];
        for (text, expected) in cases {
            let error = check(&text).expect_err(&text);
            assert!(error.contains(expected), "{text}\n{error}");
        }
    }

    #[test]
    fn paths_stay_inside() {
        let folder = Path::new("data");
        assert_eq!(resolve(folder, "./a/x.npy").unwrap(), Path::new("data/./a/x.npy"));
        for name in ["/etc/passwd", "../x.npy", "a/../../x.npy", ""] {
            let error = resolve(folder, name).unwrap_err().to_string();
            assert!(error.contains("hint: "), "{name}: {error}");
        }
    }
}
