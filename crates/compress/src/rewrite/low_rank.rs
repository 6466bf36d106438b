//! Products of low rank beside a product.

use bantam_graph::Op;
use bantam_graph::ops::{Binary, MatMul};

use super::{RewriteError, Rewriter};

impl Rewriter<'_> {
    /// Adds `x down up` to what a product makes of `x`.
    pub(super) fn low_rank(
        &mut self,
        name: &str,
        rank: usize,
        (down, up): (&[f32], &[f32]),
    ) -> Result<(), RewriteError> {
        let output = self.value(name)?;
        let product = self.graph.node(self.node(name)?);
        let wrong = || RewriteError::LowRank {
            node: name.to_owned(),
            rank,
        };
        let x = product
            .input(0)
            .filter(|_| matches!(product.op, Op::MatMul(_) | Op::Gemm(_)));
        let weight = product.input(1).and_then(|weight| self.graph.constant(weight));
        let (x, weight) = x.zip(weight).ok_or_else(wrong)?;
        let shape = weight.shape();
        let sizes = [down.len(), up.len()].map(|len| len / rank.max(1));
        let fits = rank > 0 && down.len().is_multiple_of(rank) && up.len().is_multiple_of(rank);
        if !fits || (shape != sizes && shape != [sizes[1], sizes[0]]) {
            return Err(wrong());
        }
        let down = self.half(&format!("{name}_down"), down, &[sizes[0], rank])?;
        let up = self.half(&format!("{name}_up"), up, &[rank, sizes[1]])?;
        let narrow = self.made(&format!("{name}_narrow"), MatMul {}.into(), &[x, down]);
        let wide = self.made(&format!("{name}_wide"), MatMul {}.into(), &[narrow, up]);
        let sum = self.made(&format!("{name}_sum"), Op::Binary(Binary::Add), &[output, wide]);
        self.patch.replace_uses(output, sum);
        Ok(())
    }
}
