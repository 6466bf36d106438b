//! Targets: what their tables say, what they cannot run, and times that are modelled.

use serde_json::Value;

use super::support::{Demo, fault_in_refusal};

fn json(demo: &Demo, arguments: &[&str]) -> Value {
    let run = demo.run(arguments);
    assert!(
        run.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    serde_json::from_slice(&run.stdout).expect("one JSON object")
}

#[test]
fn tables_are_listed() {
    let demo = Demo::new();
    let listed = json(&demo, &["list", "targets", "--json"]);
    let of = |name: &str| {
        let targets = listed["targets"].as_array().unwrap().iter();
        targets
            .clone()
            .find(|target| target["name"] == name)
            .cloned()
            .unwrap()
    };
    assert_eq!(of("tensorrt")["sparsity"], serde_json::json!(["2:4"]));
    assert_eq!(of("fpga")["power_of_two_scales"], true);
    assert_eq!(of("edgetpu")["memory"]["constants"], 8 << 20);
    assert_eq!(of("cortex-m")["other_ops"], "missing");
    let run = demo.run(&["list", "targets"]);
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    for words in [
        "zeros in patterns 2:4",
        "scales are powers of two",
        "2048 KiB of constants",
        "STM32L4R5",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn missing_ops_are_named_before_anything_is_read() {
    let demo = Demo::new();
    demo.succeed(&["new", "encoder-tiny", "--classes", "4", "-o", "vit.onnx"]);
    let with = |target| {
        [
            "quantize",
            "vit.onnx",
            "--data",
            "none.toml",
            "--target",
            target,
            "-o",
            "q.onnx",
        ]
    };
    assert_eq!(
        fault_in_refusal(&demo, &with("cortex-m"), "cannot run `", 1),
        None
    );
    assert_eq!(
        fault_in_refusal(&demo, &with("cortex-m"), "LayerNormalization", 1),
        None
    );
    let run = demo.run(&with("edgetpu"));
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(
        said.contains("take the host's time") && said.contains("none.toml"),
        "{said}"
    );
    let search = [
        "compress",
        "vit.onnx",
        "--data",
        "digits.toml",
        "--target",
        "tflite-micro",
        "-o",
        "s.onnx",
    ];
    let run = demo.run(&search);
    assert!(!run.status.success());
}

#[test]
fn latency_is_modelled_where_nothing_runs_and_says_so() {
    let demo = Demo::new();
    let search = [
        "compress",
        "digits.onnx",
        "--data",
        "digits.toml",
        "--max-drop",
        "1",
        "--keep",
        "60%",
        "--samples",
        "128",
        "--validation-samples",
        "500",
        "--minimize",
        "latency",
        "--target",
        "cortex-m",
        "--json",
        "-o",
        "small.onnx",
    ];
    let report = json(&demo, &search);
    assert_eq!(report["latency_source"], "model of cortex-m");
    let warnings = report["warnings"].as_array().unwrap();
    let told = |warning: &&Value| warning.as_str().unwrap().contains("modelled, not measured");
    assert_eq!(warnings.iter().filter(told).count(), 1, "{warnings:?}");
    let ms = |side: &str| report[side]["latency_ms"].as_f64().unwrap();
    // 8 bits are six times as fast as floats on such a processor, fewer channels faster still.
    assert!(
        ms("after") < ms("before") / 4.0,
        "{} {}",
        ms("before"),
        ms("after")
    );
    assert_eq!(report["after"]["energy_source"], "model");
    let few = ["--max-activation-bytes", "100"];
    let refused = demo.run(&[&search[..], &few].concat());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("no network within the budget"),
        "{said}"
    );
}

#[test]
fn a_model_of_time_is_fitted_checked_and_used() {
    let demo = Demo::new();
    demo.succeed(&[
        "quantize",
        "digits.onnx",
        "--data",
        "digits.toml",
        "--no-eval",
        "-o",
        "q.onnx",
    ]);
    let models = [
        "bench",
        "digits.onnx",
        "q.onnx",
        "--batch",
        "1,8,32,64",
        "--rounds",
        "20",
        "--threads",
        "1",
        "--json",
    ];
    let fitted = json(&demo, &[&models[..], &["--fit", "cost.json"]].concat());
    assert_eq!(fitted["runs"].as_array().unwrap().len(), 8);
    let checked = json(&demo, &[&models[..], &["--cost-model", "cost.json"]].concat());
    let seconds = |report: &Value| report["model"]["seconds_per_operation"][1][1].as_f64().unwrap();
    assert!(
        (seconds(&checked) - seconds(&fitted)).abs() <= 1e-12 * seconds(&fitted),
        "{checked}"
    );
    assert_eq!(checked["runs"].as_array().unwrap().len(), 8);
    let few = ["bench", "digits.onnx", "--fit", "few.json"];
    assert_eq!(fault_in_refusal(&demo, &few, "too few", 1), None);
    let two = ["bench", "digits.onnx", "q.onnx"];
    assert_eq!(fault_in_refusal(&demo, &two, "one model", 1), None);
    demo.write("wrong.json", b"{}");
    let wrong = ["bench", "digits.onnx", "--cost-model", "wrong.json"];
    assert_eq!(fault_in_refusal(&demo, &wrong, "no model of time", 1), None);
}

#[test]
fn zeros_that_do_not_help_are_told_and_channels_fill_blocks() {
    let demo = Demo::new();
    let prune = |structure, target: &str| {
        let how = [
            "--structure",
            structure,
            "--target",
            target,
            "--no-eval",
            "-o",
            "p.onnx",
        ];
        let run = demo.run(&[&["prune", "digits.onnx"][..], &how].concat());
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8_lossy(&run.stderr).into_owned()
    };
    assert!(prune("2:4", "onnxruntime").contains("2:4 zeros do not make onnxruntime faster"));
    assert!(!prune("2:4", "tensorrt").contains("do not make"));
    let channels = [
        "prune",
        "digits.onnx",
        "--structure",
        "channel",
        "--target-macs",
        "60%",
        "--no-eval",
        "--json",
    ];
    let multiple = |more: &[&str]| {
        json(&demo, &[&channels[..], more, &["-o", "p.onnx"]].concat());
        let inspected = json(&demo, &["inspect", "p.onnx", "--json"]);
        let nodes = inspected["nodes"].as_array().unwrap().iter();
        let convolutions = nodes.filter(|node| node["op"] == "Conv");
        let outputs = convolutions.map(|node| node["output"].as_str().unwrap().to_owned());
        outputs.collect::<Vec<String>>()
    };
    assert_ne!(
        multiple(&[]),
        multiple(&["--target", "tflite"]),
        "8 channels at once"
    );
    assert_eq!(multiple(&["--multiple", "8"]), multiple(&["--target", "tflite"]));
}
