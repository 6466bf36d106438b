//! `bantam compare`.

use bantam::Error;
use bantam::jobs::{self, CompareJob};

use crate::arguments::Compare;
use crate::progress::Bars;
use crate::{commands, output};

pub(crate) fn run(arguments: &Compare) -> Result<(), Error> {
    let first = commands::eval_job(arguments.first.clone(), &arguments.scoring)?;
    let report = jobs::compare(&CompareJob { first, second: arguments.second.clone() }, &Bars::new())?;
    if arguments.scoring.json {
        return output::json(&report);
    }
    output::data(&commands::comparison(&report))
}
