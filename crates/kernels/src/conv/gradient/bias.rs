//! The gradient of the bias.

use super::Write;
use super::sums::{Division, TASKS};
use crate::vectorize::vectorized;

/// Pixels that are added up one by one: sums of sums lose fewer digits than one long sum.
const SUMMED: usize = 64;
/// Fewer elements are not worth a chunk.
const CHUNK: usize = 1 << 14;

/// `db[o] = sum of dy[q, o]` over all pixels of all images; `dy` is `[pixels, channels]`, with as many channels as `db`.
///
/// # Panics
/// When `dy` does not have whole pixels.
pub fn bias(dy: &[f32], write: Write, db: &mut [f32]) {
    let channels = db.len();
    if channels == 0 {
        return assert!(dy.is_empty(), "a bias for each channel");
    }
    assert!(dy.len().is_multiple_of(channels), "whole pixels");
    let pixels = dy.len() / channels;
    let division = Division {
        parts: vec![channels],
        chunks: (dy.len() / CHUNK).clamp(1, TASKS),
    };
    let sums = division.sum(|chunk, _, sums| {
        let (first, end) = (
            pixels * chunk / division.chunks,
            pixels * (chunk + 1) / division.chunks,
        );
        let mut part = vec![0.0; channels];
        for dy in dy[first * channels..end * channels].chunks(SUMMED * channels) {
            add_pixels(dy, &mut part, sums);
        }
    });
    for (db, &sum) in db.iter_mut().zip(&sums[..channels]) {
        *db = match write {
            Write::Replace => sum,
            Write::Add => *db + sum,
        };
    }
}

vectorized! {
    fn add_pixels(dy: &[f32], part: &mut [f32], sums: &mut [f32]) {
        part.fill(0.0);
        for dy in dy.chunks_exact(part.len()) {
            for (part, dy) in part.iter_mut().zip(dy) {
                *part += *dy;
            }
        }
        for (sum, part) in sums.iter_mut().zip(part.iter()) {
            *sum += *part;
        }
    }
}
