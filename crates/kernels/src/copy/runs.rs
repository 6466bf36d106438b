//! Copies in which every axis of the output takes its positions from the same axis of the input, in runs: slices,
//! padding, tiling, broadcasting, gathering.

use crate::chunks::for_rows;

/// Consecutive positions of an output axis, and the positions of the input axis that they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Number of positions of the output.
    pub length: usize,
    /// The first position of the input; `None` fills with a constant.
    pub source: Option<usize>,
    /// From one position of the input to the next; 0 repeats.
    pub step: isize,
}

/// The runs of one axis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunList {
    runs: Vec<Run>,
    length: usize,
}

impl RunList {
    /// An axis of `length` positions that stays as it is.
    pub fn identity(length: usize) -> RunList {
        RunList::default().with(length, Some(0), 1)
    }

    /// Adds a run.
    ///
    /// # Panics
    /// When the length of the axis overflows.
    pub fn with(mut self, length: usize, source: Option<usize>, step: isize) -> RunList {
        if length > 0 {
            self.length += length;
            self.runs.push(Run { length, source, step });
        }
        self
    }

    /// Adds one position of the input, to the last run if it continues it.
    pub fn push(&mut self, source: usize) {
        self.length += 1;
        let continues =
            |run: &&mut Run| run.step == 1 && run.source.map(|start| start + run.length) == Some(source);
        match self.runs.last_mut().filter(continues) {
            Some(run) => run.length += 1,
            None => self.runs.push(Run {
                length: 1,
                source: Some(source),
                step: 1,
            }),
        }
    }

