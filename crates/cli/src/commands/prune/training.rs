//! Pruning in steps with training between them and after: a recipe of the same words.

use bantam::Error;
use bantam::compress::prune::{PruneSchedule, Structure};
use bantam::compress::train::Loss;
use bantam::jobs::{RecipeJob, usual_loss_of};
use toml::{Table, Value};

use super::super::train::by_name;
use super::{share, target};
use crate::arguments::Prune;
use crate::recipe;

/// The job of pruning and training for `epochs` epochs in all.
pub(super) fn recipe(arguments: &Prune, epochs: usize) -> Result<RecipeJob, Error> {
    // What is wrong of the pruning as a whole is said as such.
    super::job(arguments)?.pruning.check()?;
    let text = text(arguments, epochs)?;
    let (model, data) = (&arguments.model, arguments.data.as_deref());
    let recipe = recipe::parse("prune", &text, model, data, arguments.seed)?;
    let output = arguments.output.clone().ok_or_else(|| Error::Usage {
        message: "training needs a file for its result".to_owned(),
        hint: "give --output FILE".to_owned(),
    })?;
    Ok(RecipeJob {
        model: model.clone(),
        data: arguments.data.clone(),
        steps: recipe.steps,
        resolved: recipe.resolved,
        score_split: (!arguments.no_eval).then(|| "test".to_owned()),
        metrics: arguments.metric.clone(),
        limit: arguments.limit.unwrap_or(usize::MAX),
        output,
    })
}

/// The recipe: each step prunes, then trains.
fn text(arguments: &Prune, epochs: usize) -> Result<String, Error> {
    let (steps, recovery) = (arguments.steps, &arguments.recovery);
    if steps == 0 || epochs < steps {
        return Err(Error::Usage {
            message: format!("{epochs} epochs of training are none for each of {steps} steps"),
            hint: "at least one epoch for each step: fewer --steps, or more --epochs".to_owned(),
        });
    }
    let schedule = by_name("schedule", &recovery.schedule, PruneSchedule::ALL)?;
    let amounts = amounts(arguments, schedule)?;
    let loss = match &arguments.loss {
        Some(loss) => loss.clone(),
        None => {
            let usual = usual_loss_of(&arguments.model)?;
            let found = Loss::ALL.iter().find(|(_, loss)| *loss == usual);
            found.map_or_else(String::new, |(name, _)| (*name).to_owned())
        }
    };
    let mut text = "version = 1\n".to_owned();
    for (index, amount) in amounts.into_iter().enumerate() {
        let (last, each) = (index + 1 == steps, epochs / steps);
        let count = if last { epochs - each * (steps - 1) } else { each };
        let mut prune = pruning(arguments);
        prune.extend(amount);
        let mut train = training(arguments, count, &loss);
        if let (Some(opset), true) = (arguments.saving.opset, last) {
            train.insert("opset".to_owned(), Value::Integer(opset));
        }
        if arguments.saving.native_codes && last {
            train.insert("native-codes".to_owned(), Value::Boolean(true));
        }
        text += &format!("\n[[step]]\n{prune}\n[[step]]\n{train}");
    }
    Ok(text)
}

