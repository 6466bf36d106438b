//! `bantam compare`.

use bantam::Error;
use bantam::jobs::{self, CompareJob, RuntimeChoice};

use crate::arguments::Compare;
use crate::progress::Bars;
use crate::{commands, output};

pub(crate) fn run(arguments: &Compare) -> Result<(), Error> {
    let first = commands::eval_job(arguments.first.clone(), &arguments.scoring)?;
    let second_runtime = match &arguments.second_runtime {
        Some(name) => RuntimeChoice::by_name(name)?,
        None => first.runtime,
    };
    let job = CompareJob {
        first,
        second: arguments.second.clone(),
        second_runtime,
    };
    let report = jobs::compare(&job, &Bars::new())?;
    if arguments.scoring.json {
        return output::json(&report);
    }
    output::data(&commands::comparison(&report))
}
