//! The program as a user runs it: what works, and what must fail with a clear message and without partial output.

mod support;

use support::{Demo, fault_in_refusal};

use bantam::formats::data::write_npy;
use bantam::tensor::Tensor;

#[test]
fn the_demo_quantizes_and_scores() {
    let demo = Demo::new();
    let run = demo.run(&["demo", "--json", "-o", "out"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).expect("one JSON object");
    let top1 = |side: &str| {
        report["scores"][side]["metrics"]["top1"]["value"]
            .as_f64()
            .unwrap()
    };
    // crates/bantam/demo/train.py prints 593 of 599 for the float network in ONNX Runtime.
    assert!(
        (top1("first") - 593.0 / 599.0).abs() < 1e-9,
        "float: {}",
        top1("first")
    );
    assert!(top1("second") > 0.98, "INT8: {}", top1("second"));
    assert!(report["bytes_after"].as_u64().unwrap() < report["bytes_before"].as_u64().unwrap() / 2);
}

#[test]
fn a_saved_plan_gives_the_same_file() {
    let demo = Demo::new();
    let quantize = ["quantize", "digits.onnx", "--data", "digits.toml", "--no-eval"];
    demo.succeed(&[&quantize[..], &["--plan-out", "plan.json", "-o", "a.onnx"]].concat());
    demo.succeed(&[
        "quantize",
        "digits.onnx",
        "--no-eval",
        "--plan",
        "plan.json",
        "-o",
        "b.onnx",
    ]);
    demo.succeed(&[&quantize[..], &["-o", "c.onnx"]].concat());
    assert_eq!(demo.read("a.onnx"), demo.read("b.onnx"));
    assert_eq!(
        demo.read("a.onnx"),
        demo.read("c.onnx"),
        "the same seed must give the same bytes"
    );
    let plan: serde_json::Value = serde_json::from_slice(&demo.read("plan.json")).unwrap();
    let decisions = plan["decisions"].as_array().unwrap();
    assert!(
        decisions
            .iter()
            .all(|decision| !decision["why"].as_str().unwrap().is_empty())
    );
    assert!(
        decisions
            .iter()
            .filter(|d| d["sqnr_db"].as_f64().is_some_and(|db| db > 15.0))
            .count()
            > 10
    );
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let demo = Demo::new();
    for (threads, output) in [("1", "one.onnx"), ("3", "three.onnx")] {
        let arguments = [
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--range",
            "mse",
            "--no-eval",
            "-o",
            output,
        ];
        let run = demo
            .command(&arguments)
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
    assert_eq!(demo.read("one.onnx"), demo.read("three.onnx"));
}

#[test]
fn every_target_and_range_quantizes_the_demo() {
    let demo = Demo::new();
    for target in bantam::compress::target::TARGETS {
        for range in bantam::compress::range::RANGES {
            let arguments = [
                "quantize",
                "digits.onnx",
                "--data",
                "digits.toml",
                "--json",
                "-o",
                "q.onnx",
            ];
            let run = demo.run(
                &[
                    &arguments[..],
                    &["--target", target.name, "--range", range.name()],
                ]
                .concat(),
            );
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
            let top1 = report["scores"]["second"]["metrics"]["top1"]["value"]
                .as_f64()
                .unwrap();
            assert!(top1 > 0.97, "{} with {}: {top1}", target.name, range.name());
        }
    }
}

#[test]
fn lists_are_complete_json() {
    let demo = Demo::new();
    for what in [
        "methods", "ranges", "formats", "targets", "metrics", "runtimes", "passes", "ops",
    ] {
        let run = demo.run(&["list", what, "--json"]);
        let list: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        assert!(!list[what].as_array().unwrap().is_empty(), "{what}");
    }
}

/// Arguments that must be refused, and a part of the message.
const REFUSED: &[(&[&str], &str)] = &[
    (&["eval", "absent.onnx", "--data", "digits.toml"], "absent.onnx"),
    (&["eval", "digits.onnx", "--data", "absent.toml"], "absent.toml"),
    (&["eval", "digits.toml", "--data", "digits.toml"], "digits.toml"),
    (&["eval", "cut.onnx", "--data", "digits.toml"], "cut.onnx"),
    (&["eval", "empty.onnx", "--data", "digits.toml"], "empty.onnx"),
    (
        &["eval", "digits.onnx", "--data", "digits.toml", "--metric", "top2"],
        "did you mean `top1`?",
    ),
    (
        &[
            "eval",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--runtime",
            "onnxrt",
        ],
        "known are bantam, onnxruntime",
    ),
    (
        &["eval", "digits.onnx", "--data", "digits.toml", "--split", "tets"],
        "test",
    ),
    (&["eval", "digits.onnx", "--data", "unlabelled.toml"], "labels"),
    (&["eval", "digits.onnx", "--data", "wide.toml"], "wide.npy"),
    (&["eval", "digits.onnx", "--data", "renamed.toml"], "inptu"),
    (&["list", "method"], "did you mean `methods`?"),
    (&["quantize", "digits.onnx", "-o", "q.onnx"], "--data"),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--range",
            "mes",
            "-o",
            "q.onnx",
        ],
        "did you mean `mse`?",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--target",
            "tensorrtt",
            "-o",
            "q.onnx",
        ],
        "tensorrt",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--weights",
            "int9",
            "-o",
            "q.onnx",
        ],
        "int8",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--weights",
            "f8e4m3fn",
            "-o",
            "q.onnx",
        ],
        "integer format",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--granularity",
            "row",
            "-o",
            "q.onnx",
        ],
        "channel",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--exclude",
            "op:Convv",
            "-o",
            "q.onnx",
        ],
        "matches no node",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--exclude",
            "role:middle",
            "-o",
            "q.onnx",
        ],
        "first, last",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--include",
            "a[",
            "-o",
            "q.onnx",
        ],
        "glob",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--exclude",
            "*",
            "-o",
            "q.onnx",
        ],
        "nothing to quantize",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--samples",
            "0",
            "-o",
            "q.onnx",
        ],
        "no samples",
    ),
    (
        &["quantize", "digits.onnx", "--data", "empty.toml", "-o", "q.onnx"],
        "samples",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "infinite.toml",
            "--no-eval",
            "-o",
            "q.onnx",
        ],
        "infinite or no number",
    ),
    (
        &["quantize", "nan.onnx", "--data", "digits.toml", "-o", "q.onnx"],
        "no number",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "--opset",
            "9",
            "-o",
            "q.onnx",
        ],
        "opset",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--data",
            "digits.toml",
            "-o",
            "absent/q.onnx",
        ],
        "absent/q.onnx",
    ),
    (
        &["quantize", "digits.onnx", "--data", "digits.toml", "-o", "."],
        "cannot be written",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--plan",
            "digits.toml",
            "--no-eval",
            "-o",
            "q.onnx",
        ],
        "not a plan",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--plan",
            "other.json",
            "--no-eval",
            "-o",
            "q.onnx",
        ],
        "does not have",
    ),
    (
        &[
            "quantize",
            "digits.onnx",
            "--plan",
            "future.json",
            "--no-eval",
            "-o",
            "q.onnx",
        ],
        "version",
    ),
    (
        &["compare", "digits.onnx", "cut.onnx", "--data", "digits.toml"],
        "cut.onnx",
    ),
    (&["inspect", "cut.onnx"], "cut.onnx"),
];

