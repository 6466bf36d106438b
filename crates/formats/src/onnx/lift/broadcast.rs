//! What 7 changed: broadcasting by an attribute, and flags for training.

use bantam_tensor::Tensor;

use super::known::Facts;
use super::{Fault, Lifted, Lifter, RawNode};

const AGAIN: &str = "export the model again at opset 7 or later";

/// Element-wise ops of two inputs before 7: dimensions of the second matched those of the first from `axis` on.
pub(super) fn axis_of_second(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    let axis = raw.take::<i64>("axis")?;
    match (raw.take::<i64>("broadcast")?.unwrap_or(0), axis) {
        (0, _) | (_, None) => Ok(Lifted::Node),
        (_, Some(axis)) => {
            let rank = |index| raw.input(index).and_then(|id| lifter.known_of(id).rank);
            let ones = rank(0).zip(rank(1)).and_then(|(first, second)| {
                let axis = usize::try_from(if axis < 0 { axis + first as i64 } else { axis }).ok()?;
                first.checked_sub(axis)?.checked_sub(second)
            });
            append_ones(lifter, raw, ones)
        }
    }
}

/// PRelu before 7: a slope of more than one element was of channels.
pub(super) fn slope_of_channels(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    let slope = raw.required(1)?;
    let one = lifter.constant_of(slope).is_some_and(|slope| slope.len() == 1);
    if one || lifter.known_of(slope).rank != Some(1) {
        return Ok(Lifted::Node);
    }
    let rank = raw.input(0).and_then(|id| lifter.known_of(id).rank);
    append_ones(lifter, raw, rank.map(|rank| rank.saturating_sub(2)))
}

/// Adds dimensions of size 1 at the end of the second input.
fn append_ones(lifter: &mut Lifter<'_>, raw: &mut RawNode, ones: Option<usize>) -> Result<Lifted, Fault> {
    let second = raw.required(1)?;
    let (Some(ones), Some(rank)) = (ones, lifter.known_of(second).rank) else {
        let fact = "it broadcasts along an axis, and the ranks of its inputs are not known, or do not fit"
            .to_owned();
        return Err(Fault { fact, hint: AGAIN });
    };
    if ones > 0 {
        let axes: Vec<i64> = (rank..rank + ones).map(|axis| axis as i64).collect();
        let axes = lifter.constant(raw, "Unsqueeze_axes", Tensor::from_vec1(&axes));
        let widened = lifter.emit(raw, "Unsqueeze", &[], &[Some(second), Some(axes)])?;
        raw.set_input(1, widened);
    }
    Ok(Lifted::Node)
}

/// Flags that 7 dropped: the present outputs say the same.
pub(super) fn drop_flags(_: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    for flag in ["is_test", "broadcast", "output_sequence"] {
        raw.attributes.take(flag);
    }
    Ok(Lifted::Node)
}

/// Upsample before 7, of height and width.
pub(super) fn scales_of_image(_: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    let scale = |value: Option<f32>, name| {
        value.ok_or_else(|| Fault {
            fact: format!("`{name}` is missing"),
            hint: AGAIN,
        })
    };
    let height = scale(raw.take("height_scale")?, "height_scale")?;
    let width = scale(raw.take("width_scale")?, "width_scale")?;
    raw.set("scales", &vec![1.0, 1.0, height, width]);
    Ok(Lifted::Node)
}
