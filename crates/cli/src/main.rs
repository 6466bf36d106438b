//! The program `bantam`: arguments to a job, the job to the library, the report to the user.

mod arguments;
mod commands;
mod logger;
mod output;
mod progress;
mod recipe;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error),
    };
    if arguments.verbose {
        logger::start();
    }
    let done = match &arguments.command {
        Command::Inspect(arguments) => commands::inspect::run(arguments),
        Command::New(arguments) => commands::new::run(arguments),
        Command::Quantize(arguments) => commands::quantize::run(arguments),
        Command::Prune(arguments) => commands::prune::run(arguments),
        Command::Train(arguments) => commands::train::run(arguments),
        Command::Lottery(arguments) => commands::lottery::run(arguments),
        Command::Analyze(arguments) => commands::analyze::run(arguments),
        Command::Compress(arguments) => commands::compress::run(arguments),
        Command::Eval(arguments) => commands::eval::run(arguments),
        Command::Generate(arguments) => commands::generate::run(arguments),
        Command::Export(arguments) => commands::export::run(arguments),
        Command::Compare(arguments) => commands::compare::run(arguments),
        Command::Bench(arguments) => commands::bench::run(arguments),
        Command::List(arguments) => commands::list::run(arguments),
        Command::Demo(arguments) => commands::demo::run(arguments),
        Command::Completions(arguments) => commands::completions::run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::talk(&format!("error: {}", error.explained()));
            ExitCode::FAILURE
        }
    }
}

/// Prints help, or what is wrong with the arguments in the form of all errors.
fn misused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nothing can be done when nobody listens.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let text = text
        .replace("  tip: ", "hint: ")
        .replace("For more information, try '--help'.", "hint: `--help` tells more");
    output::talk(text.trim_end());
    ExitCode::from(2)
}
