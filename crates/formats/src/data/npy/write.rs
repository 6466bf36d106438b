//! Writing npy files.

use std::io::Write;
use std::path::Path;

use bantam_tensor::{DType, Tensor};

use super::{MAGIC, NpyError};
use crate::data::DataError;

/// Writes a tensor as an npy file of version 1, whole or not at all (temporary file, then rename).
///
/// # Errors
/// When NumPy has no such element type, or the file cannot be written.
pub fn write_npy(path: &Path, tensor: &Tensor) -> Result<(), DataError> {
    let header = header(tensor.dtype(), tensor.shape()).map_err(|problem| DataError::Npy {
        path: path.to_owned(),
        problem,
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let write = || {
        let mut file = temporary_file(folder.unwrap_or(Path::new(".")))?;
        file.write_all(&header)?;
        file.write_all(tensor.as_bytes())?;
        file.flush()?;
        file.persist(path).map_err(|failed| failed.error)?;
        Ok(())
    };
    write().map_err(|problem| DataError::Write {
        path: path.to_owned(),
        problem,
    })
}

/// A temporary file with the permissions of an ordinary new file.
fn temporary_file(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bantam-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

fn header(dtype: DType, shape: &[usize]) -> Result<Vec<u8>, NpyError> {
    let descr = match dtype {
        DType::Bool => "|b1",
        DType::I8 => "|i1",
        DType::U8 => "|u1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::U16 => "<u2",
        DType::U32 => "<u4",
        DType::U64 => "<u8",
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        _ => return Err(NpyError::Unwritable { dtype }),
    };
    let dimensions: String = shape.iter().map(|dimension| format!("{dimension}, ")).collect();
    let dimensions = match shape.len() {
        1 => dimensions.trim_end(),
        _ => dimensions.trim_end_matches(", "),
    };
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dimensions}), }}");
    // The elements start on a multiple of 64 bytes; the header ends with a line break.
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let claimed = u16::try_from(length).map_err(|_| NpyError::HeaderTooLong { length })?;
    let mut header = Vec::with_capacity(10 + length);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&[1, 0]);
    header.extend_from_slice(&claimed.to_le_bytes());
    header.extend_from_slice(text.as_bytes());
    header.resize(10 + length - 1, b' ');
    header.push(b'\n');
    Ok(header)
}
