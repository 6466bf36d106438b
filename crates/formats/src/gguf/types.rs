//! The element types of GGUF files: scalars, and blocks of codes with their scales.

use bantam_tensor::{BlockFormat, DType, block_format_by_name};

/// A type of elements.
#[derive(Debug, PartialEq, Eq)]
pub struct GgmlType {
    /// The number in files.
    pub id: u32,
    /// The name, in lower case.
    pub name: &'static str,
    /// Elements of one block; blocks lie along the last dimension.
    pub block: usize,
    /// Bytes of one block.
    pub bytes: usize,
    /// The same type of ours, for scalars.
    pub dtype: Option<DType>,
    /// What `general.file_type` says of a file mostly of this type.
    pub file_type: Option<u32>,
}

/// A scalar type.
const fn scalar(id: u32, name: &'static str, dtype: DType, file_type: Option<u32>) -> GgmlType {
    GgmlType {
        id,
        name,
        block: 1,
        bytes: dtype.bits() / 8,
        dtype: Some(dtype),
        file_type,
    }
}

/// Blocks of codes.
const fn blocks(id: u32, name: &'static str, block: usize, bytes: usize, file_type: Option<u32>) -> GgmlType {
    GgmlType {
        id,
        name,
        block,
        bytes,
        dtype: None,
        file_type,
    }
}

/// Every type of version 3 files.
pub static GGML_TYPES: &[GgmlType] = &[
    scalar(0, "f32", DType::F32, Some(0)),
    scalar(1, "f16", DType::F16, Some(1)),
    scalar(30, "bf16", DType::BF16, Some(32)),
    scalar(28, "f64", DType::F64, None),
    scalar(24, "i8", DType::I8, None),
    scalar(25, "i16", DType::I16, None),
    scalar(26, "i32", DType::I32, None),
    scalar(27, "i64", DType::I64, None),
    blocks(2, "q4_0", 32, 18, Some(2)),
    blocks(3, "q4_1", 32, 20, Some(3)),
    blocks(6, "q5_0", 32, 22, Some(8)),
    blocks(7, "q5_1", 32, 24, Some(9)),
    blocks(8, "q8_0", 32, 34, Some(7)),
    blocks(9, "q8_1", 32, 40, None),
    blocks(10, "q2_k", 256, 84, Some(10)),
    blocks(11, "q3_k", 256, 110, Some(12)),
    blocks(12, "q4_k", 256, 144, Some(15)),
    blocks(13, "q5_k", 256, 176, Some(17)),
    blocks(14, "q6_k", 256, 210, Some(18)),
    blocks(15, "q8_k", 256, 292, None),
    blocks(16, "iq2_xxs", 256, 66, Some(19)),
    blocks(17, "iq2_xs", 256, 74, Some(20)),
    blocks(18, "iq3_xxs", 256, 98, Some(23)),
    blocks(19, "iq1_s", 256, 50, Some(24)),
    blocks(20, "iq4_nl", 32, 18, Some(25)),
    blocks(21, "iq3_s", 256, 110, Some(26)),
    blocks(22, "iq2_s", 256, 82, Some(28)),
    blocks(23, "iq4_xs", 256, 136, Some(30)),
    blocks(29, "iq1_m", 256, 56, Some(31)),
    blocks(34, "tq1_0", 256, 54, Some(36)),
    blocks(35, "tq2_0", 256, 66, Some(37)),
    blocks(39, "mxfp4", 32, 17, Some(38)),
];

/// Stands in for blocks that are longer than a row, in the order of llama.cpp's `llama_tensor_get_type`.
const SHORTER: &[(&str, &str)] = &[
    ("q2_k", "iq4_nl"),
    ("q3_k", "iq4_nl"),
    ("q4_k", "q5_0"),
    ("q5_k", "q5_1"),
    ("q6_k", "q8_0"),
    ("tq1_0", "q4_0"),
    ("tq2_0", "q4_0"),
];

impl GgmlType {
    /// The types that files are written with: floats of 16 and 32 bits, and blocks that [`BlockFormat`]s encode.
    pub fn encodable() -> impl Iterator<Item = &'static GgmlType> {
        let floats = [DType::F32, DType::F16, DType::BF16].map(Some);
        GGML_TYPES
            .iter()
            .filter(move |known| floats.contains(&known.dtype) || known.block_format().is_some())
    }

    /// What encodes and decodes its blocks; `None` for scalars and for blocks that are only passed on.
    pub fn block_format(&self) -> Option<&'static dyn BlockFormat> {
        // The bare name is that of the microscaling format, whose codes lie in another order.
        let name = if self.name == "mxfp4" {
            "mxfp4-gguf"
        } else {
            self.name
        };
        block_format_by_name(name)
    }

    /// This type where rows of `row` elements are whole blocks of it; else the type of shorter blocks that llama.cpp puts in
    /// its place, or `f16`.
    pub fn for_rows(&'static self, row: usize) -> &'static GgmlType {
        let fits = |kind: &&GgmlType| row.is_multiple_of(kind.block);
        let shorter = SHORTER.iter().find(|(name, _)| *name == self.name);
        let shorter = shorter.and_then(|(_, shorter)| GgmlType::by_name(shorter));
        let mut tried = [Some(self), shorter, GgmlType::of(DType::F16)]
            .into_iter()
            .flatten();
        tried.find(fits).unwrap_or(self)
    }

    /// The type with this number.
    pub fn by_id(id: u32) -> Option<&'static GgmlType> {
        GGML_TYPES.iter().find(|known| known.id == id)
    }

    /// The type with this name.
    pub fn by_name(name: &str) -> Option<&'static GgmlType> {
        GGML_TYPES.iter().find(|known| known.name == name)
    }

    /// The scalar type that is one of ours.
    pub fn of(dtype: DType) -> Option<&'static GgmlType> {
        GGML_TYPES.iter().find(|known| known.dtype == Some(dtype))
    }

    /// Bytes of a tensor of this shape (outermost first); `None` when rows are not whole blocks, or too large.
    pub fn bytes_for(&self, shape: &[usize]) -> Option<usize> {
        let row = shape.last().copied().unwrap_or(1);
        let elements = shape
            .iter()
            .try_fold(1usize, |product, size| product.checked_mul(*size))?;
        let whole = row.is_multiple_of(self.block);
        whole.then_some(elements / self.block)?.checked_mul(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_have_the_blocks_of_their_types() {
        for kind in GGML_TYPES {
            if let Some(format) = kind.block_format() {
                let blocks = (format.block_len(), format.block_bytes());
                assert_eq!(blocks, (kind.block, kind.bytes), "{}", kind.name);
            }
        }
        assert_eq!(GgmlType::encodable().count(), 17);
    }

    #[test]
    fn rows_that_are_no_whole_blocks_get_another_type() {
        let cases = [
            ("q4_k", 512, "q4_k"),
            ("q4_k", 64, "q5_0"),
            ("q6_k", 288, "q8_0"),
            ("q6_k", 172, "f16"),
            ("q8_0", 172, "f16"),
            ("bf16", 3, "bf16"),
        ];
        for (wanted, row, expected) in cases {
            let kind = GgmlType::by_name(wanted).unwrap();
            assert_eq!(kind.for_rows(row).name, expected, "{wanted} for {row}");
        }
        for kind in GGML_TYPES {
            assert_eq!(kind.for_rows(4096).name, kind.name);
            assert_eq!(7 % kind.for_rows(7).block, 0, "{}", kind.name);
        }
    }
}
