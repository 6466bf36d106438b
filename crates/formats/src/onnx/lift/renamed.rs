//! Other names for the same thing.

use super::{Fault, Lifted, Lifter, RawNode};

/// Scatter, which 11 named ScatterElements.
pub(super) fn scatter(_: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    raw.op = "ScatterElements".to_owned();
    Ok(Lifted::Node)
}

/// GridSample before 20, whose modes had the names of two dimensions.
pub(super) fn grid_sample(_: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    let mode = raw
        .take::<String>("mode")?
        .unwrap_or_else(|| "bilinear".to_owned());
    let mode = match mode.as_str() {
        "bilinear" => "linear".to_owned(),
        "bicubic" => "cubic".to_owned(),
        _ => mode,
    };
    raw.set("mode", &mode);
    Ok(Lifted::Node)
}

/// RoiAlign before 16, which had one way to map coordinates, and not the later default.
pub(super) fn roi_align(_: &mut Lifter<'_>, raw: &mut RawNode) -> Result<Lifted, Fault> {
    raw.set("coordinate_transformation_mode", &"output_half_pixel".to_owned());
    Ok(Lifted::Node)
}
