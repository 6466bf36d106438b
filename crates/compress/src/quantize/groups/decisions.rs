//! What a plan says of weights in groups.

use bantam_tensor::QParams;

use super::GroupFormat;
use super::rounded::RoundedRow;
use crate::plan::{Action, Decision, Site};
use crate::quantize::layerwise::{Layout, transposed};

/// What the plan says of a weight whose rows have so many inputs.
pub(super) fn decision(
    site: Site,
    (layout, depth): (Layout, usize),
    by: (&GroupFormat, &str),
    rows: &[RoundedRow],
) -> Decision {
    let (format, _) = by;
    let (dtype, name) = format.stored_as();
    let groups = depth.div_ceil(format.group_len());
    // Scales lie as the elements of the weight do.
    let lie = |numbers: Vec<f32>| match layout {
        Layout::Rows => numbers,
        Layout::Columns => transposed(&numbers, rows.len(), groups),
    };
    let grids = || rows.iter().flat_map(|row| &row.grids);
    // A group of zeros has no scale.
    let scale = |scale: f32| if scale > 0.0 { scale } else { 1.0 };
    let params = QParams {
        dtype,
        axis: Some(match layout {
            Layout::Rows => 1,
            Layout::Columns => 0,
        }),
        group: Some(format.group_len()),
        scale: lie(grids().map(|grid| scale(grid.scale)).collect()),
        zero_point: lie(grids().map(|grid| grid.zero_point).collect())
            .into_iter()
            .map(|zero_point| zero_point as i32)
            .collect(),
    };
    quantized(site, by, name, params)
}

/// A weight that becomes codes of a format.
pub(super) fn quantized(
    site: Site,
    (format, algorithm): (&GroupFormat, &str),
    name: &str,
    params: QParams,
) -> Decision {
    let action = match format {
        GroupFormat::Integers(_) => Action::QuantizeConstant {
            format: name.to_owned(),
            params,
        },
        GroupFormat::Table(table) => Action::LookUpConstant {
            table: name.to_owned(),
            values: table.values().to_vec(),
            params,
        },
    };
    Decision {
        site,
        action,
        why: format!("weights of {} bits, chosen by {algorithm}", format.bits()),
        sqnr_db: None,
    }
}
