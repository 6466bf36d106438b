//! What is done before anything is quantized: constants multiplied by factors, bounds removed.

use bantam_graph::ops::Unary;
use bantam_graph::{Graph, Op, Patch};
use bantam_tensor::{Tensor, TensorError};

use super::RewriteError;
use crate::plan::{Action, Plan, Site};

/// Multiplies constants by what the plan says, several times where it says so.
pub(super) fn scale_constants(graph: &mut Graph, plan: &Plan) -> Result<(), RewriteError> {
    for decision in &plan.decisions {
        let (Action::ScaleConstant { shape, by }, Site::Value(name)) = (&decision.action, &decision.site)
        else {
            continue;
        };
        let unknown = || RewriteError::Unknown { name: name.clone() };
        let value = graph.value_by_name(name).ok_or_else(unknown)?;
        let constant = graph.value(value).initializer.as_ref();
        let constant = constant.ok_or_else(|| RewriteError::NotConstant { name: name.clone() })?;
        if !fits(constant.shape(), shape, by.len()) {
            return Err(RewriteError::Factors {
                name: name.clone(),
                got: shape.clone(),
                expected: constant.shape().to_vec(),
            });
        }
        let scaled = scaled_constant(constant, shape, by)?;
        let mut patch = Patch::new(graph);
        patch.set_initializer(value, scaled);
        patch.apply(graph)?;
    }
    Ok(())
}

/// The constant times factors of a shape that is broadcast to its own.
pub(crate) fn scaled_constant(constant: &Tensor, shape: &[usize], by: &[f32]) -> Result<Tensor, TensorError> {
    let factors = broadcast(constant.shape(), shape);
    let scaled = constant.to_f32()?.into_iter().zip(factors);
    let scaled: Vec<f32> = scaled.map(|(value, factor)| value * by[factor]).collect();
    Tensor::from_slice(constant.shape(), &scaled)
}

/// Turns clamps into Relu.
pub(super) fn unbind(graph: &mut Graph, plan: &Plan) -> Result<(), RewriteError> {
    for decision in &plan.decisions {
        let (Action::Unbound, Site::Node(name)) = (&decision.action, &decision.site) else {
            continue;
        };
        let clamps = graph.nodes.iter().position(|node| {
            let output = node.output(0).map(|output| graph.value(output).name.as_str());
            output == Some(name) && matches!(node.op, Op::Clip(_))
        });
        let clamp = clamps.ok_or_else(|| RewriteError::Unbound { node: name.clone() })?;
        graph.nodes[clamp].op = Op::Unary(Unary::Relu);
        graph.nodes[clamp].inputs.truncate(1);
    }
    graph.drop_unused_values();
    Ok(())
}

fn fits(shape: &[usize], factors: &[usize], count: usize) -> bool {
    let sizes = shape.iter().zip(factors);
    let product = factors
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size));
    shape.len() == factors.len()
        && product == Some(count)
        && sizes
            .into_iter()
            .all(|(size, factors)| *factors == 1 || factors == size)
}

/// For each element of a tensor of this shape, the index of its factor among factors of a shape that is broadcast to it.
pub(crate) fn broadcast(shape: &[usize], factors: &[usize]) -> impl Iterator<Item = usize> {
    let mut steps = vec![0; shape.len()];
    let mut step = 1;
    for axis in (0..shape.len()).rev() {
        steps[axis] = if factors[axis] == 1 { 0 } else { step };
        step *= factors[axis];
    }
    let shape = shape.to_vec();
    let index = move |element: usize| {
        let mut rest = element;
        let of_axis = |(size, step): (&usize, &usize)| {
            let at = rest % size;
            rest /= size;
            at * step
        };
        shape.iter().zip(&steps).rev().map(of_axis).sum()
    };
    (0..).map(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_broadcast() {
        let indices = |shape: &[usize], factors: &[usize]| -> Vec<usize> {
            broadcast(shape, factors).take(shape.iter().product()).collect()
        };
        assert_eq!(indices(&[2, 3], &[2, 1]), [0, 0, 0, 1, 1, 1]);
        assert_eq!(indices(&[2, 3], &[1, 3]), [0, 1, 2, 0, 1, 2]);
        assert_eq!(indices(&[2, 2, 2], &[2, 2, 1]), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(indices(&[2], &[1]), [0, 0]);
    }

    #[test]
    fn only_factors_that_fit_are_taken() {
        assert!(fits(&[4, 3], &[4, 1], 4) && fits(&[4, 3], &[1, 1], 1));
        assert!(!fits(&[4, 3], &[4], 4) && !fits(&[4, 3], &[2, 1], 2) && !fits(&[4, 3], &[4, 1], 3));
        assert!(!fits(&[4, 3], &[usize::MAX, usize::MAX], 1));
    }
}
