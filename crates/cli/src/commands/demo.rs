//! `bantam demo`.

use bantam::Error;

use crate::arguments::Demo;
use crate::commands::{quantize, train};
use crate::output;
use crate::progress::Bars;

pub(crate) fn run(arguments: &Demo) -> Result<(), Error> {
    output::talk(
        "A small residual network for handwritten digits (UCI optical digits), trained from scratch, then quantized to INT8:",
    );
    let report = bantam::demo::demo(&arguments.output, &Bars::new())?;
    if arguments.json {
        return output::json(&report);
    }
    train::print(&report.training)?;
    quantize::print(&report.quantization, false)?;
    output::talk(&format!(
        "\nThe files are in {}; try `bantam inspect` on them.",
        arguments.output.display()
    ));
    Ok(())
}
