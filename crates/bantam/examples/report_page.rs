//! The pages of reports, made anew: each `.json` of a folder, a report of `bantam compress`, becomes an `.html` beside it.
//!
//!     cargo run -p bantam --example report_page -- FOLDER
#![allow(clippy::print_stdout)]

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder] = arguments.as_slice() else {
        println!("usage: report_page FOLDER");
        return Ok(());
    };
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let report = serde_json::from_slice(&std::fs::read(&path)?)?;
            std::fs::write(path.with_extension("html"), bantam::report::page(&report))?;
        }
    }
    Ok(())
}
