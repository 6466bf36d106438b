//! Sums over much work, made in chunks that are added up in order.

use rayon::prelude::*;

use crate::scratch::Scratch;
use crate::vectorize::vectorized;

/// How work is divided: into parts with sums of their own, and into chunks that add to all sums.
pub(super) struct Division {
    /// Sums of each part, which stand one after the other.
    pub(super) parts: Vec<usize>,
    /// Chunks of the work: depends on sizes only, so that results do not depend on the number of threads.
    pub(super) chunks: usize,
}

/// Parts times chunks that are worth having: enough for a number of threads.
pub(super) const TASKS: usize = 16;

/// Sums that a thread adds up at once.
const SEGMENT: usize = 1 << 13;

impl Division {
    /// The sums over all chunks. `work` gets a chunk, a part, and that part's sums of the chunk, which are zero at first.
    pub(super) fn sum(&self, work: impl Fn(usize, usize, &mut [f32]) + Sync) -> Scratch<f32> {
        let len: usize = self.parts.iter().sum();
        let mut sums = Scratch::take(len * self.chunks);
        let mut tasks = Vec::with_capacity(self.chunks * self.parts.len());
        let mut rest = &mut sums[..];
        for chunk in 0..self.chunks {
            for (part, &len) in self.parts.iter().enumerate() {
                let (first, others) = rest.split_at_mut(len);
                tasks.push((chunk, part, first));
                rest = others;
            }
        }
        tasks.into_par_iter().for_each(|(chunk, part, sums)| {
            sums.fill(0.0);
            work(chunk, part, sums);
        });
        let (first, others) = sums.split_at_mut(len);
        first
            .par_chunks_mut(SEGMENT)
            .enumerate()
            .for_each(|(index, first)| {
                for others in others.chunks_exact(len.max(1)) {
                    add(&others[index * SEGMENT..][..first.len()], first);
                }
            });
        sums
    }
}

vectorized! {
    fn add(from: &[f32], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to += *from;
        }
    }
}
