//! `bantam export`.

use bantam::Error;
use bantam::formats::onnx::SaveOptions;
use bantam::jobs::{self, ExportJob};

use crate::arguments::Export;
use crate::output;

pub(crate) fn run(arguments: &Export) -> Result<(), Error> {
    let report = jobs::export(&ExportJob {
        model: arguments.model.clone(),
        output: arguments.output.clone(),
        dtype: arguments.dtype.clone(),
        tokenizer: arguments.tokenizer.clone(),
        save: SaveOptions {
            opset: arguments.opset,
            ..SaveOptions::default()
        },
    })?;
    if arguments.json {
        return output::json(&report);
    }
    output::talk(&format!(
        "{} ({}) -> {} ({}, {})",
        report.model.display(),
        output::bytes(report.bytes_before),
        report.output.display(),
        report.format,
        output::bytes(report.bytes_after),
    ));
    Ok(())
}
