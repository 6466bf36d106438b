//! Taking and placing elements by index.

use super::error::Problem;
use super::tape::{Site, Tape};
use crate::ops::{
    Gather, GatherElements, GatherGradient, GatherNd, GatherNdGradient, ScatterElements, ScatterNd,
    ScatterReduction, TopK,
};
use crate::{Op, ValueId};

type Done = Result<(), Problem>;

pub(super) fn gather(tape: &mut Tape, site: &Site, op: &Gather) -> Done {
    taken(tape, site, GatherGradient { axis: op.axis })
}

pub(super) fn gather_nd(tape: &mut Tape, site: &Site, op: &GatherNd) -> Done {
    let batch_dims = op.batch_dims;
    taken(tape, site, GatherNdGradient { batch_dims })
}

fn taken(tape: &mut Tape, site: &Site, op: impl Into<Op>) -> Done {
    let (data, indices, dy) = (site.x(0), site.x(1), site.dy()?);
    let shape = tape.shape_of(data);
    let gradient = tape.node(op, &[dy, indices, shape]);
    tape.give(data, gradient);
    Ok(())
}

pub(super) fn gather_elements(tape: &mut Tape, site: &Site, op: &GatherElements) -> Done {
    let (data, indices, dy) = (site.x(0), site.x(1), site.dy()?);
    let gradient = added(tape, data, op.axis, indices, dy);
    tape.give(data, gradient);
    Ok(())
}

/// Zeros in the shape of the data, and the elements of `dy` added at their indices.
fn added(tape: &mut Tape, data: ValueId, axis: i64, indices: ValueId, dy: ValueId) -> ValueId {
    let zeros = tape.zeros_like(data);
    let reduction = ScatterReduction::Add;
    tape.node(ScatterElements { axis, reduction }, &[zeros, indices, dy])
}

pub(super) fn top_k(tape: &mut Tape, site: &Site, op: &TopK) -> Done {
    let (data, dy) = (site.x(0), site.dy()?);
    let indices = tape.output(site, 1);
    let gradient = added(tape, data, op.axis, indices, dy);
    tape.give(data, gradient);
    Ok(())
}

/// How updates go to and come from places.
struct Places {
    scatter: Op,
    gather: Op,
}

pub(super) fn scatter_elements(tape: &mut Tape, site: &Site, op: &ScatterElements) -> Done {
    let axis = op.axis;
    let places = Places {
        scatter: op.clone().into(),
        gather: GatherElements { axis }.into(),
    };
    placed(tape, site, op.reduction, places)
}

pub(super) fn scatter_nd(tape: &mut Tape, site: &Site, op: &ScatterNd) -> Done {
    let places = Places {
        scatter: op.clone().into(),
        gather: GatherNd { batch_dims: 0 }.into(),
    };
    placed(tape, site, op.reduction, places)
}

/// Updates that replace what is there take its gradient away; those that are added share it.
fn placed(tape: &mut Tape, site: &Site, reduction: ScatterReduction, places: Places) -> Done {
    let (data, indices, updates, dy) = (site.x(0), site.x(1), site.x(2), site.dy()?);
    let of_data = match reduction {
        ScatterReduction::Add => Some(dy),
        ScatterReduction::None if tape.needs(data) => {
            let zeros = tape.zeros_like(updates);
            Some(tape.node(places.scatter, &[dy, indices, zeros]))
        }
        ScatterReduction::None => None,
        ScatterReduction::Mul | ScatterReduction::Max | ScatterReduction::Min => {
            return Err(Problem::new("the gradient of its reduction is not written"));
        }
    };
    of_data.into_iter().for_each(|gradient| tape.give(data, gradient));
    if tape.needs(updates) {
        let gradient = tape.node(places.gather, &[dy, indices]);
        tape.give(updates, gradient);
    }
    Ok(())
}
