//! What a target cannot do, said before long work.

use bantam_compress::select::Selector;
use bantam_compress::target::{Others, Target, Unsupported, activation_elements};
use bantam_graph::{Graph, cost, infer_shapes};

use super::inspect::with_batch;
use crate::{Error, Progress};

/// Says which nodes of a prepared graph the target cannot run; gives it back as what to know before shipping the result.
///
/// # Errors
/// When the target lacks ops that the user does not keep out of it by `exclude`: then the network cannot run there.
pub(super) fn check_ops(
    graph: &Graph,
    target: &Target,
    exclude: &[Selector],
    progress: &dyn Progress,
) -> Result<Vec<String>, Error> {
    let mut is_kept = vec![false; graph.nodes.len()];
    for selector in exclude {
        let nodes = selector
            .select(graph)
            .map_err(bantam_compress::quantize::QuantizeError::from)?;
        nodes.into_iter().for_each(|node| is_kept[node.index()] = true);
    }
    let found = target.unsupported(graph, &is_kept);
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let (name, listed) = (target.name, Unsupported::listed(&found));
    if target.others == Others::Missing {
        return Err(Error::Usage {
            message: format!("{name} cannot run {listed}"),
            hint: "replace these nodes; or `--exclude NODE` those that the application computes itself"
                .to_owned(),
        });
    }
    let told = format!("{name} does not run {listed}: these, and what follows them, take the host's time");
    progress.say(&told);
    Ok(vec![told])
}

/// What a network of float weights needs on a target when it is in codes of so many bits, where that is more than there is: of constants,
/// and of values of one sample.
pub(super) fn check_memory(
    graph: &Graph,
    target: &Target,
    (weight_bits, activation_bits): (u32, u32),
) -> Result<Vec<String>, Error> {
    let mut graph = graph.clone();
    let options = with_batch(&graph, 1);
    infer_shapes(&mut graph, &options)?;
    let bytes = |elements: u64, bits: u32| (elements * u64::from(bits)).div_ceil(8);
    let constants = bytes(cost(&graph).parameters, weight_bits);
    let values = activation_elements(&graph).map(|elements| bytes(elements, activation_bits));
    let memory = &target.memory;
    let too_many = |what: &str, needed: u64, there: Option<u64>, then: &str| {
        let there = there.filter(|there| needed > *there)?;
        Some(format!(
            "{}: {what} take about {} KiB, of which {} KiB fit; {then}",
            target.name,
            needed >> 10,
            there >> 10
        ))
    };
    let then = match memory.beyond {
        None => "the network does not run there as it is: `bantam compress` makes it smaller",
        Some(_) => "the rest is read from outside at each run",
    };
    let told = [
        too_many("constants", constants, memory.constants, then),
        values.and_then(|values| too_many("values of a sample", values, memory.activations, then)),
    ];
    Ok(told.into_iter().flatten().collect())
}
