//! GGUF files of quantized weights.

use std::collections::BTreeMap;
use std::path::Path;

use bantam::compress::plan::Action;
use bantam::compress::quantize::groups::{
    Addition, GroupSettings, TableGroups, group_algorithm_by_name, quantize_groups,
};
use bantam::compress::quantize::{QuantizeSettings, method_by_name};
use bantam::compress::stats::Stats;
use bantam::compress::target::target_by_name;
use bantam::formats::gguf::{self, GgmlType, GgufTensor, read_gguf};
use bantam::formats::huggingface::{self, Form, write_safetensors};
use bantam::jobs::{ExportJob, ExportReport, GgufTypes, export};
use bantam::tensor::formats::NF4;
use bantam::tensor::formats::blocks::IntegerGroups;
use bantam::tensor::{SplitMix64, Tensor};
use bantam::{Error, NoProgress, graph::Model, pipeline};

/// Writes the folder of a small network with seeded weights: rows of 256, but of 96 where the feed-forward part goes down.
fn network(folder: &Path) {
    network_of(folder, 40);
}

/// The same with so many tokens.
pub(super) fn network_of(folder: &Path, vocabulary: usize) {
    let config = r#"{
        "model_type": "llama", "hidden_size": 256, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 40, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": false
    }"#;
    let shapes: &[(&str, &[usize])] = &[
        ("model.embed_tokens", &[vocabulary, 256]),
        ("model.norm", &[256]),
        ("lm_head", &[vocabulary, 256]),
        ("model.layers.0.input_layernorm", &[256]),
        ("model.layers.0.post_attention_layernorm", &[256]),
        ("model.layers.0.self_attn.q_proj", &[256, 256]),
        ("model.layers.0.self_attn.k_proj", &[128, 256]),
        ("model.layers.0.self_attn.v_proj", &[128, 256]),
        ("model.layers.0.self_attn.o_proj", &[256, 256]),
        ("model.layers.0.mlp.gate_proj", &[96, 256]),
        ("model.layers.0.mlp.up_proj", &[96, 256]),
        ("model.layers.0.mlp.down_proj", &[256, 96]),
    ];
    let mut random = SplitMix64::new(7);
    let mut draw = || (random.next_u64() >> 40) as f32 / (1 << 24) as f32 - 0.5;
    let weights = shapes.iter().map(|(name, shape)| {
        let scale = if shape.len() == 1 { 2.0 } else { 0.2 };
        let values: Vec<f32> = (0..shape.iter().product::<usize>())
            .map(|_| draw() * scale)
            .collect();
        (
            format!("{name}.weight"),
            Tensor::from_slice(shape, &values).unwrap(),
        )
    });
    let weights: BTreeMap<String, Tensor> = weights.collect();
    write_safetensors(&folder.join("model.safetensors"), &weights).unwrap();
    let config = config.replace(r#""vocab_size": 40"#, &format!(r#""vocab_size": {vocabulary}"#));
    std::fs::write(folder.join("config.json"), config).unwrap();
}

/// Exports with `--type all --tensor-type some`.
fn exported(folder: &Path, output: &Path, all: &str, some: &[&str]) -> Result<ExportReport, Error> {
    export(
        &ExportJob {
            model: folder.to_owned(),
            output: output.to_owned(),
            types: GgufTypes {
                all: Some(all.to_owned()),
                some: some.iter().map(|text| (*text).to_owned()).collect(),
            },
            tokenizer: None,
            importance: None,
            resume: false,
            save: Default::default(),
            join_groups: false,
            dequantize: false,
        },
        &NoProgress,
    )
}

fn weight(model: &Model, name: &str) -> (Vec<usize>, Vec<f32>) {
    let id = model.graph.value_by_name(name).unwrap();
    let tensor = model.graph.constant(id).unwrap();
    (tensor.shape().to_vec(), tensor.to_f32().unwrap())
}

/// What the scalar codec of a type makes of values.
fn through(kind: &GgmlType, values: &[f32]) -> Vec<f32> {
    let format = kind.block_format().unwrap();
    let (mut bytes, mut decoded) = (vec![0; kind.bytes], vec![0.0; kind.block]);
    let blocks = values.chunks(kind.block).flat_map(|block| {
        format.encode_block(block, None, &mut bytes);
        format.decode_block(&bytes, &mut decoded);
        decoded.clone()
    });
    blocks.collect()
}

fn tensor<'a>(tensors: &'a [GgufTensor], name: &str) -> &'a GgufTensor {
    tensors.iter().find(|tensor| tensor.name == name).unwrap()
}

