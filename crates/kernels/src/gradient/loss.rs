//! Gradients of the negative log-likelihood.

use rayon::prelude::*;

use crate::real::Real;

/// What a position of the targets asks for: the class and the factor of its gradient; `None` where it is ignored.
pub type Target<T> = Option<(usize, T)>;

/// With respect to log-probabilities: `-factor` at each target's class, else 0. `dx` is `[batch, classes, positions]`.
///
/// # Panics
/// When there is not a target for each position, or a class does not exist.
pub fn log_likelihood<T: Real>(targets: &[Target<T>], classes: usize, positions: usize, dx: &mut [T]) {
    for_samples(targets, classes, positions, dx, |targets, dx| {
        dx.fill(T::ZERO);
        subtract(targets, positions, dx);
    });
}

/// With respect to the scores that a softmax was taken of: `factor * (probability - (1 at the class, else 0))`.
///
/// # Panics
/// As [`log_likelihood`].
pub fn cross_entropy<T: Real>(
    log_probabilities: &[T],
    targets: &[Target<T>],
    classes: usize,
    positions: usize,
    dx: &mut [T],
) {
    assert_eq!(log_probabilities.len(), dx.len(), "a gradient for each score");
    dx.copy_from_slice(log_probabilities);
    for_samples(targets, classes, positions, dx, |targets, dx| {
        for dx in dx.chunks_exact_mut(positions) {
            for (dx, target) in dx.iter_mut().zip(targets) {
                *dx = target.map_or(T::ZERO, |(_, factor)| dx.exp() * factor);
            }
        }
        subtract(targets, positions, dx);
    });
}

fn subtract<T: Real>(targets: &[Target<T>], positions: usize, dx: &mut [T]) {
    for (position, target) in targets.iter().enumerate() {
        if let Some((class, factor)) = target {
            let dx = &mut dx[class * positions + position];
            *dx = *dx - *factor;
        }
    }
}

fn for_samples<T: Real>(
    targets: &[Target<T>],
    classes: usize,
    positions: usize,
    dx: &mut [T],
    work: impl Fn(&[Target<T>], &mut [T]) + Sync,
) {
    assert_eq!(
        Some(dx.len()),
        targets.len().checked_mul(classes),
        "a target for each position"
    );
    if dx.is_empty() {
        return;
    }
    dx.par_chunks_mut(classes * positions)
        .zip(targets.par_chunks(positions))
        .for_each(|(dx, targets)| work(targets, dx));
}
