//! Data sets as a user has them: manifests, bare files, image folders; what is wrong with them is said by name.

mod images;
mod manifests;
mod real;

use std::fs;
use std::path::Path;

use bantam_formats::data::{DataSet, InputSpec, write_npy};
use bantam_tensor::{DType, Samples, Tensor};
use tempfile::TempDir;

/// A folder with these text files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn save<T: bantam_tensor::Element>(folder: &TempDir, name: &str, shape: &[usize], values: &[T]) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_npy(&path, &Tensor::from_slice(shape, values).unwrap()).unwrap();
}

fn spec(name: &str, dtype: DType, shape: &[usize]) -> InputSpec {
    let row = shape
        .iter()
        .map(|&dimension| (dimension != 0).then_some(dimension));
    InputSpec {
        name: name.to_owned(),
        dtype,
        shape: [None].into_iter().chain(row).collect(),
    }
}

/// The samples of a split as a model gets them, or what is said instead.
fn batch(
    path: &Path,
    split: &str,
    specs: &[InputSpec],
    indices: &[usize],
) -> Result<bantam_tensor::Batch, String> {
    let split = DataSet::open(path).and_then(|data| data.split(split));
    let split = split.and_then(|split| split.for_inputs(specs));
    let split = split.map_err(|error| error.to_string())?;
    split.batch(indices).map_err(|error| error.to_string())
}
