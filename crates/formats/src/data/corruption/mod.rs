//! Images as they come from worse cameras: the corruptions of Hendrycks and Dietterich 2019, with the strengths of their CIFAR-10-C
//! (`make_cifar_c.py` of `hendrycks/robustness`), made for images of about 32 pixels a side. On larger images blur and pixels of
//! the same strength are milder.
//!
//! Stored pixels are corrupted, before they are scaled and normalized, as levels 0 to 255 like those of an image file. Results are
//! rounded to levels (the original cuts fractions off).

mod apply;
mod blur;
mod digital;
mod light;
mod noise;

use bantam_tensor::SplitMix64;

pub(crate) use apply::Corruptor;

/// What images can suffer.
pub struct Corruption {
    /// The name that users write.
    pub name: &'static str,
    /// The name for all of its kind: `noise`, `blur`, `light`, `digital`.
    pub family: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// Makes the change of a strength.
    make: fn(Strength) -> Change,
}

impl std::fmt::Debug for Corruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Every corruption.
pub static CORRUPTIONS: &[Corruption] = &[
    noise::GAUSSIAN_NOISE,
    noise::SHOT_NOISE,
    blur::GAUSSIAN_BLUR,
    blur::DEFOCUS_BLUR,
    light::CONTRAST,
    light::BRIGHTNESS,
    digital::JPEG,
    digital::PIXELATE,
];

/// How strong a corruption is: 1 to 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strength(u8);

impl Strength {
    /// All five.
    pub const ALL: [Strength; 5] = [Strength(1), Strength(2), Strength(3), Strength(4), Strength(5)];

    /// `None` unless it is 1 to 5.
    pub fn new(strength: usize) -> Option<Strength> {
        Strength::ALL.get(strength.checked_sub(1)?).copied()
    }

    /// 1 to 5.
    pub fn get(self) -> usize {
        usize::from(self.0)
    }

    /// What a table of constants has for it.
    fn of<T: Copy>(self, constants: [T; 5]) -> T {
        constants[usize::from(self.0) - 1]
    }
}

/// The corruptions of a name: one, a family, or `all`; `None` if there is no such name.
pub fn corruptions_by_name(name: &str) -> Option<Vec<&'static Corruption>> {
    let is_meant =
        |corruption: &&Corruption| name == "all" || corruption.name == name || corruption.family == name;
    let found: Vec<&Corruption> = CORRUPTIONS.iter().filter(is_meant).collect();
    (!found.is_empty()).then_some(found)
}

/// An image of levels 0 to 255, in the order row, column, channel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pixels {
    height: usize,
    width: usize,
    channels: usize,
    levels: Vec<u8>,
}

/// Changes an image, with random numbers of its own.
type Change = Box<dyn Fn(&mut Pixels, &mut SplitMix64) + Send + Sync>;

/// The nearest level.
fn level(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests;
