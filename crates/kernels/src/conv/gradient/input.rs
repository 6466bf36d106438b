//! The gradient of the input.
//!
//! Without strides it is the convolution of the output's gradient with the weights turned around. With strides, each
//! residue of the positions is such a convolution with some of the weights (see [`Class`]), so that no product with a
//! zero between the output's elements is computed.

use rayon::prelude::*;

use super::residue::Class;
use super::{Write, check};
use crate::Isa;
use crate::conv::{Epilogue, Geometry, PackedConvolution, Residual};
use crate::scratch::Scratch;
use crate::simd::{Factor, Operand, ProductKernel, Simd};
use half::bf16;

/// `dx = the transpose of the convolution, of dy`: `dx[p, c] = sum of dy[q, o] * weights[o, c, k]` over all `o`, `q` and
/// `k` for which output `q` sees position `p` by element `k` of the kernel.
///
/// # Panics
/// When the slices do not fit `geometry`.
pub fn input(isa: Isa, geometry: &Geometry, dy: &[f32], weights: &[f32], write: Write, dx: &mut [f32]) {
    let convolve = |packed: &PackedConvolution,
                    geometry: &Geometry,
                    dy: &[f32],
                    weights: &[f32],
                    add,
                    dx: &mut [f32]| {
        let epilogue = Epilogue {
            residual: if add { Residual::Output } else { Residual::None },
            ..Epilogue::default()
        };
        packed.run(geometry, dy, weights, epilogue, dx);
    };
    of_type(isa, geometry, dy, weights, write, dx, convolve);
}

/// As [`input`] of BF16 data, with factors of BF16.
///
/// # Panics
/// When the slices do not fit `geometry`.
pub fn input_bf16(
    isa: Isa,
    geometry: &Geometry,
    dy: &[bf16],
    weights: &[f32],
    write: Write,
    dx: &mut [bf16],
) {
    of_type(isa, geometry, dy, weights, write, dx, PackedConvolution::run_bf16);
}

/// By a convolution: of a geometry, dy and weights to dx, to which it is added or not.
fn of_type<T: Factor>(
    isa: Isa,
    geometry: &Geometry,
    dy: &[T],
    weights: &[f32],
    write: Write,
    dx: &mut [T],
    convolve: impl Fn(&PackedConvolution, &Geometry, &[T], &[f32], bool, &mut [T]) + Sync,
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
        let part = Part::new(isa, geometry, class);
        let whole = class.geometry(geometry, geometry.batch);
        let weights = class.weights(geometry, weights);
        return convolve(&part.packed, &whole, dy, &weights, write == Write::Add, dx);
    }
    let zeros = classes.iter().any(Class::is_zero);
    let parts: Vec<(Part, Vec<f32>)> = (classes.iter())
        .filter(|class| !class.is_zero())
        .map(|class| (Part::new(isa, geometry, class), class.weights(geometry, weights)))
        .collect();
    let (image, image_of_dy) = (dx.len() / geometry.batch, dy.len() / geometry.batch);
    dx.par_chunks_mut(image).enumerate().for_each(|(index, dx)| {
        if zeros && write == Write::Replace {
            dx.fill(T::default());
        }
        let dy = &dy[index * image_of_dy..][..image_of_dy];
        for (part, weights) in &parts {
            let mut results = Scratch::take(part.geometry.output_plane() * part.geometry.out_channels);
            convolve(&part.packed, &part.geometry, dy, weights, false, &mut results);
            let spread = Spread {
                part,
                from: &results,
                add: write == Write::Add,
                to: dx,
            };
            T::run(isa, spread);
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
    fn new(isa: Isa, forward: &Geometry, class: &Class) -> Part {
        let geometry = class.geometry(forward, 1);
        let sizes = [geometry.out_channels, geometry.group_channels()];
        let shape = [&sizes, geometry.kernel.as_slice()].concat();
        let dilation = geometry.dilations[geometry.dilations.len() - 1];
        let (pixels, step) = class.row();
        let packed = PackedConvolution::new(isa, &shape, geometry.groups, dilation, None);
        Part {
            packed,
            rows: class.rows(forward),
            geometry,
            pixels,
            step,
        }
    }
}

/// Puts the results of a class where they belong.
struct Spread<'a, T> {
    part: &'a Part,
    from: &'a [T],
    add: bool,
    to: &'a mut [T],
}

impl<T: Factor> ProductKernel<T> for Spread<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd, O: Operand<S, Element = T>>(self) {
        let Part { pixels, step, .. } = *self.part;
        let channels = self.part.geometry.out_channels;
        for &(from, to) in &self.part.rows {
            let from = &self.from[from * channels..][..pixels * channels];
            let to = &mut self.to[to * channels..][..((pixels - 1) * step + 1) * channels];
            for pixel in 0..pixels {
                let from = &from[pixel * channels..][..channels];
                let to = &mut to[pixel * step * channels..][..channels];
                // SAFETY: the caller has the instruction set.
                unsafe { spread::<S, O>(from, self.add, to) };
            }
        }
    }
}

/// Copies or adds elements.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn spread<S: Simd, O: Operand<S>>(from: &[O::Element], add: bool, to: &mut [O::Element]) {
    assert_eq!(from.len(), to.len());
    if !add {
        return to.copy_from_slice(from);
    }
    for at in (0..from.len()).step_by(S::LANES) {
        let count = from.len() - at;
        // SAFETY: `count` elements exist in both slices.
        unsafe {
            let (from, to) = (from.as_ptr().add(at), to.as_mut_ptr().add(at));
            O::store(to, S::add(O::widen(to, count), O::widen(from, count)), count);
        }
    }
}
