//! Manifests and bare arrays.

use std::fs;
use std::path::Path;

use bantam_formats::data::{DataSet, InputSpec, Strength, corruptions_by_name};
use bantam_tensor::{DType, Samples as _, Tensor};

use crate::{batch, folder, save, spec};

#[test]
fn manifest_with_two_inputs() {
    let data = folder(&[(
        "data.toml",
        "[splits.train]\ninputs.image = [\"a.npy\", \"b.npy\"]\ninputs.tokens = \"t.npy\"\nlabels = \"y.npy\"\n\
         [preprocess.image]\nlayout = \"NCHW\"\nscale = 0.5\nmean = [1, 2]\n",
    )]);
    save(&data, "a.npy", &[1, 1, 2, 2], &[0u8, 1, 2, 3]);
    save(&data, "b.npy", &[2, 1, 2, 2], &[4u8, 5, 6, 7, 8, 9, 10, 11]);
    save(&data, "t.npy", &[3, 2], &[1u16, 2, 3, 4, 5, 6]);
    save(&data, "y.npy", &[3], &[7u8, 8, 9]);
    let specs = [
        spec("tokens", DType::I64, &[2]),
        spec("image", DType::F32, &[2, 1, 2]),
    ];
    let batch = batch(&data.path().join("data.toml"), "train", &specs, &[2, 0]).unwrap();
    assert_eq!(batch.inputs[0].0, "tokens");
    assert_eq!(
        batch.inputs[0].1,
        Tensor::from_slice(&[2, 2], &[5i64, 6, 1, 2]).unwrap()
    );
    let pixels = [3.0f32, 4.0, 2.5, 3.5, -1.0, 0.0, -1.5, -0.5];
    assert_eq!(
        batch.inputs[1].1,
        Tensor::from_slice(&[2, 2, 1, 2], &pixels).unwrap()
    );
    assert_eq!(batch.labels, Some(Tensor::from_vec1(&[9u8, 7])));
}

#[test]
fn labels_have_any_shape_and_type() {
    let data = folder(&[(
        "data.toml",
        "[splits.test]\ninputs.x = \"x.npy\"\nlabels = \"y.npy\"\n",
    )]);
    save(&data, "x.npy", &[2, 3], &[1u8, 2, 3, 4, 5, 6]);
    let boxes: Vec<f32> = (0..20).map(|value| value as f32 * 0.5 - 1.0).collect();
    save(&data, "y.npy", &[2, 2, 5], &boxes);
    let labels = |indices: &[usize]| {
        let path = data.path().join("data.toml");
        batch(&path, "test", &[spec("x", DType::U8, &[3])], indices)
            .unwrap()
            .labels
            .unwrap()
    };
    assert_eq!(labels(&[0, 1]), Tensor::from_slice(&[2, 2, 5], &boxes).unwrap());
    assert_eq!(
        labels(&[1]),
        Tensor::from_slice(&[1, 2, 5], &boxes[10..]).unwrap()
    );
    save(&data, "y.npy", &[2, 1, 2, 3], &(0..12).collect::<Vec<i64>>());
    assert_eq!(
        labels(&[1]),
        Tensor::from_slice(&[1, 1, 2, 3], &(6..12).collect::<Vec<i64>>()).unwrap()
    );
}

