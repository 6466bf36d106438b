//! Connections that give way to others, layer by layer.

use super::choose::largest;

/// The mask after the `count` smallest weights that stay have given way to as many of those that do not, with
/// the largest `growth`. Weights that have just given way may come back at once (Evci et al. 2020, algorithm
/// 1).
pub(super) fn exchange(mask: &[bool], weights: &[f32], growth: &[f32], count: usize) -> Vec<bool> {
    let active = mask.iter().filter(|stays| **stays).count();
    let magnitude = |(stays, weight): (&bool, &f32)| match stays {
        true => weight.abs(),
        false => f32::NEG_INFINITY,
    };
    let magnitudes: Vec<f32> = mask.iter().zip(weights).map(magnitude).collect();
    let mut after = largest(&magnitudes, active - count.min(active));
    let score = |(stays, growth): (&bool, &f32)| match stays {
        true => f32::NEG_INFINITY,
        false => *growth,
    };
    let scores: Vec<f32> = after.iter().zip(growth).map(score).collect();
    let grown = largest(&scores, active - after.iter().filter(|stays| **stays).count());
    after
        .iter_mut()
        .zip(grown)
        .for_each(|(stays, grown)| *stays |= grown);
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_give_way_to_the_largest_growth() {
        let mask = [true, true, true, false, false, false];
        let weights = [0.5, -0.1, 0.2, 0.0, 0.0, 0.0];
        let after = exchange(&mask, &weights, &[9.0, 0.3, 0.1, 0.2, 0.9, 0.4], 2);
        assert_eq!(after, [true, false, false, false, true, true]);
        let back = exchange(&mask, &weights, &[9.0, 0.3, 0.1, 0.2, 0.9, 0.1], 2);
        assert_eq!(
            back,
            [true, true, false, false, true, false],
            "what has given way may come back"
        );
        assert_eq!(exchange(&mask, &weights, &[1.0; 6], 0), mask);
    }
}
