//! `bantam new`.

use bantam::Error;
use bantam::jobs::{self, NewJob, NewReport, ReinitializeJob};
use bantam::networks::{Initialization, NetworkSettings, network_by_name, scheme_by_name};

use crate::arguments::New;
use crate::output;

pub(crate) fn run(arguments: &New) -> Result<(), Error> {
    let initialization = arguments.init.as_deref().map(scheme_by_name).transpose()?;
    let report = match (&arguments.reinit, &arguments.network) {
        (Some(model), _) => jobs::reinitialize(&ReinitializeJob {
            model: model.clone(),
            initialization: initialization.unwrap_or(Initialization::Standard),
            seed: arguments.seed,
            output: arguments.output.clone(),
        })?,
        (None, name) => jobs::new(&NewJob {
            network: network_by_name(name.as_deref().unwrap_or_default())?,
            settings: settings(arguments, initialization),
            output: arguments.output.clone(),
        })?,
    };
    if arguments.json {
        return output::json(&report);
    }
    print(&report);
    Ok(())
}

fn settings(arguments: &New, initialization: Option<Initialization>) -> NetworkSettings {
    NetworkSettings {
        classes: arguments.classes,
        seed: arguments.seed,
        input: arguments.input.clone().map(|sizes| sizes.0),
        width: arguments.width,
        hidden: arguments.hidden.clone().map(|sizes| sizes.0),
        initialization,
    }
}

fn print(report: &NewReport) {
    output::talk(&format!(
        "{} -> {}: {} parameters to train, {:.2} M MACs, {}, seed {}",
        report.network,
        report.output.display(),
        report.trainable_parameters,
        report.macs as f64 / 1e6,
        output::bytes(report.bytes),
        report.seed,
    ));
    let Some(constants) = &report.constants else {
        return;
    };
    output::talk(&format!(
        "{} weights drawn, {} biases, scales and statistics reset",
        constants.drawn, constants.reset
    ));
    for name in &constants.kept {
        output::talk(&format!(
            "kept as it was: {name} (nothing says that it is trained)"
        ));
    }
}