#[test]
fn every_type_comes_back_as_its_codec_makes_it() {
    let folder = tempfile::tempdir().unwrap();
    network(folder.path());
    let float = huggingface::load(folder.path(), Form::Whole).unwrap();
    for kind in GgmlType::encodable().filter(|kind| kind.dtype.is_none()) {
        let path = folder.path().join(format!("{}.gguf", kind.name));
        let report = exported(folder.path(), &path, kind.name, &[]).unwrap();
        let tensors = read_gguf(&path).unwrap().tensors;
        let down = tensor(&tensors, "blk.0.ffn_down.weight").kind;
        assert_eq!(down.name, kind.for_rows(96).name);
        assert_eq!(report.replaced.len(), usize::from(down != kind), "{}", kind.name);
        let read = gguf::load(&path, Form::Whole).unwrap();
        for (name, kind) in [
            ("lm_head", kind),
            // Its rows are in another order in the file.
            ("model.layers.0.self_attn.q_proj", kind),
            ("model.layers.0.mlp.up_proj", kind),
            ("model.layers.0.mlp.down_proj", down),
        ] {
            let name = format!("{name}.weight");
            let ((shape, values), decoded) = (weight(&float, &name), weight(&read, &name));
            assert_eq!(decoded, (shape, through(kind, &values)), "{}: {name}", kind.name);
        }
        let norm = "model.norm.weight";
        assert_eq!(weight(&read, norm), weight(&float, norm));
    }
}

#[test]
fn names_choose_types_and_the_first_that_matches_counts() {
    let folder = tempfile::tempdir().unwrap();
    network(folder.path());
    let path = folder.path().join("model.gguf");
    let some = ["output=q6_k", "blk.*.attn_q*=q5_k", "blk.*.attn_*=q3_k"];
    let report = exported(folder.path(), &path, "q4_k", &some).unwrap();
    let tensors = read_gguf(&path).unwrap().tensors;
    for (name, expected) in [
        ("output.weight", "q6_k"),
        ("output_norm.weight", "f32"),
        ("blk.0.attn_q.weight", "q5_k"),
        ("blk.0.attn_k.weight", "q3_k"),
        ("blk.0.ffn_up.weight", "q4_k"),
        ("blk.0.ffn_down.weight", "q5_0"),
    ] {
        assert_eq!(tensor(&tensors, name).kind.name, expected, "{name}");
    }
    let replaced = &report.replaced[0];
    assert_eq!(
        (replaced.row, replaced.wanted, replaced.used),
        (96, "q4_k", "q5_0")
    );
    for (all, some, expected) in [
        ("q4_z", "output=q6_k", "did you mean `q4_"),
        ("q4_k", "output=iq1_m", "no GGUF type `iq1_m`"),
        ("q4_k", "nowhere.*=q6_k", "matches no matrix"),
        ("q4_k", "q6_k", "gives no type"),
        ("q4_k", "[=q6_k", "not a glob"),
    ] {
        let error = exported(folder.path(), &path, all, &[some])
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected) && error.contains("hint:"), "{error}");
    }
}

/// The nodes that dynamic quantization of a folder's model gives codes.
fn quantized(folder: &Path) -> Vec<String> {
    let model = pipeline::prepare(&pipeline::load(folder).unwrap()).unwrap();
    let settings = QuantizeSettings::for_target(target_by_name("onnxruntime").unwrap());
    let method = method_by_name("dynamic").unwrap();
    let plan = pipeline::plan(&model.graph, &Stats::default(), method, &settings).unwrap();
    pipeline::rewrite(&model, &plan).unwrap();
    let quantized = plan.decisions.iter();
    let quantized = quantized.filter(|decision| decision.action != Action::Keep);
    quantized
        .map(|decision| decision.site.name().to_owned())
        .collect()
}

#[test]
fn products_with_weights_of_16_bits_are_quantized_too() {
    let folder = tempfile::tempdir().unwrap();
    network(folder.path());
    let mut expected = quantized(folder.path());
    assert_eq!(expected.len(), 9, "{expected:?}");
    // Rows of the embedding are cast behind the look-up: it stays in 16 bits.
    expected.retain(|node| node != "model.embed_tokens");
    for narrow in ["bf16", "f16"] {
        let [file, back] = ["gguf", "folder"].map(|end| folder.path().join(format!("{narrow}.{end}")));
        exported(folder.path(), &file, narrow, &[]).unwrap();
        huggingface::save(&gguf::load(&file, Form::Whole).unwrap(), &back, None).unwrap();
        assert_eq!(quantized(&back), expected, "{narrow}");
    }
}

/// The numbers that the codes of a weight stand for.
fn decoded(model: &Model, name: &str, group: usize) -> Vec<f32> {
    let constant = |end: &str| {
        let value = model.graph.value_by_name(&format!("{name}_{end}")).unwrap();
        model.graph.constant(value).unwrap()
    };
    let codes = constant("q");
    let (scale, zero_point) = (
        constant("scale").to_f32().unwrap(),
        constant("zero").to_i64().unwrap(),
    );
    let row = codes.shape()[1];
    let value = |(index, code): (usize, &i64)| {
        let at = index / row * row.div_ceil(group) + index % row / group;
        (code - zero_point[at]) as f32 * scale[at]
    };
    codes.to_i64().unwrap().iter().enumerate().map(value).collect()
}

