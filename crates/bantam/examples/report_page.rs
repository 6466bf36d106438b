//! The page of a report, made anew: `report.json` of `bantam compress` becomes `report.html`.
//!
//!     cargo run -p bantam --example report_page -- report.json report.html
#![allow(clippy::print_stdout)]

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [report, page] = arguments.as_slice() else {
        println!("usage: report_page REPORT.json PAGE.html");
        return Ok(());
    };
    let report = serde_json::from_slice(&std::fs::read(report)?)?;
    std::fs::write(page, bantam::report::page(&report))?;
    Ok(())
}
