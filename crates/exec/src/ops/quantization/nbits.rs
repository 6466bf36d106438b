//! MatMulNBits: a product with weights of few bits.

use bantam_graph::ops::MatMulNBits;
use bantam_kernels::nbits::{self, PackedWeights};
use bantam_tensor::{DType, Tensor, formats};

use super::codes::scales;
use crate::inputs::Inputs;
use crate::ops::floats;
use crate::{Context, OpError};

/// The sizes that the attributes give.
struct Sizes {
    depth: usize,
    columns: usize,
    block: usize,
    blocks: usize,
    bits: usize,
}

impl Sizes {
    fn new(op: &MatMulNBits) -> Result<Sizes, OpError> {
        let size = |value: i64, what: &str| {
            usize::try_from(value)
                .ok()
                .filter(|size| (1..=1 << 31).contains(size))
                .ok_or_else(|| OpError::value(format!("{what} is {value}")))
        };
        let (depth, columns, block) = (
            size(op.K, "K")?,
            size(op.N, "N")?,
            size(op.block_size, "block_size")?,
        );
        let bits = match op.bits {
            2 | 4 | 8 => op.bits as usize,
            other => return Err(OpError::Unsupported(format!("weights of {other} bits"))),
        };
        if !block.is_multiple_of(8) {
            return Err(OpError::Unsupported(format!("blocks of {block} elements")));
        }
        Ok(Sizes {
            depth,
            columns,
            block,
            blocks: depth.div_ceil(block),
            bits,
        })
    }

    /// Bytes of the packed codes of one column: whole blocks.
    fn row_bytes(&self) -> usize {
        self.blocks * self.block * self.bits / 8
    }
}

/// MatMulNBits: a `[.., K]`, codes `[N, blocks, bytes]`, scales, optional zero points, group index, bias.
pub(crate) fn multiply(op: &MatMulNBits, inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let sizes = Sizes::new(op)?;
    let (a, codes) = (inputs.required(0)?, inputs.required(1)?);
    let Some((&depth, leading)) = a.shape().split_last() else {
        return Err(OpError::shape("a has no dimensions"));
    };
    if depth != sizes.depth {
        return Err(OpError::shape(format!(
            "rows of {depth} elements, K is {}",
            sizes.depth
        )));
    }
    if codes.dtype() != DType::U8 {
        return Err(OpError::Type {
            index: 1,
            got: codes.dtype(),
        });
    }
    let scales = scales(inputs, 2)?;
    expect_length("codes", codes.len(), sizes.columns.checked_mul(sizes.row_bytes()))?;
    expect_length("scales", scales.len(), sizes.columns.checked_mul(sizes.blocks))?;
    let zeros = zeros(&sizes, inputs)?;
    let block_of = block_of(&sizes, inputs)?;
    let bias = floats::read_optional::<f32>(inputs, 5)?;
    if let Some(bias) = &bias {
        expect_length("bias", bias.len(), Some(sizes.columns))?;
    }
    let weights = PackedWeights {
        codes: codes.as_bytes(),
        row_bytes: sizes.row_bytes(),
        bits: sizes.bits,
        scales: &scales,
        zeros: &zeros,
        blocks: sizes.blocks,
        block_of: &block_of,
    };
    let shape: Vec<usize> = leading.iter().copied().chain([sizes.columns]).collect();
    let values = floats::read::<f32>(inputs, 0)?;
    floats::fill(context, a.dtype(), &shape, |y| {
        nbits::multiply(&values, &weights, bias.as_deref(), sizes.columns, y);
    })
}

fn expect_length(what: &str, got: usize, expected: Option<usize>) -> Result<(), OpError> {
    if Some(got) == expected {
        return Ok(());
    }
    Err(OpError::shape(format!(
        "{got} {what} instead of {}",
        expected.map_or("too many".to_owned(), |n| n.to_string())
    )))
}

/// The code of zero for each column and block: packed codes, whose rows start on a byte, or reals, or the middle.
fn zeros(sizes: &Sizes, inputs: &Inputs<'_>) -> Result<Vec<f32>, OpError> {
    let count = sizes.columns * sizes.blocks;
    let Some(zeros) = inputs.optional(3) else {
        return Ok(vec![(1 << (sizes.bits - 1)) as f32; count]);
    };
    if zeros.dtype() != DType::U8 {
        let values = floats::read::<f32>(inputs, 3)?.into_owned();
        expect_length("zero points", values.len(), Some(count))?;
        return Ok(values);
    }
    let row = (sizes.blocks * sizes.bits).div_ceil(8);
    expect_length(
        "bytes of zero points",
        zeros.len(),
        sizes.columns.checked_mul(row),
    )?;
    let bytes = zeros.as_bytes();
    let zero = |index: usize| {
        let (column, block) = (index / sizes.blocks, index % sizes.blocks);
        f32::from(formats::unpack_code(
            sizes.bits,
            &bytes[column * row..][..row],
            block,
        ))
    };
    Ok((0..count).map(zero).collect())
}

/// The block of each element of a row: by position, or by the group index.
fn block_of(sizes: &Sizes, inputs: &Inputs<'_>) -> Result<Vec<u32>, OpError> {
    let Some(groups) = inputs.integers(4)? else {
        return Ok((0..sizes.depth)
            .map(|element| (element / sizes.block) as u32)
            .collect());
    };
    if groups.len() < sizes.depth {
        return Err(OpError::shape(format!(
            "a group index of {} elements, K is {}",
            groups.len(),
            sizes.depth
        )));
    }
    let block = |&group: &i64| {
        u32::try_from(group)
            .ok()
            .filter(|&group| (group as usize) < sizes.blocks)
            .ok_or_else(|| OpError::value(format!("group {group} of {}", sizes.blocks)))
    };
    groups[..sizes.depth].iter().map(block).collect()
}
