//! Noise of sensors. Functions of `libm` give the same numbers on every machine.

use bantam_tensor::SplitMix64;

use super::{Change, Corruption, Strength, level};

pub(super) const GAUSSIAN_NOISE: Corruption = Corruption {
    name: "gaussian-noise",
    family: "noise",
    summary: "normal noise, deviation 0.04 to 0.10 of the range",
    make: gaussian,
};

pub(super) const SHOT_NOISE: Corruption = Corruption {
    name: "shot-noise",
    family: "noise",
    summary: "Poisson noise of 500 to 50 quanta at the brightest level",
    make: shot,
};

fn gaussian(strength: Strength) -> Change {
    let deviation = 255.0 * strength.of([0.04, 0.06, 0.08, 0.09, 0.10]);
    Box::new(move |pixels, random| {
        for pair in pixels.levels.chunks_mut(2) {
            let noise = normal_pair(random);
            for (value, noise) in pair.iter_mut().zip(noise) {
                *value = level(f64::from(*value) + deviation * noise);
            }
        }
    })
}

/// Two independent normal numbers (Box and Muller 1958).
fn normal_pair(random: &mut SplitMix64) -> [f64; 2] {
    // Above zero, so that its logarithm is finite.
    let radius = (-2.0 * libm::log(1.0 - unit(random))).sqrt();
    let (sine, cosine) = libm::sincos(std::f64::consts::TAU * unit(random));
    [radius * cosine, radius * sine]
}

/// From 0 to below 1, a multiple of 2^-53.
fn unit(random: &mut SplitMix64) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

fn shot(strength: Strength) -> Change {
    let quanta: f64 = strength.of([500.0, 250.0, 100.0, 75.0, 50.0]);
    let counts: Vec<Vec<f64>> = (0..=255u8)
        .map(|value| poisson(f64::from(value) / 255.0 * quanta))
        .collect();
    Box::new(move |pixels, random| {
        for value in &mut pixels.levels {
            let drawn = unit(random);
            let count = counts[usize::from(*value)].partition_point(|share| *share <= drawn);
            *value = level(count as f64 / quanta * 255.0);
        }
    })
}

/// How likely a Poisson number of this mean (at most 500) is 0, at most 1, at most 2 ..., up to where floats end.
fn poisson(mean: f64) -> Vec<f64> {
    let last = (mean + 10.0 * mean.sqrt() + 20.0) as usize;
    let (mut term, mut sum) = (libm::exp(-mean), 0.0);
    let share = |count: usize| {
        sum += term;
        term *= mean / (count + 1) as f64;
        sum
    };
    (0..last).map(share).collect()
}
