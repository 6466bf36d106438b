//! `bantam completions`.

use bantam::Error;
use clap::CommandFactory;

use crate::arguments::{Arguments, Completions};
use crate::output;

pub(crate) fn run(arguments: &Completions) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "bantam", &mut script);
    output::data(&String::from_utf8_lossy(&script))
}
