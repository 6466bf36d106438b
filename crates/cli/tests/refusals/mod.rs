//! Input that must be refused: a clear message with a hint, no panic, no partial output.

#[path = "../../../formats/tests/onnx/wire.rs"]
#[allow(dead_code, reason = "not every kind of field is needed here")]
mod wire;

use bantam::formats::data::write_npy;
use bantam::tensor::{DType, Tensor};

use super::support::{self, Demo, fault_in_refusal};
use wire::{bytes, initializer, input, int, model, node, output};

/// Arguments that must be refused, and a part of the message.
#[rustfmt::skip]
const REFUSED: &[(&str, &str)] = &[
    ("eval absent.onnx --data digits.toml", "absent.onnx"),
    ("eval digits.onnx --data absent.toml", "absent.toml"),
    ("eval digits.toml --data digits.toml", "digits.toml"),
    ("eval cut.onnx --data digits.toml", "cut.onnx"),
    ("eval empty.onnx --data digits.toml", "empty.onnx"),
    ("eval digits.onnx --data digits.toml --metric top2", "did you mean `top1`?"),
    ("eval digits.onnx --data digits.toml --runtime onnxrt", "known are bantam, onnxruntime"),
    ("eval digits.onnx --data digits.toml --split tets", "test"),
    ("eval digits.onnx --data unlabelled.toml", "labels"),
    ("eval digits.onnx --data wide.toml", "wide.npy"),
    ("eval digits.onnx --data renamed.toml", "inptu"),
    ("new resnet21 -o n.onnx", "did you mean `resnet20`?"),
    ("new resnet20 --input 3x2x2 -o n.onnx", "3x2x2"),
    ("new resnet20 --width 0 -o n.onnx", "--width"),
    ("new resnet20 --hidden 3 -o n.onnx", "--hidden is for mlp"),
    ("new resnet20 --classes 0 -o n.onnx", "--classes"),
    ("new mlp --hidden 16000000 --input 16000000 -o n.onnx", "more than"),
    ("new resnet20 --init xavir -o n.onnx", "did you mean `xavier`?"),
    ("new resnet20 -o absent/n.onnx", "absent/n.onnx"),
    ("new --reinit cut.onnx -o n.onnx", "cut.onnx"),
    ("export digits.onnx --dequantize -o x.gguf", "--dequantize is for ONNX files"),
    ("quantize digits.onnx --data digits.toml --outliers 1% -o q.onnx", "--outliers is for weights in groups"),
    ("quantize digits.onnx --data digits.toml --embeddings -o q.onnx", "--embeddings is for weights in groups"),
    ("quantize digits.onnx --data digits.toml --granularity group:32 --outliers 20% -o q.onnx", "no share of outliers"),
    ("quantize digits.onnx --data digits.toml --granularity group:32 --embeddings f16 -o q.onnx", "no format of groups"),
    ("train digits.onnx --data digits.toml --optimizer sdg -o t.onnx", "did you mean `sgd`?"),
    ("train digits.onnx --data digits.toml --schedule cosin -o t.onnx", "did you mean `cosine`?"),
    ("train digits.onnx --data digits.toml --loss hinge -o t.onnx", "known are cross-entropy"),
    ("train digits.onnx --data digits.toml --epochs 0 -o t.onnx", "`epochs`"),
    ("train digits.onnx --data digits.toml --learning-rate 0 -o t.onnx", "learning-rate"),
    ("train digits.onnx --data digits.toml --freeze nothing -o t.onnx", "`nothing`"),
    ("train digits.onnx --data digits.toml --memory-limit 10KB -o t.onnx", "use a smaller batch"),
    ("train digits.onnx --data digits.toml --teacher absent.onnx -o t.onnx", "absent.onnx"),
    ("train digits.onnx --data digits.toml --quantize --weights int9 -o t.onnx", "int8"),
    ("train digits.onnx --data digits.toml --quantize --scales learnd -o t.onnx", "did you mean `learned`?"),
    ("train digits.onnx --data unlabelled.toml --no-eval -o t.onnx", "labels"),
    ("train digits.onnx --data digits.toml --regularization group-laso -o t.onnx", "did you mean `group-lasso`?"),
    ("train digits.onnx --data digits.toml --regularization group-lasso --regularization-strength 0 -o t.onnx", "above 0"),
    ("quantize digits.onnx --data digits.toml --resume -o q.onnx", "rounded to nearest alone"),
    ("train digits.onnx --data digits.toml --regularization group-lasso --regularization-growth 2 -o t.onnx", "from 0 to 1"),
    ("train digits.onnx --data digits.toml -o absent/t.onnx", "absent/t.onnx"),
    ("train nan.onnx --data digits.toml --no-eval -o t.onnx", "not a number"),
    ("train digits.onnx --data digits.toml --checkpoint digits.toml --resume -o t.onnx", "checkpoint"),
    ("train digits.onnx --data digits.toml --quantize --granularity group:32 -o t.onnx", "groups cannot be trained"),
    ("quantize digits.onnx --granularity group:0 -o q.onnx", "known are channel, tensor, group:32"),
    ("quantize digits.onnx --granularity group:32 --weights int16 -o q.onnx", "no format of groups"),
    ("quantize digits.onnx --weights nf4 -o q.onnx", "nf4 is for weights in groups"),
    ("quantize digits.onnx --granularity group:32 --weights nf4 --symmetric-weights=false -o q.onnx", "nf4 has no code of zero"),
    ("quantize digits.onnx --data digits.toml --granularity group:32 --weights nf4 --algorithm signround -o q.onnx", "even steps"),
    ("quantize digits.onnx --granularity group:32 --activations int8 -o q.onnx", "--activations does not go with groups"),
    ("quantize digits.onnx --granularity group:32 --algorithm distill -o q.onnx", "known are nearest, search"),
    ("quantize digits.onnx --granularity group:32 --algorithm gptq -o q.onnx", "looks at samples"),
    ("train digits.onnx --data digits.toml --sparsity 100% -o t.onnx", "below 100%"),
    ("train digits.onnx --data digits.toml --sparsity keep -o t.onnx", "has a zero to keep"),
    ("train digits.onnx --data digits.toml --sparsity 2:4 -o t.onnx", "2 of 4 does not fit"),
    ("train digits.onnx --data digits.toml --sparsity 90% --sparse-method rigll -o t.onnx", "did you mean `rigl`?"),
    ("train digits.onnx --data digits.toml --sparsity keep --sparse-method set -o t.onnx", "--sparsity keep alone"),
    ("train digits.onnx --data digits.toml --sparsity 90% --sparsity-scope erkk -o t.onnx", "did you mean `erk`?"),
    ("train digits.onnx --data digits.toml --sparsity 90% --sparsity-exclude op:* -o t.onnx", "matches no node"),
    ("train digits.onnx --data digits.toml --sparsity 50% --quantize --weights int2 -o t.onnx", "no level for zero"),
    ("lottery digits.onnx --data digits.toml --rounds 0 -o l.onnx", "--rounds 5"),
    ("lottery digits.onnx --data digits.toml --sparsity keep -o l.onnx", "none to keep"),
    ("lottery digits.onnx --data digits.toml --rewind-step 99999 -o l.onnx", "no step 99999"),
    ("lottery digits.onnx --data digits.toml --metric top2 -o l.onnx", "did you mean `top1`?"),
    ("list method", "did you mean `methods`?"),
    ("quantize digits.onnx -o q.onnx", "--data"),
    ("quantize digits.onnx --data digits.toml --range mes -o q.onnx", "did you mean `mse`?"),
    (
        "quantize digits.onnx --data digits.toml --algorithm gtpq -o q.onnx",
        "did you mean `gptq`?",
    ),
    (
        "train digits.onnx --data digits.toml --quantize --epochs 2 --progressive 4:2 -o q.onnx",
        "leave none of 2 for the last width",
    ),
    (
        "train digits.onnx --data digits.toml --quantize --progressive 4:18446744073709551615,4:9 -o q.onnx",
        "leave none",
    ),
    ("quantize digits.onnx --dynamic --weights int3 -o q.onnx", "--dynamic needs formats of 8 bits"),
    (
        "quantize digits.onnx --data digits.toml --algorithm gptq --plan-out p.json -o q.onnx",
        "--plan-out does not go with",
    ),
    ("quantize digits.onnx --data digits.toml --target tensorrtt -o q.onnx", "tensorrt"),
    ("quantize digits.onnx --data digits.toml --weights int9 -o q.onnx", "int8"),
    ("quantize digits.onnx --data digits.toml --weights f4e2m1 -o q.onnx", "f4e2m1 is for weights in groups"),
    ("quantize digits.onnx --data digits.toml --granularity row -o q.onnx", "channel"),
    ("quantize digits.onnx --data digits.toml --exclude op:Convv -o q.onnx", "matches no node"),
    ("quantize digits.onnx --data digits.toml --exclude role:middle -o q.onnx", "first, last"),
    ("quantize digits.onnx --data digits.toml --include a[ -o q.onnx", "glob"),
    ("quantize digits.onnx --data digits.toml --exclude * -o q.onnx", "nothing to quantize"),
    ("quantize digits.onnx --data digits.toml --samples 0 -o q.onnx", "no samples"),
    ("quantize digits.onnx --data empty.toml -o q.onnx", "samples"),
    ("quantize digits.onnx --data infinite.toml --no-eval -o q.onnx", "infinite or no number"),
    ("quantize nan.onnx --data digits.toml -o q.onnx", "no number"),
    ("quantize digits.onnx --data digits.toml --opset 9 -o q.onnx", "opset"),
    ("quantize digits.onnx --data digits.toml -o absent/q.onnx", "absent/q.onnx"),
    ("quantize digits.onnx --data digits.toml -o .", "cannot be written"),
    ("quantize digits.onnx --plan digits.toml --no-eval -o q.onnx", "not a plan"),
    ("quantize digits.onnx --plan other.json --no-eval -o q.onnx", "does not have"),
    ("quantize digits.onnx --plan future.json --no-eval -o q.onnx", "version"),
    ("prune digits.onnx --data digits.toml -o p.onnx", "give --sparsity"),
    ("prune digits.onnx --data digits.toml --sparsity 100% -o p.onnx", "leaves no network"),
    ("prune digits.onnx --data digits.toml --sparsity 0 -o p.onnx", "leaves no network"),
    ("prune digits.onnx --data digits.toml --sparsity most -o p.onnx", "`most` is no share"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --criterion magnitud -o p.onnx", "did you mean `magnitude`?"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --reconstruct obc -o p.onnx", "did you mean `obs`?"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --scope layers -o p.onnx", "did you mean `layer`?"),
    ("prune digits.onnx --data digits.toml --structure 4:4 -o p.onnx", "is no structure"),
    ("prune digits.onnx --data digits.toml --structure 2:4 --sparsity 80% -o p.onnx", "not that of the pattern"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --structure block:2x2 --reconstruct obs -o p.onnx", "one by one"),
    ("prune digits.onnx --no-eval --sparsity 50% --criterion fisher -o p.onnx", "looks at samples"),
    ("prune digits.onnx --no-eval --sparsity 50% --reconstruct sparsegpt -o p.onnx", "looks at samples"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --steps 0 -o p.onnx", "at least one step"),
    ("prune digits.onnx --data digits.toml --structure 2:4 --steps 3 -o p.onnx", "take one step"),
    ("prune digits.onnx --sparsity 50% -o p.onnx", "--data"),
    ("prune digits.onnx --data unlabelled.toml --no-eval --sparsity 50% --criterion taylor -o p.onnx", "labels"),
    ("prune digits.onnx --data digits.toml --samples 0 --sparsity 50% -o p.onnx", "no samples"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --exclude op:Convv -o p.onnx", "matches no node"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --exclude * -o p.onnx", "nothing to prune"),
    ("prune nan.onnx --data digits.toml --no-eval --sparsity 50% -o p.onnx", "no number"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --criterion thinet -o p.onnx", "judges whole channels, not single weights"),
    ("prune digits.onnx --data digits.toml --structure 2:4 --criterion apoz -o p.onnx", "it is for --structure channel"),
    ("prune digits.onnx --data digits.toml --structure head --sparsity 50% --criterion fpgm -o p.onnx", "whole channels, not heads"),
    ("prune digits.onnx --no-eval --structure channel --target-macs 50% --criterion correlation -o p.onnx", "looks at samples"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --permute -o p.onnx", "for the sake of patterns"),
    ("prune digits.onnx --data digits.toml --structure channel --target-macs 50% --permute -o p.onnx", "for the sake of patterns"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --target-bytes 9KB -o p.onnx", "save no MACs"),
    ("prune digits.onnx --data digits.toml --structure channel --target-bytes 9GB -o p.onnx", "which is no more than"),
    ("prune digits.onnx --data digits.toml --structure channel --target-bytes few -o p.onnx", "`few` is no share"),
    ("prune digits.onnx --data digits.toml --structure channel --target-latency 0 -o p.onnx", "of the time cannot be left"),
    ("prune digits.onnx --data digits.toml --structure layer --target-latency 50% -o p.onnx", "removing channels or heads"),
    ("prune digits.onnx --data digits.toml --structure channel --target-latency 50% --runtime onnxruntim -o p.onnx", "did you mean `onnxruntime`?"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --epochs 1 --steps 2 -o p.onnx", "none for each of 2 steps"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --epochs 0 -o p.onnx", "0 epochs of training"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --epochs 1 --schedule cubik -o p.onnx", "did you mean `cubic`?"),
    ("prune digits.onnx --data digits.toml --structure 2:4 --epochs 2 --steps 2 -o p.onnx", "takes one step"),
    ("prune digits.onnx --data digits.toml --sparsity 50% --epochs 1 --reconstruct obc -o p.onnx", "did you mean `obs`?"),
    ("prune digits.onnx --data digits.toml --sparsity 50% -o absent/p.onnx", "absent/p.onnx"),
    ("prune digits.onnx --plan digits.toml --no-eval -o p.onnx", "not a plan"),
    ("prune cut.onnx --sparsity 50% --no-eval -o p.onnx", "cut.onnx"),
    ("compare digits.onnx cut.onnx --data digits.toml", "cut.onnx"),
    ("inspect cut.onnx", "cut.onnx"),
    ("bench cut.onnx", "cut.onnx"),
    ("bench digits.onnx --runtime tensorrt", "known are bantam, onnxruntime"),
    ("bench digits.onnx --data wide.toml", "wide.npy"),
    ("eval digits.onnx --data short_labels.toml", "labels"),
    ("eval digits.onnx --data real_labels.toml", "label"),
    ("eval digits.onnx --data far_labels.toml", "label 77"),
    ("eval digits.onnx --data complex.toml", "complex.npy"),
    ("eval digits.onnx --data cut.toml", "cut.npy"),
    ("eval digits.onnx --data huge.toml", "huge.npy"),
    ("eval digits.onnx --data negative.toml", "negative.npy"),
    ("eval digits.onnx --data garbage.toml", "garbage.npy"),
    ("eval digits.onnx --data missing.toml", "missing.npy"),
    ("eval digits.onnx --data misspelt.toml", "splitz"),
    ("eval digits.onnx --data broken.toml", "broken.toml"),
    ("eval digits.onnx --data empty.toml", "samples"),
    ("eval . --data digits.toml", "folder"),
    ("quantize digits.onnx --data digits.toml --plan-out absent/plan.json -o q.onnx", "absent/plan.json"),
    ("quantize digits.onnx --data digits.toml -o /proc/q.onnx", "/proc/q.onnx"),
    ("quantize digits.onnx --data digits.toml -o /dev/null", "not a regular file"),
    ("quantize digits.onnx --data wide.toml -o q.onnx", "wide.npy"),
    ("quantize digits.onnx --data complex.toml -o q.onnx", "complex.npy"),
];

/// Arguments that do not fit the program, and a part of the message.
#[rustfmt::skip]
const MISUSED: &[(&str, &str)] = &[
    ("eval digits.onnx --dta digits.toml", "--data"),
    ("evl digits.onnx", "eval"),
    ("eval digits.onnx", "--data"),
    ("eval digits.onnx --data", "--data"),
    ("new -o n.onnx", "NETWORK"),
    ("new resnet20 --reinit digits.onnx -o n.onnx", "--reinit"),
    ("new resnet20 --input 3,32,32 -o n.onnx", "3,32,32"),
    ("new resnet20", "--output"),
    ("inspect digits.onnx cut.onnx", "cut.onnx"),
    ("inspect digits.onnx --batch many", "many"),
    ("bench digits.onnx --batch 0", "0"),
    ("train digits.onnx --data digits.toml --sparsity lots -o t.onnx", "2:4 for two of four"),
    ("train digits.onnx --data digits.toml --sparse-method rigl -o t.onnx", "--sparsity"),
    ("quantize digits.onnx --samples -1 -o q.onnx", "-1"),
    ("quantize digits.onnx --dynamic --plan other.json -o q.onnx", "--plan"),
];

#[test]
fn bad_input_is_refused_with_a_hint_and_nothing_is_written() {
    let demo = Demo::new();
    write_bad_models(&demo);
    write_bad_data(&demo);
    check(&demo, REFUSED, 1);
}

#[test]
fn wrong_arguments_are_refused_with_a_hint() {
    check(&Demo::new(), MISUSED, 2);
}

fn check(demo: &Demo, table: &[(&str, &str)], code: i32) {
    let faults = table.iter().filter_map(|(arguments, message)| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        fault_in_refusal(demo, &arguments, message, code)
    });
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Models and plans that `REFUSED` names.
fn write_bad_models(demo: &Demo) {
    let model = demo.read("digits.onnx");
    demo.write("cut.onnx", &model[..model.len() / 2]);
    demo.write("empty.onnx", b"");
    demo.write("nan.onnx", &support::with_nan_weight(&demo.path("digits.onnx")));
    let other = r#"{"version":1,"method":"static","target":"onnxruntime","decisions":[
        {"site":{"value":"nothing"},"action":{"quantize-activation":
        {"dtype":"u8","axis":null,"scale":[1.0],"zero_point":[0]}},"why":"a test"}]}"#;
    demo.write("other.json", other.as_bytes());
    let future = r#"{"version":2,"method":"static","target":"onnxruntime","decisions":[]}"#;
    demo.write("future.json", future.as_bytes());
}

/// An npy file with this header and these bytes of data.
fn npy(descr: &str, shape: &str, data: usize) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [
        b"\x93NUMPY\x01\x00",
        &length[..],
        header.as_bytes(),
        &vec![0; data],
    ]
    .concat()
}

/// Arrays and manifests that `REFUSED` names.
fn write_bad_data(demo: &Demo) {
    let array = |name: &str, tensor: &Tensor| write_npy(&demo.path(name), tensor).unwrap();
    array("wide.npy", &Tensor::zeros(DType::U8, &[4, 1, 8, 9]).unwrap());
    array("none.npy", &Tensor::zeros(DType::U8, &[0, 1, 8, 8]).unwrap());
    array("four.npy", &Tensor::zeros(DType::U8, &[4, 1, 8, 8]).unwrap());
    array(
        "infinite.npy",
        &Tensor::from_slice(&[1, 1, 8, 8], &[f32::INFINITY; 64]).unwrap(),
    );
    array("short.npy", &Tensor::from_vec1(&[1i64, 2, 3]));
    array("real.npy", &Tensor::from_vec1(&[0.5f32, 1.5, 2.5, 3.5]));
    array("far.npy", &Tensor::from_vec1(&[1i64, 2, 3, 77]));
    demo.write("complex.npy", &npy("<c8", "(4, 1, 8, 8)", 4 * 64 * 8));
    demo.write("cut.npy", &npy("|u1", "(4, 1, 8, 8)", 100));
    demo.write("huge.npy", &npy("|u1", "(4611686018427387904, 1, 8, 8)", 256));
    demo.write("negative.npy", &npy("|u1", "(-4, 1, 8, 8)", 256));
    demo.write("garbage.npy", b"no array at all");
    demo.write("broken.toml", b"[splits.test");
    demo.write("misspelt.toml", b"[splitz.test]\ninputs.input = \"four.npy\"\n");
    for (name, input, file, labels) in [
        ("unlabelled", "input", "test_x", None),
        ("wide", "input", "wide", None),
        ("renamed", "inptu", "test_x", None),
        ("empty", "input", "none", None),
        ("infinite", "input", "infinite", None),
        ("complex", "input", "complex", None),
        ("cut", "input", "cut", None),
        ("huge", "input", "huge", None),
        ("negative", "input", "negative", None),
        ("garbage", "input", "garbage", None),
        ("missing", "input", "missing", None),
        ("short_labels", "input", "four", Some("short")),
        ("real_labels", "input", "four", Some("real")),
        ("far_labels", "input", "four", Some("far")),
    ] {
        let labels = labels.map_or(String::new(), |labels| format!("labels = \"{labels}.npy\"\n"));
        let split = |split| format!("[splits.{split}]\ninputs.{input} = \"{file}.npy\"\n{labels}");
        let manifest = split("train") + &split("test");
        demo.write(&format!("{name}.toml"), manifest.as_bytes());
    }
}

/// A weight `name` of four floats in an external file.
fn external(name: &str, entries: &[(&str, &str)]) -> Vec<u8> {
    let entry = |(key, value): &(&str, &str)| bytes(13, [bytes(1, key), bytes(2, value)].concat());
    let fields: Vec<Vec<u8>> = entries.iter().map(entry).collect();
    initializer(name, &[4], 1, &[vec![int(14, 1)], fields].concat())
}

#[test]
fn hostile_models_are_refused_with_a_hint() {
    let demo = Demo::new();
    demo.write("weights", &[0; 64]);
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/passwd", demo.path("link")).unwrap();
    let at = |entries: &[(&str, &str)]| model(&[external("w", entries)]);
    let weight = |dims: &[i64]| model(&[initializer("w", dims, 1, &[bytes(9, [0; 4])])]);
    let data = ("location", "weights");
    let relu = |from: &str, to: &str| node("Relu", &[from], &[to]);
    #[rustfmt::skip]
    let cases = [
        ("cycle", model(&[relu("b", "a"), relu("a", "b"), output("a")])),
        ("named `y`", model(&[input("x"), relu("x", "y"), relu("x", "y")])),
        ("nowhere", model(&[relu("nowhere", "y"), output("y")])),
        ("negative", weight(&[-4])),
        ("too large", weight(&[1 << 40, 1 << 40])),
        ("needs 4000000 bytes", weight(&[1000, 1000])),
        ("far more parts", model(&[bytes(1, bytes(4, "A")).repeat(1 << 14)])),
        ("absolute", at(&[("location", "/etc/passwd")])),
        ("leaves the model's folder", at(&[("location", "../weights")])),
        #[cfg(unix)]
        ("link that leaves", at(&[("location", "link")])),
        ("`missing`", at(&[("location", "missing")])),
        ("not a number", at(&[data, ("offset", "-16")])),
        ("end after the data file", at(&[data, ("offset", "56")])),
        ("end after the data file", at(&[data, ("offset", "18446744073709551600")])),
        ("takes 16 bytes", at(&[data, ("length", "64")])),
        ("overlap those of `v`", model(&[external("v", &[data]), external("w", &[data, ("offset", "8")])])),
    ];
    let fault = |(message, file): (&str, Vec<u8>)| {
        demo.write("hostile.onnx", &file);
        fault_in_refusal(&demo, &["inspect", "hostile.onnx"], message, 1)
    };
    let faults: Vec<String> = cases.into_iter().filter_map(fault).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn truncated_and_flipped_models_never_end_in_a_panic() {
    const PLACES: usize = 24;
    let demo = Demo::new();
    let whole = demo.read("digits.onnx");
    for place in 0..PLACES {
        let position = place * whole.len() / PLACES;
        demo.write("hostile.onnx", &whole[..position]);
        let fault = fault_in_refusal(&demo, &["inspect", "hostile.onnx"], "hostile.onnx", 1);
        assert!(fault.is_none(), "{}", fault.unwrap_or_default());
        // Most structure is at the start; what is flipped in a weight is a model, too.
        for position in [place * 7, position] {
            let mut flipped = whole.clone();
            flipped[position] ^= 1 << (place % 8);
            demo.write("hostile.onnx", &flipped);
            let quantize = "quantize hostile.onnx --data digits.toml --samples 8 --no-eval -o q.onnx";
            let arguments: Vec<&str> = quantize.split(' ').collect();
            if !demo.run(&arguments).status.success() {
                let fault = fault_in_refusal(&demo, &arguments, "", 1);
                assert!(fault.is_none(), "byte {position}: {}", fault.unwrap_or_default());
            }
            let _ = std::fs::remove_file(demo.path("q.onnx"));
        }
    }
}

#[test]
fn a_full_disk_leaves_no_partial_output() {
    let demo = Demo::new();
    let Some(full) = support::full_disk(&demo) else {
        return;
    };
    let output = full.path().join("q.onnx");
    let options = ["--data", "digits.toml", "--no-eval", "-o"];
    let run = demo.run(
        &[
            &["quantize", "digits.onnx"],
            &options[..],
            &[output.to_str().unwrap()],
        ]
        .concat(),
    );
    let message = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success() && message.contains("hint:"), "{message}");
    let left: Vec<_> = std::fs::read_dir(full.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["filler"], "only what was there before may be left");
}
