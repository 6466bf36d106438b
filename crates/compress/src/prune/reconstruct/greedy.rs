//! Weights removed one by one, all others making up for each.

use rayon::prelude::*;

use super::least_squares::solved;
use super::{Inverse, Reconstruction, Rows, Solved};
use crate::prune::Structure;
use crate::prune::structure::pattern_groups;

/// The optimal brain compressor (Frantar et al. 2022, algorithm 1 and section 5.1): in each row, the weight whose loss the others
/// can make up for best goes, again and again; how many go of each row follows from the losses.
pub(super) struct Greedy;

/// The longest rows: work grows with the third power.
const LONGEST: usize = 1152;

impl Reconstruction for Greedy {
    fn name(&self) -> &'static str {
        "obs"
    }

    fn summary(&self) -> &'static str {
        "removes weights one by one, the others of the row making up for each (Frantar et al. 2022), then as least-squares; slow"
    }

    fn chooses(&self) -> bool {
        true
    }

    fn longest_row(&self) -> usize {
        LONGEST
    }

    fn solve(&self, job: &Rows<'_>) -> Option<Solved> {
        let inverse = Inverse::of(job.moments)?;
        let traces: Vec<Trace> = (job.values.par_chunks_exact(job.depth))
            .map(|row| trace(row, &inverse, job))
            .collect();
        let kept = chosen(&traces, job);
        let values = solved(job.values, &kept, job.moments)?;
        Some(Solved { values, kept })
    }
}

/// The weights of a row in the order in which they go, each with what the error of the outputs grows by.
pub(super) type Trace = Vec<(usize, f64)>;

pub(super) fn trace(row: &[f32], inverse: &Inverse, job: &Rows<'_>) -> Trace {
    let depth = job.depth;
    let mut row: Vec<f64> = row.iter().copied().map(f64::from).collect();
    let mut inverse = inverse.values.clone();
    let (group_of, mut left) = groups(job);
    let mut present: Vec<usize> = (0..depth).collect();
    let mut trace = Trace::new();
    loop {
        let error = |index: usize| row[index] * row[index] / inverse[index * depth + index];
        let open = present.iter().copied().filter(|index| left[group_of[*index]] > 0);
        let Some(next) = open.min_by(|a, b| error(*a).total_cmp(&error(*b)).then(a.cmp(b))) else {
            return trace;
        };
        trace.push((next, error(next)));
        left[group_of[next]] -= 1;
        present.retain(|index| *index != next);
        let pivot = inverse[next * depth + next];
        let column: Vec<f64> = present
            .iter()
            .map(|index| inverse[index * depth + next])
            .collect();
        let factor = row[next] / pivot;
        row[next] = 0.0;
        for (place, index) in present.iter().enumerate() {
            row[*index] -= factor * column[place];
            let scale = column[place] / pivot;
            let line = &mut inverse[index * depth..][..depth];
            present
                .iter()
                .zip(&column)
                .for_each(|(other, value)| line[*other] -= scale * value);
        }
    }
}

/// For each element of a row its group, and how many of each group may go.
fn groups(job: &Rows<'_>) -> (Vec<usize>, Vec<usize>) {
    let mut group_of = vec![0; job.depth];
    let Structure::Pattern { kept, of } = job.structure else {
        return (group_of, vec![job.depth]);
    };
    let mut left = Vec::new();
    for (number, group) in pattern_groups(job.depth, job.places, of).enumerate() {
        let mut size = 0;
        group.for_each(|index| {
            group_of[index] = number;
            size += 1;
        });
        left.push(usize::saturating_sub(size, kept));
    }
    (group_of, left)
}

/// What stays: of all rows, as many as in the job's mask go, those of the least loss first, in each row in its own order.
fn chosen(traces: &[Trace], job: &Rows<'_>) -> Vec<bool> {
    let mut kept = vec![true; job.kept.len()];
    if let Structure::Pattern { .. } = job.structure {
        for (row, trace) in traces.iter().enumerate() {
            trace
                .iter()
                .for_each(|(index, _)| kept[row * job.depth + index] = false);
        }
        return kept;
    }
    let gone = job.kept.iter().filter(|kept| !**kept).count();
    let mut places = vec![0; traces.len()];
    let next = |places: &[usize], row: usize| traces[row].get(places[row]).map(|(_, error)| (*error, row));
    let mut heads: std::collections::BinaryHeap<Head> = (0..traces.len())
        .filter_map(|row| next(&places, row))
        .map(Head)
        .collect();
    for _ in 0..gone {
        let Some(Head((_, row))) = heads.pop() else { break };
        kept[row * job.depth + traces[row][places[row]].0] = false;
        places[row] += 1;
        heads.extend(next(&places, row).map(Head));
    }
    kept
}

/// The next loss of a row; the smallest comes first.
struct Head((f64, usize));

impl Ord for Head {
    fn cmp(&self, other: &Head) -> std::cmp::Ordering {
        other.0.0.total_cmp(&self.0.0).then(other.0.1.cmp(&self.0.1))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}
