//! DeformConv.

use bantam_graph::ops::{AutoPad, DeformConv};
use bantam_kernels::conv::{Deformation, convolve_deformable};
use bantam_tensor::Tensor;

use super::convolution::{check_bias, geometry, groups};
use super::floats::{fill, in_real, read, read_optional};
use super::windows::WindowAttributes;
use crate::inputs::Inputs;
use crate::{Context, OpError};

/// x `[N, C, H, W]`, weights, offsets, optional bias, optional mask.
pub(super) fn deform_conv(
    op: &DeformConv,
    inputs: &Inputs<'_>,
    context: &Context,
) -> Result<Tensor, OpError> {
    let (x, weights, offsets) = (inputs.required(0)?, inputs.required(1)?, inputs.required(2)?);
    if x.rank() != 4 {
        return Err(OpError::Unsupported(format!(
            "deformable convolution of rank {}",
            x.rank()
        )));
    }
    let attributes = WindowAttributes {
        auto_pad: AutoPad::NotSet,
        kernel: &op.kernel_shape,
        strides: &op.strides,
        dilations: &op.dilations,
        pads: &op.pads,
    };
    let geometry = geometry(attributes, op.group, x.shape(), weights.shape())?;
    check_bias(inputs, 3, geometry.out_channels)?;
    let offset_groups = groups(op.offset_group)?;
    if !geometry.channels.is_multiple_of(offset_groups) {
        let channels = geometry.channels;
        return Err(OpError::value(format!(
            "offset_group of {offset_groups} does not divide {channels} channels"
        )));
    }
    let points = geometry.kernel.iter().product::<usize>() * offset_groups;
    let expected = |factor: usize| {
        [
            geometry.batch,
            factor * points,
            geometry.output[0],
            geometry.output[1],
        ]
    };
    if offsets.shape() != expected(2) {
        return Err(OpError::shape(format!(
            "offsets of shape {:?}, not {:?}",
            offsets.shape(),
            expected(2)
        )));
    }
    if let Some(mask) = inputs
        .optional(4)
        .map(Tensor::shape)
        .filter(|mask| *mask != expected(1))
    {
        return Err(OpError::shape(format!(
            "a mask of shape {mask:?}, not {:?}",
            expected(1)
        )));
    }
    let shape = [
        geometry.batch,
        geometry.out_channels,
        geometry.output[0],
        geometry.output[1],
    ];
    in_real!(x.dtype(), 0, T => {
        let (values, weights) = (read::<T>(inputs, 0)?, read::<T>(inputs, 1)?);
        let (offsets, bias) = (read::<T>(inputs, 2)?, read_optional::<T>(inputs, 3)?);
        let mask = read_optional::<T>(inputs, 4)?;
        let deformation = Deformation { groups: offset_groups, offsets: &offsets, mask: mask.as_deref() };
        fill(context, x.dtype(), &shape, |y| {
            convolve_deformable(&geometry, &deformation, &values, &weights, bias.as_deref(), y);
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{run, run_one};
    use super::*;

    #[test]
    fn taps_read_between_elements() {
        let op = DeformConv {
            dilations: Vec::new(),
            group: 1,
            kernel_shape: vec![2, 2],
            offset_group: 1,
            pads: vec![0; 4],
            strides: Vec::new(),
        };
        let x = Tensor::from_slice(&[1, 1, 3, 3], &[0f32, 1., 2., 3., 4., 5., 6., 7., 8.]).unwrap();
        let w = Tensor::from_slice(&[1, 1, 2, 2], &[1f32; 4]).unwrap();
        let mut offsets = [0f32; 32];
        // The example of the specification: the first tap reads half a row lower, the last outside.
        offsets[0] = 0.5;
        offsets[31] = 9.0;
        let offsets = Tensor::from_slice(&[1, 8, 2, 2], &offsets).unwrap();
        let inputs = [x, w, offsets.clone(), Tensor::from_vec1(&[1f32])];
        assert_eq!(
            run_one(op.clone(), &inputs).to_f32().unwrap(),
            [10.5, 13.0, 21.0, 17.0]
        );
        let mask = Tensor::from_slice(&[1, 4, 2, 2], &[0.5f32; 16]).unwrap();
        let masked = [inputs.as_slice(), &[mask]].concat();
        assert_eq!(
            run_one(op.clone(), &masked).to_f32().unwrap(),
            [5.75, 7.0, 11.0, 9.0]
        );
        let wrong = [
            inputs[0].clone(),
            inputs[1].clone(),
            offsets.reshape(&[1, 8, 4, 1]).unwrap(),
        ];
        assert!(run(op, &wrong).is_err());
    }
}
