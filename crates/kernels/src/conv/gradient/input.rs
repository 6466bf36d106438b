//! The gradient of the input.
//!
//! Without strides it is the convolution of the output's gradient with the weights turned around. With strides, each
//! residue of the positions is such a convolution with some of the weights (see [`Class`]), so that no product with a
//! zero between the output's elements is computed.

use rayon::prelude::*;

use super::residue::Class;
use super::{Write, check};
use crate::conv::{Epilogue, Geometry, PackedConvolution, Residual};
use crate::scratch::Scratch;
use crate::simd::{Kernel, Simd, run};
use crate::{Isa, Precision};

/// `dx = the transpose of the convolution, of dy`: `dx[p, c] = sum of dy[q, o] * weights[o, c, k]` over all `o`, `q` and
/// `k` for which output `q` sees position `p` by element `k` of the kernel, with factors of this precision.
///
/// # Panics
/// When the slices do not fit `geometry`.
pub fn input(
    isa: Isa,
    precision: Precision,
    geometry: &Geometry,
    dy: &[f32],
    weights: &[f32],
    write: Write,
    dx: &mut [f32],
) {
    check(geometry, dx.len(), weights.len(), dy.len());
    if dx.is_empty() {
        return;
    }
    let classes = Class::all(geometry);
    if let [class] = classes.as_slice()
        && class.is_everything()
        && !class.is_zero()
    {
        let part = Part::new(isa, precision, geometry, class);
        let epilogue = Epilogue {
            residual: match write {
                Write::Replace => Residual::None,
                Write::Add => Residual::Output,
            },
            ..Epilogue::default()
        };
        let whole = class.geometry(geometry, geometry.batch);
        let weights = class.weights(geometry, weights);
        return part.packed.run(&whole, dy, &weights, epilogue, dx);
    }
    let zeros = classes.iter().any(Class::is_zero);
    let parts: Vec<(Part, Vec<f32>)> = (classes.iter())
        .filter(|class| !class.is_zero())
        .map(|class| (Part::new(isa, precision, geometry, class), class.weights(geometry, weights)))
        .collect();
    let (image, image_of_dy) = (dx.len() / geometry.batch, dy.len() / geometry.batch);
    dx.par_chunks_mut(image).enumerate().for_each(|(index, dx)| {
        if zeros && write == Write::Replace {
            dx.fill(0.0);
        }
        let dy = &dy[index * image_of_dy..][..image_of_dy];
        for (part, weights) in &parts {
            part.run(isa, dy, weights, write, dx);
        }
    });
}

/// A class with what it needs for each image.
struct Part {
    packed: PackedConvolution,
    /// Of one image.
    geometry: Geometry,
    rows: Vec<(usize, usize)>,
    pixels: usize,
    step: usize,
}

impl Part {
    fn new(isa: Isa, precision: Precision, forward: &Geometry, class: &Class) -> Part {
        let geometry = class.geometry(forward, 1);
        let sizes = [geometry.out_channels, geometry.group_channels()];
        let shape = [&sizes, geometry.kernel.as_slice()].concat();
        let dilation = geometry.dilations[geometry.dilations.len() - 1];
        let (pixels, step) = class.row();
        let packed = PackedConvolution::new(isa, &shape, geometry.groups, dilation, None);
        Part {
            packed: packed.with_precision(precision),
            rows: class.rows(forward),
            geometry,
            pixels,
            step,
        }
    }

    fn run(&self, isa: Isa, dy: &[f32], weights: &[f32], write: Write, dx: &mut [f32]) {
        let channels = self.geometry.out_channels;
        let mut results = Scratch::take(self.geometry.output_plane() * channels);
        self.packed
            .run(&self.geometry, dy, weights, Epilogue::default(), &mut results);
        let job = Spread {
            part: self,
            from: &results,
            add: write == Write::Add,
            to: dx,
        };
        run(isa, job);
    }
}

/// Puts the results of a class where they belong.
struct Spread<'a> {
    part: &'a Part,
    from: &'a [f32],
    add: bool,
    to: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Part { pixels, step, .. } = *self.part;
        let channels = self.part.geometry.out_channels;
        for &(from, to) in &self.part.rows {
            let from = &self.from[from * channels..][..pixels * channels];
            let to = &mut self.to[to * channels..][..((pixels - 1) * step + 1) * channels];
            for pixel in 0..pixels {
                let from = &from[pixel * channels..][..channels];
                let to = &mut to[pixel * step * channels..][..channels];
                // SAFETY: the caller has the instruction set.
                unsafe { spread::<S>(from, self.add, to) };
            }
        }
    }
}

/// Copies or adds elements.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn spread<S: Simd>(from: &[f32], add: bool, to: &mut [f32]) {
    assert_eq!(from.len(), to.len());
    let mut at = 0;
    // SAFETY: vectors lie in both slices, the last one as far as it is read and written.
    unsafe {
        while at < from.len() {
            let count = (from.len() - at).min(S::LANES);
            let (from, to) = (from.as_ptr().add(at), to.as_mut_ptr().add(at));
            if count == S::LANES {
                let value = S::load(from);
                S::store(to, if add { S::add(S::load(to), value) } else { value });
            } else {
                let value = S::load_first(from, count);
                let value = if add {
                    S::add(S::load_first(to, count), value)
                } else {
                    value
                };
                S::store_first(to, value, count);
            }
            at += count;
        }
    }
}
