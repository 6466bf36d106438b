//! `bantam demo`.

use bantam::Error;

use crate::arguments::Demo;
use crate::commands::{compress, train};
use crate::output;
use crate::progress::Bars;

pub(crate) fn run(arguments: &Demo) -> Result<(), Error> {
    output::talk(
        "A small residual network for handwritten digits (UCI optical digits), trained from scratch, then made as small as one point of accuracy allows:",
    );
    let report = bantam::demo::demo(&arguments.output, &Bars::new())?;
    if arguments.json {
        return output::json(&report);
    }
    train::print(&report.training)?;
    compress::print(&report.compression)?;
    output::talk(&format!(
        "\nThe files are in {}; try `bantam inspect` on them.",
        arguments.output.display()
    ));
    Ok(())
}
