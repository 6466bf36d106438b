//! Products of matrices.

use super::super::site::{Done, Site};

/// The last two axes are multiplied, each operand transposed or not; those before are broadcast.
pub(super) fn matmul(site: &mut Site<'_>, transposed_a: bool, transposed_b: bool) -> Done {
    let (a, b, y) = (site.input(0)?, site.input(1)?, site.output()?);
    let (rank_a, rank_b, rank) = (site.rank(a)?, site.rank(b)?, site.rank(y)?);
    if rank_a < 2 || rank_b < 2 || rank < 2 {
        return None;
    }
    let pair = |rank: usize, transposed: bool| match transposed {
        true => (rank - 1, rank - 2),
        false => (rank - 2, rank - 1),
    };
    let ((rows, depth_a), (depth_b, columns)) = (pair(rank_a, transposed_a), pair(rank_b, transposed_b));
    site.same((a, rows), (y, rank - 2));
    site.same((b, columns), (y, rank - 1));
    site.contract((a, depth_a), (b, depth_b));
    for (operand, own) in [(a, rank_a), (b, rank_b)] {
        for axis in 0..own - 2 {
            let to = (y, (axis + rank).checked_sub(own)?);
            let repeated = site.size((operand, axis)) == Some(1) && site.size(to) != Some(1);
            if !repeated {
                site.same((operand, axis), to);
            }
        }
    }
    Some(())
}

/// Two matrices, and an addend that is broadcast.
pub(super) fn gemm(site: &mut Site<'_>, transposed_a: bool, transposed_b: bool) -> Done {
    matmul(site, transposed_a, transposed_b)?;
    match site.input(2) {
        Some(addend) => site.broadcast(addend, site.output()?),
        None => Some(()),
    }
}
