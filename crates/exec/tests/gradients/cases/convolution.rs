//! Convolutions and pools.

use bantam_graph::ops::*;

use crate::check::{Case, apart, case, positive, x};

pub(crate) fn cases() -> Vec<Case> {
    [convolutions(), transposed(), pools()]
        .into_iter()
        .flatten()
        .collect()
}

fn conv() -> Conv {
    Conv {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group: 1,
        kernel_shape: vec![],
        pads: vec![],
        strides: vec![],
    }
}

fn convolutions() -> Vec<Case> {
    let of = |name, op: Conv, x_shape: &[usize], weight: &[usize]| {
        case(name, op, vec![x(x_shape), x(weight), x(&weight[..1])])
    };
    vec![
        of("one dimension", conv(), &[2, 3, 6], &[4, 3, 3]),
        of(
            "padded, strided",
            Conv {
                pads: vec![1, 0, 2, 1],
                strides: vec![2, 1],
                ..conv()
            },
            &[2, 2, 6, 5],
            &[3, 2, 3, 2],
        ),
        of(
            "a stride that leaves a rest",
            Conv {
                strides: vec![2, 2],
                ..conv()
            },
            &[1, 2, 6, 6],
            &[3, 2, 3, 3],
        ),
        of(
            "dilated groups",
            Conv {
                dilations: vec![2, 1],
                group: 2,
                pads: vec![2, 1, 2, 1],
                ..conv()
            },
            &[2, 4, 5, 4],
            &[6, 2, 3, 3],
        ),
        of(
            "depthwise",
            Conv {
                group: 3,
                pads: vec![1; 4],
                ..conv()
            },
            &[2, 3, 4, 5],
            &[3, 1, 3, 3],
        ),
        of(
            "three dimensions",
            Conv {
                pads: vec![1; 6],
                ..conv()
            },
            &[1, 2, 3, 3, 4],
            &[2, 2, 2, 3, 2],
        ),
        of(
            "same, odd one after",
            Conv {
                auto_pad: AutoPad::SameUpper,
                strides: vec![2, 2],
                ..conv()
            },
            &[1, 2, 5, 6],
            &[2, 2, 2, 3],
        ),
        of(
            "same, odd one before",
            Conv {
                auto_pad: AutoPad::SameLower,
                ..conv()
            },
            &[1, 2, 5, 6],
            &[2, 2, 2, 3],
        ),
        case("without bias", conv(), vec![x(&[2, 3, 4, 4]), x(&[2, 3, 1, 1])]),
    ]
}

fn transposed() -> Vec<Case> {
    let plain = || ConvTranspose {
        auto_pad: AutoPad::NotSet,
        dilations: vec![],
        group: 1,
        kernel_shape: vec![],
        pads: vec![],
        strides: vec![],
        output_padding: vec![],
        output_shape: vec![],
    };
    let of = |name, op: ConvTranspose, x_shape: &[usize], weight: &[usize]| {
        let channels = weight[1] * op.group as usize;
        case(name, op, vec![x(x_shape), x(weight), x(&[channels])])
    };
    vec![
        of("transposed", plain(), &[2, 3, 4], &[3, 2, 3]),
        of(
            "transposed, strided, padded",
            ConvTranspose {
                strides: vec![2, 2],
                pads: vec![1, 1, 1, 1],
                output_padding: vec![1, 0],
                ..plain()
            },
            &[2, 3, 3, 4],
            &[3, 2, 3, 3],
        ),
        of(
            "transposed, groups, dilated",
            ConvTranspose {
                group: 2,
                dilations: vec![1, 2],
                ..plain()
            },
            &[1, 4, 3, 4],
            &[4, 3, 2, 2],
        ),
        of(
            "transposed to the same size",
            ConvTranspose {
                auto_pad: AutoPad::SameUpper,
                strides: vec![2, 3],
                ..plain()
            },
            &[1, 2, 3, 3],
            &[2, 2, 3, 4],
        )
        .known_sizes(),
        of(
            "transposed to a size",
            ConvTranspose {
                output_shape: vec![6, 6],
                strides: vec![2, 2],
                ..plain()
            },
            &[1, 2, 3, 3],
            &[2, 2, 3, 3],
        )
        .known_sizes(),
    ]
}

fn pools() -> Vec<Case> {
    let max = || MaxPool {
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
        dilations: vec![],
        kernel_shape: vec![3, 2],
        pads: vec![],
        strides: vec![],
        storage_order: 0,
    };
    let average = || AveragePool {
        auto_pad: AutoPad::NotSet,
        ceil_mode: false,
        dilations: vec![],
        kernel_shape: vec![3, 2],
        pads: vec![],
        strides: vec![],
        count_include_pad: false,
    };
    let norm = |p| LpPool {
        auto_pad: AutoPad::NotSet,
        ceil_mode: true,
        dilations: vec![],
        kernel_shape: vec![2, 2],
        pads: vec![0, 1, 1, 0],
        strides: vec![2, 1],
        p,
    };
    let image = || vec![apart(&[2, 2, 6, 5])];
    vec![
        case("maximum", max(), image()),
        case(
            "maximum of overlapping windows",
            MaxPool {
                pads: vec![1; 4],
                strides: vec![2, 1],
                ..max()
            },
            image(),
        ),
        case(
            "maximum, dilated, to the end",
            MaxPool {
                dilations: vec![2, 1],
                ceil_mode: true,
                strides: vec![2, 2],
                ..max()
            },
            image(),
        ),
        case(
            "maximum, same",
            MaxPool {
                auto_pad: AutoPad::SameUpper,
                strides: vec![2, 2],
                ..max()
            },
            image(),
        ),
        case("mean", average(), image()),
        case(
            "mean, padded",
            AveragePool {
                pads: vec![1; 4],
                strides: vec![2, 1],
                ..average()
            },
            image(),
        ),
        case(
            "mean with padding",
            AveragePool {
                pads: vec![1; 4],
                count_include_pad: true,
                strides: vec![2, 2],
                ceil_mode: true,
                ..average()
            },
            image(),
        ),
        case(
            "mean in one dimension",
            AveragePool {
                kernel_shape: vec![2],
                ..average()
            },
            vec![x(&[2, 3, 5])],
        ),
        case("norm 1", norm(1), image()),
        case("norm 2", norm(2), image()),
        case("norm 3", norm(3), image()),
        case("global mean", GlobalAveragePool {}, image()),
        case("global maximum", GlobalMaxPool {}, image()),
        case("global norm 2", GlobalLpPool { p: 2 }, image()),
        case("global norm 3", GlobalLpPool { p: 3 }, vec![positive(&[2, 3, 4])]),
    ]
}
