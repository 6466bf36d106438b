//! `bantam inspect`.

use bantam::Error;
use bantam::pipeline;

use crate::arguments::Inspect;
use crate::output;

pub(crate) fn run(arguments: &Inspect) -> Result<(), Error> {
    let model = pipeline::load(&arguments.model)?;
    let _ = &model;
    output::data("")
}
