//! Reads an ONNX model and writes it again, at another opset if one is given:
//! `cargo run -p bantam-formats --example convert_opset IN.onnx OUT.onnx [OPSET]`

use std::path::Path;
use std::process::ExitCode;

use bantam_formats::onnx::{self, OnnxError, SaveOptions};

#[expect(clippy::print_stderr, reason = "a command line program")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (input, output, opset) = match arguments.as_slice() {
        [input, output] => (input, output, None),
        [input, output, opset] => (input, output, opset.parse().ok()),
        _ => {
            eprintln!("usage: convert_opset IN.onnx OUT.onnx [OPSET]");
            return ExitCode::from(2);
        }
    };
    match convert(Path::new(input), Path::new(output), opset) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn convert(input: &Path, output: &Path, opset: Option<i64>) -> Result<(), OnnxError> {
    let model = onnx::load(input)?;
    onnx::save(
        &model,
        output,
        &SaveOptions {
            opset,
            ..SaveOptions::default()
        },
    )
}
