//! Lists of integers that were attributes and became inputs.

use bantam_tensor::Tensor;

use super::{DAMAGED, Fault, Lifted, Lifter, RawNode};

/// Moves an attribute that is a list of integers to an input.
fn list_to_input(
    lifter: &mut Lifter<'_>,
    raw: &mut RawNode,
    name: &str,
    index: usize,
) -> Result<bool, Fault> {
    let Some(values) = raw.take::<Vec<i64>>(name)? else {
        return Ok(false);
    };
    let id = lifter.constant(raw, name, Tensor::from_vec1(&values));
    raw.set_input(index, id);
    Ok(true)
}

/// Squeeze and Unsqueeze before 13; reductions before 13 or 18.
pub(super) fn axes_to_input(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    if !list_to_input(lifter, raw, "axes", 1)? && raw.op == "Unsqueeze" {
        return Err(Fault {
            fact: "attribute `axes` is missing".to_owned(),
            hint: DAMAGED,
        });
    }
    Ok(Lifted::Node)
}

/// Split before 13.
pub(super) fn split(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    list_to_input(lifter, raw, "split", 1)?;
    Ok(Lifted::Node)
}

/// Slice before 10.
pub(super) fn slice(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    for (index, name) in [(1, "starts"), (2, "ends")] {
        if !list_to_input(lifter, raw, name, index)? {
            return Err(Fault {
                fact: format!("attribute `{name}` is missing"),
                hint: DAMAGED,
            });
        }
    }
    list_to_input(lifter, raw, "axes", 3)?;
    Ok(Lifted::Node)
}

/// TopK before 10.
pub(super) fn top_k(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    let Some(k) = raw.take::<i64>("k")? else {
        return Err(Fault {
            fact: "attribute `k` is missing".to_owned(),
            hint: DAMAGED,
        });
    };
    let id = lifter.constant(raw, "k", Tensor::from_vec1(&[k]));
    raw.set_input(1, id);
    Ok(Lifted::Node)
}

/// DFT before 20, whose axis was 1 unless given.
pub(super) fn dft(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    let axis = raw.take::<i64>("axis")?.unwrap_or(1);
    let id = lifter.constant(raw, "axis", Tensor::scalar(axis));
    raw.set_input(2, id);
    Ok(Lifted::Node)
}
