//! Recurrent cells: hidden units go with their rows in all gates.

use super::super::site::{Done, Site};

/// Weights `[directions, gates * hidden, input]`, recurrence `[directions, gates * hidden, hidden]`, bias
/// `[directions, 2 * gates * hidden]`, states and peepholes with the hidden units last.
pub(super) fn cell(site: &mut Site<'_>, gates: usize, hidden: Option<i64>) -> Done {
    let (x, weight, recurrence, node) = (site.input(0)?, site.input(1)?, site.input(2)?, site.node);
    let units = site.size((recurrence, 2))?;
    let said = hidden.map(usize::try_from).transpose().ok()?;
    if said.is_some_and(|said| said != units) {
        return None;
    }
    site.same((x, 2), (weight, 2));
    site.lock_axes(x, 0..2, "it goes through them one after the other")?;
    let repeated = [(weight, 1, gates), (recurrence, 1, gates), (recurrence, 2, 1)];
    let bias = site.input(3).map(|bias| (bias, 1, 2 * gates));
    let peepholes = site.input(7).map(|peepholes| (peepholes, 1, 3));
    for (value, axis, times) in repeated.into_iter().chain(bias).chain(peepholes) {
        if site.size((value, axis))? != units * times {
            return None;
        }
        site.lock((value, 0), "it is of directions");
        for index in 0..units * times {
            site.link(((recurrence, 2), index % units), ((value, axis), index));
        }
    }
    let states = [site.input(5), site.input(6)].into_iter().flatten();
    for state in states.chain(node.outputs.iter().flatten().copied()) {
        let last = site.rank(state)?.checked_sub(1)?;
        site.lock_axes(state, 0..last, "it is of sequences, batches and directions")?;
        site.same((state, last), (recurrence, 2));
    }
    if let Some(lengths) = site.input(4) {
        site.lock_value(lengths, "it is of sequences");
    }
    Some(())
}
