//! `bantam compress`: budgets, recipes, and what an interruption leaves.

use std::time::Duration;

use bantam::tensor::SplitMix64;
use serde_json::Value;

use super::support::{Demo, fault_in_refusal};

const SEARCH: &[&str] = &[
    "compress",
    "digits.onnx",
    "--data",
    "digits.toml",
    "--max-drop",
    "1",
    "--keep",
    "80%,50%",
    "--samples",
    "128",
    "--validation-samples",
    "500",
    "--runtime",
    "bantam",
];

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("one JSON object")
}

#[test]
fn a_budget_is_kept_and_the_report_says_how() {
    let demo = Demo::new();
    let run = demo.run(&[SEARCH, &["--json", "-o", "small.onnx"]].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let said = json(&run.stdout);
    assert_eq!(said["inside"], true);
    let bytes = |side: &str| said[side]["bytes"].as_u64().unwrap();
    assert!(
        bytes("after") < bytes("before") / 4,
        "{} of {}",
        bytes("after"),
        bytes("before")
    );
    assert_eq!(demo.read("small.onnx").len() as u64, bytes("after"));
    let report = json(&demo.read("small.report.json"));
    let chosen = |candidate: &&Value| candidate["chosen"] == true;
    let candidates = report["candidates"].as_array().unwrap();
    assert_eq!(candidates.iter().filter(chosen).count(), 1);
    assert!(candidates.len() >= 4, "{}", candidates.len());
    // What removes channels and bits together is at most as large as what takes one of both.
    let alternatives = report["alternatives"].as_array().unwrap();
    let size = |kind: &str| {
        let found = alternatives
            .iter()
            .find(|alternative| alternative["kind"] == kind);
        found.and_then(|found| found["bytes"].as_u64())
    };
    let (joint, quantize) = (size("joint").unwrap(), size("quantize").unwrap());
    assert!(
        joint <= quantize && quantize < bytes("before") / 2,
        "{joint} {quantize}"
    );
    let layers = report["layers"].as_array().unwrap();
    assert!(
        layers
            .iter()
            .all(|layer| !layer["why"].as_str().unwrap().is_empty())
    );
    let histograms = report["histograms"].as_array().unwrap();
    for kind in ["weight", "activation"] {
        let shown = histograms.iter().filter(|row| row["kind"] == kind).count();
        assert_eq!(shown, layers.len(), "{kind}");
    }
    assert!(
        !demo.path("small.onnx.search").exists(),
        "the folder of the search is removed"
    );
}

#[test]
fn without_labels_it_is_agreement_that_counts() {
    let demo = Demo::new();
    let manifest = String::from_utf8(demo.read("digits.toml")).unwrap();
    let without: String = manifest
        .lines()
        .filter(|line| !line.starts_with("labels"))
        .map(|line| format!("{line}\n"))
        .collect();
    demo.write("unlabelled.toml", without.as_bytes());
    let mut search = SEARCH.to_vec();
    search[3] = "unlabelled.toml";
    let run = demo.run(&[&search[..], &["--json", "-o", "small.onnx"]].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let said = json(&run.stdout);
    let changed = said["scores"]["agreement"]["disagreement"]["value"]
        .as_f64()
        .unwrap();
    assert!(
        changed < 0.02 && said["scores"]["comparison"].is_null(),
        "{changed}"
    );
    let warnings = said["warnings"].to_string();
    assert!(
        warnings.contains("no labels: what counts is agreement"),
        "{warnings}"
    );
    assert!(said["after"]["bytes"].as_u64().unwrap() < said["before"]["bytes"].as_u64().unwrap() / 3);
}

#[test]
fn the_result_is_scored_under_corruptions() {
    let demo = Demo::new();
    let more = [
        "--corruptions",
        "pixelate,gaussian-blur",
        "--strengths",
        "2",
        "--limit",
        "200",
        "-o",
        "small.onnx",
    ];
    demo.succeed(&[SEARCH, &more].concat());
    let report = json(&demo.read("small.report.json"));
    let rows = report["robustness"].as_array().unwrap();
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row["corruption"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["clean", "gaussian-blur", "pixelate"]);
    assert!(
        rows.iter()
            .all(|row| row["after"]["value"].as_f64().unwrap() > 0.5),
        "{rows:?}"
    );
}

/// A limit that is asked for later is not taken as kept because nothing was timed before.
#[test]
fn limits_of_bytes_and_time_are_kept() {
    let demo = Demo::new();
    let kept = ["--keep-search", "-o", "small.onnx"];
    demo.succeed(&[SEARCH, &kept].concat());
    let run = demo.run(&[SEARCH, &["--max-latency", "0.000001"], &kept].concat());
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains("no network within the budget was found"), "{said}");
    // The limit of bytes counts where time is minimized too; the whole network in codes of 8 bits is larger.
    let run = demo.run(
        &[
            SEARCH,
            &[
                "--minimize",
                "latency",
                "--max-bytes",
                "38000",
                "--json",
                "-o",
                "both.onnx",
            ],
        ]
        .concat(),
    );
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(
        demo.read("both.onnx").len() <= 38_000,
        "{}",
        demo.read("both.onnx").len()
    );
}

/// Of all networks of a size the one that loses least: fewer channels with more bits, or the other way round.
#[test]
fn what_loses_least_at_a_size_is_found() {
    let demo = Demo::new();
    let search = SEARCH.iter().filter(|word| !["--max-drop", "1"].contains(word));
    let search: Vec<&str> = search.copied().collect();
    let run = |most: &str, more: &[&str]| {
        let asked = [
            "--minimize",
            "loss",
            "--max-bytes",
            most,
            "--json",
            "-o",
            "fit.onnx",
        ];
        let run = demo.run(&[&search[..], &asked, more].concat());
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        assert!(demo.read("fit.onnx").len() as u64 <= most.parse().unwrap());
        let score = &json(&run.stdout)["scores"]["second"]["metrics"]["top1"]["value"];
        score.as_f64().unwrap()
    };
    let (large, small) = (run("30000", &[]), run("19000", &[]));
    assert!(large > 0.95 && small <= large + 0.01, "{large} {small}");
    let trained = run("19000", &["--epochs", "2"]);
    assert!(trained >= small, "{small} without training, {trained} with");
}

/// Widths that files cannot tell apart differ in what they compute.
#[test]
fn arithmetic_and_energy_take_fewer_bits_than_files() {
    let demo = Demo::new();
    for (goal, field) in [("bit-operations", "bit_operations"), ("energy", "energy_mj")] {
        let output = format!("{goal}.onnx");
        let run = demo.run(
            &[
                SEARCH,
                &["--minimize", goal, "--widths", "8,4,3,2", "--json", "-o", &output],
            ]
            .concat(),
        );
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let said = json(&run.stdout);
        let of = |side: &str| said[side][field].as_f64().unwrap();
        assert!(
            of("after") < of("before") / 10.0,
            "{goal}: {} of {}",
            of("after"),
            of("before")
        );
        let report = json(&demo.read(&format!("{goal}.report.json")));
        let layers = report["layers"].as_array().unwrap();
        let bits: Vec<u64> = layers
            .iter()
            .map(|layer| layer["bits"].as_u64().unwrap())
            .collect();
        assert!(bits.iter().any(|bits| *bits < 4), "{goal}: {bits:?}");
    }
}

#[test]
fn a_search_that_was_killed_ten_times_finds_the_same() {
    let demo = Demo::new();
    let start = std::time::Instant::now();
    demo.succeed(&[SEARCH, &["-o", "whole.onnx"]].concat());
    let whole = start.elapsed();
    let mut random = SplitMix64::new(5);
    let mut killed = 0;
    let search = [SEARCH, &["--keep-search", "-o", "killed.onnx"]].concat();
    for _ in 0..10 {
        let mut child = demo.command(&search).spawn().unwrap();
        std::thread::sleep(Duration::from_secs_f32(whole.as_secs_f32() * 0.3 * random.unit()));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
    }
    assert!(killed > 0, "killed only after it was over: nothing is shown");
    demo.succeed(&search);
    assert_eq!(demo.read("whole.onnx"), demo.read("killed.onnx"));
    let candidates = |name: &str| json(&demo.read(name))["candidates"].clone();
    assert_eq!(candidates("whole.report.json"), candidates("killed.report.json"));
}

#[test]
fn training_goes_on_where_the_budget_ends() {
    let demo = Demo::new();
    let common = [
        "--minimize",
        "size",
        "--keep",
        "50%,30%",
        "--max-drop",
        "0.5",
        "--runtime",
        "bantam",
        "--json",
    ];
    let data = [
        "compress",
        "digits.onnx",
        "--data",
        "digits.toml",
        "--samples",
        "128",
        "--validation-samples",
        "500",
    ];
    let run = |more: &[&str]| {
        let run = demo.run(&[&data[..], &common[..], more].concat());
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        json(&run.stdout)["after"]["bytes"].as_u64().unwrap()
    };
    let without = run(&["-o", "without.onnx"]);
    let with = run(&["--epochs", "2", "-o", "with.onnx"]);
    assert!(with <= without, "{with} with training, {without} without");
}

#[test]
fn recipes_run_in_order_and_can_be_repeated() {
    let demo = Demo::new();
    let recipe = "version = 1\nseed = 3\n\n[[step]]\ndo = \"prune\"\nstructure = \"channel\"\ntarget_macs = \"60%\"\nsamples = 64\n\n\
                  [[step]]\ndo = \"distil\"\nepochs = 1\n\n[[step]]\ndo = \"quantize\"\nsamples = 64\n";
    demo.write("recipe.toml", recipe.as_bytes());
    let command = [
        "compress",
        "digits.onnx",
        "--data",
        "digits.toml",
        "--json",
        "--recipe",
    ];
    let run = demo.run(&[&command[..], &["recipe.toml", "-o", "a.onnx"]].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report = json(&run.stdout);
    let names: Vec<&str> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["prune", "distil", "quantize"]);
    assert!(
        report["scores"]["second"]["metrics"]["top1"]["value"]
            .as_f64()
            .unwrap()
            > 0.9
    );
    assert!(report["bytes_after"].as_u64().unwrap() < report["bytes_before"].as_u64().unwrap() / 2);
    let resolved = String::from_utf8(demo.read("a.onnx.recipe.toml")).unwrap();
    assert_eq!(resolved.matches("seed = 3").count(), 3, "{resolved}");
    demo.succeed(&[&command[..], &["a.onnx.recipe.toml", "-o", "b.onnx"]].concat());
    assert_eq!(demo.read("a.onnx"), demo.read("b.onnx"));
}

/// Codes first, channels afterwards: in between the codes become numbers.
#[test]
fn channels_can_go_after_codes() {
    let demo = Demo::new();
    let steps = [
        "quantize\"\nsamples = 64",
        "dequantize\"",
        "prune\"\nstructure = \"channel\"\ncriterion = \"taylor\"\ntarget_macs = \"60%\"\nsamples = 128",
    ];
    let steps = [
        &steps[..],
        &["distil\"\nepochs = 1\nlearning-rate = 0.002", steps[0]],
    ]
    .concat();
    let steps: String = steps
        .iter()
        .map(|step| format!("\n[[step]]\ndo = \"{step}\n"))
        .collect();
    demo.write("recipe.toml", format!("version = 1\n{steps}").as_bytes());
    let command = [
        "compress",
        "digits.onnx",
        "--data",
        "digits.toml",
        "--json",
        "-o",
        "a.onnx",
        "--recipe",
        "recipe.toml",
    ];
    let run = demo.run(&command);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report = json(&run.stdout);
    let score = &report["scores"]["second"]["metrics"]["top1"]["value"];
    assert!(score.as_f64().unwrap() > 0.9, "{report}");
    let bytes: Vec<u64> = report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["bytes"].as_u64().unwrap())
        .collect();
    assert!(
        bytes[0] < bytes[1] && bytes[2] < bytes[1] && bytes[4] < bytes[0],
        "{bytes:?}"
    );
}