#[test]
fn codes_in_groups_become_blocks_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    network(folder.path());
    let model = pipeline::prepare(&pipeline::load(folder.path()).unwrap()).unwrap();
    let [onnx, file] = ["q.onnx", "q.gguf"].map(|name| folder.path().join(name));
    // By bits, code of zero, length of a group: the type of blocks, and how far the offset is off.
    for (bits, zero_point, group, kind, off) in [
        (4, false, 32, "q4_0", 0.0),
        (3, false, 64, "q4_0", 0.0),
        (8, false, 32, "q8_0", 0.0),
        (4, true, 32, "q4_1", 1e-3),
    ] {
        let settings = GroupSettings {
            format: IntegerGroups::new(bits, group, zero_point, false).into(),
            algorithm: group_algorithm_by_name("hqq").unwrap(),
            smooth: false,
            addition: Addition::None,
            tables: None,
            quantize: QuantizeSettings::for_target(target_by_name("onnxruntime").unwrap()),
        };
        let (graph, _) = quantize_groups(&model.graph, &settings, None, &|_, _| ()).unwrap();
        let coded = Model {
            graph,
            ..model.clone()
        };
        pipeline::export(&coded, &onnx, &Default::default()).unwrap();
        exported(&onnx, &file, kind, &[]).unwrap();
        let tensors = read_gguf(&file).unwrap().tensors;
        assert_eq!(tensor(&tensors, "blk.0.attn_q.weight").kind.name, kind);
        let read = gguf::load(&file, Form::Whole).unwrap();
        for name in [
            "lm_head",
            "model.layers.0.self_attn.q_proj",
            "model.layers.0.mlp.down_proj",
        ] {
            let name = format!("{name}.weight");
            let (expected, (_, found)) = (decoded(&coded, &name, group), weight(&read, &name));
            // Groups that end within a block are encoded anew.
            let whole = !(group == 64 && name.contains("down"));
            let pairs = expected.iter().zip(&found);
            let largest = pairs.fold(0f32, |largest, (a, b)| largest.max((a - b).abs()));
            assert!(largest <= off || !whole, "{kind}, {name}: {largest}");
        }
    }
}

/// Values of a table are no type of blocks: a clear message, rather than a file without them.
#[test]
fn values_of_a_table_stay_in_onnx_files() {
    let folder = tempfile::tempdir().unwrap();
    network(folder.path());
    let model = pipeline::prepare(&pipeline::load(folder.path()).unwrap()).unwrap();
    let [onnx, file] = ["q.onnx", "q.gguf"].map(|name| folder.path().join(name));
    let settings = GroupSettings {
        format: TableGroups::new(&NF4, 32).into(),
        algorithm: group_algorithm_by_name("nearest").unwrap(),
        smooth: false,
        addition: Addition::None,
        tables: None,
        quantize: QuantizeSettings::for_target(target_by_name("onnxruntime").unwrap()),
    };
    let (graph, _) = quantize_groups(&model.graph, &settings, None, &|_, _| ()).unwrap();
    pipeline::export(&Model { graph, ..model }, &onnx, &Default::default()).unwrap();
    let error = exported(&onnx, &file, "q4_0", &[]).unwrap_err().to_string();
    assert!(error.contains("weights in nf4"), "{error}");
    assert!(!file.exists());
    // The numbers that they stand for have the names of the weights.
    let coded = pipeline::load(&onnx).unwrap();
    let float = Model {
        graph: bantam::compress::dequantize(&coded.graph).unwrap(),
        ..coded
    };
    pipeline::export(&float, &onnx, &Default::default()).unwrap();
    exported(&onnx, &file, "f32", &[]).unwrap();
}

/// Mean losses of the story model's first rows, by the type of its matrices. Rows of 64 and 172 leave no whole blocks of 256.
#[cfg(unix)]
#[test]
fn the_story_model_keeps_its_loss_as_far_as_bits_allow() {
    use bantam::NoProgress;
    use bantam::jobs::{EvalJob, RuntimeChoice, eval};

    let Some(folder) = super::stories() else { return };
    let own = super::stories::manifest(&folder);
    let loss = |model: &Path| {
        let job = EvalJob {
            model: model.to_owned(),
            data: own.path().join("stories.toml"),
            split: "train".to_owned(),
            metrics: vec!["nll".to_owned()],
            runtime: RuntimeChoice::Bantam,
            limit: 10,
            batch: None,
            threads: 0,
        };
        eval(&job, &NoProgress).unwrap().scores.metrics["nll"].value
    };
    let float = loss(&folder);
    // How much the loss may rise: what is measured, and half as much again.
    for (name, rise) in [
        ("f16", 1e-3),
        ("bf16", 5e-3),
        ("q8_0", 5e-3),
        ("q5_1", 0.05),
        ("q5_0", 0.05),
        ("q4_1", 0.2),
        ("q4_0", 0.2),
        ("iq4_nl", 0.2),
    ] {
        let path = own.path().join(format!("{name}.gguf"));
        let report = exported(&folder, &path, name, &[]).unwrap();
        let blocks = !name.ends_with("f16");
        assert_eq!(report.replaced.len(), if blocks { 5 } else { 0 }, "{name}");
        let loss = loss(&path);
        assert!((loss - float).abs() < rise, "{name}: {loss}, float {float}");
    }
}
