//! CIFAR-10 and CIFAR-100 in their binary versions (<https://www.cs.toronto.edu/~kriz/cifar.html>).
//!
//! Records of one label byte (CIFAR-10) or a coarse and a fine one (CIFAR-100), then 3 x 32 x 32 bytes, channels
//! first. The files have no header, so the record length has to divide the file and the labels have to be in range.

use bytes::Bytes;

use super::array::Array;

const IMAGE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = 3 * 32 * 32;

/// What can be wrong with a CIFAR file.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum CifarError {
    #[error(
        "not a CIFAR binary file: {bytes} bytes are no whole number of records of 3,073 (CIFAR-10) or 3,074 \
         (CIFAR-100) bytes with labels in range\nhint: the file is cut short, or it is no CIFAR file"
    )]
    NotCifar { bytes: usize },
    #[error("a CIFAR file has no {member:?}\nhint: use one of: {}", members.join(", "))]
    Member {
        member: String,
        members: Vec<&'static str>,
    },
}

/// The arrays of a CIFAR file.
pub(crate) struct Cifar {
    pub(crate) images: Array,
    /// By name; the first is what "the label" means.
    labels: Vec<(&'static str, Array)>,
}

/// Reads a CIFAR file; `bytes` is all of it.
pub(crate) fn parse(bytes: &Bytes) -> Result<Cifar, CifarError> {
    // The names and ranges of the label bytes of each version, in the order of the file.
    let versions: [&[(&'static str, u8)]; 2] = [&[("label", 10)], &[("coarse", 20), ("fine", 100)]];
    let fits = |fields: &&[(&str, u8)]| {
        let stride = fields.len() + PIXELS;
        !bytes.is_empty()
            && bytes.len().is_multiple_of(stride)
            && bytes.chunks_exact(stride).all(|record| {
                let mut labels = fields.iter().zip(record);
                labels.all(|((_, classes), label)| label < classes)
            })
    };
    let fields = versions.into_iter().find(fits);
    let fields = fields.ok_or(CifarError::NotCifar { bytes: bytes.len() })?;
    let stride = fields.len() + PIXELS;
    let labels = fields
        .iter()
        .enumerate()
        .map(|(position, (name, _))| (*name, Array::records(bytes.clone(), position, stride, &[])));
    Ok(Cifar {
        images: Array::records(bytes.clone(), fields.len(), stride, &IMAGE),
        labels: labels.rev().collect(),
    })
}

impl Cifar {
    /// The labels of this name (`label`; `coarse`, `fine`), by default the fine ones.
    pub(crate) fn labels(self, member: Option<&str>) -> Result<Array, CifarError> {
        let members = self.labels.iter().map(|(name, _)| *name).collect();
        let mut labels = self.labels.into_iter();
        let found = labels.find(|(name, _)| member.is_none_or(|member| member == *name));
        found.map(|(_, array)| array).ok_or_else(|| CifarError::Member {
            member: member.unwrap_or_default().to_owned(),
            members,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(labels: &[&[u8]]) -> Bytes {
        let mut bytes = Vec::new();
        for (index, labels) in labels.iter().enumerate() {
            bytes.extend_from_slice(labels);
            bytes.extend(std::iter::repeat_n(100 + index as u8, PIXELS));
        }
        bytes.into()
    }

    #[test]
    fn both_versions() {
        let ten = parse(&records(&[&[3], &[9]])).unwrap();
        assert_eq!((ten.images.rows, ten.images.row(1).unwrap()[0]), (2, 101));
        assert_eq!(ten.labels(None).unwrap().row(1).unwrap().as_ref(), [9]);
        let hundred = || parse(&records(&[&[3, 99], &[19, 4]])).unwrap();
        assert_eq!(hundred().images.row(1).unwrap().as_ref(), [101; PIXELS]);
        for (member, label) in [(None, 4), (Some("fine"), 4), (Some("coarse"), 19)] {
            assert_eq!(
                hundred().labels(member).unwrap().row(1).unwrap().as_ref(),
                [label]
            );
        }
        let error = hundred().labels(Some("label")).unwrap_err().to_string();
        assert!(error.contains("use one of: fine, coarse"), "{error}");
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [
            records(&[&[10]]),
            records(&[&[20, 0]]),
            records(&[&[1]]).slice(1..),
        ] {
            assert!(parse(&bytes).is_err());
        }
    }
}
