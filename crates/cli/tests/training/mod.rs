//! `bantam train` as a user runs it.

use std::process::Stdio;
use std::time::Duration;

use super::support::Demo;

const TRAIN: [&str; 4] = ["train", "digits.onnx", "--data", "digits.toml"];

fn report(demo: &Demo, arguments: &str) -> serde_json::Value {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let run = demo.run(&[&TRAIN[..], &["--json"], &arguments].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).expect("one JSON object")
}

fn top1(report: &serde_json::Value) -> f64 {
    report["scores"]["second"]["metrics"]["top1"]["value"]
        .as_f64()
        .unwrap()
}

#[test]
fn training_that_was_killed_goes_on_to_the_same_file() {
    let demo = Demo::new();
    let steps = [
        "--epochs",
        "5",
        "--batch",
        "32",
        "--validation",
        "0.1",
        "--no-eval",
        "--checkpoint-steps",
        "1",
    ];
    let train = [&TRAIN[..], &steps].concat();
    demo.succeed(&[&train[..], &["-o", "whole.onnx"]].concat());
    assert!(
        !demo.path("whole.onnx.checkpoint").exists(),
        "nobody needs it any more"
    );
    let part = [
        &train[..],
        &["--checkpoint", "part.checkpoint", "-o", "part.onnx", "--resume"],
    ]
    .concat();
    for wait in [0, 20, 60] {
        let mut child = demo
            .command(&part)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while !demo.path("part.checkpoint").exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(wait));
        // SIGKILL, which no process can put off.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let done = demo.path("part.onnx").exists();
    assert!(!done, "killed only after it was over: nothing is shown");
    demo.succeed(&part);
    assert_eq!(demo.read("part.onnx"), demo.read("whole.onnx"));
}

#[test]
fn widths_that_shrink_go_on_after_a_kill() {
    let demo = Demo::new();
    let settings = "--epochs 4 --batch 32 --no-eval --quantize --weights int2 --activations uint4 --progressive 8:1,4:1 \
                    --checkpoint-steps 1 --metrics-out m.jsonl";
    let settings: Vec<&str> = settings.split_whitespace().collect();
    let train = |rest: &[&'static str]| [&TRAIN[..], &settings, rest].concat();
    demo.succeed(&train(&["-o", "whole.onnx"]));
    let steps = |demo: &Demo| -> Vec<(u64, u64)> {
        let lines = String::from_utf8(demo.read("m.jsonl")).unwrap();
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        let steps = lines.filter(|line| line["step"].is_u64());
        steps
            .map(|line| (number(&line["step"]), number(&line["epoch"])))
            .collect()
    };
    let whole = steps(&demo);
    assert!(whole.iter().map(|step| step.0).eq(1..=whole.len() as u64));
    assert_eq!(whole.last().unwrap().1, 3, "epochs of all widths are counted");
    let part = train(&["--checkpoint", "part", "-o", "part.onnx", "--resume"]);
    let mut child = demo
        .command(&part)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !demo.path("part.2").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !demo.path("part.onnx").exists(),
        "killed only after it was over: nothing is shown"
    );
    demo.succeed(&part);
    assert_eq!(demo.read("part.onnx"), demo.read("whole.onnx"));
    assert_eq!(steps(&demo), whole, "no step is told twice");
}

#[test]
fn the_number_of_threads_does_not_change_training() {
    let demo = Demo::new();
    for (threads, output) in [("1", "one.onnx"), ("2", "two.onnx")] {
        let rest = [
            "--max-steps",
            "8",
            "--quantize",
            "--weights",
            "int4",
            "--no-eval",
            "-o",
            output,
        ];
        let mut command = demo.command(&[&TRAIN[..], &rest].concat());
        let run = command.env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
    assert_eq!(demo.read("one.onnx"), demo.read("two.onnx"));
}

#[test]
fn quantization_aware_training_gives_small_files_that_score() {
    let demo = Demo::new();
    for (formats, least) in [
        ("--weights int8 --activations uint8", 0.98),
        ("--weights int4 --activations uint4", 0.97),
        ("--weights int2 --activations uint2", 0.9),
        ("--weight-mapping ternary --activations float", 0.95),
        ("--weight-mapping binary --activations float", 0.93),
    ] {
        let report = report(
            &demo,
            &format!("--epochs 4 --batch 32 --quantize {formats} -o q.onnx"),
        );
        assert!(top1(&report) > least, "{formats}: {}", top1(&report));
        assert!(report["quantized"].as_u64().unwrap() > 4);
    }
}

#[test]
fn training_starts_from_codes_that_an_algorithm_chose() {
    let demo = Demo::new();
    // One step so small that it changes no code.
    let settings =
        "--max-steps 1 --learning-rate 1e-9 --weight-decay 0 --quantize --weights int2 --edges none";
    let loss = |start: &str| {
        let report = report(&demo, &format!("{settings}{start} -o q.onnx"));
        report["scores"]["agreement"]["kl"]["value"].as_f64().unwrap()
    };
    let (nearest, chosen) = (loss(""), loss(" --algorithm least-squares"));
    assert!(chosen < 0.5 * nearest, "{chosen} against {nearest}");
}

#[test]
fn a_fresh_network_learns_from_the_trained_one() {
    let demo = Demo::new();
    demo.succeed(&["new", "--reinit", "digits.onnx", "-o", "fresh.onnx"]);
    let run = demo.run(&[
        "train",
        "fresh.onnx",
        "--data",
        "digits.toml",
        "--teacher",
        "digits.onnx",
        "--epochs",
        "8",
        "--batch",
        "32",
        "--learning-rate",
        "0.05",
        "--teacher-weight",
        "1",
        "--metrics-out",
        "m.jsonl",
        "--json",
        "-o",
        "student.onnx",
    ]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert!(top1(&report) > 0.93, "{}", top1(&report));
    let lines = String::from_utf8(demo.read("m.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (steps, epochs): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line["step"].is_u64());
    assert_eq!(steps.len() as u64, report["steps"].as_u64().unwrap());
    assert_eq!(epochs.len(), 8);
}
