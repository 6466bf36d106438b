//! Which choices of all layers go together.

/// One choice for a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// What it costs, in bytes or operations.
    pub cost: f64,
    /// How much it hurts; adds up over layers.
    pub loss: f64,
}

/// A choice for every layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Allocation {
    /// The choice of each layer, by its place.
    pub choices: Vec<usize>,
    /// Their costs together.
    pub cost: f64,
    /// Their losses together.
    pub loss: f64,
}

/// A move of a layer to its next cheaper choice.
struct Move {
    layer: usize,
    to: usize,
    /// Loss for each unit of cost that it saves.
    price: f64,
}

/// The allocations that no weighting of cost and loss finds anything better than, from the most costly to the cheapest: the corners
/// of the lower convex hull (Lagrangian relaxation of the multiple-choice knapsack). Two neighbours differ in the choice of one layer,
/// so that no budget is missed by more than one layer's saving. Layers without choices are not allowed.
pub fn allocations(layers: &[Vec<Choice>]) -> Vec<Allocation> {
    let hulls: Vec<Vec<usize>> = layers.iter().map(|choices| hull(choices)).collect();
    let mut moves: Vec<Move> = Vec::new();
    for (layer, (choices, hull)) in layers.iter().zip(&hulls).enumerate() {
        moves.extend(hull.windows(2).map(|pair| Move {
            layer,
            to: pair[1],
            price: slope(choices[pair[0]], choices[pair[1]]),
        }));
    }
    // Along a hull prices rise, so that a layer's moves come in their order.
    moves.sort_by(|a, b| a.price.total_cmp(&b.price));
    let choices: Vec<usize> = hulls.iter().map(|hull| hull[0]).collect();
    let total = |of: fn(&Choice) -> f64| {
        let chosen = layers.iter().zip(&choices);
        chosen.map(|(layer, choice)| of(&layer[*choice])).sum::<f64>()
    };
    let first = Allocation {
        cost: total(|choice| choice.cost),
        loss: total(|choice| choice.loss),
        choices,
    };
    let mut found = vec![first];
    for step in moves {
        let mut next = found[found.len() - 1].clone();
        let (from, to) = (
            layers[step.layer][next.choices[step.layer]],
            layers[step.layer][step.to],
        );
        next.choices[step.layer] = step.to;
        next.cost += to.cost - from.cost;
        next.loss += to.loss - from.loss;
        found.push(next);
    }
    found
}

/// Loss for each unit of cost that is saved.
fn slope(from: Choice, to: Choice) -> f64 {
    (to.loss - from.loss) / (from.cost - to.cost)
}

/// The choices on the lower convex hull of (cost, loss), from that of least loss on to the cheapest.
fn hull(choices: &[Choice]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..choices.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (choices[a], choices[b]);
        b.cost.total_cmp(&a.cost).then(b.loss.total_cmp(&a.loss))
    });
    let mut hull: Vec<usize> = Vec::new();
    for index in order {
        let choice = choices[index];
        // What costs no less and hurts no less is never chosen.
        while hull.last().is_some_and(|&last| choices[last].loss >= choice.loss) {
            hull.pop();
        }
        while let [.., before, last] = hull[..] {
            if slope(choices[before], choices[last]) <= slope(choices[last], choice) {
                break;
            }
            hull.pop();
        }
        hull.push(index);
    }
    hull
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam_tensor::SplitMix64;

    fn choice(cost: f64, loss: f64) -> Choice {
        Choice { cost, loss }
    }

    #[test]
    fn takes_the_cheapest_pain_first() {
        let layers = [
            vec![choice(8.0, 0.0), choice(4.0, 1.0), choice(2.0, 9.0)],
            vec![choice(80.0, 0.0), choice(40.0, 2.0)],
        ];
        let found = allocations(&layers);
        let costs: Vec<f64> = found.iter().map(|allocation| allocation.cost).collect();
        assert_eq!(costs, [88.0, 48.0, 44.0, 42.0]);
        assert_eq!(found[1].choices, [0, 1]);
        assert_eq!(found[3].loss, 11.0);
    }

    #[test]
    fn choices_that_are_worse_in_both_are_left_out() {
        let layers = [vec![
            choice(8.0, 1.0),
            choice(4.0, 0.5),
            choice(5.0, 3.0),
            choice(1.0, 2.0),
        ]];
        let chosen: Vec<usize> = allocations(&layers)
            .iter()
            .map(|found| found.choices[0])
            .collect();
        assert_eq!(chosen, [1, 3]);
    }

    /// No allocation at all lies below a corner: what is found for a cost is the least loss of all with at most this cost.
    #[test]
    fn corners_are_optimal() {
        let mut random = SplitMix64::new(3);
        for _ in 0..50 {
            let layers: Vec<Vec<Choice>> = (0..4)
                .map(|_| {
                    (0..3)
                        .map(|_| choice(f64::from(random.unit()), f64::from(random.unit())))
                        .collect()
                })
                .collect();
            let all = (0..81).map(|code| {
                let picked = (0..4).map(|layer| layers[layer][code / 3usize.pow(layer as u32) % 3]);
                picked.fold((0.0, 0.0), |(cost, loss), it| (cost + it.cost, loss + it.loss))
            });
            let all: Vec<(f64, f64)> = all.collect();
            for found in allocations(&layers) {
                let least = all.iter().filter(|(cost, _)| *cost <= found.cost + 1e-12);
                let least = least.map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min);
                assert!(
                    (found.loss - least).abs() < 1e-9,
                    "{} against {least}",
                    found.loss
                );
            }
        }
    }
}
