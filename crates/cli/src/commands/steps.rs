//! The steps of our executor, as a table.

use bantam::jobs::StepReport;

use crate::output;

/// Node, kernel, output, bytes for a batch, and times where they were measured.
pub(crate) fn table(steps: &[StepReport], batch: usize) -> String {
    let total: f64 = steps.iter().filter_map(|step| step.milliseconds).sum();
    let measured = total > 0.0;
    let mut heading = vec!["node", "kernel", "output", "constants", "data"];
    if measured {
        heading.extend(["ms", "share %", "GB/s"]);
    }
    let mut rows = vec![heading.into_iter().map(str::to_owned).collect()];
    rows.extend(steps.iter().map(|step| row(step, batch, total)));
    output::table(&rows)
}

fn row(step: &StepReport, batch: usize, total: f64) -> Vec<String> {
    let data = step.sample_bytes.map(|bytes| bytes.saturating_mul(batch as u64));
    let mut row = vec![
        step.node.clone(),
        step.kernel.clone(),
        step.output.clone(),
        output::bytes(step.constant_bytes),
        data.map_or("?".to_owned(), output::bytes),
    ];
    if let Some(milliseconds) = step.milliseconds {
        let moved = data.map(|data| (data + step.constant_bytes) as f64 / (milliseconds * 1e6));
        row.extend([
            format!("{milliseconds:.3}"),
            format!("{:.1}", milliseconds / total * 100.0),
            moved.map_or("?".to_owned(), |speed| format!("{speed:.1}")),
        ]);
    }
    row
}
