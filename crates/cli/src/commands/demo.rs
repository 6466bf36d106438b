//! `bantam demo`.

use bantam::Error;

use crate::arguments::Demo;
use crate::commands::quantize;
use crate::output;
use crate::progress::Bars;

pub(crate) fn run(arguments: &Demo) -> Result<(), Error> {
    output::talk("A small residual network for handwritten digits (UCI optical digits), quantized to INT8:");
    let report = bantam::demo::demo(&arguments.output, &Bars::new())?;
    quantize::print(&report, arguments.json)?;
    output::talk(&format!(
        "\nThe files are in {}; try `bantam inspect` on them.",
        arguments.output.display()
    ));
    Ok(())
}
