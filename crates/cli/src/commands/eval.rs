//! `bantam eval`.

use bantam::Error;
use bantam::jobs::{self, CorruptionsReport};

use crate::arguments::Eval;
use crate::progress::Bars;
use crate::{commands, output};

pub(crate) fn run(arguments: &Eval) -> Result<(), Error> {
    let job = commands::eval_job(arguments.model.clone(), &arguments.scoring)?;
    if let Some(settings) = commands::corruption_settings(&arguments.corruption) {
        let report = jobs::eval_corrupted(&job, &settings, &Bars::new())?;
        if arguments.scoring.json {
            return output::json(&report);
        }
        return output::data(&under_corruptions(&report));
    }
    let report = jobs::eval(&job, &Bars::new())?;
    if arguments.scoring.json {
        return output::json(&report);
    }
    output::data(&commands::score_rows(&[&report.scores]))
}

fn under_corruptions(report: &CorruptionsReport) -> String {
    let heading = commands::metric_heading(report.metric);
    let mut rows = vec![
        [
            "corruption",
            "strength",
            &heading,
            "95% interval",
            "drop",
            "95% interval",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for row in &report.rows {
        let [score, interval] = commands::shown(report.metric, &row.score);
        let [drop, drop_interval] = commands::shown(report.metric, &row.drop);
        rows.push(vec![
            row.corruption.to_owned(),
            row.strength.to_string(),
            score,
            interval,
            drop,
            drop_interval,
        ]);
    }
    format!(
        "{}\n{}",
        commands::score_rows(&[&report.clean]),
        output::table(&rows)
    )
}
