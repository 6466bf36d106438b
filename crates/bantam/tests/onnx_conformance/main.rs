//! The ONNX standard's own test cases, run on Bantam's loader and executor.
//!
//! `BANTAM_ONNX_TESTS` names the folder that `export_cases.py` (beside this file) has written;
//! `BANTAM_ONNX_FILTER` runs only the cases whose name contains it. Cases whose ops are not covered (see
//! `coverage.rs`) are counted; every other case must pass.

#![allow(clippy::print_stdout, reason = "the report is for people")]

mod case;
mod comparison;
mod coverage;
mod protobuf;
mod report;

use std::path::PathBuf;

use case::Case;
use report::{Outcome, Report};

/// The cases to run, or `None` when the folder is not given.
fn cases() -> Option<Vec<Case>> {
    let Some(folder) = std::env::var_os("BANTAM_ONNX_TESTS").map(PathBuf::from) else {
        println!("skipped: BANTAM_ONNX_TESTS does not name the folder of the ONNX test cases");
        return None;
    };
    let filter = std::env::var("BANTAM_ONNX_FILTER").unwrap_or_default();
    let cases = case::find(&folder).expect("the folder of the ONNX test cases is readable");
    assert!(!cases.is_empty(), "{} holds no cases", folder.display());
    Some(
        cases
            .into_iter()
            .filter(|case| case.name.contains(&filter))
            .collect(),
    )
}

/// Runs `check`, counting a panic as a failure.
fn guarded(check: impl FnOnce() -> Result<(), String> + std::panic::UnwindSafe) -> Result<(), String> {
    std::panic::catch_unwind(check).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        Err(format!(
            "panicked: {}",
            text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("?")
        ))
    })
}

#[test]
fn cases_give_the_expected_outputs() {
    let Some(cases) = cases() else { return };
    let mut report = Report::default();
    for case in &cases {
        let outcome = match (
            coverage::not_covered(&case.name, &case.ops),
            guarded(|| case.run()),
        ) {
            (None, Ok(())) => Outcome::Passed,
            (None, Err(why)) => Outcome::Failed(why),
            (Some(_), Ok(())) if coverage::CASES.iter().any(|known| known.name == case.name) => {
                Outcome::Failed("passes, but is listed as not covered".to_owned())
            }
            (Some(reason), _) => Outcome::NotCovered(reason),
        };
        report.add(case, outcome);
    }
    report.print();
    assert_eq!(report.failed(), 0, "cases failed");
}

#[test]
fn models_survive_saving_and_loading() {
    let Some(cases) = cases() else { return };
    let mut failures = Vec::new();
    for case in &cases {
        if let Err(why) = guarded(|| case.round_trip()) {
            failures.push(format!("FAILED {}: {}", case.name, why.replace('\n', " ")));
        }
    }
    failures.iter().for_each(|failure| println!("{failure}"));
    println!(
        "round trip: {} of {} models",
        cases.len() - failures.len(),
        cases.len()
    );
    assert!(failures.is_empty(), "{} models did not survive", failures.len());
}

/// Whole networks, with random weights: what can go goes by half, and leaves what zeros would leave.
#[test]
fn networks_without_half_of_their_units_give_what_zeros_give() {
    let Some(cases) = cases() else { return };
    // VGG-19 has 144 million weights.
    let networks = cases.iter().filter(|case| case.name.starts_with("test_light_"));
    let mut failures = Vec::new();
    for case in networks.filter(|case| !case.name.contains("vgg19")) {
        let mut units = 0;
        let result = guarded(std::panic::AssertUnwindSafe(|| {
            units = case.prune()?;
            match units {
                0 => Err("nothing can go".to_owned()),
                _ => Ok(()),
            }
        }));
        println!("{}: {units} units removed", case.name);
        if let Err(why) = result {
            failures.push(format!("FAILED {}: {}", case.name, why.replace('\n', " ")));
        }
    }
    failures.iter().for_each(|failure| println!("{failure}"));
    assert!(failures.is_empty(), "{} networks failed", failures.len());
}
