//! The program `bantam`: arguments to a job, the job to the library, the report to the user.

mod arguments;
mod commands;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Command::Inspect(arguments) => commands::inspect::run(arguments),
        Command::Quantize(arguments) => commands::quantize::run(arguments),
        Command::Eval(arguments) => commands::eval::run(arguments),
        Command::Compare(arguments) => commands::compare::run(arguments),
        Command::List(arguments) => commands::list::run(arguments),
        Command::Demo(arguments) => commands::demo::run(arguments),
        Command::Completions(arguments) => commands::completions::run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::talk(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
