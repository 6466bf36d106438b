//! Images stored with less room.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::{Change, Corruption, Pixels, Strength, level};
use crate::data::images::{Colour, Filter, decode_jpeg, resize};

pub(super) const JPEG: Corruption = Corruption {
    name: "jpeg",
    family: "digital",
    summary: "JPEG of quality 80 to 40, colours at half the resolution",
    make: jpeg,
};

pub(super) const PIXELATE: Corruption = Corruption {
    name: "pixelate",
    family: "digital",
    summary: "0.95 to 0.65 of the pixels of each side",
    make: pixelate,
};

/// Where there is no colour, each channel is a grey image.
fn jpeg(strength: Strength) -> Change {
    let quality = strength.of([80, 65, 58, 50, 40]);
    Box::new(move |pixels, _| {
        if pixels.channels == 3 {
            pixels.levels = through_jpeg(pixels, &with_mean_colours(pixels), ColorType::Ycbcr, quality);
            return;
        }
        for channel in 0..pixels.channels {
            let plane: Vec<u8> = pixels
                .levels
                .iter()
                .skip(channel)
                .step_by(pixels.channels)
                .copied()
                .collect();
            let coded = through_jpeg(pixels, &plane, ColorType::Luma, quality);
            let levels = pixels.levels.iter_mut().skip(channel).step_by(pixels.channels);
            levels.zip(coded).for_each(|(value, coded)| *value = coded);
        }
    })
}

/// Encodes and decodes levels of an image of this size.
fn through_jpeg(pixels: &Pixels, levels: &[u8], colours: ColorType, quality: u8) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    let side = |size: usize| u16::try_from(size).expect("sides are checked when the corruption is made");
    encoder
        .encode(levels, side(pixels.width), side(pixels.height), colours)
        .expect("writing to memory does not fail");
    let colour = if colours == ColorType::Ycbcr {
        Colour::Rgb
    } else {
        Colour::Gray
    };
    decode_jpeg(&file, colour)
        .expect("an image that was just encoded")
        .pixels
}

/// Luma and the two colours (JFIF) of each pixel, colours the mean of two by two pixels: of these the encoder takes one.
fn with_mean_colours(pixels: &Pixels) -> Vec<u8> {
    let (height, width) = (pixels.height, pixels.width);
    let of = |pixel: usize| {
        let [red, green, blue] = [0, 1, 2].map(|channel| f64::from(pixels.levels[3 * pixel + channel]));
        let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
        [luma, 128.0 + (blue - luma) / 1.772, 128.0 + (red - luma) / 1.402]
    };
    let mut changed = vec![0; pixels.levels.len()];
    for (top, left) in (0..height)
        .step_by(2)
        .flat_map(|top| (0..width).step_by(2).map(move |left| (top, left)))
    {
        let rows = top..(top + 2).min(height);
        let block: Vec<usize> = rows
            .flat_map(|row| (left..(left + 2).min(width)).map(move |column| row * width + column))
            .collect();
        let mean =
            |part: usize| level(block.iter().map(|pixel| of(*pixel)[part]).sum::<f64>() / block.len() as f64);
        let colours = [mean(1), mean(2)];
        for pixel in &block {
            changed[3 * pixel] = level(of(*pixel)[0]);
            changed[3 * pixel + 1..][..2].copy_from_slice(&colours);
        }
    }
    changed
}

/// Fewer pixels, and as many as before again, each the mean of what it covers.
fn pixelate(strength: Strength) -> Change {
    let share = strength.of([0.95, 0.9, 0.85, 0.75, 0.65]);
    Box::new(move |pixels, _| {
        let fewer = |side: usize| ((side as f64 * share) as usize).max(1);
        let size = (pixels.height, pixels.width);
        let small = (fewer(size.0), fewer(size.1));
        let levels = std::mem::take(&mut pixels.levels);
        let levels = resize(levels, pixels.channels, size, small, Filter::Box);
        pixels.levels = resize(levels, pixels.channels, small, size, Filter::Box);
    })
}
