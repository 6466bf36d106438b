//! Other light.

use super::{Change, Corruption, Strength, level};

pub(super) const CONTRAST: Corruption = Corruption {
    name: "contrast",
    family: "light",
    summary: "levels nearer to the image's mean: 0.75 to 0.15 of the distance",
    make: contrast,
};

pub(super) const BRIGHTNESS: Corruption = Corruption {
    name: "brightness",
    family: "light",
    summary: "0.05 to 0.3 of the range added to the value of each colour (HSV)",
    make: brightness,
};

fn contrast(strength: Strength) -> Change {
    let share = strength.of([0.75, 0.5, 0.4, 0.3, 0.15]);
    Box::new(move |pixels, _| {
        let count = (pixels.height * pixels.width) as f64;
        for channel in 0..pixels.channels {
            let levels = || pixels.levels.iter().skip(channel).step_by(pixels.channels);
            let mean = levels().map(|value| f64::from(*value)).sum::<f64>() / count;
            for value in pixels.levels.iter_mut().skip(channel).step_by(pixels.channels) {
                *value = level((f64::from(*value) - mean) * share + mean);
            }
        }
    })
}

/// Hue and saturation stay when all of a colour's levels grow by the same factor. Where there are not three channels, each is a grey
/// of its own.
fn brightness(strength: Strength) -> Change {
    let added = 255.0 * strength.of([0.05, 0.1, 0.15, 0.2, 0.3]);
    Box::new(move |pixels, _| {
        let colour = if pixels.channels == 3 { 3 } else { 1 };
        for pixel in pixels.levels.chunks_exact_mut(colour) {
            let value = f64::from(pixel.iter().copied().max().unwrap_or(0));
            let brighter = (value + added).min(255.0);
            for level_ in pixel {
                *level_ = match value {
                    0.0 => level(brighter),
                    value => level(f64::from(*level_) * brighter / value),
                };
            }
        }
    })
}
