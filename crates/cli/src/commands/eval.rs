//! `bantam eval`.

use bantam::Error;
use bantam::jobs;

use crate::arguments::Eval;
use crate::progress::Bars;
use crate::{commands, output};

pub(crate) fn run(arguments: &Eval) -> Result<(), Error> {
    let job = commands::eval_job(arguments.model.clone(), &arguments.scoring)?;
    let report = jobs::eval(&job, &Bars::new())?;
    if arguments.scoring.json {
        return output::json(&report);
    }
    output::data(&commands::score_rows(&[&report.scores]))
}