#[test]
fn bad_input_is_refused_with_a_hint_and_nothing_is_written() {
    let demo = Demo::new();
    write_bad_files(&demo);
    let faults = REFUSED
        .iter()
        .filter_map(|(arguments, message)| fault_in_refusal(&demo, arguments, message));
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Files that `REFUSED` names.
fn write_bad_files(demo: &Demo) {
    let model = demo.read("digits.onnx");
    demo.write("cut.onnx", &model[..model.len() / 2]);
    demo.write("empty.onnx", b"");
    demo.write("nan.onnx", &support::with_nan_weight(&demo.path("digits.onnx")));
    let other = r#"{"version":1,"method":"static","target":"onnxruntime","decisions":[
        {"site":{"value":"nothing"},"action":{"quantize-activation":
        {"dtype":"u8","axis":null,"scale":[1.0],"zero_point":[0]}},"why":"a test"}]}"#;
    demo.write("other.json", other.as_bytes());
    demo.write(
        "future.json",
        br#"{"version":2,"method":"static","target":"onnxruntime","decisions":[]}"#,
    );
    write_npy(
        &demo.path("wide.npy"),
        &Tensor::zeros(bantam::tensor::DType::U8, &[4, 1, 8, 9]).unwrap(),
    )
    .unwrap();
    write_npy(
        &demo.path("none.npy"),
        &Tensor::zeros(bantam::tensor::DType::U8, &[0, 1, 8, 8]).unwrap(),
    )
    .unwrap();
    let infinite = Tensor::from_slice(&[1, 1, 8, 8], &[f32::INFINITY; 64]).unwrap();
    write_npy(&demo.path("infinite.npy"), &infinite).unwrap();
    let manifest = |input: &str, file: &str| {
        format!("[splits.train]\ninputs.{input} = \"{file}\"\n[splits.test]\ninputs.{input} = \"{file}\"\n")
    };
    for (name, input, file) in [
        ("unlabelled.toml", "input", "test_x.npy"),
        ("wide.toml", "input", "wide.npy"),
        ("renamed.toml", "inptu", "test_x.npy"),
        ("empty.toml", "input", "none.npy"),
        ("infinite.toml", "input", "infinite.npy"),
    ] {
        demo.write(name, manifest(input, file).as_bytes());
    }
}

#[test]
fn a_full_disk_leaves_no_partial_output() {
    let demo = Demo::new();
    let Some(full) = support::full_disk(&demo) else {
        return;
    };
    let output = full.path().join("q.onnx");
    let arguments = [
        "quantize",
        "digits.onnx",
        "--data",
        "digits.toml",
        "--no-eval",
        "-o",
        output.to_str().unwrap(),
    ];
    let run = demo.run(&arguments);
    let message = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success() && message.contains("hint:"), "{message}");
    let left: Vec<_> = std::fs::read_dir(full.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["filler"], "only what was there before may be left");
}
