//! Models as GGUF files and back.

use std::collections::BTreeMap;
use std::path::Path;

use bantam::NoProgress;
use bantam::formats::Writing;
use bantam::formats::gguf::{self, Exporting, GgmlType, GgufError, Value, read_gguf};
use bantam::formats::huggingface::{self, Form};
use bantam::graph::Model;
use bantam::jobs::{ExportJob, GgufTypes, export};

use super::goldens::folder;
use super::stories;

/// Golden folders of architectures that GGUF files are written of.
const FOLDERS: &[&str] = &["llama", "mistral", "qwen2", "qwen3"];

/// Writes a file whose matrices are of these types; blocks are not encoded.
fn write(model: &Model, path: &Path, types: &(dyn Fn(&str) -> &'static str + Sync)) -> Result<(), GgufError> {
    let choose = |name: &str| GgmlType::by_name(types(name)).unwrap();
    let exporting = Exporting {
        choose: &choose,
        encode: &|_, _, _| Ok(Vec::new()),
        importance: &BTreeMap::new(),
        writing: Writing::PLAIN,
    };
    gguf::export(model, path, None, &exporting)
}

#[test]
fn models_come_back_from_their_files() {
    let temporary = tempfile::tempdir().unwrap();
    for name in FOLDERS {
        let model = huggingface::load(&folder(name), Form::Whole).unwrap();
        let path = temporary.path().join(format!("{name}.gguf"));
        write(&model, &path, &|_| "f32").unwrap();
        let again = gguf::load(&path, Form::Whole).unwrap();
        for value in model
            .graph
            .values
            .iter()
            .filter(|value| value.name.ends_with(".weight"))
        {
            let Some(weight) = &value.initializer else {
                continue;
            };
            let id = again.graph.value_by_name(&value.name).unwrap();
            let read = again.graph.constant(id).unwrap();
            assert_eq!(
                read.to_f32().unwrap(),
                weight.to_f32().unwrap(),
                "{name}: {}",
                value.name
            );
        }
    }
}

#[test]
fn what_gguf_cannot_say_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("model.gguf");
    for (name, expected) in [("llama3", "stretched"), ("gpt2", "architecture `gpt2`")] {
        let model = huggingface::load(&folder(name), Form::Whole).unwrap();
        let error = write(&model, &path, &|_| "f32").unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("hint:"), "{error}");
        assert!(!path.exists());
    }
    let model = huggingface::load(&folder("llama"), Form::Whole).unwrap();
    let error = write(&model, &path, &|_| "q8_0").unwrap_err().to_string();
    assert!(error.contains("blocks have 32"), "{error}");
    let name = "model.layers.1.mlp.up_proj.weight";
    let mut renamed = model;
    let weight = renamed.graph.value_by_name(name).unwrap();
    renamed.graph.values[weight.index()].name = format!("{name}_dq");
    let error = write(&renamed, &path, &|_| "f32").unwrap_err().to_string();
    assert!(error.contains(&format!("no tensor `{name}`")), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_story_file_keeps_weights_and_tokenizer() {
    let Some(folder) = stories() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let job = ExportJob {
        model: folder.clone(),
        output: temporary.path().join("stories.gguf"),
        types: GgufTypes::default(),
        tokenizer: None,
        importance: None,
        resume: false,
        save: Default::default(),
        join_groups: false,
        dequantize: false,
    };
    export(&job, &NoProgress).unwrap();
    let file = read_gguf(&job.output).unwrap();
    assert_eq!(
        file.value("general.architecture").and_then(Value::as_str),
        Some("llama")
    );
    assert_eq!(
        file.value("llama.attention.head_count_kv")
            .and_then(Value::as_u64),
        Some(4)
    );
    let tokens = file.value("tokenizer.ggml.tokens").and_then(Value::as_array);
    assert_eq!(tokens.map(|tokens| tokens.len()), Some(512));
    assert_eq!(file.tensors.len(), 47);
    let back = ExportJob {
        model: job.output.clone(),
        output: temporary.path().join("stories"),
        ..job
    };
    export(&back, &NoProgress).unwrap();
    let [before, after] =
        [&folder, &back.output].map(|folder| huggingface::load(folder, Form::Whole).unwrap());
    assert_eq!(before.graph, after.graph);
}

#[test]
fn matrices_may_be_narrower() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("model.gguf");
    let model = huggingface::load(&folder("llama"), Form::Whole).unwrap();
    let mixed = |name: &str| if name == "output.weight" { "f16" } else { "bf16" };
    write(&model, &path, &mixed).unwrap();
    let file = read_gguf(&path).unwrap();
    for tensor in &file.tensors {
        let expected = match tensor.name.as_str() {
            _ if tensor.shape.len() == 1 => "f32",
            "output.weight" => "f16",
            _ => "bf16",
        };
        assert_eq!(tensor.kind.name, expected, "{}", tensor.name);
    }
}
