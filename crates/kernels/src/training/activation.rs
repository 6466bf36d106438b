//! Gradients of bounds: Relu and Clip.

use crate::chunks::for_chunks;
use crate::conv::gradient::Write;
use crate::vectorize::vectorized;

/// The gradient of `y = clamp(x, low, high)`: that of the output where `low < x < high`, else zero; for Relu `low` is 0 and
/// `high` infinity. `x` may as well be the output, which lies strictly within the bounds where the input does.
///
/// # Panics
/// When the slices differ in length.
pub fn clip(dy: &[f32], x: &[f32], [low, high]: [f32; 2], write: Write, dx: &mut [f32]) {
    assert!(
        dy.len() == dx.len() && x.len() == dx.len(),
        "a gradient for each element"
    );
    for_chunks(dx, |start, dx| {
        let range = start..start + dx.len();
        clip_part(&dy[range.clone()], &x[range], low, high, write == Write::Add, dx);
    });
}

vectorized! {
    fn clip_part(dy: &[f32], x: &[f32], low: f32, high: f32, add: bool, dx: &mut [f32]) {
        for ((dx, dy), x) in dx.iter_mut().zip(dy).zip(x) {
            let before = if add { *dx } else { 0.0 };
            let passed = if (*x > low) & (*x < high) { *dy } else { 0.0 };
            *dx = before + passed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::tests::Random;

    #[test]
    fn gradients_pass_within_the_bounds() {
        let mut random = Random(1);
        for count in [0, 1, 37, 200_000] {
            let (dy, before) = (random.values(count), random.values(count));
            let x: Vec<f32> = random
                .values(count)
                .iter()
                .map(|x| (x * 4.0).round() / 4.0)
                .collect();
            for [low, high] in [[0.0, f32::INFINITY], [-0.25, 0.5]] {
                let y: Vec<f32> = x.iter().map(|x| x.clamp(low, high)).collect();
                for seen in [&x, &y] {
                    let (mut dx, mut added) = (vec![f32::NAN; count], before.clone());
                    clip(&dy, seen, [low, high], Write::Replace, &mut dx);
                    clip(&dy, seen, [low, high], Write::Add, &mut added);
                    for i in 0..count {
                        let expected = if x[i] <= low || x[i] >= high { 0.0 } else { dy[i] };
                        assert_eq!(dx[i], expected);
                        assert_eq!(added[i], before[i] + expected);
                    }
                }
            }
        }
    }
}
