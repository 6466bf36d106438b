//! Recipes: the commands' own words in a TOML file, one table for each step.
//!
//! A step's keys are the flags of its command (`target-macs = "50%"` is `--target-macs 50%`), so that a recipe can say whatever a command
//! can, and nothing is checked or explained twice.

use std::ffi::OsString;
use std::path::Path;

use bantam::Error;
use bantam::jobs::{RecipeStep, Work};
use clap::{CommandFactory, Parser};
use serde::Deserialize;
use toml::{Table, Value};

use crate::arguments::{Arguments, Command};
use crate::commands;

/// The recipes that ship inside, by name.
pub(crate) static PRESETS: &[(&str, &str)] = &[
    ("int8", include_str!("../recipes/int8.toml")),
    ("int8-qat", include_str!("../recipes/int8-qat.toml")),
    ("w4", include_str!("../recipes/w4.toml")),
    ("w3a8", include_str!("../recipes/w3a8.toml")),
    ("w2a8", include_str!("../recipes/w2a8.toml")),
    ("w4a4", include_str!("../recipes/w4a4.toml")),
    ("w4a16-g128", include_str!("../recipes/w4a16-g128.toml")),
    ("f16", include_str!("../recipes/f16.toml")),
    ("fp8", include_str!("../recipes/fp8.toml")),
    ("prune50-int8", include_str!("../recipes/prune50-int8.toml")),
    ("mobile", include_str!("../recipes/mobile.toml")),
    ("server", include_str!("../recipes/server.toml")),
    ("llm-w4", include_str!("../recipes/llm-w4.toml")),
];

/// What a recipe is for, by its first line.
pub(crate) fn summary(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches("# ")
}

/// What steps are called, and the command that each is.
static STEPS: &[(&str, &str)] = &[
    ("prune", "prune"),
    ("train", "train"),
    ("distil", "train"),
    ("quantize", "quantize"),
    ("dequantize", "export"),
    ("search", "compress"),
];

/// Flags that are not for a step to say: the recipe's own, or about one command alone.
const RESERVED: &[&str] = &[
    "data",
    "output",
    "json",
    "help",
    "verbose",
    "version",
    "no-eval",
    "metric",
    "limit",
    "plan",
    "plan-out",
    "dry-run",
    "resume",
    "checkpoint",
    "checkpoint-steps",
    "metrics-out",
    "score-epochs",
    "recipe",
    "keep-search",
    "dequantize",
    "matmulnbits",
    "type",
    "tensor-type",
    "tokenizer",
];

/// Flags of `prune` that say how it trains: in a recipe that is a step of its own.
const TRAINING: &[&str] = &[
    "epochs",
    "schedule",
    "teacher",
    "learning-rate",
    "batch",
    "weight-decay",
];

#[derive(Deserialize)]
struct File {
    version: Option<i64>,
    seed: Option<u64>,
    #[serde(default)]
    step: Vec<Table>,
    #[serde(flatten)]
    unknown: Table,
}

/// A recipe that was read and found good.
pub(crate) struct Recipe {
    /// Its steps.
    pub(crate) steps: Vec<RecipeStep>,
    /// The recipe with its seed in every step.
    pub(crate) resolved: String,
}

/// Reads a recipe: a file, or one of [`PRESETS`]. Every step is checked before any is run.
pub(crate) fn read(name: &str, model: &Path, data: Option<&Path>, seed: u64) -> Result<Recipe, Error> {
    parse(name, &text(name)?, model, data, seed)
}

/// As [`read`], of the text of a recipe that messages call `name`.
pub(crate) fn parse(
    name: &str,
    text: &str,
    model: &Path,
    data: Option<&Path>,
    seed: u64,
) -> Result<Recipe, Error> {
    let wrong = |message: String, hint: &str| Error::Usage {
        message: format!("recipe `{name}`: {message}"),
        hint: hint.to_owned(),
    };
    let file: File = toml::from_str(text).map_err(|error| {
        wrong(
            error.message().to_owned(),
            "recipes are TOML: version = 1, then [[step]] tables",
        )
    })?;
    if let Some(key) = file.unknown.keys().next() {
        return Err(Error::unknown_name(
            "key of recipes",
            key,
            ["version", "seed", "step"].into_iter(),
        ));
    }
    if file.version != Some(1) {
        return Err(wrong(
            "its version is not 1".to_owned(),
            "write `version = 1` at its top",
        ));
    }
    if file.step.is_empty() {
        return Err(wrong(
            "it has no steps".to_owned(),
            "add [[step]] tables with do = \"quantize\" and the like",
        ));
    }
    let seed = file.seed.unwrap_or(seed);
    let mut steps = Vec::new();
    let mut resolved = "version = 1\n".to_owned();
    for (index, table) in file.step.into_iter().enumerate() {
        let table = with_seed(table, seed)?;
        let step = step(&table, model, data);
        steps.push(step.map_err(|error| in_step(name, index, &error))?);
        resolved += &format!("\n[[step]]\n{table}");
    }
    Ok(Recipe { steps, resolved })
}

