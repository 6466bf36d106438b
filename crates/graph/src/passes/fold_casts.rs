//! Constants in place of casts of constants.

use std::collections::{HashMap, HashSet};

use bantam_tensor::{DType, Tensor};

use super::{NotApplied, Outcome, Reason};
use crate::{Graph, Node, Op, ValueId};

/// Replaces each Cast of an f16 or bf16 constant to f32, which is exact, by a constant, so that weights of 16 bits are
/// weights to all that follows. All casts of one constant become one.
pub fn fold_casts(graph: &Graph) -> Outcome {
    fold_casts_by(graph, &mut widened)
}

/// The same, with the constants of 32 bits that `widen` gives; where it gives none, the cast stays.
pub fn fold_casts_by(graph: &Graph, widen: &mut dyn FnMut(&Tensor) -> Option<Tensor>) -> Outcome {
    let mut outcome = Outcome::new(graph);
    let outputs: HashSet<ValueId> = graph.outputs.iter().copied().collect();
    let mut wide: HashMap<ValueId, ValueId> = HashMap::new();
    for (id, node) in graph.node_ids() {
        let (Some(input), Some(output), Some(tensor)) = (node.input(0), node.output(0), narrow(graph, node))
        else {
            continue;
        };
        if outputs.contains(&output) {
            outcome.not_applied.push(NotApplied {
                node: graph.describe(node),
                reason: Reason::NamesBothEnds,
            });
            continue;
        }
        let constant = match wide.get(&input) {
            Some(constant) => *constant,
            None => {
                let Some(widened) = widen(tensor) else { continue };
                let name = format!("{}_f32", graph.value(input).name);
                *wide
                    .entry(input)
                    .or_insert(outcome.patch.add_constant(&name, widened))
            }
        };
        outcome.patch.replace_uses(output, constant);
        outcome.patch.remove_node(id);
        outcome.applied += 1;
    }
    outcome
}

/// The constant of 16 bits that a node makes one of 32.
fn narrow<'g>(graph: &'g Graph, node: &Node) -> Option<&'g Tensor> {
    let to_f32 = matches!(&node.op, Op::Cast(cast) if cast.to == DType::F32);
    let tensor = graph.constant_input(node, 0).filter(|_| to_f32)?;
    matches!(tensor.dtype(), DType::F16 | DType::BF16).then_some(tensor)
}

fn widened(tensor: &Tensor) -> Option<Tensor> {
    Tensor::from_slice(tensor.shape(), &tensor.to_f32().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Binary, Cast};
    use crate::passes::{FOLD_CASTS, run_passes};

    fn cast(to: DType) -> Cast {
        Cast {
            saturate: true,
            to,
            round_mode: "up".to_owned(),
        }
    }

    fn stored(dtype: DType, values: &[f64]) -> Tensor {
        Tensor::from_f64(dtype, &[values.len()], values).unwrap()
    }

    #[test]
    fn wider_constants_take_the_place_of_casts() {
        let mut graph = Graph::default();
        let x = graph.add_input("x", DType::F32, vec![2.into()]);
        let half = graph.add_constant("half", stored(DType::F16, &[1.5, -2.0]));
        let brain = graph.add_constant("brain", stored(DType::BF16, &[3.0, 0.25]));
        let wide = [half, half, brain].map(|value| graph.add_node("wide", cast(DType::F32), &[value]));
        let sums = wide.map(|value| graph.add_node("sum", Binary::Add, &[x, value]));
        // Stay: what rounds, and what names an output.
        let narrower = graph.add_node("narrower", cast(DType::BF16), &[half]);
        let shown = graph.add_node("shown", cast(DType::F32), &[brain]);
        graph.outputs = [&sums[..], &[narrower, shown]].concat();
        let report = run_passes(&mut graph, &[FOLD_CASTS]).unwrap().remove(0);
        assert_eq!((report.applied, report.not_applied.len()), (3, 1));
        let constant = |index: usize| graph.nodes[index].input(1).unwrap();
        let values = |index: usize| graph.constant(constant(index)).unwrap().to_f32().unwrap();
        assert_eq!(graph.nodes.len(), 5);
        assert_eq!(constant(0), constant(1));
        assert_eq!(values(0), [1.5, -2.0]);
        assert_eq!(values(2), [3.0, 0.25]);
    }
}
