//! Codes of few bits take few bits in files, and runtimes make the same of them.

use serde_json::Value;

use crate::support::Demo;

/// Bytes of the model with weights of a format.
fn quantized(demo: &Demo, format: &str, more: &[&str]) -> usize {
    let words = [
        "quantize",
        "digits.onnx",
        "--data",
        "digits.toml",
        "--weights",
        format,
        "--no-eval",
    ];
    demo.succeed(&[&words[..], more, &["-o", "codes.onnx"]].concat());
    demo.read("codes.onnx").len()
}

/// What a command says, unless the runtime that it needs is not here.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn json(demo: &Demo, words: &[&str]) -> Option<Value> {
    let run = demo.run(&[words, &["--json"]].concat());
    let said = String::from_utf8_lossy(&run.stderr);
    // The runtime is not here.
    let absent = said.contains("was not found");
    assert!(run.status.success() || absent, "{said}");
    if absent {
        println!("skipped: {}", said.trim());
    }
    (!absent).then(|| serde_json::from_slice(&run.stdout).unwrap())
}

#[test]
fn files_take_the_bits_of_their_codes_and_run_everywhere() {
    let demo = Demo::new();
    let whole = quantized(&demo, "int8", &[]);
    for (format, bits) in [("int2", 2), ("int5", 5), ("int6", 6)] {
        let native = quantized(&demo, format, &["--native-codes"]);
        let packed = quantized(&demo, format, &[]);
        assert!(
            packed + 1000 < native && native <= whole,
            "{format}: {packed} of {native}"
        );
        let report = json(&demo, &["inspect", "codes.onnx"]).unwrap();
        let weights = report["nodes"].as_array().unwrap().iter();
        let said = format!("in {bits} bits");
        let named = weights.filter(|node| {
            node["weights"]
                .as_str()
                .is_some_and(|weights| weights.ends_with(&said))
        });
        assert!(named.count() > 1, "{report}");
        let score = |runtime: &str| {
            let words = [
                "eval",
                "codes.onnx",
                "--data",
                "digits.toml",
                "--limit",
                "300",
                "--runtime",
                runtime,
            ];
            json(&demo, &words).map(|report| report["metrics"]["top1"]["value"].as_f64().unwrap())
        };
        let ours = score("bantam").unwrap();
        for theirs in ["onnxruntime", "openvino"].into_iter().filter_map(score) {
            assert!(
                (ours - theirs).abs() < 0.011,
                "{format}: {ours} here, {theirs} there"
            );
        }
    }
}

/// Values of a table are looked up by plain ops: runtimes make the same of them, and Bantam reads its own file.
#[test]
fn tables_of_values_run_everywhere() {
    let demo = Demo::new();
    let size = |weights: &str| quantized(&demo, weights, &["--granularity", "group:32"]);
    let (four, eight) = (size("uint4"), size("uint8"));
    for (format, most) in [("nf4", four), ("f4e2m1", four), ("apot5", eight)] {
        let bytes = size(format);
        assert!(bytes < most + 1000, "{format}: {bytes} of {most}");
        let report = json(&demo, &["inspect", "codes.onnx"]).unwrap();
        let named = report["nodes"].as_array().unwrap().iter();
        assert!(
            named.filter(|node| node["weights"] == format).count() > 0,
            "{report}"
        );
        let score = |runtime: &str| {
            let words = "eval codes.onnx --data digits.toml --limit 300 --metric brier --runtime";
            let words: Vec<&str> = words.split(' ').chain([runtime]).collect();
            json(&demo, &words).map(|report| report["metrics"]["brier"]["value"].as_f64().unwrap())
        };
        let ours = score("bantam").unwrap();
        for theirs in ["onnxruntime", "openvino"].into_iter().filter_map(score) {
            assert!(
                (ours - theirs).abs() < 0.001,
                "{format}: {ours} here, {theirs} there"
            );
        }
    }
}

/// Codes of 2 and 3 bits in groups, with layers large enough for planes to pay.
#[test]
fn groups_take_the_bits_of_their_codes_where_that_is_asked_for() {
    let demo = Demo::new();
    demo.succeed(&[
        "new", "mlp", "--hidden", "320,192", "--input", "1x8x8", "-o", "mlp.onnx",
    ]);
    for (format, bits) in [("uint2", 2), ("int3", 3)] {
        let size = |more: &[&str], output: &str| {
            let words = "quantize mlp.onnx --granularity group:32 --no-eval --weights";
            let words: Vec<&str> = words.split(' ').chain([format]).collect();
            demo.succeed(&[&words[..], more, &["-o", output]].concat());
            demo.read(output).len()
        };
        let (wide, packed) = (size(&[], "wide.onnx"), size(&["--pack-groups"], "packed.onnx"));
        assert!(packed + 4000 < wide, "{format}: {packed} of {wide}");
        let report = json(&demo, &["inspect", "packed.onnx"]).unwrap();
        let said = format!("in {bits} bits");
        let ends = |node: &Value| node["weights"].as_str().is_some_and(|it| it.ends_with(&said));
        assert!(report["nodes"].as_array().unwrap().iter().any(ends), "{report}");
        let score = |model: &str, runtime: &str| {
            let words =
                format!("eval {model} --data digits.toml --limit 300 --metric brier --runtime {runtime}");
            let report = json(&demo, &words.split(' ').collect::<Vec<_>>());
            report.map(|report| report["metrics"]["brier"]["value"].as_f64().unwrap())
        };
        let ours = score("wide.onnx", "bantam").unwrap();
        assert_eq!(score("packed.onnx", "bantam"), Some(ours));
        for theirs in ["onnxruntime", "openvino"] {
            let theirs = score("packed.onnx", theirs);
            assert!(
                theirs.is_none_or(|theirs| (ours - theirs).abs() < 0.001),
                "{format}: {theirs:?}, {ours}"
            );
        }
    }
}

#[test]
fn targets_that_read_weights_themselves_get_native_codes() {
    let demo = Demo::new();
    let sizes = ["onnxruntime", "tflite"].map(|target| quantized(&demo, "int5", &["--target", target]));
    assert!(sizes[0] + 1000 < sizes[1], "{sizes:?}");
}
