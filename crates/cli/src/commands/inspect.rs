//! `bantam inspect`.

use bantam::Error;
use bantam::jobs::{self, BenchJob, CouplingReport, InspectReport};

use super::steps;
use crate::arguments::Inspect;
use crate::output;

pub(crate) fn run(arguments: &Inspect) -> Result<(), Error> {
    if arguments.program {
        return program(arguments);
    }
    if arguments.coupling {
        let report = jobs::couplings(&arguments.model)?;
        return match arguments.json {
            true => output::json(&report),
            false => output::data(&coupling(&report)),
        };
    }
    let (report, graph) = jobs::inspect(&arguments.model, arguments.batch)?;
    if arguments.json {
        return output::json(&report);
    }
    if arguments.text {
        return output::data(&graph.to_string());
    }
    output::data(&text(&report))
}

/// The steps of our executor.
fn program(arguments: &Inspect) -> Result<(), Error> {
    let steps = jobs::program(&BenchJob {
        model: arguments.model.clone(),
        batch: arguments.batch,
        profile: arguments.profile,
        ..BenchJob::default()
    })?;
    match arguments.json {
        true => output::json(&steps),
        false => output::data(&steps::table(&steps, arguments.batch)),
    }
}

/// Groups of what goes together, then what stays.
fn coupling(report: &CouplingReport) -> String {
    let mut rows = vec![
        ["units", "weights and their axes", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    for group in &report.groups {
        let axes = group.weights.iter().map(|axis| match axis.positions {
            1 => format!("{}[{}]", axis.weight, axis.axis),
            many => format!("{}[{}] x {many}", axis.weight, axis.axis),
        });
        let axes: Vec<String> = axes.collect();
        rows.push(vec![group.units.to_string(), axes.join(", "), String::new()]);
    }
    for locked in &report.locked {
        let stays = format!("{} stay", locked.positions);
        rows.push(vec![
            stays,
            format!("{}[{}]", locked.weight, locked.axis),
            locked.reason.clone(),
        ]);
    }
    output::table(&rows)
}

fn text(report: &InspectReport) -> String {
    let heading = [
        "node",
        "op",
        "output",
        "weights",
        "parameters",
        "MACs",
        "bytes",
        "zeros %",
        "2:4",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for node in &report.nodes {
        rows.push(vec![
            node.name.clone(),
            node.op.clone(),
            node.output.clone(),
            node.weights.clone().unwrap_or_default(),
            node.parameters.to_string(),
            node.macs.map_or("?".to_owned(), |macs| macs.to_string()),
            node.weight_bytes.to_string(),
            node.sparsity
                .map_or(String::new(), |share| format!("{:.1}", share * 100.0)),
            match node.two_of_four {
                Some(true) => "yes".to_owned(),
                _ => String::new(),
            },
        ]);
    }
    let ports = |ports: &[jobs::Port]| {
        ports
            .iter()
            .map(|port| format!("{}: {}", port.name, port.r#type))
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "{}\n{}: {}, opset {}, {} -> {}\n{} parameters, {:.2} M MACs, weights {}, {:.1}% of them zero\n",
        output::table(&rows),
        report.model.display(),
        output::bytes(report.bytes),
        report
            .opset
            .map_or("unknown".to_owned(), |opset| opset.to_string()),
        ports(&report.inputs),
        ports(&report.outputs),
        report.parameters,
        report.macs as f64 / 1e6,
        output::bytes(report.weight_bytes),
        report.sparsity * 100.0,
    )
}
