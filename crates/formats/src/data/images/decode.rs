//! One image: decode, resize, crop.

use std::io::Cursor;
use std::path::Path;

use serde::Deserialize;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::resize::{Filter, resize};

/// Longest side that is decoded.
const MAX_SIDE: usize = 1 << 15;
/// Most pixels that are decoded (three bytes each).
const MAX_PIXELS: usize = 1 << 26;

/// Height and width.
pub(crate) type Size = (usize, usize);

/// Channels of a decoded image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// Red, green, blue; grey images get three equal channels.
    #[default]
    Rgb,
    /// One channel, ITU-R 601 luma: (19595 R + 38470 G + 7471 B + 32768) / 65536, as Pillow's mode `L`.
    Gray,
}

impl Colour {
    /// Number of channels.
    pub(crate) fn channels(self) -> usize {
        match self {
            Colour::Rgb => 3,
            Colour::Gray => 1,
        }
    }
}

/// To which size an image is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resize {
    /// The shorter side to this many pixels, the other in proportion (rounded down).
    Shorter(usize),
    /// Exactly this size.
    Exact(Size),
}

/// What is done to each image after decoding: resize, then crop the centre.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageOptions {
    pub(crate) resize: Option<Resize>,
    pub(crate) crop: Option<Size>,
    pub(crate) colour: Colour,
}

/// What can be wrong with an image.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum ImageError {
    #[error("cannot read it: {0}")]
    Io(#[from] std::io::Error),
    #[error("not a PNG or JPEG image, whatever its name says")]
    Unknown,
    #[error("damaged PNG image: {0}")]
    Png(#[from] png::DecodingError),
    #[error("damaged JPEG image: {0}")]
    Jpeg(String),
    #[error("{height} x {width} pixels are more than is decoded ({MAX_PIXELS} pixels, {MAX_SIDE} a side)")]
    TooLarge { height: usize, width: usize },
    #[error(
        "{height} x {width} pixels are too few to crop {crop_height} x {crop_width}\nhint: set `resize` to the crop \
         size or more"
    )]
    TooSmall {
        height: usize,
        width: usize,
        crop_height: usize,
        crop_width: usize,
    },
    #[error(
        "it is {height} x {width}, other images of the folder are {expected_height} x {expected_width}\nhint: set \
         `crop`, or `resize = [height, width]`, to bring all to one size"
    )]
    OtherSize {
        height: usize,
        width: usize,
        expected_height: usize,
        expected_width: usize,
    },
}

/// A decoded image: bytes in the order height, width, channel.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) size: Size,
    pub(crate) pixels: Vec<u8>,
}

impl Image {
    /// Reads a file and does what the options say.
    pub(crate) fn open(path: &Path, options: &ImageOptions) -> Result<Image, ImageError> {
        Image::decode(&std::fs::read(path)?, options)
    }

    fn decode(bytes: &[u8], options: &ImageOptions) -> Result<Image, ImageError> {
        let image = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            decode_png(bytes, options.colour)?
        } else if bytes.starts_with(&[0xff, 0xd8]) {
            decode_jpeg(bytes, options.colour)?
        } else {
            return Err(ImageError::Unknown);
        };
        let image = match options.resize {
            Some(target) => image.resized(target, options.colour.channels())?,
            None => image,
        };
        match options.crop {
            Some(crop) => image.cropped(crop, options.colour.channels()),
            None => Ok(image),
        }
    }

    fn resized(self, target: Resize, channels: usize) -> Result<Image, ImageError> {
        let (height, width) = self.size;
        let size = match target {
            Resize::Exact(size) => size,
            Resize::Shorter(shorter) if height <= width => (shorter, (shorter * width / height).max(1)),
            Resize::Shorter(shorter) => ((shorter * height / width).max(1), shorter),
        };
        // The first pass makes an image of the old height and the new width.
        check_size(height, size.1)?;
        check_size(size.0, size.1)?;
        Ok(Image {
            size,
            pixels: resize(self.pixels, channels, self.size, size, Filter::Bilinear),
        })
    }

    /// The centre, half a pixel rounded to even as torchvision's `CenterCrop` does.
    fn cropped(self, crop: Size, channels: usize) -> Result<Image, ImageError> {
        let (height, width) = self.size;
        if height < crop.0 || width < crop.1 {
            return Err(ImageError::TooSmall {
                height,
                width,
                crop_height: crop.0,
                crop_width: crop.1,
            });
        }
        let margin = |whole: usize, part: usize| ((whole - part) as f64 / 2.0).round_ties_even() as usize;
        let (top, left) = (margin(height, crop.0), margin(width, crop.1));
        let rows = self.pixels.chunks_exact(width * channels).skip(top).take(crop.0);
        let pixels = rows.flat_map(|row| &row[left * channels..(left + crop.1) * channels]);
        Ok(Image {
            size: crop,
            pixels: pixels.copied().collect(),
        })
    }
}

fn check_size(height: usize, width: usize) -> Result<Size, ImageError> {
    if height.max(width) > MAX_SIDE || height.saturating_mul(width) > MAX_PIXELS {
        return Err(ImageError::TooLarge { height, width });
    }
    Ok((height, width))
}

