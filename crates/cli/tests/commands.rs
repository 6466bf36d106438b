//! The program as a user runs it: what works, and what must fail with a clear message and without partial output.

mod compressing;
mod packing;
mod pruning;
mod refusals;
mod scoring;
mod sparsity;
mod support;
mod targets;
mod training;

use support::Demo;

#[test]
fn the_demo_trains_compresses_and_scores() {
    let demo = Demo::new();
    let run = demo.run(&["demo", "--json", "-o", "out"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).expect("one JSON object");
    let top1 = |side: &str| {
        report["scores"][side]["metrics"]["top1"]["value"]
            .as_f64()
            .unwrap()
    };
    // The network that ships was trained in PyTorch and scores 0.990; 20 short epochs come near.
    assert!(top1("first") > 0.97, "float: {}", top1("first"));
    assert_eq!(report["training"]["epochs"].as_array().unwrap().len(), 20);
    assert!(top1("second") > 0.95, "compressed: {}", top1("second"));
    let bytes = |side: &str| report[side]["bytes"].as_u64().unwrap();
    assert!(
        bytes("after") < bytes("before") / 3,
        "{} of {}",
        bytes("after"),
        bytes("before")
    );
    let page = String::from_utf8(demo.read("out/digits-small.report.html")).unwrap();
    assert!(page.contains("digits-trained.onnx"));
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
    for how in [
        "--range mse",
        "--weights int3 --activations uint4 --algorithm least-squares",
        "--weights uint3 --granularity group:32 --algorithm least-squares",
    ] {
        for (threads, output) in [("1", "one.onnx"), ("3", "three.onnx")] {
            let plain = "quantize digits.onnx --data digits.toml --no-eval -o";
            let arguments = plain.split(' ').chain([output]).chain(how.split_whitespace());
            let run = demo
                .command(&arguments.collect::<Vec<_>>())
                .env("RAYON_NUM_THREADS", threads)
                .output()
                .unwrap();
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        }
        assert_eq!(demo.read("one.onnx"), demo.read("three.onnx"), "{how}");
    }
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
fn algorithms_choose_better_codes_than_the_nearest() {
    let demo = Demo::new();
    let top1 = |rest: &str| {
        let common = "quantize digits.onnx --data digits.toml --weights int2 --activations uint4 --edges none --json -o q.onnx";
        let arguments: Vec<&str> = common.split(' ').chain(rest.split_whitespace()).collect();
        let run = demo.run(&arguments);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        report["scores"]["second"]["metrics"]["top1"]["value"]
            .as_f64()
            .unwrap()
    };
    let nearest = top1("");
    let algorithms = bantam::compress::quantize::layerwise::ALGORITHMS.iter();
    for algorithm in algorithms.filter(|it| it.name() != "stochastic") {
        let found = top1(&format!("--algorithm {} --steps 60", algorithm.name()));
        assert!(
            found > nearest,
            "{}: {found}, nearest codes {nearest}",
            algorithm.name()
        );
    }
    assert!(top1("--algorithm least-squares") > 0.93);
}

#[test]
fn groups_need_no_data_and_make_smaller_files() {
    let demo = Demo::new();
    for algorithm in ["nearest", "hqq"] {
        let arguments = "quantize digits.onnx --weights uint4 --granularity group:32 --no-eval --json -o q.onnx --algorithm";
        let run = demo.run(&arguments.split(' ').chain([algorithm]).collect::<Vec<_>>());
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        assert!(
            report["bytes_after"].as_u64() < report["bytes_before"].as_u64(),
            "{report}"
        );
        assert_eq!(report["samples"], 0);
        let run = demo.run(
            &"eval q.onnx --data digits.toml --json"
                .split(' ')
                .collect::<Vec<_>>(),
        );
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        let top1 = report["metrics"]["top1"]["value"].as_f64().unwrap();
        assert!(top1 > 0.97, "{algorithm}: {top1}");
    }
}

#[test]
fn bench_times_random_and_real_inputs() {
    let demo = Demo::new();
    let bench = [
        "bench",
        "digits.onnx",
        "--rounds",
        "3",
        "--threads",
        "1",
        "--json",
    ];
    for (extra, batch) in [
        (&["--batch", "5", "--profile"][..], 5),
        (&["--batch", "7", "--data", "digits.toml"], 7),
    ] {
        let run = demo.run(&[&bench[..], extra].concat());
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        assert_eq!(report["batch"], batch);
        let latency = &report["runtimes"][0]["latency"];
        let time = |key: &str| latency[key].as_f64().unwrap();
        assert!(0.0 < time("min") && time("min") <= time("median") && time("median") <= time("p90"));
        assert_eq!(latency["runs"], 3);
        let profiled = !report["steps"].as_array().unwrap().is_empty();
        assert_eq!(profiled, extra.contains(&"--profile"));
        assert!(report["macs"].as_u64().unwrap() > 0 && report["peak"]["gflops"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn lists_are_complete_json() {
    let demo = Demo::new();
    for what in [
        "networks",
        "initializations",
        "methods",
        "algorithms",
        "group-algorithms",
        "losses",
        "optimizers",
        "schedules",
        "ranges",
        "formats",
        "targets",
        "file-formats",
        "architectures",
        "metrics",
        "corruptions",
        "runtimes",
        "passes",
        "ops",
    ] {
        let run = demo.run(&["list", what, "--json"]);
        let list: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        assert!(!list[what].as_array().unwrap().is_empty(), "{what}");
    }
}

#[test]
fn fresh_networks_are_written_and_drawn_anew() {
    let demo = Demo::new();
    let new = |arguments: &str| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        let run = demo.run(&[&["new", "--json"], &arguments[..]].concat());
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        serde_json::from_slice::<serde_json::Value>(&run.stdout).expect("one JSON object")
    };
    let report = new("mlp --hidden 16,8 --input 1x8x8 --seed 3 -o a.onnx");
    assert_eq!(
        report["trainable_parameters"],
        64 * 16 + 16 + 16 * 8 + 8 + 8 * 10 + 10
    );
    let eval = demo.run(&["eval", "a.onnx", "--data", "digits.toml", "--json"]);
    assert!(eval.status.success(), "{}", String::from_utf8_lossy(&eval.stderr));
    new("--reinit a.onnx --seed 4 -o b.onnx");
    new("--reinit b.onnx --seed 3 -o c.onnx");
    assert_ne!(demo.read("a.onnx"), demo.read("b.onnx"));
    assert_eq!(
        demo.read("a.onnx"),
        demo.read("c.onnx"),
        "the same seed gives the same weights"
    );
    let report = new("--reinit digits.onnx -o d.onnx");
    assert_eq!(report["constants"]["drawn"], 8);
    assert_eq!(report["constants"]["kept"], serde_json::json!([]));
}

#[test]
fn language_models_are_looked_into_scored_and_written() {
    let demo = Demo::new();
    let golden = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../bantam/tests/language_models/goldens/llama"
    );
    let tokens: Vec<u16> = (0..40).map(|index| index * 7 % 24).collect();
    let tokens = bantam::tensor::Tensor::from_slice(&[8, 5], &tokens).unwrap();
    bantam::formats::data::write_npy(&demo.path("tokens.npy"), &tokens).unwrap();
    demo.write(
        "tokens.toml",
        b"[splits.test]\ntokens = \"tokens.npy\"\nrows = [2, 8]\n",
    );
    let score = |model: &str| -> serde_json::Value {
        let run = demo.run(&["eval", model, "--data", "tokens.toml", "--json"]);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        serde_json::from_slice(&run.stdout).unwrap()
    };
    demo.succeed(&["export", golden, "-o", "model.gguf"]);
    demo.succeed(&["export", golden, "-o", "copy"]);
    demo.succeed(&["export", golden, "-o", "model.onnx"]);
    let whole = score(golden);
    assert_eq!(whole["samples"], 6);
    for model in ["model.gguf", "copy", "copy/config.json", "model.onnx"] {
        assert_eq!(score(model)["metrics"], whole["metrics"], "{model}");
        demo.succeed(&["inspect", model]);
    }
    demo.succeed(&[
        "compare",
        golden,
        "model.gguf",
        "--data",
        "tokens.toml",
        "--metric",
        "nll",
    ]);
    let blocks = demo.run(&["export", golden, "--type", "q8_0", "-o", "model-q8_0.gguf"]);
    let message = String::from_utf8_lossy(&blocks.stderr).into_owned();
    let warning = "warning: rows of 16 are no whole blocks of q8_0";
    assert!(blocks.status.success() && message.contains(warning), "{message}");
    // Without a journal there is nothing to go on with; one that is damaged is refused.
    let resume = [
        "export",
        "model.gguf",
        "--type",
        "bf16",
        "--resume",
        "-o",
        "bf16.gguf",
    ];
    demo.succeed(&resume);
    demo.write("bf16.gguf.partial.json", b"{\"version\": 1}");
    let refused = demo.run(&resume);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    let expected = message.contains("journal is damaged") && message.contains("leave out --resume");
    assert!(!refused.status.success() && expected, "{message}");
    let refused = demo.run(&["export", golden, "--resume", "-o", "model.onnx"]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && message.contains(".gguf"),
        "{message}"
    );
    let refused = demo.run(&["generate", "copy"]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && message.contains("tokenizer.json"),
        "{message}"
    );
}

#[test]
fn analysis_names_the_layers_that_mind_and_what_helps() {
    let demo = Demo::new();
    let run = demo.run(&[
        "analyze",
        "digits.onnx",
        "--data",
        "digits.toml",
        "--weights",
        "int3",
        "--try",
        "2",
        "--samples",
        "64",
        "--plots",
        "ranges",
        "--json",
    ]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    let layers = report["layers"].as_array().unwrap();
    let files = std::fs::read_dir(demo.path("ranges")).unwrap();
    let mut pictures: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    pictures.sort();
    assert_eq!(pictures.len(), layers.len());
    for (picture, layer) in pictures.iter().zip(layers) {
        let bars = std::fs::read_to_string(picture)
            .unwrap()
            .matches("<title>")
            .count();
        let channels = |of: &str| layer["ranges"][of].as_array().unwrap().len();
        assert!(channels("weight") > 0 && channels("input") > 0);
        assert_eq!(bars, channels("weight") + channels("input"));
    }
    assert!(
        layers
            .iter()
            .any(|layer| layer["task_loss"].as_f64().is_some_and(|more| more > 0.0))
    );
    let losses: Vec<f64> = layers
        .iter()
        .map(|layer| layer["loss"].as_f64().unwrap())
        .collect();
    assert!(
        losses.is_sorted_by(|a, b| a >= b) && losses[0] > 1e-4,
        "{losses:?}"
    );
    let causes = layers[0]["causes"].as_array().unwrap();
    let helps = |cause: &serde_json::Value| {
        let remedies = cause["remedies"].as_array().unwrap();
        let tried = remedies.iter().filter_map(|remedy| remedy["tried"].as_f64());
        tried.fold(f64::INFINITY, f64::min) < losses[0] / 10.0
    };
    assert!(
        causes.iter().any(helps),
        "eight bits instead of three: {causes:?}"
    );
    assert_eq!(layers.iter().filter(|layer| layer["op"] == "Gemm").count(), 1);
}
