//! Scores by any metric, without labels, and under corruptions.

use serde_json::Value;

use super::support::{Demo, fault_in_refusal};

/// The demo with an INT8 network, and its test images without labels.
fn demo() -> Demo {
    let demo = Demo::new();
    demo.write("unlabelled.toml", &without_labels(&demo.read("digits.toml")));
    demo.succeed(&[
        "quantize",
        "digits.onnx",
        "--data",
        "digits.toml",
        "--no-eval",
        "-o",
        "q.onnx",
    ]);
    demo
}

fn without_labels(manifest: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(manifest.to_vec()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("labels"));
    lines
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        .into_bytes()
}

fn json(demo: &Demo, arguments: &str) -> Value {
    let arguments: Vec<&str> = arguments.split(' ').chain(["--json"]).collect();
    let run = demo.run(&arguments);
    assert!(
        run.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    serde_json::from_slice(&run.stdout).expect("one JSON object")
}

#[test]
fn models_are_compared_with_and_without_labels() {
    let demo = demo();
    let report = json(
        &demo,
        "compare digits.onnx q.onnx --data digits.toml --metric f1 --metric ece --metric top1",
    );
    assert_eq!(report["comparison"]["metric"], "f1");
    assert!(report["comparison"]["only_first"].is_null());
    for metric in ["f1", "top1"] {
        let found = &report["second"]["metrics"][metric];
        assert!(found["value"].as_f64().unwrap() > 0.95, "{report}");
        assert!(found["low"].as_f64() < found["high"].as_f64(), "{report}");
    }
    let plain = json(&demo, "compare digits.onnx q.onnx --data unlabelled.toml");
    assert!(plain["comparison"].is_null() && plain["first"]["metrics"].as_object().unwrap().is_empty());
    assert_eq!(plain["agreement"], report["agreement"]);
    let agreement = |name: &str| plain["agreement"][name]["value"].as_f64().unwrap();
    assert!(
        agreement("disagreement") < 0.02 && agreement("kl") < 0.02,
        "{plain}"
    );
    assert!((15.0..60.0).contains(&agreement("sqnr")), "{plain}");
    let same = json(
        &demo,
        "compare digits.onnx digits.onnx --data unlabelled.toml --limit 64",
    );
    assert_eq!(same["agreement"]["disagreement"]["value"], 0.0);
    assert!(same["agreement"]["sqnr"]["value"].is_null(), "infinite");
    // A model with a batch of its own size.
    demo.succeed(&[
        "compare",
        "digits.onnx",
        "q.onnx",
        "--data",
        "unlabelled.toml",
        "--batch",
        "7",
        "--limit",
        "20",
    ]);
    demo.succeed(&[
        "quantize",
        "digits.onnx",
        "--data",
        "unlabelled.toml",
        "-o",
        "other.onnx",
    ]);
}

#[test]
fn corrupted_images_are_scored() {
    let demo = demo();
    let arguments = "eval digits.onnx --data digits.toml --corruptions noise,defocus-blur,jpeg --strengths 5,1 --limit 200";
    let report = json(&demo, arguments);
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<&str> = rows
        .iter()
        .step_by(2)
        .map(|row| row["corruption"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["gaussian-noise", "shot-noise", "defocus-blur", "jpeg"]);
    let clean = report["metrics"]["top1"]["value"].as_f64().unwrap();
    for row in rows {
        let (score, drop) = (
            row["score"]["value"].as_f64().unwrap(),
            row["drop"]["value"].as_f64().unwrap(),
        );
        assert!((clean - score - drop).abs() < 1e-6, "{row}");
    }
    // Levels go to 16 only: every corruption of these dark images is a strong one.
    let drop = |row: usize| rows[row]["drop"]["value"].as_f64().unwrap();
    assert!(drop(1) > 0.02, "{report}");
    let again = demo
        .command(&[])
        .env("RAYON_NUM_THREADS", "1")
        .args(arguments.split(' '))
        .arg("--json")
        .output()
        .unwrap();
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["rows"], report["rows"]);
    let both = json(
        &demo,
        "compare digits.onnx q.onnx --data digits.toml --corruptions pixelate --strengths 3 --limit 100",
    );
    let rows = both["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &rows[0]["corruption"]), (2, &Value::from("clean")));
    let row = json(
        &demo,
        "eval q.onnx --data digits.toml --corruptions pixelate --strengths 3 --limit 100",
    );
    assert_eq!(rows[1]["after"], row["rows"][0]["score"]);
}

#[test]
fn scores_that_make_no_sense_are_refused() {
    let demo = demo();
    let cases = [
        (
            "eval digits.onnx --data digits.toml --metric mean-iou",
            "mean-iou needs",
        ),
        (
            "eval digits.onnx --data digits.toml --metric map",
            "boxes [samples, k, 4]",
        ),
        ("eval digits.onnx --data digits.toml --metric bleu", "bleu needs"),
        ("eval digits.onnx --data digits.toml --metric mse", "mse needs"),
        (
            "compare digits.onnx q.onnx --data unlabelled.toml --metric f1",
            "labels",
        ),
        (
            "eval digits.onnx --data digits.toml --corruptions nois",
            "did you mean `noise`?",
        ),
        (
            "eval digits.onnx --data digits.toml --corruptions --strengths 6",
            "no strength 6",
        ),
        (
            "eval digits.onnx --data unlabelled.toml --corruptions jpeg",
            "labels",
        ),
    ];
    for (arguments, message) in cases {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        if let Some(fault) = fault_in_refusal(&demo, &arguments, message, 1) {
            panic!("{fault}");
        }
    }
}
