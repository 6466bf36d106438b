//! Quantized operators against ONNX Runtime's results; `generate.py` beside this file wrote the cases.

use std::path::{Path, PathBuf};

use bantam_exec::{CompileOptions, Taps, compile};
use bantam_graph::Graph;
use bantam_tensor::{DType, Tensor};

/// How far a result may be off: codes exactly the same, reals by rounding in another order.
const REAL: f64 = 2e-5;

/// Operators whose tables of exponentials differ in the last bits from ONNX Runtime's polynomials: one code.
const BY_TABLE: &[&str] = &["QLinearSigmoid", "QLinearSoftmax"];

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnxruntime_goldens/cases");
    let entries = std::fs::read_dir(folder).expect("the folder of cases");
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    assert!(cases.len() > 50, "only {} cases", cases.len());
    cases
}

/// The largest difference between elements, and how many differ.
fn difference(got: &Tensor, expected: &Tensor) -> Result<(f64, usize), String> {
    if (got.dtype(), got.shape()) != (expected.dtype(), expected.shape()) {
        return Err(format!("{got:?} instead of {expected:?}"));
    }
    let numbers = |tensor: &Tensor| tensor.to_f64().map_err(|error| error.to_string());
    let (got, expected) = (numbers(got)?, numbers(expected)?);
    let differences: Vec<f64> = got.iter().zip(&expected).map(|(g, e)| (g - e).abs()).collect();
    let relative = differences
        .iter()
        .zip(&expected)
        .map(|(d, e)| if d == &0.0 { 0.0 } else { d / e.abs().max(1.0) });
    Ok((
        relative.fold(0.0, f64::max),
        differences.iter().filter(|d| **d != 0.0).count(),
    ))
}

/// Runs a case whose inputs are defaults or constants.
fn check(name: &str, graph: &Graph) -> Result<(), String> {
    let program = compile(graph, &CompileOptions::default()).map_err(|error| error.to_string())?;
    let outputs = program
        .run(&[], &mut Taps::none())
        .map_err(|error| error.to_string())?;
    for (output, got) in program.output_names().zip(&outputs) {
        let id = graph
            .value_by_name(&format!("expected/{output}"))
            .ok_or("no expected result")?;
        let expected = graph.constant(id).ok_or("no expected result")?;
        let (largest, count) = difference(got, expected)?;
        let allowed = match got.dtype() {
            DType::F32 => REAL,
            _ if BY_TABLE.iter().any(|op| name.starts_with(op)) => 1.0,
            _ => 0.0,
        };
        if largest > allowed {
            return Err(format!(
                "output {output}: {count} of {} elements differ, by up to {largest}",
                got.len()
            ));
        }
    }
    Ok(())
}

#[test]
fn results_are_those_of_onnx_runtime() {
    let mut failures = Vec::new();
    for path in cases() {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let mut graph = bantam_formats::onnx::load(&path).expect("a model").graph;
        if let Err(why) = check(&name, &graph) {
            failures.push(format!("{name}: {why}"));
        }
        // Again with constants, which operators prepare for.
        graph.inputs.clear();
        if let Err(why) = check(&name, &graph) {
            failures.push(format!("{name} with constants: {why}"));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
