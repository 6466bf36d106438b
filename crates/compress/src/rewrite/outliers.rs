//! Elements of a weight in codes that keep 16 bits.

use bantam_graph::ops::{Cast, CumSum, Reshape, ScatterElements, ScatterReduction};
use bantam_graph::{Node, Op, ValueId, ValueType};
use bantam_tensor::{DType, Tensor};

use super::{RewriteError, Rewriter};

impl Rewriter<'_> {
    /// Lets a product read its dequantized weight with other values at these places. They are stored as steps from one to the next, which
    /// mostly fit into 16 bits.
    pub(super) fn outliers(
        &mut self,
        name: &str,
        places: &[u64],
        values: &[f32],
    ) -> Result<(), RewriteError> {
        let reader = self.node(name)?;
        let wrong = || RewriteError::Outliers {
            node: name.to_owned(),
        };
        let weight = self.graph.node(reader).input(1);
        let weight = weight.and_then(|weight| self.graph.constant(weight));
        let (weight, dequantized) = weight.zip(self.read.get(&reader).copied()).ok_or_else(wrong)?;
        let fits = places.is_sorted_by(|a, b| a < b)
            && places.last().is_none_or(|last| *last < weight.len() as u64)
            && places.len() == values.len();
        if !fits {
            return Err(wrong());
        }
        if places.is_empty() {
            return Ok(());
        }
        // Long names would take more bytes than the outliers of a small matrix.
        let stem = format!("o{}", self.outliers);
        self.outliers += 1;
        let name = stem.as_str();
        let shape: Vec<i64> = weight.shape().iter().map(|size| *size as i64).collect();
        let index = match i32::try_from(weight.len()) {
            Ok(_) => DType::I32,
            Err(_) => DType::I64,
        };
        let places = self.places(name, places, index)?;
        let values = self.half(&format!("{name}_values"), values, &[values.len()])?;
        let flat = self.reshaped(&format!("{name}_flat"), dequantized, &[-1])?;
        let scatter = ScatterElements {
            axis: 0,
            reduction: ScatterReduction::None,
        };
        let mixed = self.made(&format!("{name}_mixed"), scatter.into(), &[flat, places, values]);
        let whole = self.reshaped(&format!("{name}_whole"), mixed, &shape)?;
        self.patch.set_input(reader, 1, Some(whole));
        Ok(())
    }

    /// Places as sums of steps.
    fn places(&mut self, name: &str, places: &[u64], index: DType) -> Result<ValueId, RewriteError> {
        let before = std::iter::once(&0).chain(places);
        let steps: Vec<i64> = places
            .iter()
            .zip(before)
            .map(|(to, from)| (to - from) as i64)
            .collect();
        let most = steps.iter().copied().max().unwrap_or(0);
        let stored = match u16::try_from(most) {
            Ok(_) => DType::U16,
            Err(_) => index,
        };
        let steps = Tensor::from_i64(stored, &[steps.len()], &steps)?;
        let mut steps = self.patch.add_constant(&format!("{name}_steps"), steps);
        if stored != index {
            steps = self.cast(&format!("{name}_wide"), steps, index);
        }
        let axis = self.small("axis_0", Tensor::scalar(0i64));
        let sums = CumSum {
            exclusive: false,
            reverse: false,
        };
        Ok(self.made(&format!("{name}_places"), sums.into(), &[steps, axis]))
    }

    fn reshaped(&mut self, name: &str, value: ValueId, shape: &[i64]) -> Result<ValueId, RewriteError> {
        let words: Vec<String> = shape.iter().map(i64::to_string).collect();
        let shape = self.small(&format!("shape_{}", words.join("x")), Tensor::from_vec1(shape));
        let reshape = Reshape { allowzero: false };
        Ok(self.made(name, reshape.into(), &[value, shape]))
    }

    /// A constant that is stored once for all that ask for this name.
    pub(super) fn small(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let patch = &mut self.patch;
        *(self.small.entry(name.to_owned())).or_insert_with(|| patch.add_constant(name, tensor))
    }

    /// A matrix or vector of 16 bits, as floats of 32.
    pub(super) fn half(
        &mut self,
        name: &str,
        values: &[f32],
        shape: &[usize],
    ) -> Result<ValueId, RewriteError> {
        let wide: Vec<f64> = values.iter().copied().map(f64::from).collect();
        let stored = Tensor::from_f64(DType::F16, shape, &wide)?;
        Ok(self.widened(name, stored))
    }

    /// A constant of 16 bits, as floats of 32.
    pub(super) fn widened(&mut self, name: &str, stored: Tensor) -> ValueId {
        let stored = self.patch.add_constant(&format!("{name}_half"), stored);
        self.cast(name, stored, DType::F32)
    }

    pub(super) fn cast(&mut self, name: &str, value: ValueId, to: DType) -> ValueId {
        let cast = Cast {
            saturate: true,
            to,
            round_mode: "up".to_owned(),
        };
        self.made(name, cast.into(), &[value])
    }

    pub(super) fn made(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> ValueId {
        let value = self.add_value(name, ValueType::Unknown);
        self.patch
            .add_node(Node::new(name.to_owned(), op, inputs, &[value]));
        value
    }
}