    /// Number of positions of the output axis.
    pub fn len(&self) -> usize {
        self.length
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// True when an input axis of `length` positions stays as it is.
    pub(crate) fn is_identity(&self, length: usize) -> bool {
        self.length == length
            && self.runs.iter().all(|run| {
                *run == Run {
                    length,
                    source: Some(0),
                    step: 1,
                }
            })
    }

    /// For each position of the output, where it starts in the input, whose positions are `stride` elements apart.
    pub(crate) fn offsets(&self, stride: usize) -> Vec<Option<usize>> {
        let positions = |run: &Run| {
            let run = *run;
            (0..run.length).map(move |i| {
                run.source
                    .map(|s| s.wrapping_add_signed(i as isize * run.step) * stride)
            })
        };
        self.runs.iter().flat_map(positions).collect()
    }
}

/// Fills `y`, of as many dimensions as `axes` and their lengths, from `x` of shape `shape`.
///
/// # Panics
/// When a run leaves its axis, or the lengths do not fit.
pub fn take_runs<T: Clone + Send + Sync>(x: &[T], shape: &[usize], axes: &[RunList], fill: &T, y: &mut [T]) {
    if y.is_empty() {
        return;
    }
    let Some(last) = (0..shape.len())
        .rev()
        .find(|&axis| !axes[axis].is_identity(shape[axis]))
    else {
        return y.clone_from_slice(x);
    };
    let block: usize = shape[last + 1..].iter().product();
    let mut stride = block * shape[last];
    let mut outer: Vec<Vec<Option<usize>>> = Vec::with_capacity(last);
    for axis in (0..last).rev() {
        outer.push(axes[axis].offsets(stride));
        stride *= shape[axis];
    }
    outer.reverse();
    let row = axes[last].len() * block;
    for_rows(y, row, |start, y| {
        let mut index = first_index(&outer, start / row);
        for y in y.chunks_exact_mut(row) {
            let offset = index
                .iter()
                .zip(&outer)
                .try_fold(0, |sum, (&i, offsets)| Some(sum + offsets[i]?));
            match offset {
                Some(offset) => copy_row(&x[offset..], &axes[last].runs, block, fill, y),
                None => y.fill(fill.clone()),
            }
            advance(&mut index, &outer);
        }
    });
}

fn first_index(outer: &[Vec<Option<usize>>], mut row: usize) -> Vec<usize> {
    let mut index = vec![0; outer.len()];
    for (index, offsets) in index.iter_mut().zip(outer).rev() {
        *index = row % offsets.len();
        row /= offsets.len();
    }
    index
}

fn advance(index: &mut [usize], outer: &[Vec<Option<usize>>]) {
    for (index, offsets) in index.iter_mut().zip(outer).rev() {
        *index += 1;
        if *index < offsets.len() {
            return;
        }
        *index = 0;
    }
}

/// The runs of one axis, whose positions are blocks of elements.
fn copy_row<T: Clone>(x: &[T], runs: &[Run], block: usize, fill: &T, y: &mut [T]) {
    let mut rest = y;
    for run in runs {
        let (y, after) = rest.split_at_mut(run.length * block);
        rest = after;
        match (run.source, run.step) {
            (None, _) => y.fill(fill.clone()),
            (Some(source), 1) => y.clone_from_slice(&x[source * block..(source + run.length) * block]),
            (Some(source), 0) if block == 1 => y.fill(x[source].clone()),
            (Some(source), step) if block == 1 => {
                let mut position = source;
                for y in y {
                    y.clone_from(&x[position]);
                    position = position.wrapping_add_signed(step);
                }
            }
            (Some(source), step) => {
                let mut position = source;
                for y in y.chunks_exact_mut(block) {
                    y.clone_from_slice(&x[position * block..(position + 1) * block]);
                    position = position.wrapping_add_signed(step);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with a walk over all indices.
    fn check(shape: &[usize], axes: &[RunList]) {
        let x: Vec<i64> = (0..shape.iter().product::<usize>() as i64).collect();
        let dims: Vec<usize> = axes.iter().map(RunList::len).collect();
        let mut y = vec![-9; dims.iter().product()];
        take_runs(&x, shape, axes, &-1, &mut y);
        let sources: Vec<Vec<Option<usize>>> = axes.iter().map(|axis| axis.offsets(1)).collect();
        for (flat, &got) in y.iter().enumerate() {
            let (mut rest, mut offset, mut stride) = (flat, Some(0), 1);
            for axis in (0..dims.len()).rev() {
                let source = sources[axis][rest % dims[axis]];
                offset = offset
                    .zip(source)
                    .map(|(offset, source)| offset + source * stride);
                stride *= shape[axis];
                rest /= dims[axis];
            }
            assert_eq!(got, offset.map_or(-1, |offset| x[offset]), "{axes:?} at {flat}");
        }
    }

    #[test]
    fn runs_of_every_kind() {
        let identity = RunList::identity;
        let padded = |n: usize| {
            RunList::default()
                .with(2, None, 0)
                .with(n, Some(0), 1)
                .with(1, None, 0)
        };
        let backwards = |n: usize| RunList::default().with(n, Some(n - 1), -1);
        let repeated = RunList::default().with(3, Some(0), 0);
        let every_second = RunList::default().with(2, Some(1), 2);
        check(&[3, 4], &[identity(3), identity(4)]);
        check(&[3, 4], &[padded(3), padded(4)]);
        check(&[3, 4], &[backwards(3), backwards(4)]);
        check(&[2, 4, 5], &[identity(2), every_second.clone(), identity(5)]);
        check(&[2, 4, 5], &[padded(2), every_second, backwards(5)]);
        check(&[1, 4, 1], &[repeated.clone(), identity(4), repeated]);
        check(&[4], &[RunList::default()]);
        check(&[300, 400], &[padded(300), backwards(400)]);
    }

    #[test]
    fn pushed_positions_join_runs() {
        let mut list = RunList::default();
        [4, 5, 6, 2, 3, 0]
            .into_iter()
            .for_each(|position| list.push(position));
        assert_eq!(list.len(), 6);
        assert_eq!(
            list.runs.iter().map(|run| run.length).collect::<Vec<_>>(),
            [3, 2, 1]
        );
        check(&[7, 2], &[list, RunList::identity(2)]);
    }
}
