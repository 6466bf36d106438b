//! Models to files, whole or not at all.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bantam_graph::Model;
use bantam_tensor::Tensor;
use tempfile::NamedTempFile;

use super::OnnxError;
use super::encoded::Encoded;
use super::lower::lower;
use super::packed::{NarrowCodes, pack};
use super::write::{self, DataPlan, Writer};

/// Most bytes of one protobuf message.
const LARGEST: usize = (1 << 31) - 1;

/// Where weights go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExternalData {
    /// Into the model, or into a file beside it where the model would pass 2 GiB.
    #[default]
    Auto,
    /// Into a file beside the model.
    Always,
    /// Into the model; more than 2 GiB is an error.
    Never,
}

/// How to save.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveOptions {
    /// Opset of the standard domain; `None` is the model's own if it can say the model, else the lowest that can.
    pub opset: Option<i64>,
    /// Where weights go.
    pub external_data: ExternalData,
    /// How codes of fewer than 8 bits are written.
    pub narrow_codes: NarrowCodes,
}

/// Writes a model to `path`, and weights beside it as `<file name>.data` if so asked. Files appear under their names
/// only when they are complete.
///
/// # Errors
/// When the opset asked for cannot say the model, or a file cannot be written; the error names the file.
pub fn save(model: &Model, path: &Path, options: &SaveOptions) -> Result<(), OnnxError> {
    write_files(model, path, options).map_err(|error| error.at(path))
}

/// A model as bytes, weights inside.
///
/// # Errors
/// When the opset asked for cannot say the model, or it passes 2 GiB.
pub fn encode(model: &Model, opset: Option<i64>) -> Result<Vec<u8>, OnnxError> {
    let options = SaveOptions {
        opset,
        ..SaveOptions::default()
    };
    let (encoded, _) = encode_with(model, &options, None)?;
    checked(encoded).map(Encoded::into_bytes)
}

/// A tensor as an encoded `TensorProto`.
pub fn encode_tensor(name: &str, tensor: &Tensor) -> Vec<u8> {
    write::tensor(name, tensor).into_bytes()
}

fn encode_with(
    model: &Model,
    options: &SaveOptions,
    data: Option<DataPlan>,
) -> Result<(Encoded, Option<DataPlan>), OnnxError> {
    let model = pack(model, options.narrow_codes)?;
    let (graph, header) = lower(&model, options.opset)?;
    let mut writer = Writer { data };
    let encoded = writer.model(&model, &graph, header);
    Ok((encoded, writer.data))
}

fn checked(encoded: Encoded) -> Result<Encoded, OnnxError> {
    if encoded.len() > LARGEST {
        return Err(OnnxError::TooLarge { bytes: encoded.len() });
    }
    Ok(encoded)
}

/// The model, and where its data go if they go beside it.
pub(super) fn encoded_for(
    model: &Model,
    path: &Path,
    options: &SaveOptions,
) -> Result<(Encoded, Option<DataPlan>), OnnxError> {
    let name = path
        .file_name()
        .map(|name| format!("{}.data", name.to_string_lossy()))
        .unwrap_or_default();
    let plan = || Some(DataPlan::new(name.clone()));
    let (encoded, data) = match options.external_data {
        ExternalData::Always => encode_with(model, options, plan())?,
        ExternalData::Never => encode_with(model, options, None)?,
        ExternalData::Auto => match encode_with(model, options, None)? {
            (encoded, _) if encoded.len() > LARGEST => encode_with(model, options, plan())?,
            small => small,
        },
    };
    Ok((checked(encoded)?, data.filter(|data| !data.is_empty())))
}

/// Where the data of the model with this path go, if they go beside it.
pub(super) fn data_path(path: &Path) -> PathBuf {
    let mut data = path.as_os_str().to_owned();
    data.push(".data");
    data.into()
}

pub(super) fn failed(source: io::Error) -> OnnxError {
    OnnxError::Io {
        action: "writing the file",
        source,
        hint: "check that the folder exists, may be written to and has room",
    }
}

fn write_files(model: &Model, path: &Path, options: &SaveOptions) -> Result<(), OnnxError> {
    let (encoded, data) = encoded_for(model, path, options)?;
    // Both files are complete before either gets its name; the data comes first, as the model refers to it.
    let model_file = write_temporary(path, |out| encoded.write_to(out)).map_err(failed)?;
    if let Some(data) = data {
        let data_path = data_path(path);
        let file = write_temporary(&data_path, |out| data.write_to(out)).map_err(failed)?;
        file.persist(&data_path).map_err(|error| failed(error.error))?;
    }
    model_file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Writes a temporary file in the folder of `path`; it is deleted unless it is given a name.
pub(super) fn write_temporary(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut fs::File>) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(".bantam-").tempfile_in(folder)?;
    let mut out = BufWriter::with_capacity(1 << 16, file.as_file_mut());
    write(&mut out)?;
    out.flush()?;
    drop(out);
    file.as_file().sync_data()?;
    Ok(file)
}
