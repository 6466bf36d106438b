//! Data on standard output, talk on standard error.

use std::io::{self, Write};

use bantam::Error;
use serde::Serialize;

/// Writes data. A reader that has gone away (`bantam list ops | head`) is no error.
pub(crate) fn data(text: &str) -> Result<(), Error> {
    let written = io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .and_then(|()| io::stdout().flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::File {
            path: "standard output".into(),
            action: "cannot be written",
            source: error,
            hint: "check that there is room where it goes",
        }),
        _ => Ok(()),
    }
}

/// Writes one JSON object.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).expect("reports hold nothing that JSON cannot say");
    data(&format!("{text}\n"))
}

/// Tells the user something.
pub(crate) fn talk(message: &str) {
    // Nothing can be done when nobody listens.
    let _ = writeln!(io::stderr().lock(), "{message}");
}

/// Rows of text in columns; the first row is the heading. Columns whose cells are all numbers are set flush right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |column| {
        rows.iter()
            .map(|row| cell(row, column).chars().count())
            .max()
            .unwrap_or(0)
    };
    let is_number = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_digit() || "+-.,%() ..".contains(c))
    };
    let right = |column| rows.iter().skip(1).all(|row| is_number(&cell(row, column)));
    let layout: Vec<(usize, bool)> = (0..columns)
        .map(|column| (width(column), right(column)))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells = layout.iter().enumerate().map(|(column, &(width, right))| {
            let cell = cell(row, column);
            let space = " ".repeat(width - cell.chars().count());
            if right { space + &cell } else { cell + &space }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// A number of bytes for people, in powers of ten.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}
