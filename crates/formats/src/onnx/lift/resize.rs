//! Upsample and the forms of Resize.

use bantam_graph::{Graph, ValueId};
use bantam_tensor::Tensor;

use super::known::Facts;
use super::{DAMAGED, Fault, Lifted, Lifter, RawNode};

/// Upsample before 9: scales were an attribute.
pub(super) fn upsample_scales(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    let Some(scales) = raw.take::<Vec<f32>>("scales")? else {
        return Err(Fault {
            fact: "attribute `scales` is missing".to_owned(),
            hint: DAMAGED,
        });
    };
    let id = lifter.constant(raw, "scales", Tensor::from_vec1(&scales));
    raw.set_input(1, id);
    Ok(Lifted::Node)
}

/// Upsample, which 10 replaced by Resize.
pub(super) fn upsample(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    raw.op = "Resize".to_owned();
    // Below 11 the next rule does the rest; files of later opsets should not have the op, but some do.
    if lifter.opset.is_some_and(|opset| opset >= 11) {
        return resize_10(lifter, raw);
    }
    Ok(Lifted::Node)
}

/// Resize of opset 10: x and scales; coordinates map by the scale alone. Where it enlarges, the nearest element is
/// the one before; where it shrinks, the one after (as ONNX Runtime computes it; the standard left it open).
pub(super) fn resize_10(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    let (x, scales) = (raw.required(0)?, raw.required(1)?);
    let scales_of = |lifter: &Lifter<'_>| lifter.constant_of(scales).and_then(|scales| scales.to_f32().ok());
    let y = raw.outputs.first().copied().flatten();
    let factors = scales_of(lifter).or_else(|| declared_scales(&lifter.graph, x, y?));
    let shrinks = factors.is_some_and(|factors| {
        factors.iter().any(|&factor| factor < 1.0) && factors.iter().all(|&factor| factor <= 1.0)
    });
    raw.inputs = vec![Some(x), None, Some(scales)];
    raw.set("coordinate_transformation_mode", &"asymmetric".to_owned());
    raw.set("nearest_mode", &if shrinks { "ceil" } else { "floor" }.to_owned());
    if raw.take::<String>("mode")?.is_some_and(|mode| mode != "nearest") {
        raw.set("mode", &"linear".to_owned());
    }
    Ok(Lifted::Node)
}

/// Scales as far as the declared sizes of input and output tell them.
pub(in crate::onnx) fn declared_scales(graph: &Graph, x: ValueId, y: ValueId) -> Option<Vec<f32>> {
    let sizes = |id| graph.value(id).ty.static_shape();
    let (before, after) = (sizes(x)?, sizes(y)?);
    Some(
        before
            .iter()
            .zip(&after)
            .map(|(&before, &after)| after as f32 / before as f32)
            .collect(),
    )
}

/// Inputs that older files must fill with empty tensors are absent.
pub(super) fn empty_inputs(lifter: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    for input in raw.inputs.iter_mut().skip(1) {
        let Some(id) = *input else { continue };
        let constant = lifter.constant_of(id).map(|tensor| tensor.is_empty());
        let declared = || {
            lifter
                .graph
                .value(id)
                .ty
                .static_shape()
                .is_some_and(|shape| shape.contains(&0))
        };
        if constant.unwrap_or_else(declared) {
            *input = None;
            if constant.is_some() {
                lifter.replaced.insert(id);
            }
        }
    }
    Ok(Lifted::Node)
}