fn text(name: &str) -> Result<String, Error> {
    if let Some((_, text)) = PRESETS.iter().find(|(known, _)| *known == name) {
        return Ok((*text).to_owned());
    }
    let path = Path::new(name);
    if path.extension().is_none() && !path.exists() {
        return Err(Error::unknown_name(
            "recipe",
            name,
            PRESETS.iter().map(|(name, _)| *name),
        ));
    }
    std::fs::read_to_string(path).map_err(|source| Error::File {
        path: path.to_owned(),
        action: "cannot be read",
        source,
        hint: "give a TOML file, or one of `bantam list recipes`",
    })
}

/// The message of a step, with its place.
fn in_step(recipe: &str, index: usize, error: &Error) -> Error {
    let text = error.explained();
    let (message, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
    Error::Usage {
        message: format!("recipe `{recipe}`, step {}: {message}", index + 1),
        hint: hint.to_owned(),
    }
}

/// The command of a step.
fn command(table: &Table) -> Result<(&'static str, &'static str), Error> {
    let name = table.get("do").and_then(Value::as_str).unwrap_or_default();
    let found = STEPS.iter().find(|(known, _)| *known == name);
    let unknown = || Error::unknown_name("kind of step", name, STEPS.iter().map(|(name, _)| *name));
    found.copied().ok_or_else(unknown)
}

/// Names of the flags that a step may say.
fn flags(command: &str) -> Vec<String> {
    let all = Arguments::command();
    let found = all.find_subcommand(command).expect("steps are commands");
    let longs = found.get_arguments().filter_map(|argument| argument.get_long());
    let longs = longs.filter(|long| !RESERVED.contains(long));
    let longs = longs.filter(|long| command != "prune" || !TRAINING.contains(long));
    longs.map(str::to_owned).collect()
}

fn with_seed(mut table: Table, seed: u64) -> Result<Table, Error> {
    let (_, command) = command(&table)?;
    if flags(command).iter().any(|flag| flag == "seed") && !table.contains_key("seed") {
        let seed = i64::try_from(seed).map_err(|_| Error::Usage {
            message: format!("the seed {seed} is too large for a recipe"),
            hint: format!("seeds of recipes are at most {}", i64::MAX),
        })?;
        table.insert("seed".to_owned(), Value::Integer(seed));
    }
    Ok(table)
}

fn step(table: &Table, model: &Path, data: Option<&Path>) -> Result<RecipeStep, Error> {
    let (name, command) = command(table)?;
    let known = flags(command);
    let mut words: Vec<OsString> = vec!["bantam".into(), command.into(), model.into()];
    if let Some(data) = data.filter(|_| command != "export") {
        words.extend(["--data".into(), data.into()]);
    }
    match command {
        "compress" => {}
        "export" => words.push("--dequantize".into()),
        _ => words.push("--no-eval".into()),
    }
    // The runner sets it.
    words.extend(["--output".into(), "step.onnx".into()]);
    if name == "distil" && !table.contains_key("teacher") {
        words.extend(["--teacher".into(), model.into()]);
    }
    for (key, value) in table.iter().filter(|(key, _)| *key != "do") {
        let flag = key.replace('_', "-");
        if !known.contains(&flag) {
            return Err(Error::unknown_name(
                "key of this step",
                key,
                known.iter().map(String::as_str),
            ));
        }
        add(&mut words, command, &flag, value);
    }
    let parsed = Arguments::try_parse_from(words).map_err(|error| explain(&error))?;
    let work = match parsed.command {
        Command::Prune(arguments) => Work::Prune(Box::new(commands::prune::job(&arguments)?)),
        Command::Train(arguments) => Work::Train(Box::new(commands::train::job(&arguments)?)),
        Command::Quantize(arguments) => Work::Quantize(Box::new(commands::quantize::job(&arguments)?)),
        Command::Export(arguments) => Work::Export(Box::new(commands::export::job(&arguments))),
        Command::Compress(arguments) => Work::Search(Box::new(commands::compress::job(&arguments)?)),
        _ => unreachable!("steps are these commands"),
    };
    Ok(RecipeStep {
        name: name.to_owned(),
        work,
    })
}

/// A key and its value as words of the command line.
fn add(words: &mut Vec<OsString>, command: &str, flag: &str, value: &Value) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| add(words, command, flag, value)),
        Value::Boolean(on) => {
            let all = Arguments::command();
            let mut arguments = all
                .find_subcommand(command)
                .into_iter()
                .flat_map(clap::Command::get_arguments);
            let takes = arguments.any(|it| it.get_long() == Some(flag) && it.get_action().takes_values());
            match (takes, on) {
                (true, on) => words.push(format!("--{flag}={on}").into()),
                (false, true) => words.push(format!("--{flag}").into()),
                (false, false) => {}
            }
        }
        Value::String(text) => words.push(format!("--{flag}={text}").into()),
        other => words.push(format!("--{flag}={other}").into()),
    }
}