#[test]
fn corrupted_splits_are_normalized_after() {
    let manifest = "[splits.test]\ninputs.image = \"x.npy\"\ninputs.other = \"t.npy\"\n[preprocess.image]\nlayout = \"NCHW\"\nmean = 100\n";
    let data = folder(&[
        ("data.toml", manifest),
        ("plain.toml", "[splits.test]\ninputs.other = \"t.npy\"\n"),
    ]);
    save(&data, "x.npy", &[1, 1, 2, 2], &[0u8, 100, 100, 200]);
    save(&data, "t.npy", &[1, 3], &[1u8, 2, 3]);
    let contrast = corruptions_by_name("contrast").unwrap()[0];
    let corrupted = |name: &str| {
        let split = DataSet::open(&data.path().join(name))
            .unwrap()
            .split("test")
            .unwrap();
        split.corrupted(contrast, Strength::ALL[1], 0)
    };
    let batch = corrupted("data.toml").unwrap().batch(&[0]).unwrap();
    let image = &batch.inputs.iter().find(|(name, _)| name == "image").unwrap().1;
    assert_eq!(
        *image,
        Tensor::from_slice(&[1, 1, 2, 2], &[-50f32, 0.0, 0.0, 50.0]).unwrap()
    );
    let other = &batch.inputs.iter().find(|(name, _)| name == "other").unwrap().1;
    assert_eq!(*other, Tensor::from_slice(&[1, 3], &[1u8, 2, 3]).unwrap());
    let error = corrupted("plain.toml").unwrap_err().to_string();
    assert!(error.contains("no input is known to be images"), "{error}");
    save(&data, "x.npy", &[1, 1, 2, 2], &[-1f32, 0.0, 0.5, 1.0]);
    let error = corrupted("data.toml")
        .unwrap()
        .batch(&[0])
        .unwrap_err()
        .to_string();
    assert!(error.contains("store pixels as they are"), "{error}");
}

#[test]
fn bare_arrays_are_every_split() {
    let data = folder(&[]);
    save(&data, "x.npy", &[2, 3], &[1u8, 2, 3, 4, 5, 6]);
    let path = data.path().join("x.npy");
    let specs = [spec("whatever", DType::F32, &[3])];
    for split in ["train", "test"] {
        let batch = batch(&path, split, &specs, &[1]).unwrap();
        assert_eq!(
            batch.inputs[0].1,
            Tensor::from_slice(&[1, 3], &[4f32, 5.0, 6.0]).unwrap()
        );
        assert_eq!(batch.labels, None);
    }
    assert!(DataSet::open(&path).unwrap().is_one_split());
    let error = batch(&path, "train", &specs, &[2]).unwrap_err();
    assert!(error.contains("sample 2 was asked for, there are 2"), "{error}");
}

#[test]
fn arrays_that_numpy_wrote() {
    let golden = |name| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/arrays")
            .join(name)
    };
    let expected = Tensor::from_slice(&[2, 3], &[6f32, 7.0, 8.0, 0.0, 1.0, 2.0]).unwrap();
    let specs = [spec("x", DType::F32, &[3])];
    for (file, has_labels) in [
        ("big_endian.npy", false),
        ("stored.npz", true),
        ("deflated.npz", true),
    ] {
        let batch = batch(&golden(file), "train", &specs, &[2, 0]).unwrap();
        assert_eq!(batch.inputs[0].1, expected, "{file}");
        let labels = has_labels.then(|| Tensor::from_vec1(&[6i64, 0]));
        assert_eq!(batch.labels, labels, "{file}");
    }
    let error = batch(&golden("fortran.npy"), "train", &specs, &[0]).unwrap_err();
    assert!(
        error.contains("fortran.npy: the npy array is in Fortran order\nhint: "),
        "{error}"
    );
    let error = batch(
        &golden("stored.npz"),
        "train",
        &[spec("y", DType::F32, &[3])],
        &[0],
    )
    .unwrap_err();
    assert!(
        error.contains("the model has no input \"x\", which the data set has"),
        "{error}"
    );
}

