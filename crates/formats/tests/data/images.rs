//! Image folders.

use std::fs;
use std::path::{Path, PathBuf};

use bantam_formats::data::{DataSet, read_npy};
use bantam_tensor::{DType, Samples, Tensor};
use tempfile::TempDir;

use crate::{batch, folder, spec};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/images")
        .join(name)
}

/// The pixels of one golden image, through an image folder with these options; NHWC.
fn decoded(image: &str, options: &str) -> Tensor {
    let manifest = format!("[splits.train]\ninputs.input = \"images\"\n[preprocess.input]\n{options}\n");
    let data = folder(&[("data.toml", &manifest), ("images/.keep", "")]);
    fs::copy(golden(image), data.path().join("images").join(image)).unwrap();
    let split = DataSet::open(data.path()).unwrap().split("train").unwrap();
    assert!(!split.has_labels());
    split.batch(&[0]).unwrap().inputs.remove(0).1
}

#[test]
fn images_are_those_of_pillow() {
    let cases = [
        ("noise.png", "colour = \"gray\"", "noise_gray.npy"),
        (
            "noise.png",
            "resize = 12\ncrop = 11",
            "noise_shorter_12_crop_11.npy",
        ),
        ("noise.png", "resize = [50, 20]", "noise_exact_50_20.npy"),
        ("palette.png", "", "palette_rgb.npy"),
    ];
    for (image, options, expected) in cases {
        let expected = read_npy(&golden(expected)).unwrap();
        let got = decoded(image, options);
        assert_eq!(got.shape()[1..], *expected.shape(), "{image} {options}");
        assert_eq!(got.as_bytes(), expected.as_bytes(), "{image} {options}");
    }
}

#[test]
fn jpeg_is_close_to_pillow() {
    let expected = read_npy(&golden("photo_rgb.npy")).unwrap();
    let got = decoded("photo.jpg", "");
    assert_eq!(got.shape()[1..], *expected.shape());
    // Decoders may round differently; these are not the same arithmetic.
    let pairs = got.as_bytes().iter().zip(expected.as_bytes());
    let differences: Vec<u32> = pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).collect();
    let mean = f64::from(differences.iter().sum::<u32>()) / differences.len() as f64;
    let largest = differences.iter().max().unwrap();
    assert!(mean < 0.5 && *largest <= 4, "mean {mean}, largest {largest}");
}

fn class_folders(manifest: &str) -> TempDir {
    let data = folder(&[
        ("data.toml", manifest),
        ("list.csv", "file,label\nnoise.png,7\nphoto.jpg,5\ncats/a.png,6\n"),
    ]);
    for (image, to) in [
        ("generate.py", "empty/readme.txt"),
        ("noise.png", "images/dogs/noise.png"),
        ("photo.jpg", "images/dogs/photo.jpg"),
        ("palette.png", "images/cats/a.png"),
        ("palette.png", "other/birds/a.png"),
        ("palette.png", "mixed/a.png"),
        ("palette.png", "mixed/cats/a.png"),
        ("palette.png", "fake/a.jpg"),
        ("generate.py", "broken/a.png"),
    ] {
        let to = data.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(golden(image), to).unwrap();
    }
    data
}

#[test]
fn labels_of_image_folders() {
    let sizes = "[preprocess.input]\nlayout = \"NCHW\"\nresize = [8, 8]";
    let cases = [
        ("", [0i64, 1, 1]),
        ("labels = \"images\"\n", [0, 1, 1]),
        ("labels = \"list.csv\"\n", [6, 7, 5]),
    ];
    for (labels, expected) in cases {
        let data = class_folders(&format!(
            "[splits.train]\ninputs.input = \"images\"\n{labels}{sizes}"
        ));
        let specs = [spec("input", DType::F32, &[3, 8, 8])];
        let batch = batch(&data.path().join("data.toml"), "train", &specs, &[0, 1, 2]).unwrap();
        assert_eq!(batch.labels, Some(Tensor::from_vec1(&expected)), "{labels}");
    }
    // Without a manifest: the folder itself, or the splits in it.
    let data = class_folders("");
    let bare = DataSet::open(&data.path().join("images")).unwrap();
    assert!(bare.is_one_split() && bare.split("train").unwrap().has_labels());
    fs::remove_file(data.path().join("data.toml")).unwrap();
    fs::rename(data.path().join("images"), data.path().join("test")).unwrap();
    assert_eq!(DataSet::open(data.path()).unwrap().split_names(), ["test"]);
}

#[test]
fn broken_image_folders_are_named() {
    let split = |input: &str| format!("[splits.train]\ninputs.input = \"{input}\"\n");
    let cases = [
        (
            split("images"),
            "noise.png: it is 31 x 45, other images of the folder are 20 x 20\nhint: set `crop`",
        ),
        (
            split("images") + "[preprocess.input]\ncrop = 25",
            "a.png: 20 x 20 pixels are too few to crop 25 x 25",
        ),
        (
            split("mixed"),
            "mixed: holds both images (\"a.png\") and folders (\"cats\")",
        ),
        (split("broken"), "broken/a.png: not a PNG or JPEG image"),
        (split("empty"), "holds no PNG or JPEG image"),
        (
            split("images") + "labels = \"other\"",
            "need an image folder as the only input",
        ),
        (
            split("other") + "labels = \"list.csv\"",
            "has no label for the image \"birds/a.png\"",
        ),
        (
            split("images") + "[splits.test]\ninputs.input = \"other\"",
            "have different class folders: \"cats\"",
        ),
    ];
    for (manifest, expected) in cases {
        let data = class_folders(&manifest);
        let specs = [spec("input", DType::U8, &[20, 20, 3])];
        let error = batch(&data.path().join("data.toml"), "train", &specs, &[0, 1]).expect_err(&manifest);
        assert!(error.contains(expected), "{manifest}\n{error}");
    }
    let data = class_folders(&split("fake"));
    batch(
        &data.path().join("data.toml"),
        "train",
        &[spec("input", DType::U8, &[20, 20, 3])],
        &[0],
    )
    .unwrap();
}