/// What the command line would say.
fn explain(error: &clap::Error) -> Error {
    let text = error.to_string();
    let message = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    Error::Usage {
        message: message.to_owned(),
        hint: "keys of a step are the flags of its command; `bantam COMMAND --help` says what they take"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Recipe, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        std::fs::write(&path, text).unwrap();
        let name = path.to_str().unwrap();
        read(name, Path::new("m.onnx"), Some(Path::new("d.toml")), 3).map_err(|error| error.explained())
    }

    #[test]
    fn presets_are_good() {
        for (name, text) in PRESETS {
            let recipe = read(name, Path::new("m.onnx"), Some(Path::new("d.toml")), 0);
            let recipe = recipe.map_err(|error| error.explained()).unwrap();
            assert!(!recipe.steps.is_empty() && !summary(text).is_empty(), "{name}");
            // What is written beside a result says the same.
            let again = read_text(&recipe.resolved).unwrap();
            assert_eq!(again.resolved, recipe.resolved);
        }
    }

    #[test]
    fn seeds_go_into_every_step() {
        let recipe = read_text(
            "version = 1\nseed = 7\n[[step]]\ndo = \"train\"\n[[step]]\ndo = \"quantize\"\nseed = 9",
        )
        .unwrap();
        assert_eq!(recipe.resolved.matches("seed = 7").count(), 1);
        assert_eq!(recipe.resolved.matches("seed = 9").count(), 1);
        let Work::Train(job) = &recipe.steps[0].work else {
            panic!("training")
        };
        assert_eq!(job.settings.seed, 7);
    }

    #[test]
    fn mistakes_are_explained_before_any_step_runs() {
        let cases = [
            ("", "version is not 1"),
            ("version = 1", "no steps"),
            (
                "version = 1\nstepp = 3\n[[step]]\ndo = \"prune\"",
                "did you mean `step`",
            ),
            (
                "version = 1\n[[step]]\ndo = \"quantise\"",
                "did you mean `quantize`",
            ),
            (
                "version = 1\n[[step]]\ndo = \"quantize\"\nwieghts = \"int8\"",
                "did you mean `weights`",
            ),
            (
                "version = 1\n[[step]]\ndo = \"quantize\"\noutput = \"x\"",
                "no key of this step `output`",
            ),
            (
                "version = 1\n[[step]]\ndo = \"quantize\"\nweights = \"int9\"",
                "step 1: there is no format of codes `int9`",
            ),
            (
                "version = 1\n[[step]]\ndo = \"train\"\n[[step]]\ndo = \"train\"\nepochs = \"many\"",
                "step 2: invalid value 'many'",
            ),
            ("version = 1\n[[step]", "recipe"),
        ];
        for (text, expected) in cases {
            let message = read_text(text).err().unwrap_or_default();
            assert!(
                message.contains(expected) && message.contains("hint: "),
                "{text}: {message}"
            );
        }
        let message = read("int88", Path::new("m.onnx"), None, 0)
            .err()
            .unwrap()
            .explained();
        assert!(message.contains("did you mean `int8`"), "{message}");
    }
}
