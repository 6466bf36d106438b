//! Files that are written in pieces: the same bytes whatever the pieces, the threads and the interruptions; and from file to file.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bantam::compress::quantize::groups::{
    Addition, GroupFormat, GroupSettings, TableGroups, group_algorithm_by_name,
};
use bantam::compress::quantize::{QuantizeSettings, method_by_name};
use bantam::compress::target::target_by_name;
use bantam::formats::Writing;
use bantam::formats::gguf::{
    self, Exporting, GgmlType, Gguf, GgufError, TensorEntry, TensorRows, Value, read_gguf, write_gguf,
};
use bantam::formats::huggingface::{self, Form, read_safetensors, write_safetensors};
use bantam::formats::onnx::{ExternalData, SaveOptions};
use bantam::graph::Model;
use bantam::jobs::{
    EvalJob, ExportJob, GgufTypes, Importance, QuantizeJob, RuntimeChoice, eval, export, quantize,
};
use bantam::tensor::formats::blocks::IntegerGroups;
use bantam::tensor::{BlockFormat, DType, Tensor, table_format_by_name};
use bantam::{Error, NoProgress, Progress};
use bantam_kernels::blocks::{Source, encode_rows};

use super::quantized::network_of;
use super::stories;

/// Blocks of rows, as the program makes them, of `f32` and `bf16`.
fn encode(format: &'static dyn BlockFormat, rows: &Tensor, _: Option<&[f32]>) -> Result<Vec<u8>, GgufError> {
    let row = rows.shape()[1];
    let mut bytes = vec![0; format.row_bytes(row).unwrap() * rows.shape()[0]];
    encode_rows(
        format,
        Source::F32(&rows.to_f32().unwrap()),
        row,
        None,
        &mut bytes,
    )
    .unwrap();
    Ok(bytes)
}

/// Writes the network's matrices as blocks, in this way.
fn write(model: &Model, path: &Path, writing: Writing<'_>) -> Result<(), GgufError> {
    let exporting = Exporting {
        choose: &|_| GgmlType::by_name("q4_0").unwrap(),
        encode: &encode,
        importance: &BTreeMap::new(),
        writing,
    };
    gguf::export(model, path, None, &exporting)
}

fn model() -> (tempfile::TempDir, Model) {
    let folder = tempfile::tempdir().unwrap();
    network_of(folder.path(), 96);
    let model = huggingface::load(folder.path(), Form::Whole).unwrap();
    (folder, model)
}

#[test]
fn bytes_depend_neither_on_pieces_nor_on_threads() {
    let (folder, model) = model();
    let path = folder.path().join("model.gguf");
    write(&model, &path, Writing::PLAIN).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for (piece, threads) in [(1, 1), (1, 2), (3000, 2), (1 << 14, 3)] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let writing = Writing {
            piece,
            ..Writing::PLAIN
        };
        pool.install(|| write(&model, &path, writing)).unwrap();
        assert!(
            std::fs::read(&path).unwrap() == whole,
            "{piece} elements, {threads} threads"
        );
    }
}

#[test]
fn an_interrupted_file_goes_on_with_the_same_bytes() {
    let (folder, model) = model();
    let [path, other] = ["model.gguf", "other.gguf"].map(|name| folder.path().join(name));
    write(&model, &other, Writing::PLAIN).unwrap();
    let until = |last: usize, pieces: &AtomicUsize, key: &str| {
        let progress = |done: usize, all: usize| {
            pieces.store(all, Ordering::Relaxed);
            assert!(done < last, "killed");
            std::thread::sleep(Duration::from_micros(300));
        };
        let writing = Writing {
            key,
            resume: true,
            piece: 1000,
            every: Duration::ZERO,
            progress: &progress,
        };
        catch_unwind(AssertUnwindSafe(|| write(&model, &path, writing)))
    };
    let pieces = AtomicUsize::new(0);
    assert!(until(1, &pieces, "a").is_err());
    let all = pieces.load(Ordering::Relaxed);
    for last in [all / 3, all / 2, all - 1] {
        assert!(until(last, &pieces, "a").is_err(), "killed at {last} of {all}");
        assert!(!path.exists());
    }
    let error = until(usize::MAX, &pieces, "b").unwrap().unwrap_err().to_string();
    assert!(
        error.contains("other inputs") && error.contains("--resume"),
        "{error}"
    );
    until(usize::MAX, &pieces, "a").unwrap().unwrap();
    assert!(std::fs::read(&path).unwrap() == std::fs::read(&other).unwrap());
}

fn job(model: PathBuf, output: PathBuf, kind: &str) -> ExportJob {
    ExportJob {
        model,
        output,
        types: GgufTypes {
            all: Some(kind.to_owned()),
            some: Vec::new(),
        },
        tokenizer: None,
        importance: None,
        resume: false,
        save: SaveOptions::default(),
        join_groups: false,
        dequantize: false,
    }
}

