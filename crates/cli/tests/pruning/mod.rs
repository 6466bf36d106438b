//! `bantam prune`.

use super::support::Demo;

fn report(demo: &Demo, arguments: &str) -> serde_json::Value {
    let plain = "prune digits.onnx --data digits.toml --json";
    let run = demo.run(&plain.split(' ').chain(arguments.split(' ')).collect::<Vec<_>>());
    assert!(
        run.status.success(),
        "{arguments}: {}",
        String::from_utf8_lossy(&run.stderr)
    );
    serde_json::from_slice(&run.stdout).expect("one JSON object")
}

fn top1(report: &serde_json::Value, side: &str) -> f64 {
    report["scores"][side]["metrics"]["top1"]["value"]
        .as_f64()
        .unwrap()
}

#[test]
fn least_squares_keeps_what_masks_alone_lose() {
    let demo = Demo::new();
    let sparsity = "--sparsity 85% -o p.onnx";
    let alone = report(&demo, &format!("{sparsity} --reconstruct none --no-recalibrate"));
    let solved = report(&demo, sparsity);
    let random = report(&demo, &format!("{sparsity} --criterion random"));
    for report in [&alone, &solved, &random] {
        assert!((report["sparsity"].as_f64().unwrap() - 0.85).abs() < 1e-3);
        let bytes = |name: &str| report["bytes"][name].as_u64().unwrap();
        assert!(bytes("deflated_after") < bytes("deflated_before") / 2);
    }
    let [alone, random] = [&alone, &random].map(|report| top1(report, "second"));
    let [before, solved] = ["first", "second"].map(|side| top1(&solved, side));
    assert!(solved > alone + 0.05, "{solved}, masks alone {alone}");
    assert!(solved > random + 0.05, "{solved}, at random {random}");
    assert!(solved > before - 0.1, "{solved} of {before}");
}

#[test]
fn a_saved_plan_gives_the_same_file() {
    let demo = Demo::new();
    for how in [
        "--sparsity 70% --criterion fisher",
        "--structure 2:4 --reconstruct sparsegpt",
        "--structure 2:4 --permute",
    ] {
        let arguments =
            format!("prune digits.onnx --data digits.toml --no-eval {how} --plan-out plan.json -o a.onnx");
        demo.succeed(&arguments.split(' ').collect::<Vec<_>>());
        demo.succeed(
            &"prune digits.onnx --no-eval --plan plan.json -o b.onnx"
                .split(' ')
                .collect::<Vec<_>>(),
        );
        assert_eq!(demo.read("a.onnx"), demo.read("b.onnx"), "{how}");
        let plan: serde_json::Value = serde_json::from_slice(&demo.read("plan.json")).unwrap();
        let decisions = plan["decisions"].as_array().unwrap();
        assert!(
            decisions
                .iter()
                .all(|decision| !decision["why"].as_str().unwrap().is_empty())
        );
    }
    let refused = demo.run(
        &"quantize digits.onnx --no-eval --plan plan.json -o q.onnx"
            .split(' ')
            .collect::<Vec<_>>(),
    );
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && message.contains("it prunes"),
        "{message}"
    );
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let demo = Demo::new();
    for how in [
        "--sparsity 80% --criterion woodfisher",
        "--sparsity 60% --criterion obs --reconstruct obs",
        "--structure channel --criterion taylor --target-macs 60%",
        "--structure channel --criterion thinet --target-macs 60%",
        "--structure channel --criterion correlation --target-macs 60%",
        "--sparsity 80% --criterion obd",
        "--structure 1:4 --permute",
    ] {
        for (threads, output) in [("1", "one.onnx"), ("3", "three.onnx")] {
            let arguments = format!("prune digits.onnx --data digits.toml --no-eval {how} -o {output}");
            let run = demo
                .command(&arguments.split(' ').collect::<Vec<_>>())
                .env("RAYON_NUM_THREADS", threads)
                .output()
                .unwrap();
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        }
        assert_eq!(demo.read("one.onnx"), demo.read("three.onnx"), "{how}");
    }
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let demo = Demo::new();
    let before = demo.files();
    let run = demo.run(&["prune", "digits.onnx", "--structure", "2:4", "--dry-run"]);
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains("zeros %") && said.contains("yes"), "{said}");
    assert_eq!(demo.files(), before);
}

