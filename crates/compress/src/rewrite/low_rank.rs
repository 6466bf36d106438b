//! Products of low rank beside a product.

use bantam_graph::ops::{Binary, Cast, MatMul};
use bantam_graph::{Node, Op, ValueId, ValueType};
use bantam_tensor::{DType, Tensor};

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
        let down = self.half(&format!("{name}_down"), down, [sizes[0], rank])?;
        let up = self.half(&format!("{name}_up"), up, [rank, sizes[1]])?;
        let narrow = self.made(&format!("{name}_narrow"), MatMul {}.into(), [x, down]);
        let wide = self.made(&format!("{name}_wide"), MatMul {}.into(), [narrow, up]);
        let sum = self.made(&format!("{name}_sum"), Op::Binary(Binary::Add), [output, wide]);
        self.patch.replace_uses(output, sum);
        Ok(())
    }

    /// A matrix of 16 bits, as floats of 32.
    fn half(&mut self, name: &str, values: &[f32], shape: [usize; 2]) -> Result<ValueId, RewriteError> {
        let wide: Vec<f64> = values.iter().copied().map(f64::from).collect();
        let stored = Tensor::from_f64(DType::F16, &shape, &wide)?;
        let stored = self.patch.add_constant(&format!("{name}_half"), stored);
        let cast = Cast {
            saturate: true,
            to: DType::F32,
            round_mode: "up".to_owned(),
        };
        let value = self.add_value(name, ValueType::Unknown);
        self.patch
            .add_node(Node::new(name.to_owned(), cast.into(), &[stored], &[value]));
        Ok(value)
    }

    fn made(&mut self, name: &str, op: Op, inputs: [ValueId; 2]) -> ValueId {
        let value = self.add_value(name, ValueType::Unknown);
        self.patch
            .add_node(Node::new(name.to_owned(), op, &inputs, &[value]));
        value
    }
}
