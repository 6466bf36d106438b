//! Real data, where they are present.

use std::path::{Path, PathBuf};

use bantam_formats::data::{DataSet, read_npy, sample_indices};
use bantam_tensor::{DType, Samples, Tensor};

use crate::spec;

/// The folder of real data, or `None` with a message.
#[expect(clippy::print_stderr, reason = "says why a test did nothing")]
fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("BANTAM_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    if folder.join("cifar10/cifar10.toml").exists() {
        return Some(folder);
    }
    eprintln!("skipped: no real data in {}; set BANTAM_DATA", folder.display());
    None
}

#[test]
fn cifar_is_preprocessed_as_computed_directly() {
    let Some(folder) = real_data() else { return };
    let data = DataSet::open(&folder.join("cifar10")).unwrap();
    assert_eq!(data.split_names(), ["test", "train"]);
    let split = data
        .split("train")
        .unwrap()
        .for_inputs(&[spec("input", DType::F32, &[3, 32, 32])])
        .unwrap();
    assert_eq!(split.len(), 20_000);
    let indices = sample_indices(split.len(), 64, 0);
    let batch = split.batch(&indices).unwrap();
    let pixels = read_npy(&folder.join("cifar10/train_x.npy")).unwrap();
    let classes = read_npy(&folder.join("cifar10/train_y.npy")).unwrap();
    let got = batch.inputs[0].1.values::<f32>().unwrap().into_owned();
    let (mean, std) = ([0.485f32, 0.456, 0.406], [0.229f32, 0.224, 0.225]);
    for (position, &index) in indices.iter().enumerate() {
        for element in 0..3072 {
            let pixel = f32::from(pixels.as_bytes()[index * 3072 + element]);
            let channel = element / 1024;
            let expected = (pixel * (1.0 / 255.0) - mean[channel]) / std[channel];
            assert_eq!(
                got[position * 3072 + element],
                expected,
                "sample {index}, element {element}"
            );
        }
    }
    let labels: Vec<u8> = indices.iter().map(|&index| classes.as_bytes()[index]).collect();
    assert_eq!(batch.labels, Some(Tensor::from_vec1(&labels)));
}

#[test]
fn real_data_sets_open() {
    let Some(folder) = real_data() else { return };
    let cases = [
        (
            "fashion_mnist/fashion_mnist.toml",
            spec("input", DType::F32, &[1, 28, 28]),
            10_000,
            true,
        ),
        (
            "kws/test_x.npy",
            spec("mfcc", DType::F32, &[49, 10, 1]),
            800,
            false,
        ),
        (
            "stories260k/valid_tokens.npy",
            spec("tokens", DType::I64, &[513]),
            753,
            false,
        ),
    ];
    for (file, spec, samples, has_labels) in cases {
        let split = DataSet::open(&folder.join(file))
            .and_then(|data| data.split("test"))
            .unwrap();
        let split = split.for_inputs(&[spec]).unwrap();
        assert_eq!((split.len(), split.has_labels()), (samples, has_labels), "{file}");
        split.batch(&[0, samples - 1]).unwrap();
    }
}
