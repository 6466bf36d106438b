//! What moves between constants first: `bantam quantize --equalize`, `--smooth`.

use bantam::Error;
use bantam::jobs::Rescaling;
use bantam::tensor::Granularity;

use super::granularity;
use super::groups::usage;
use crate::arguments::Quantize;

/// The value of `--smooth` that is for weights in groups.
pub(super) const AWQ: &str = "awq";

pub(super) fn rescaling(arguments: &Quantize) -> Result<Rescaling, Error> {
    let groups = matches!(granularity(&arguments.granularity)?, Granularity::Group(_));
    let unbound = match arguments.equalize.as_deref() {
        None | Some("exact") => false,
        Some("unbound") => true,
        Some(other) => {
            return Err(Error::unknown_name(
                "equalization",
                other,
                ["exact", "unbound"].into_iter(),
            ));
        }
    };
    let smooth = match arguments.smooth.as_deref() {
        Some(AWQ) if groups => None,
        Some(AWQ) => {
            return Err(usage(
                "--smooth awq is for weights in groups",
                "--granularity group:32, or an alpha such as --smooth 0.5",
            ));
        }
        Some(_) if groups => {
            return Err(usage(
                "groups leave inputs in float, which need no smoothing",
                "--smooth awq",
            ));
        }
        text => text.map(alpha).transpose()?,
    };
    Ok(Rescaling {
        unbound,
        rotate: arguments.rotate,
        equalize: arguments.equalize.is_some(),
        smooth,
    })
}

fn alpha(text: &str) -> Result<f32, Error> {
    let alpha = text.parse().ok().filter(|alpha| (0.0..=1.0).contains(alpha));
    alpha.ok_or_else(|| {
        usage(
            &format!("`{text}` is no alpha"),
            "--smooth 0.5, a number from 0 (even weights) to 1 (even inputs), or awq for groups",
        )
    })
}