fn decode_png(bytes: &[u8], colour: Colour) -> Result<Image, ImageError> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info()?;
    let (width, height) = reader.info().size();
    let size = check_size(height as usize, width as usize)?;
    let too_large = ImageError::TooLarge {
        height: size.0,
        width: size.1,
    };
    let mut decoded = vec![0; reader.output_buffer_size().ok_or(too_large)?];
    reader.next_frame(&mut decoded)?;
    // Colour channels and alpha; alpha is dropped.
    let (channels, step) = match reader.output_color_type().0 {
        png::ColorType::Grayscale => (1, 1),
        png::ColorType::GrayscaleAlpha => (1, 2),
        png::ColorType::Rgb | png::ColorType::Indexed => (3, 3),
        png::ColorType::Rgba => (3, 4),
    };
    Ok(Image {
        size,
        pixels: convert(decoded, channels, step, colour),
    })
}

pub(crate) fn decode_jpeg(bytes: &[u8], colour: Colour) -> Result<Image, ImageError> {
    let options = DecoderOptions::default()
        .set_max_width(MAX_SIDE)
        .set_max_height(MAX_SIDE)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let damaged = |problem: zune_jpeg::errors::DecodeErrors| ImageError::Jpeg(problem.to_string());
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let size = check_size(height, width)?;
    let decoded = decoder.decode().map_err(damaged)?;
    if decoded.len() != height * width * 3 {
        return Err(ImageError::Jpeg("it has an unknown colour space".to_owned()));
    }
    Ok(Image {
        size,
        pixels: convert(decoded, 3, 3, colour),
    })
}

/// Turns pixels of `step` bytes, of which the first `channels` are colours, into those asked for.
fn convert(pixels: Vec<u8>, channels: usize, step: usize, colour: Colour) -> Vec<u8> {
    let pixel_iter = || pixels.chunks_exact(step);
    match (colour, channels) {
        (Colour::Rgb, 3) if step == 3 => pixels,
        (Colour::Gray, 1) if step == 1 => pixels,
        (Colour::Rgb, 3) => pixel_iter()
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect(),
        (Colour::Rgb, _) => pixel_iter().flat_map(|pixel| [pixel[0]; 3]).collect(),
        (Colour::Gray, 3) => pixel_iter().map(luma).collect(),
        (Colour::Gray, _) => pixel_iter().map(|pixel| pixel[0]).collect(),
    }
}

fn luma(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_converted() {
        type Case = (&'static [u8], usize, usize, Colour, &'static [u8]);
        let cases: &[Case] = &[
            (&[5], 1, 1, Colour::Rgb, &[5, 5, 5]),
            (&[5, 99], 1, 2, Colour::Gray, &[5]),
            (&[255, 0, 0], 3, 3, Colour::Gray, &[76]),
            (&[9, 9, 9, 0], 3, 4, Colour::Gray, &[9]),
            (&[1, 2, 3, 0], 3, 4, Colour::Rgb, &[1, 2, 3]),
        ];
        for (pixels, channels, step, colour, expected) in cases {
            assert_eq!(convert(pixels.to_vec(), *channels, *step, *colour), *expected);
        }
    }

    #[test]
    fn crops_are_central() {
        let image = |height: usize, width: usize| Image {
            size: (height, width),
            pixels: (0..(height * width) as u8).collect(),
        };
        // Margins 0.5 and 1.5: to even, so 0 and 2.
        let cropped = image(3, 5).cropped((2, 2), 1).unwrap();
        assert_eq!(
            (cropped.size, cropped.pixels.as_slice()),
            ((2, 2), &[2u8, 3, 7, 8][..])
        );
        assert!(matches!(
            image(3, 5).cropped((4, 2), 1),
            Err(ImageError::TooSmall { .. })
        ));
        assert_eq!(image(4, 6).resized(Resize::Shorter(2), 1).unwrap().size, (2, 3));
        assert_eq!(image(7, 4).resized(Resize::Shorter(2), 1).unwrap().size, (3, 2));
    }

    #[test]
    fn thin_images_do_not_explode() {
        let line = |size: Size| Image {
            size,
            pixels: vec![0; size.0 * size.1],
        };
        for (size, target) in [
            ((1, 30_000), Resize::Shorter(16_384)),
            ((30_000, 1), Resize::Exact((1, 16_384))),
        ] {
            let got = line(size).resized(target, 1);
            assert!(matches!(got, Err(ImageError::TooLarge { .. })), "{size:?}");
        }
    }

    #[test]
    fn damaged_images_do_not_panic() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/images");
        let options = ImageOptions::default();
        for name in ["photo.jpg", "palette.png"] {
            let whole = std::fs::read(golden.join(name)).unwrap();
            Image::decode(&whole, &options).unwrap();
            let mut refused = 0;
            for position in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[position] ^= 0xa5;
                refused += usize::from(Image::decode(&flipped, &options).is_err());
                refused += usize::from(Image::decode(&whole[..position], &options).is_err());
            }
            assert!(refused > 100, "{name}: {refused}");
        }
    }
}
