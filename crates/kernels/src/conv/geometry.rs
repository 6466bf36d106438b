//! [`Geometry`]: the sizes of a convolution.

/// The sizes of a convolution over any number (at least one) of spatial dimensions: input `[batch, channels, input...]`,
/// weights `[out_channels, channels / groups, kernel...]`, output `[batch, out_channels, output...]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Number of images.
    pub batch: usize,
    /// Channels of the input, in all groups together.
    pub channels: usize,
    /// Channels of the output, in all groups together.
    pub out_channels: usize,
    /// Output channels of a group see only the input channels of the same group. At least 1.
    pub groups: usize,
    /// Spatial size of the input.
    pub input: Vec<usize>,
    /// Spatial size of the kernel.
    pub kernel: Vec<usize>,
    /// Steps of the window, at least 1.
    pub strides: Vec<usize>,
    /// Steps between the elements that the kernel sees, at least 1.
    pub dilations: Vec<usize>,
    /// Zeros before the first element; those after the last one follow from `output`.
    pub pads: Vec<usize>,
    /// Spatial size of the output.
    pub output: Vec<usize>,
}

impl Geometry {
    /// Windows of one element over so many rows of channels: a matrix product.
    pub fn rows(rows: usize, channels: usize, out_channels: usize) -> Geometry {
        Geometry {
            batch: 1,
            channels,
            out_channels,
            groups: 1,
            input: vec![rows],
            kernel: vec![1],
            strides: vec![1],
            dilations: vec![1],
            pads: vec![0],
            output: vec![rows],
        }
    }

    /// Input channels of one group.
    pub fn group_channels(&self) -> usize {
        self.channels / self.groups
    }

    /// Output channels of one group.
    pub fn group_out_channels(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Elements of one channel of the input.
    pub fn input_plane(&self) -> usize {
        self.input.iter().product()
    }

    /// Elements of one channel of the output.
    pub fn output_plane(&self) -> usize {
        self.output.iter().product()
    }

    /// Products for one output element.
    pub fn taps(&self) -> usize {
        self.group_channels() * self.kernel.iter().product::<usize>()
    }

    /// Whether slices of these lengths hold the input, the weights and the output, and all lists have one length.
    pub fn fits(&self, x: usize, weights: usize, y: usize) -> bool {
        let rank = self.input.len();
        let lists = [
            &self.kernel,
            &self.strides,
            &self.dilations,
            &self.pads,
            &self.output,
        ];
        rank > 0
            && lists.iter().all(|list| list.len() == rank)
            && self.strides.iter().chain(&self.dilations).all(|&step| step > 0)
            && self.groups > 0
            && self.channels.is_multiple_of(self.groups)
            && self.out_channels.is_multiple_of(self.groups)
            && product([self.batch, self.channels].iter().chain(&self.input)) == Some(x)
            && product(
                [self.out_channels, self.group_channels()]
                    .iter()
                    .chain(&self.kernel),
            ) == Some(weights)
            && product([self.batch, self.out_channels].iter().chain(&self.output)) == Some(y)
    }
}

fn product<'a>(sizes: impl IntoIterator<Item = &'a usize>) -> Option<usize> {
    sizes
        .into_iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
}

/// Steps through the positions of a grid in row-major order; returns false after the last.
pub(crate) fn advance(position: &mut [usize], sizes: &[usize]) -> bool {
    for (index, &size) in position.iter_mut().zip(sizes).rev() {
        *index += 1;
        if *index < size {
            return true;
        }
        *index = 0;
    }
    false
}

/// The flat index of the input element that `kernel` position sees at `output` position; `None` in the padding.
pub(crate) fn input_index(geometry: &Geometry, output: &[usize], kernel: &[usize]) -> Option<usize> {
    let mut flat = 0;
    for axis in 0..output.len() {
        let padded = output[axis] * geometry.strides[axis] + kernel[axis] * geometry.dilations[axis];
        let index = padded.checked_sub(geometry.pads[axis])?;
        if index >= geometry.input[axis] {
            return None;
        }
        flat = flat * geometry.input[axis] + index;
    }
    Some(flat)
}
