//! Which weights go together, and how patterns of them lie.

use super::{PruneError, Weight};

/// What is removed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Weights one by one.
    Unstructured,
    /// Of so many neighbouring inputs of an output (at the same place of the window), so many stay.
    Pattern {
        /// Those that stay.
        kept: usize,
        /// Of so many.
        of: usize,
    },
    /// Blocks of so many outputs by so many elements of their rows.
    Block {
        /// Outputs.
        rows: usize,
        /// Elements of a row.
        columns: usize,
    },
}

impl Structure {
    /// Reads `unstructured`, `2:4` or `block:4x1`.
    ///
    /// # Errors
    /// When the text is none of these, or a number makes no sense.
    pub fn parse(text: &str) -> Result<Structure, PruneError> {
        let wrong = || PruneError::Structure {
            text: text.to_owned(),
        };
        let pair = |text: &str, by: char| {
            let (first, second) = text.split_once(by)?;
            Some((first.parse().ok()?, second.parse().ok()?))
        };
        if text == "unstructured" {
            return Ok(Structure::Unstructured);
        }
        if let Some(sizes) = text.strip_prefix("block:") {
            let (rows, columns) = pair(sizes, 'x').ok_or_else(wrong)?;
            return match rows > 0 && columns > 0 {
                true => Ok(Structure::Block { rows, columns }),
                false => Err(wrong()),
            };
        }
        let (kept, of) = pair(text, ':').ok_or_else(wrong)?;
        match 0 < kept && kept < of {
            true => Ok(Structure::Pattern { kept, of }),
            false => Err(wrong()),
        }
    }

    /// Outputs and elements of a row that are removed at once; patterns look at elements one by one.
    pub(super) fn block(self) -> [usize; 2] {
        match self {
            Structure::Block { rows, columns } => [rows, columns],
            _ => [1, 1],
        }
    }

    /// The share that a pattern removes where it fits.
    pub fn implied_sparsity(self) -> Option<f64> {
        match self {
            Structure::Pattern { kept, of } => Some(1.0 - kept as f64 / of as f64),
            _ => None,
        }
    }
}

impl std::fmt::Display for Structure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Structure::Unstructured => f.write_str("unstructured"),
            Structure::Pattern { kept, of } => write!(f, "{kept}:{of}"),
            Structure::Block { rows, columns } => write!(f, "block:{rows}x{columns}"),
        }
    }
}

/// The groups of a pattern in a row: elements that are neighbouring inputs at one place of the window. The last group at a
/// place is shorter where inputs are no multiple of `of`.
pub(super) fn pattern_groups(
    depth: usize,
    places: usize,
    of: usize,
) -> impl Iterator<Item = impl Iterator<Item = usize> + Clone> {
    let inputs = depth / places.max(1);
    (0..places).flat_map(move |place| {
        let starts = (0..inputs).step_by(of.max(1));
        starts.map(move |start| (start..(start + of).min(inputs)).map(move |input| input * places + place))
    })
}

/// Whether of any `of` neighbouring inputs of an output at most `kept` are not zero. `values` are in the order of the tensor.
pub fn satisfies(weight: &Weight, values: &[f32], kept: usize, of: usize) -> bool {
    let rows = weight.by_rows(values.to_vec());
    let nonzero =
        |row: &[f32], group: &mut dyn Iterator<Item = usize>| group.filter(|i| row[*i] != 0.0).count();
    (rows.chunks_exact(weight.depth.max(1))).all(|row| {
        pattern_groups(weight.depth, weight.places, of).all(|mut group| nonzero(row, &mut group) <= kept)
    })
}

/// Keeps of each group of a row those with the largest saliency; of equal ones the first.
pub(super) fn keep_pattern(saliency: &[f32], places: usize, (kept, of): (usize, usize), mask: &mut [bool]) {
    let mut order: Vec<usize> = Vec::with_capacity(of);
    for group in pattern_groups(saliency.len(), places, of) {
        order.clear();
        order.extend(group);
        order.sort_by(|a, b| saliency[*b].total_cmp(&saliency[*a]).then(a.cmp(b)));
        order
            .iter()
            .enumerate()
            .for_each(|(rank, index)| mask[*index] = rank < kept);
    }
}

/// The sum over places of the `kept` largest of what columns have there.
pub(super) fn kept_sum(columns: &[&[f32]], kept: usize) -> f64 {
    let length = columns.first().map_or(0, |column| column.len());
    let mut largest = vec![0f32; kept];
    let mut sum = 0.0;
    for place in 0..length {
        largest.fill(0.0);
        for column in columns {
            let mut value = column[place];
            for slot in &mut largest {
                if value > *slot {
                    std::mem::swap(slot, &mut value);
                }
            }
        }
        sum += largest.iter().copied().map(f64::from).sum::<f64>();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written() {
        for text in ["unstructured", "2:4", "1:8", "block:4x1", "block:1x16"] {
            assert_eq!(Structure::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "4:4", "0:4", "2:", "block:0x4", "block:4", "channels", "-1:4"] {
            assert!(Structure::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn groups_lie_along_the_inputs() {
        // Five inputs with two places each.
        let groups: Vec<Vec<usize>> = pattern_groups(10, 2, 4).map(Iterator::collect).collect();
        assert_eq!(groups, [vec![0, 2, 4, 6], vec![8], vec![1, 3, 5, 7], vec![9]]);
    }

    #[test]
    fn what_is_kept_is_the_sum_of_the_largest() {
        let columns: [&[f32]; 3] = [&[1.0, 5.0], &[3.0, 0.0], &[2.0, 4.0]];
        assert_eq!(kept_sum(&columns, 2), 5.0 + 9.0);
        assert_eq!(kept_sum(&columns[..1], 2), 6.0);
    }

    #[test]
    fn the_largest_of_each_group_stay() {
        let saliency = [1.0, 9.0, 3.0, 8.0, 2.0, 7.0, 4.0, 7.0, 0.0, 0.0];
        let mut mask = [true; 10];
        keep_pattern(&saliency, 2, (2, 4), &mut mask);
        let kept: Vec<usize> = (0..10).filter(|index| mask[*index]).collect();
        assert_eq!(kept, [1, 2, 3, 6, 8, 9]);
    }
}