#[test]
fn disagreements_are_named() {
    let manifest = |rest: &str| format!("[splits.train]\ninputs.input = \"x.npy\"\n{rest}");
    let f32_input = |shape: &[usize]| vec![spec("input", DType::F32, shape)];
    let cases: &[(String, Vec<InputSpec>, &[&str])] = &[
        (
            manifest("labels = \"y3.npy\""),
            f32_input(&[5, 6, 3]),
            &["labels has 3 samples", "y3.npy", "x.npy", "has 2"],
        ),
        (
            manifest("labels = \"no.npy\""),
            f32_input(&[5, 6, 3]),
            &["cannot read", "no.npy"],
        ),
        (
            manifest("labels = \"x.npy#a\""),
            f32_input(&[5, 6, 3]),
            &["no part \"a\""],
        ),
        (
            manifest("labels = \"scalar.npy\""),
            f32_input(&[5, 6, 3]),
            &["holds a single value"],
        ),
        (
            manifest("labels = \"empty.npy\""),
            f32_input(&[5, 6, 3]),
            &["has no samples (shape [0, 4])"],
        ),
        (
            manifest("labels = \"data.toml\""),
            f32_input(&[5, 6, 3]),
            &["not a data file"],
        ),
        (
            manifest("labels = \"y.csv\""),
            f32_input(&[5, 6, 3]),
            &["need an image folder"],
        ),
        (
            manifest("[preprocess.input]\ncrop = 3"),
            f32_input(&[5, 6, 3]),
            &["are for image folders; ", "x.npy is none"],
        ),
        (
            manifest("[preprocess.input]\nlayout = \"NC\""),
            f32_input(&[4]),
            &["do not fit layout NC"],
        ),
        (
            manifest(""),
            f32_input(&[3, 5, 6]),
            &[
                "expects [N, 3, 5, 6]",
                "gives [N, 5, 6, 3]",
                "look like NHWC",
                "set layout = \"NCHW\" in [preprocess.input]",
            ],
        ),
        (
            manifest("[preprocess.input]\nlayout = \"NCHW\""),
            f32_input(&[5, 6, 3]),
            &["says layout = \"NCHW\"", "seems to want NHWC"],
        ),
        (
            manifest(""),
            f32_input(&[7, 0, 3]),
            &["expects [N, 7, ?, 3]", "belongs to this model"],
        ),
        (
            manifest("[preprocess.input]\ndtype = \"f16\""),
            f32_input(&[5, 6, 3]),
            &[
                "expects elements of type f32",
                "gives f16",
                "`dtype` in [preprocess] says so",
            ],
        ),
        (
            manifest("[preprocess.input]\nscale = 2"),
            vec![spec("input", DType::I64, &[5, 6, 3])],
            &["expects elements of type i64", "gives f32"],
        ),
        (
            manifest(""),
            vec![spec("inputs", DType::F32, &[5, 6, 3])],
            &["model has no input \"input\"", "did you mean \"inputs\""],
        ),
        (
            manifest(""),
            [f32_input(&[5, 6, 3]), vec![spec("mask", DType::F32, &[4])]].concat(),
            &["data set has no input \"mask\"", "add inputs.mask"],
        ),
        (
            "[splits.tran]\ninputs.input = \"x.npy\"".to_owned(),
            f32_input(&[5, 6, 3]),
            &["there is no split \"train\"", "did you mean \"tran\"?"],
        ),
        (
            "[splits.train]\ninputs.input = [\"x.npy\", \"y3.npy\"]".to_owned(),
            f32_input(&[5, 6, 3]),
            &["u8[5, 6, 3] a sample", "y3.npy i64[]"],
        ),
        (
            "[splits.train]\ninputs.input = \"../x.npy\"".to_owned(),
            f32_input(&[5, 6, 3]),
            &["not below the manifest's folder"],
        ),
    ];
    let data = folder(&[("y.csv", "a.png,3")]);
    save(&data, "x.npy", &[2, 5, 6, 3], &[0u8; 180]);
    save(&data, "y3.npy", &[3], &[0i64; 3]);
    save(&data, "scalar.npy", &[], &[0i64]);
    save(&data, "empty.npy", &[0, 4], &[0i64; 0]);
    let path = data.path().join("data.toml");
    for (text, specs, expected) in cases {
        fs::write(&path, text).unwrap();
        let error = batch(&path, "train", specs, &[0]).expect_err(text);
        for part in *expected {
            assert!(
                error.contains(part),
                "{text}\nexpected: {part}\n     got: {error}"
            );
        }
    }
}

#[test]
fn values_that_do_not_fit_are_named() {
    let data = folder(&[("data.toml", "[splits.train]\ninputs.t = \"t.npy\"")]);
    save(&data, "t.npy", &[2, 2], &[1i64, 2, 3, 1 << 40]);
    let error = batch(
        &data.path().join("data.toml"),
        "train",
        &[spec("t", DType::I32, &[2])],
        &[0, 1],
    )
    .unwrap_err();
    assert!(
        error.contains("sample 1 holds 1099511627776, which is no i32"),
        "{error}"
    );
}
