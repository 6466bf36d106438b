//! Which weights stay.

use std::cmp::Ordering;

use super::layers::Layer;

/// Marks those with the `count` largest scores; of equal ones the first. Numbers that are none come last.
pub(super) fn largest(scores: &[f32], count: usize) -> Vec<bool> {
    let mut mask = vec![false; scores.len()];
    if count >= scores.len() {
        mask.fill(true);
        return mask;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let before = |a: &usize, b: &usize| descending(scores[*a], scores[*b]).then(a.cmp(b));
    order.select_nth_unstable_by(count, before);
    order[..count].iter().for_each(|&index| mask[index] = true);
    mask
}

fn descending(a: f32, b: f32) -> Ordering {
    let known = |score: f32| if score.is_nan() { f32::NEG_INFINITY } else { score };
    known(b).total_cmp(&known(a))
}

/// The same over several lists together.
pub(super) fn largest_of_all(scores: &[Vec<f32>], count: usize) -> Vec<Vec<bool>> {
    let mut mask = largest(&scores.concat(), count).into_iter();
    scores
        .iter()
        .map(|scores| mask.by_ref().take(scores.len()).collect())
        .collect()
}

/// Marks the `stay` largest of each `of` scores along the layer's inputs.
pub(super) fn pattern(layer: &Layer, scores: &[f32], stay: usize, of: usize) -> Vec<bool> {
    let axis = layer.input_axis.expect("patterns are checked before");
    let stride: usize = layer.shape[axis + 1..].iter().product();
    let block = stride * of;
    let mut mask = vec![false; scores.len()];
    for start in (0..scores.len()).step_by(block.max(1)) {
        for offset in 0..stride {
            let place = |index: usize| start + offset + index * stride;
            let group: Vec<f32> = (0..of).map(|index| scores[place(index)]).collect();
            for (index, stays) in largest(&group, stay).into_iter().enumerate() {
                mask[place(index)] = stays;
            }
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_scores_stays() {
        assert_eq!(
            largest(&[1.0, 2.0, 2.0, f32::NAN, 2.0], 2),
            [false, true, true, false, false]
        );
        assert_eq!(largest(&[1.0, f32::NAN], 2), [true, true]);
        let masks = largest_of_all(&[vec![3.0, 0.0], vec![1.0, 2.0, -1.0]], 3);
        assert_eq!(masks, [vec![true, false], vec![true, true, false]]);
    }

    #[test]
    fn patterns_run_along_inputs() {
        let layer = |shape: &[usize], axis| Layer {
            parameter: 0,
            name: String::new(),
            shape: shape.to_vec(),
            input_axis: Some(axis),
        };
        let scores: Vec<f32> = [4, 1, 3, 2, 9, 0, 1, 7, 5, 6, 8, 2, 3, 3, 4, 4]
            .map(|score| score as f32)
            .to_vec();
        let rows = pattern(&layer(&[4, 4], 1), &scores, 2, 4);
        let columns = pattern(&layer(&[4, 4], 0), &scores, 1, 2);
        let conv = pattern(&layer(&[2, 4, 1, 2], 1), &scores, 2, 4);
        let marks = |mask: &[bool]| {
            mask.iter()
                .map(|stays| if *stays { '1' } else { '0' })
                .collect::<String>()
        };
        assert_eq!(marks(&rows), "1010100101100011");
        assert_eq!(marks(&columns), "0110100111100001");
        assert_eq!(marks(&conv), "1001100111100001");
    }
}