#[test]
fn inspect_shows_zeros_and_patterns() {
    let demo = Demo::new();
    demo.succeed(
        &"prune digits.onnx --structure 2:4 --no-eval -o p.onnx"
            .split(' ')
            .collect::<Vec<_>>(),
    );
    let nodes = |model: &str| {
        let run = demo.run(&["inspect", model, "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        report["nodes"].as_array().unwrap().clone()
    };
    let weighted = |nodes: &[serde_json::Value]| {
        nodes
            .iter()
            .filter(|node| node["sparsity"].is_number())
            .cloned()
            .collect::<Vec<_>>()
    };
    let pruned = weighted(&nodes("p.onnx"));
    assert!(pruned.len() > 2 && pruned.iter().all(|node| node["two_of_four"] == true));
    assert!(
        pruned
            .iter()
            .any(|node| (node["sparsity"].as_f64().unwrap() - 0.5).abs() < 0.01)
    );
    assert!(
        weighted(&nodes("digits.onnx"))
            .iter()
            .all(|node| node["sparsity"].as_f64().unwrap() < 0.01)
    );
}

#[test]
fn removed_channels_leave_a_smaller_file_and_a_plan_for_pruning_alone() {
    let demo = Demo::new();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let run = |text: &str| demo.run(&words(text).iter().map(String::as_str).collect::<Vec<_>>());
    let made = "prune digits.onnx --structure channel --target-macs 60% --no-eval";
    let first = run(&format!("{made} --plan-out plan.json --json -o small.onnx"));
    assert!(
        first.status.success(),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    let cost = |key: &str| report["cost"][key].as_f64().unwrap();
    assert!(cost("macs_after") <= 0.6 * cost("macs_before"));
    assert!(demo.read("small.onnx").len() < demo.read("digits.onnx").len());
    assert!(
        run("prune digits.onnx --plan plan.json --no-eval -o again.onnx")
            .status
            .success()
    );
    assert_eq!(demo.read("small.onnx"), demo.read("again.onnx"));
    let refused = run("quantize digits.onnx --plan plan.json --no-eval -o q.onnx");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("it prunes, which is for `bantam prune`"),
        "{said}"
    );
}

#[test]
fn a_plan_of_another_model_is_refused() {
    let demo = Demo::new();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let run = |text: &str| demo.run(&words(text).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(
        run("prune digits.onnx --sparsity 50% --no-eval --plan-out plan.json -o p.onnx")
            .status
            .success()
    );
    assert!(
        run("prune digits.onnx --structure channel --target-macs 60% --no-eval -o small.onnx")
            .status
            .success()
    );
    let before = demo.files();
    let refused = run("prune small.onnx --plan plan.json --no-eval -o q.onnx");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("made for another model") && said.contains("hint:"),
        "{said}"
    );
    assert_eq!(demo.files(), before);
    // It fits whatever has the same weights, pruned or not, and one that does not say for what it is fits what it can.
    assert!(
        run("prune p.onnx --plan plan.json --no-eval -o q.onnx")
            .status
            .success()
    );
    let mut plan: serde_json::Value = serde_json::from_slice(&demo.read("plan.json")).unwrap();
    assert_eq!(plan["model"].as_str().unwrap().len(), 64);
    plan.as_object_mut().unwrap().remove("model");
    demo.write("plan.json", plan.to_string().as_bytes());
    assert!(
        run("prune digits.onnx --plan plan.json --no-eval -o q.onnx")
            .status
            .success()
    );
}

/// A command that prunes and trains in two steps.
const TRAINED: &str =
    "prune digits.onnx --data digits.toml --sparsity 97% --steps 2 --epochs 3 --schedule cubic --batch 32";

#[test]
fn training_between_steps_brings_back_what_pruning_loses() {
    let demo = Demo::new();
    let plain = report(&demo, "--sparsity 97% --steps 2 -o plain.onnx");
    let words: Vec<&str> = TRAINED.split(' ').collect();
    let run = demo.run(&[&words[..], &["--json", "-o", "trained.onnx"]].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let trained: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    let steps: Vec<&str> = (trained["steps"].as_array().unwrap().iter())
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["prune", "distil", "prune", "distil"]);
    let (before, after) = (top1(&plain, "second"), top1(&trained, "second"));
    assert!(after > before + 0.02, "{after} trained, {before} without");

    let nodes = demo.run(&["inspect", "trained.onnx", "--json"]);
    let nodes: serde_json::Value = serde_json::from_slice(&nodes.stdout).unwrap();
    let shares = nodes["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|node| node["sparsity"].as_f64());
    assert!(shares.fold(0f64, f64::max) > 0.85, "zeros have stayed");

    // What was done is a recipe, with which it can be done again.
    let recipe = String::from_utf8(demo.read("trained.onnx.recipe.toml")).unwrap();
    assert!(
        recipe.matches("distil").count() == 2 && recipe.contains("sparsity = \"0.97\""),
        "{recipe}"
    );
    demo.succeed(&[
        "compress",
        "digits.onnx",
        "--data",
        "digits.toml",
        "--recipe",
        "trained.onnx.recipe.toml",
        "-o",
        "again.onnx",
    ]);
    assert_eq!(demo.read("again.onnx"), demo.read("trained.onnx"));

    // Labels alone.
    let alone = demo.run(
        &[
            &words[..],
            &["--teacher", "none", "--no-eval", "--json", "-o", "alone.onnx"],
        ]
        .concat(),
    );
    assert!(
        alone.status.success(),
        "{}",
        String::from_utf8_lossy(&alone.stderr)
    );
    assert!(
        !String::from_utf8(demo.read("alone.onnx.recipe.toml"))
            .unwrap()
            .contains("distil")
    );
}

#[test]
fn pruning_with_training_that_was_killed_comes_to_the_same() {
    let demo = Demo::new();
    let words: Vec<&str> = TRAINED.split(' ').chain(["--no-eval"]).collect();
    let start = std::time::Instant::now();
    demo.succeed(&[&words[..], &["-o", "whole.onnx"]].concat());
    let whole = start.elapsed();
    let killed = [&words[..], &["-o", "killed.onnx"]].concat();
    let mut count = 0;
    for part in [0.2, 0.4, 0.3] {
        let mut child = demo.command(&killed).spawn().unwrap();
        std::thread::sleep(whole.mul_f32(part));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            count += 1;
        }
        child.wait().unwrap();
    }
    assert!(count > 0, "killed only after it was over: nothing is shown");
    demo.succeed(&killed);
    assert_eq!(demo.read("whole.onnx"), demo.read("killed.onnx"));
    assert!(demo.files().iter().all(|name| !name.ends_with(".steps")));
}

#[test]
fn channels_go_until_constants_have_so_many_bytes() {
    let demo = Demo::new();
    let before = constants(&demo, "digits.onnx");
    for (target, most) in [("60%", before * 6 / 10), ("20KB", 20 << 10)] {
        let made = report(
            &demo,
            &format!("--structure channel --no-eval --target-bytes {target} -o small.onnx"),
        );
        let after = constants(&demo, "small.onnx");
        assert!(
            after <= most && after * 10 > most * 8,
            "{target}: {before} -> {after}"
        );
        assert!(made["bytes"]["after"].as_u64().unwrap() < made["bytes"]["before"].as_u64().unwrap());
    }
}

/// Bytes of the constants of a file.
fn constants(demo: &Demo, name: &str) -> u64 {
    bantam::jobs::constant_bytes(&demo.path(name)).unwrap()
}
