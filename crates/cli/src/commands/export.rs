//! `bantam export`.

use std::collections::BTreeMap;

use bantam::Error;
use bantam::jobs::{self, ExportJob, GgufTypes, Importance, Replaced};

use crate::arguments::Export;
use crate::output;
use crate::progress::Bars;

pub(crate) fn run(arguments: &Export) -> Result<(), Error> {
    let report = jobs::export(&job(arguments), &Bars::new())?;
    if arguments.json {
        return output::json(&report);
    }
    for warning in warnings(&report.replaced) {
        output::talk(&format!("warning: {warning}"));
    }
    output::talk(&format!(
        "{} ({}) -> {} ({}, {})",
        report.model.display(),
        output::bytes(report.bytes_before),
        report.output.display(),
        report.format,
        output::bytes(report.bytes_after),
    ));
    Ok(())
}

pub(crate) fn job(arguments: &Export) -> ExportJob {
    ExportJob {
        model: arguments.model.clone(),
        output: arguments.output.clone(),
        types: GgufTypes {
            all: arguments.matrix_type.clone(),
            some: arguments.tensor_type.clone(),
        },
        tokenizer: arguments.tokenizer.clone(),
        importance: arguments.importance.clone().map(|data| Importance {
            data,
            split: "train".to_owned(),
            samples: arguments.samples,
            seed: arguments.seed,
        }),
        resume: arguments.resume,
        save: arguments.saving.options(),
        join_groups: arguments.matmulnbits,
        dequantize: arguments.dequantize,
    }
}

/// One line for each way in which types were replaced.
fn warnings(replaced: &[Replaced]) -> Vec<String> {
    let mut groups = BTreeMap::<_, Vec<&str>>::new();
    for Replaced {
        tensor,
        row,
        wanted,
        used,
    } in replaced
    {
        groups.entry((wanted, row, used)).or_default().push(tensor);
    }
    let line = |((wanted, row, used), tensors): (_, Vec<&str>)| {
        let others = match tensors.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        format!(
            "rows of {row} are no whole blocks of {wanted}: {}{others} became {used}",
            tensors[0]
        )
    };
    groups.into_iter().map(line).collect()
}