#[test]
fn few_samples_that_cannot_be_sure_are_said_to_be_few() {
    let demo = Demo::new();
    let few = [
        "compress",
        "digits.onnx",
        "--data",
        "digits.toml",
        "--max-drop",
        "0.3",
        "--validation-samples",
        "100",
        "--samples",
        "128",
        "--widths",
        "8",
        "--keep",
        "50%",
        "--json",
        "-o",
        "x.onnx",
    ];
    let run = demo.run(&few);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let warnings = json(&run.stdout)["warnings"].to_string();
    let expected = "of no network can 100 samples say with 95% confidence that it keeps the budget";
    assert!(warnings.contains(expected), "{warnings}");
}

#[test]
fn what_cannot_be_is_refused_before_any_work() {
    let demo = Demo::new();
    let base = ["compress", "digits.onnx", "--data", "digits.toml", "-o", "x.onnx"];
    let cases: &[(&[&str], &str)] = &[
        (&["--max-bytes", "500"], "500 bytes cannot be reached"),
        (&["--min-score", "1.5"], "which is already worse"),
        (&["--minimize", "loss"], "nothing says how small"),
        (&["--max-drop=-1"], "points cannot be lost"),
        (&["--minimize", "sise"], "did you mean `size`"),
        (&["--keep", "50%,90%"], "must fall"),
        (&["--widths", "9"], "weights cannot have 9 bits"),
        (&["--confidence", "100%"], "nothing can be 100% sure"),
        (&["--time-limit", "soon"], "`soon` is no time"),
        (&["--target", "onnxruntim"], "did you mean `onnxruntime`"),
        (&["--metric", "f1"], "cannot be decided sample by sample"),
        (&["--corruptions", "fog"], "there is no corruption `fog`"),
        (&["--metric", "top2"], "there is no metric `top2`"),
        (&["--recipe", "int9"], "did you mean `int8`"),
    ];
    let faults = cases
        .iter()
        .filter_map(|(more, message)| fault_in_refusal(&demo, &[&base[..], more].concat(), message, 1));
    assert_eq!(faults.collect::<Vec<_>>(), Vec::<String>::new());
    let both = [&base[..], &["--recipe", "int8", "--max-drop", "1"]].concat();
    assert_eq!(fault_in_refusal(&demo, &both, "cannot be used with", 2), None);
}