/// What the pruning of each step is to leave.
fn amounts(arguments: &Prune, schedule: PruneSchedule) -> Result<Vec<Table>, Error> {
    let steps = arguments.steps;
    let said = |key: &str, share: f64| Table::from_iter([(key.to_owned(), Value::String(share.to_string()))]);
    let gone = |share: f64| (1..=steps).map(move |step| schedule.gone(share, step, steps));
    if !removes(arguments) {
        let structure = Structure::parse(&arguments.structure)?;
        return match (structure.implied_sparsity(), arguments.sparsity.as_deref()) {
            (Some(_), _) if steps > 1 => Err(Error::Usage {
                message: format!("the pattern {structure} takes one step"),
                hint: "--steps 1".to_owned(),
            }),
            // Zeros stay, and count.
            (None, Some(sparsity)) => Ok(gone(share(sparsity)?)
                .map(|gone| said("sparsity", gone))
                .collect()),
            _ => Ok(vec![Table::new()]),
        };
    }
    let (_, left) = target(arguments)?;
    let options = &arguments.removal;
    let keys = [
        ("target-macs", &options.target_macs),
        ("target-parameters", &options.target_parameters),
        ("target-bytes", &options.target_bytes),
        ("target-latency", &options.target_latency),
    ];
    let given = keys.iter().find(|(_, target)| target.is_some());
    let key = given.map_or("sparsity", |(key, _)| *key);
    let least = share(&options.least)?;
    let mut before = 1.0;
    let amount = |gone: f64| {
        // Each step sees the network that the one before left.
        let stays = (1.0 - gone) / before;
        before = 1.0 - gone;
        let mut amount = said(key, if key == "sparsity" { 1.0 - stays } else { stays });
        if arguments.structure != "layer" && least > 0.0 {
            // So that all steps together leave the least.
            amount.extend(said("least", least.powf(stays.ln() / left.ln())));
        }
        amount
    };
    Ok(gone(1.0 - left).map(amount).collect())
}

/// Whether units go, instead of weights becoming zero.
fn removes(arguments: &Prune) -> bool {
    ["channel", "head", "layer"].contains(&arguments.structure.as_str())
}

/// The options of a pruning, but for how much.
fn pruning(arguments: &Prune) -> Table {
    let options = &arguments.removal;
    let mut table = Table::from_iter([("do".to_owned(), Value::String("prune".to_owned()))]);
    let mut say = |key: &str, value: Value| table.insert(key.to_owned(), value);
    let text = |text: &str| Value::String(text.to_owned());
    say("structure", text(&arguments.structure));
    let words = [
        ("criterion", &arguments.criterion),
        ("scope", &arguments.scope),
        ("reconstruct", &arguments.reconstruct),
        ("loss", &arguments.loss),
    ];
    for (key, word) in words {
        if let Some(word) = word {
            say(key, text(word));
        }
    }
    say("samples", Value::String(arguments.samples.to_string()));
    for (key, list) in [("include", &arguments.include), ("exclude", &arguments.exclude)] {
        if !list.is_empty() {
            say(key, Value::Array(list.iter().map(|word| text(word)).collect()));
        }
    }
    for (key, on) in [
        ("no-recalibrate", arguments.no_recalibrate),
        ("streams", options.streams),
        ("permute", arguments.permute),
    ] {
        if on {
            say(key, Value::Boolean(true));
        }
    }
    if options.target_latency.is_some() {
        say("runtime", text(&options.runtime));
        say("runtime-batch", Value::String(options.runtime_batch.to_string()));
    }
    for (key, number) in [
        ("multiple", options.multiple.map(|it| it.to_string())),
        ("target", arguments.target.clone()),
    ] {
        if let Some(number) = number {
            say(key, Value::String(number));
        }
    }
    if removes(arguments) && arguments.structure != "layer" {
        say("savings-power", Value::Float(options.savings_power));
    }
    table
}

/// The options of a training.
fn training(arguments: &Prune, epochs: usize, loss: &str) -> Table {
    let recovery = &arguments.recovery;
    let teacher = recovery.teacher.as_deref();
    let text = |text: &str| Value::String(text.to_owned());
    let mut table = Table::new();
    let mut say = |key: &str, value: Value| table.insert(key.to_owned(), value);
    // `distil` has the model for its teacher where it says no other.
    say(
        "do",
        text(if teacher == Some("none") {
            "train"
        } else {
            "distil"
        }),
    );
    if let Some(teacher) = teacher.filter(|teacher| *teacher != "none") {
        say("teacher", text(teacher));
    }
    say("epochs", Value::String(epochs.to_string()));
    say("batch", Value::String(recovery.batch.to_string()));
    say("learning-rate", Value::String(recovery.learning_rate.to_string()));
    say("weight-decay", Value::String(recovery.weight_decay.to_string()));
    say("loss", text(loss));
    if !removes(arguments) {
        say("sparsity", text("keep"));
    }
    table
}
