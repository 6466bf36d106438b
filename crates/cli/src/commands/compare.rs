//! `bantam compare`.

use bantam::Error;
use bantam::jobs::{self, CompareJob, ComparedCorruptions, RuntimeChoice};

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
    if let Some(settings) = commands::corruption_settings(&arguments.corruption) {
        let report = jobs::compare_corrupted(&job, &settings, &Bars::new())?;
        if arguments.scoring.json {
            return output::json(&report);
        }
        return output::data(&under_corruptions(&report));
    }
    let report = jobs::compare(&job, &Bars::new())?;
    if arguments.scoring.json {
        return output::json(&report);
    }
    output::data(&commands::comparison(&report))
}

fn under_corruptions(report: &ComparedCorruptions) -> String {
    let heading = commands::metric_heading(report.metric);
    let headings = [
        "corruption",
        "strength",
        "before",
        "95% interval",
        "after",
        "95% interval",
        "difference",
        "95% interval",
    ];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    for row in &report.rows {
        let estimates = [row.before, row.after, row.difference];
        let mut cells = vec![row.corruption.to_owned(), row.strength.to_string()];
        cells.extend(
            estimates
                .iter()
                .flat_map(|estimate| commands::shown(report.metric, estimate)),
        );
        rows.push(cells);
    }
    format!("{heading}\n{}", output::table(&rows))
}