#[test]
fn files_become_files_as_folders_do() {
    let folder = tempfile::tempdir().unwrap();
    network_of(folder.path(), 96);
    let path = |name: &str| folder.path().join(name);
    export(
        &job(folder.path().to_owned(), path("f32.gguf"), "f32"),
        &NoProgress,
    )
    .unwrap();
    for kind in ["q4_0", "bf16", "q6_k"] {
        let [of_folder, of_file] = ["folder.gguf", "file.gguf"].map(path);
        export(
            &job(folder.path().to_owned(), of_folder.clone(), kind),
            &NoProgress,
        )
        .unwrap();
        let report = export(&job(path("f32.gguf"), of_file.clone(), kind), &NoProgress).unwrap();
        assert_eq!(report.replaced.len(), usize::from(kind == "q6_k"));
        let [a, b] = [of_folder, of_file].map(|path| read_gguf(&path).unwrap());
        assert_eq!(a.tensors, b.tensors, "{kind}");
        let sorted = |file: &Gguf| {
            let mut all: Vec<String> = file.metadata.iter().map(|entry| format!("{entry:?}")).collect();
            all.sort();
            all
        };
        assert_eq!(sorted(&a), sorted(&b), "{kind}");
    }
    // Blocks become other blocks by what they stand for, and stay as they are where nothing is asked.
    export(&job(path("file.gguf"), path("again.gguf"), "q8_0"), &NoProgress).unwrap();
    let same = ExportJob {
        types: GgufTypes::default(),
        ..job(path("again.gguf"), path("same.gguf"), "")
    };
    export(&same, &NoProgress).unwrap();
    assert_eq!(
        std::fs::read(path("again.gguf")).unwrap(),
        std::fs::read(path("same.gguf")).unwrap()
    );
}

/// Rows of a file of an architecture that there is no graph of.
struct Strange;

impl TensorRows for Strange {
    fn bytes(&self, tensor: usize, rows: std::ops::Range<usize>) -> Result<bytes::Bytes, GgufError> {
        let values = rows.flat_map(|row| {
            (0..64).map(move |column| ((row * 64 + column) as f32 * 0.37 + tensor as f32).sin())
        });
        Ok(match tensor {
            1 => values.take(64).flat_map(f32::to_le_bytes).collect(),
            _ => values
                .flat_map(|x| half::f16::from_f32(x).to_le_bytes())
                .collect(),
        })
    }
}

#[test]
fn any_architecture_can_be_made_narrower() {
    let folder = tempfile::tempdir().unwrap();
    let [before, after] = ["strange.gguf", "narrow.gguf"].map(|name| folder.path().join(name));
    let entry = |name: &str, shape: &[usize], kind: &str| TensorEntry {
        name: name.to_owned(),
        shape: shape.to_vec(),
        kind: GgmlType::by_name(kind).unwrap(),
        together: 1,
    };
    let entries = [
        entry("blk.0.mixer.weight", &[3, 8, 64], "f16"),
        entry("blk.0.norm.weight", &[1, 64], "f32"),
        entry("blk.0.ffn_gate_inp.weight", &[8, 64], "f16"),
    ];
    let metadata = [
        (
            "general.architecture".to_owned(),
            Value::String("strange".to_owned()),
        ),
        ("general.file_type".to_owned(), Value::U32(1)),
        ("strange.size".to_owned(), Value::F32(0.5)),
    ];
    write_gguf(&before, &metadata, &entries, &Strange, &Writing::PLAIN).unwrap();
    export(&job(before.clone(), after.clone(), "q4_0"), &NoProgress).unwrap();
    let (before, after) = (read_gguf(&before).unwrap(), read_gguf(&after).unwrap());
    assert_eq!(
        after.value("general.architecture").and_then(Value::as_str),
        Some("strange")
    );
    assert_eq!(after.value("general.file_type").and_then(Value::as_u64), Some(2));
    assert_eq!(after.value("strange.size"), before.value("strange.size"));
    assert_eq!(after.tensors[1..], before.tensors[1..]);
    let mixer = &after.tensors[0];
    assert_eq!(
        (mixer.kind.name, mixer.shape.as_slice()),
        ("q4_0", &[3, 8, 64][..])
    );
    let rows = Tensor::from_bytes(DType::F16, &[24, 64], before.tensors[0].data.clone()).unwrap();
    assert_eq!(
        mixer.data,
        encode(mixer.kind.block_format().unwrap(), &rows, None).unwrap()
    );
}

/// Quantizes to groups; without streaming where a plan is asked for too.
fn grouped(
    folder: &Path,
    output: &Path,
    format: GroupFormat,
    plan: bool,
    save: SaveOptions,
) -> Result<(), Error> {
    let settings = QuantizeSettings::for_target(target_by_name("onnxruntime").unwrap());
    let job = QuantizeJob {
        model: folder.to_owned(),
        data: None,
        method: method_by_name("static").unwrap(),
        settings: settings.clone(),
        codes: None,
        groups: Some(GroupSettings {
            format,
            algorithm: group_algorithm_by_name("nearest").unwrap(),
            smooth: false,
            addition: Addition::None,
            tables: None,
            quantize: settings,
        }),
        rescaling: Default::default(),
        samples: 1,
        seed: 0,
        calibration_split: "train".to_owned(),
        plan: None,
        plan_out: plan.then(|| output.with_extension("plan")),
        score_split: None,
        metrics: Vec::new(),
        limit: 1,
        output: output.to_owned(),
        resume: !plan,
        save,
    };
    quantize(&job, &NoProgress).map(|report| assert_eq!((report.quantized, report.kept.len()), (8, 0)))
}

