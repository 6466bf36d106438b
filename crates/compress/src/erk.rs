//! The Erdős–Rényi kernel: how much of each weight stays, by its sizes.

/// The share of each weight that stays, by their shapes: proportional to the sum of its sizes over their product (Evci et al. 2020,
/// section 3), at most all, so that the share `density` of all elements stays.
pub(crate) fn densities(shapes: &[&[usize]], density: f64) -> Vec<f64> {
    let count = |shape: &[usize]| shape.iter().product::<usize>() as f64;
    let raw: Vec<f64> = (shapes.iter())
        .map(|shape| shape.iter().sum::<usize>() as f64 / count(shape))
        .collect();
    let total: f64 = shapes.iter().map(|shape| count(shape)).sum();
    let mut dense = vec![false; shapes.len()];
    loop {
        let (mut budget, mut weighted) = (density * total, 0.0);
        for (index, shape) in shapes.iter().enumerate() {
            match dense[index] {
                true => budget -= count(shape),
                false => weighted += raw[index] * count(shape),
            }
        }
        let factor = if weighted > 0.0 {
            (budget / weighted).max(0.0)
        } else {
            0.0
        };
        let over: Vec<usize> = (0..shapes.len())
            .filter(|index| !dense[*index] && factor * raw[*index] > 1.0)
            .collect();
        if over.is_empty() {
            let share = |index: usize| if dense[index] { 1.0 } else { factor * raw[index] };
            return (0..shapes.len()).map(share).collect();
        }
        over.into_iter().for_each(|index| dense[index] = true);
    }
}
