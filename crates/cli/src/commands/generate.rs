//! `bantam generate`.

use bantam::Error;
use bantam::jobs::{self, GenerateJob};

use crate::arguments::Generate;
use crate::output;
use crate::progress::Bars;

pub(crate) fn run(arguments: &Generate) -> Result<(), Error> {
    let job = GenerateJob {
        model: arguments.model.clone(),
        tokenizer: arguments.tokenizer.clone(),
        prompt: arguments.prompt.clone(),
        tokens: arguments.tokens,
    };
    let report = jobs::generate(&job, &Bars::new())?;
    if arguments.json {
        return output::json(&report);
    }
    output::data(&format!("{}\n", report.text))?;
    output::talk(&format!(
        "{} tokens of the prompt in {:.3} s, {} more in {:.3} s ({:.0} a second)",
        report.prompt_tokens.len(),
        report.prompt_seconds,
        report.tokens.len(),
        report.seconds,
        report.tokens.len() as f64 / report.seconds.max(1e-9),
    ));
    Ok(())
}