/// The folder's weights in 16 bits, with two rows of zeros.
fn narrow(folder: &Path) {
    let path = folder.join("model.safetensors");
    let weights = read_safetensors(&path)
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| {
            let mut values = tensor.to_f32().unwrap();
            if name.ends_with("up_proj.weight") {
                values[..2 * 256].fill(0.0);
            }
            let values: Vec<half::bf16> = values.into_iter().map(half::bf16::from_f32).collect();
            (name, Tensor::from_slice(tensor.shape(), &values).unwrap())
        });
    let weights: BTreeMap<String, Tensor> = weights.collect();
    write_safetensors(&path, &weights).unwrap();
}

/// Of whole bytes and not, with and without codes of zero, and of tables.
fn formats() -> impl Iterator<Item = GroupFormat> {
    let integers = [(4, 8, false), (4, 12, true), (8, 16, true), (3, 10, false)];
    let integers =
        integers.map(|(bits, group, zero_point)| IntegerGroups::new(bits, group, zero_point, false).into());
    let tables = [("nf4", 8), ("f4e2m1", 12), ("f6e2m3", 10)];
    let tables =
        tables.map(|(name, group)| TableGroups::new(table_format_by_name(name).unwrap(), group).into());
    integers.into_iter().chain(tables)
}

#[test]
fn groups_that_are_made_while_writing_are_those_of_memory() {
    let folder = tempfile::tempdir().unwrap();
    network_of(folder.path(), 96);
    let [streamed, in_memory] = ["streamed", "memory"].map(|name| folder.path().join(name));
    for folder in [&streamed, &in_memory] {
        std::fs::create_dir(folder).unwrap();
    }
    for narrowed in [false, true] {
        if narrowed {
            narrow(folder.path());
        }
        for format in formats() {
            for external_data in [ExternalData::Never, ExternalData::Always] {
                let save = SaveOptions {
                    external_data,
                    ..SaveOptions::default()
                };
                let of = |folder: &Path, plan: bool| {
                    grouped(
                        folder.parent().unwrap(),
                        &folder.join("q.onnx"),
                        format.clone(),
                        plan,
                        save.clone(),
                    )
                    .unwrap();
                    ["q.onnx", "q.onnx.data"].map(|name| std::fs::read(folder.join(name)).ok())
                };
                let case = format!("{format:?}, {external_data:?}, narrow: {narrowed}");
                assert!(of(&streamed, false) == of(&in_memory, true), "{case}");
            }
        }
    }
}

#[test]
fn numbers_beyond_all_scales_are_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    network_of(folder.path(), 96);
    let path = folder.path().join("model.safetensors");
    let mut weights = read_safetensors(&path).unwrap();
    let up = weights.get_mut("model.layers.0.mlp.up_proj.weight").unwrap();
    up.values_mut::<f32>().unwrap()[1000] = f32::NAN;
    write_safetensors(&path, &weights).unwrap();
    let output = folder.path().join("q.onnx");
    let format = IntegerGroups::new(4, 8, false, false).into();
    let error = grouped(folder.path(), &output, format, false, SaveOptions::default()).unwrap_err();
    assert!(error.to_string().contains("are no numbers"), "{error}");
    let left = std::fs::read_dir(folder.path()).unwrap();
    assert!(
        !left
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("q.onnx"))
    );
}

/// Counts what it hears.
#[derive(Default)]
struct Heard(AtomicUsize);

impl Progress for Heard {
    fn start(&self, _: &str, _: usize) {}
    fn at(&self, _: usize) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn finish(&self) {}
}

#[cfg(unix)]
#[test]
fn importance_lowers_the_loss() {
    let Some(folder) = stories() else { return };
    let own = super::stories::manifest(&folder);
    let manifest = own.path().join("stories.toml");
    let loss = |kind: &str, importance: bool| {
        let heard = Heard::default();
        let job = ExportJob {
            importance: importance.then(|| Importance {
                data: manifest.clone(),
                split: "train".to_owned(),
                samples: 40,
                seed: 0,
            }),
            ..job(folder.clone(), own.path().join("x.gguf"), kind)
        };
        export(&job, &heard).unwrap();
        assert!(heard.0.into_inner() > 1);
        let job = EvalJob {
            model: job.output,
            data: manifest.clone(),
            split: "test".to_owned(),
            runtime: RuntimeChoice::Bantam,
            metrics: vec!["nll".to_owned()],
            limit: 50,
            batch: None,
            threads: 0,
        };
        eval(&job, &NoProgress).unwrap().scores.metrics["nll"].value
    };
    for kind in ["q4_0", "iq4_nl"] {
        let (plain, weighted) = (loss(kind, false), loss(kind, true));
        assert!(weighted < plain - 0.005, "{kind}: {plain} {weighted}");
    }
}
