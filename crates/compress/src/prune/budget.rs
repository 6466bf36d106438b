//! From saliencies and a sparsity to masks: who competes with whom, and how much goes where.

use rayon::prelude::*;

use super::structure::keep_pattern;
use super::{Structure, Weight};
use crate::erk;

/// Among which weights the least salient go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of the network.
    Global,
    /// Those of a layer; each layer loses the same share.
    Layer,
    /// Those of an output; each output loses the same share.
    Row,
    /// Those of a layer; shares by the sizes of layers, small ones lose less (Erdős–Rényi kernel: Evci et al. 2020, section 3).
    Erk,
}

impl Scope {
    /// Every scope, by the name that users write.
    pub const ALL: &[(&str, Scope)] = &[
        ("global", Scope::Global),
        ("layer", Scope::Layer),
        ("row", Scope::Row),
        ("erk", Scope::Erk),
    ];

    /// The name that users write.
    pub fn name(self) -> &'static str {
        let found = Scope::ALL.iter().find(|(_, scope)| *scope == self);
        found.map_or("global", |(name, _)| name)
    }
}

/// A set of elements that go together.
struct Unit {
    saliency: f32,
    weight: usize,
    index: usize,
    size: usize,
}

/// What stays of each weight, by rows. `saliency` is by rows too; elements that are zero already must have the least. The share
/// `sparsity` of all elements goes, to within one unit; the shares of layers and rows are met to within a unit as well. A
/// pattern says itself what goes.
pub fn masks(
    weights: &[Weight],
    saliency: &[Vec<f32>],
    structure: Structure,
    scope: Scope,
    sparsity: f64,
) -> Vec<Vec<bool>> {
    let mut masks: Vec<Vec<bool>> = weights.iter().map(|weight| vec![true; weight.len()]).collect();
    if let Structure::Pattern { kept, of } = structure {
        for ((weight, saliency), mask) in weights.iter().zip(saliency).zip(&mut masks) {
            let rows = saliency
                .chunks_exact(weight.depth)
                .zip(mask.chunks_exact_mut(weight.depth));
            rows.for_each(|(saliency, mask)| keep_pattern(saliency, weight.places, (kept, of), mask));
        }
        return masks;
    }
    let block = structure.block();
    let units = |index: usize| units(index, &weights[index], &saliency[index], block);
    let mut remover = Remover {
        weights,
        block,
        masks: &mut masks,
        wanted: 0.0,
        gone: 0,
    };
    match scope {
        Scope::Global => {
            let all: usize = weights.iter().map(Weight::len).sum();
            let everything: Vec<Unit> = (0..weights.len()).flat_map(units).collect();
            remover.remove(everything, sparsity * all as f64);
        }
        Scope::Layer | Scope::Erk => {
            let densities = match scope {
                Scope::Erk => {
                    let shapes: Vec<&[usize]> =
                        weights.iter().map(|weight| weight.shape.as_slice()).collect();
                    erk::densities(&shapes, 1.0 - sparsity)
                }
                _ => vec![1.0 - sparsity; weights.len()],
            };
            for (index, density) in densities.into_iter().enumerate() {
                remover.remove(units(index), (1.0 - density) * weights[index].len() as f64);
            }
        }
        Scope::Row => {
            for (index, weight) in weights.iter().enumerate() {
                let in_row = weight.depth.div_ceil(block[1]);
                let mut rest = units(index);
                while !rest.is_empty() {
                    let next = rest.split_off(in_row.min(rest.len()));
                    let elements: usize = rest.iter().map(|unit| unit.size).sum();
                    remover.remove(rest, sparsity * elements as f64);
                    rest = next;
                }
            }
        }
    }
    masks
}

/// The blocks of a weight, row of blocks by row of blocks, with the means of their elements' saliencies.
fn units(weight_index: usize, weight: &Weight, saliency: &[f32], [height, width]: [usize; 2]) -> Vec<Unit> {
    let across = weight.depth.div_ceil(width);
    let count = weight.rows.div_ceil(height) * across;
    let mut sums = vec![(0f64, 0usize); count];
    for (row, values) in saliency.chunks_exact(weight.depth).enumerate() {
        for (column, value) in values.iter().enumerate() {
            let (sum, size) = &mut sums[row / height * across + column / width];
            *sum += f64::from(*value);
            *size += 1;
        }
    }
    let unit = |(index, (sum, size)): (usize, (f64, usize))| Unit {
        saliency: (sum / size as f64) as f32,
        weight: weight_index,
        index,
        size,
    };
    sums.into_iter().enumerate().map(unit).collect()
}

struct Remover<'a> {
    weights: &'a [Weight],
    block: [usize; 2],
    masks: &'a mut [Vec<bool>],
    /// Elements that should be gone by now, and those that are: what rounding leaves is for the next.
    wanted: f64,
    gone: usize,
}

impl Remover<'_> {
    /// Removes the least salient units, of so many elements.
    fn remove(&mut self, mut units: Vec<Unit>, elements: f64) {
        self.wanted += elements;
        units.par_sort_unstable_by(|a, b| {
            let by_place = || (a.weight, a.index).cmp(&(b.weight, b.index));
            a.saliency.total_cmp(&b.saliency).then_with(by_place)
        });
        for unit in units {
            if self.gone as f64 + unit.size as f64 / 2.0 > self.wanted {
                break;
            }
            self.gone += unit.size;
            self.clear(&unit);
        }
    }

    fn clear(&mut self, unit: &Unit) {
        let (weight, [height, width]) = (&self.weights[unit.weight], self.block);
        let across = weight.depth.div_ceil(width);
        let (top, left) = (unit.index / across * height, unit.index % across * width);
        for row in top..(top + height).min(weight.rows) {
            let mask = &mut self.masks[unit.weight][row * weight.depth..][..weight.depth];
            mask[left..(left + width).min(weight.depth)].fill(false);
        }
    }
}

#[cfg(test)]
mod tests;
