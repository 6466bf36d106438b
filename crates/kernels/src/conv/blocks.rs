//! [`Blocks`]: the order of weights when the channels come last.

/// Most vectors of output channels in a block.
pub(crate) const WIDEST: usize = 4;

/// Weights `[group][block][run][step][vector of the block][lane][element of the step]`, zeros where there is none: a
/// block has one to four vectors of output channels, whose sums a kernel keeps in registers for a few pixels.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    pub(crate) groups: usize,
    /// Output channels of a group.
    pub(crate) filters: usize,
    /// Input channels of a group.
    pub(crate) channels: usize,
    /// Output channels of a vector.
    pub(crate) lanes: usize,
    /// Elements that stand next to each other in a lane.
    pub(crate) depth: usize,
    /// Steps of a run.
    pub(crate) steps: usize,
    pub(crate) runs: usize,
    /// A run goes over the last dimension of the kernel too.
    pub(crate) merged: bool,
}

/// One block.
pub(crate) struct Block {
    pub(crate) group: usize,
    /// The first vector, counted over all groups.
    pub(crate) vector: usize,
    /// Vectors of the block.
    pub(crate) width: usize,
    /// The first filter within the group, and how many there are.
    pub(crate) filter: usize,
    pub(crate) filters: usize,
}

impl Blocks {
    /// For weights of shape `[out_channels, channels of a group, kernel...]`.
    pub(crate) fn new(shape: &[usize], groups: usize, dilation: usize, lanes: usize, depth: usize) -> Blocks {
        let (channels, kernel) = (shape[1], &shape[2..]);
        let taps: usize = kernel.iter().product();
        let last = kernel[kernel.len() - 1];
        let merged = groups == 1 && dilation == 1;
        let run = if merged { channels * last } else { channels };
        Blocks {
            groups,
            filters: shape[0] / groups,
            channels,
            lanes,
            depth,
            steps: run.div_ceil(depth),
            runs: if merged { taps / last.max(1) } else { taps },
            merged,
        }
    }

    /// Weights in this order, from the order of the shape.
    pub(crate) fn pack<T: Copy + Default>(&self, weights: &[T], shape: &[usize]) -> Vec<T> {
        let taps: usize = shape[2..].iter().product();
        let last = shape[shape.len() - 1];
        let mut packed = vec![T::default(); self.groups * self.vectors() * self.vector_len()];
        for (out, filter) in weights.chunks_exact((self.channels * taps).max(1)).enumerate() {
            let (first, stride) = self.place(out);
            for tap in 0..taps {
                let (run, start) = self.run_of(tap, last);
                for (channel, &weight) in filter[tap..].iter().step_by(taps).enumerate() {
                    let (step, within) = self.step_of(start + channel);
                    packed[first + (run * self.steps + step) * stride + within] = weight;
                }
            }
        }
        packed
    }

    /// The run of a tap, and where its first channel is in the run; `last` is the kernel's size along the last dimension.
    fn run_of(&self, tap: usize, last: usize) -> (usize, usize) {
        match self.merged {
            true => (tap / last, tap % last * self.channels),
            false => (tap, 0),
        }
    }

    /// The step of an element of a run, and its place within the step.
    fn step_of(&self, at: usize) -> (usize, usize) {
        match self.depth {
            1 => (at, 0),
            depth => (at / depth, at % depth),
        }
    }

    /// The inverse of [`Blocks::pack`] for steps of one element, for one filter: adds to it, or replaces it.
    pub(crate) fn unpack(
        &self,
        packed: &[f32],
        out: usize,
        last: usize,
        accumulate: bool,
        filter: &mut [f32],
    ) {
        let (first, stride) = self.place(out);
        let taps = filter.len() / self.channels.max(1);
        for tap in 0..taps {
            let (run, start) = self.run_of(tap, last);
            let from = &packed[first + (run * self.steps + start) * stride..];
            for (weight, &value) in filter[tap..]
                .iter_mut()
                .step_by(taps)
                .zip(from.iter().step_by(stride))
            {
                *weight = if accumulate { *weight + value } else { value };
            }
        }
    }

    /// Where the first weight of a filter lies, and the distance from step to step.
    fn place(&self, out: usize) -> (usize, usize) {
        let (group, filter) = (out / self.filters, out % self.filters);
        let vector = filter / self.lanes;
        let (first, width) = self
            .blocks()
            .find(|(first, width)| vector < first + width)
            .unwrap_or((0, 1));
        let block = (group * self.vectors() + first) * self.vector_len();
        let lane = (vector - first) * self.lanes + filter % self.lanes;
        (block + lane * self.depth, width * self.lanes * self.depth)
    }

    /// Vectors of output channels in a group.
    pub(crate) fn vectors(&self) -> usize {
        self.filters.div_ceil(self.lanes)
    }

    /// Weights of one vector of output channels.
    pub(crate) fn vector_len(&self) -> usize {
        self.runs * self.steps * self.lanes * self.depth
    }

    /// First vector and number of vectors of each block; about equal, because narrow blocks cost more for each channel.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let vectors = self.vectors();
        // With vectors of 16 lanes there are 32 registers, with others 16.
        let widest = if self.lanes == 16 { WIDEST } else { WIDEST / 2 };
        let count = vectors.div_ceil(widest);
        (0..count).map(move |block| {
            let (first, end) = (vectors * block / count, vectors * (block + 1) / count);
            (first, end - first)
        })
    }

    /// One number for each lane of all vectors.
    pub(crate) fn arrange<T: Copy + Default>(&self, values: &[T]) -> Vec<T> {
        let row = self.vectors() * self.lanes;
        let mut lanes = vec![T::default(); self.groups * row];
        for (lanes, values) in
            (lanes.chunks_exact_mut(row.max(1))).zip(values.chunks_exact(self.filters.max(1)))
        {
            lanes[..self.filters].copy_from_slice(values);
        }
        lanes
    }

    /// Every block of every group.
    pub(crate) fn each(&self) -> impl Iterator<Item = Block> {
        let groups = (0..self.groups).flat_map(|group| self.blocks().map(move |block| (group, block)));
        groups.map(|(group, (first, width))| {
            let filter = first * self.lanes;
            Block {
                group,
                vector: group * self.vectors() + first,
                width,
                filter,
                filters: (self.filters - filter).min(width * self.lanes),
            }
        })
    }
}
