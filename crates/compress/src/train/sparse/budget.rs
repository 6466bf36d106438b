//! How many weights of each layer stay.

use super::layers::Layer;
use crate::erk;

/// Weights of each layer that stay where each layer has the same share of zeros.
pub(super) fn uniform(layers: &[Layer], sparsity: f64) -> Vec<usize> {
    layers.iter().map(|layer| kept(layer.len(), sparsity)).collect()
}

/// Weights that stay of so many.
pub(super) fn kept(count: usize, sparsity: f64) -> usize {
    ((1.0 - sparsity) * count as f64).round() as usize
}

/// Weights of each layer that stay where shares are those of the Erdős–Rényi kernel. All together are as many as the share of all.
pub(super) fn erdos_renyi(layers: &[Layer], sparsity: f64) -> Vec<usize> {
    let total: usize = layers.iter().map(Layer::len).sum();
    let wanted = kept(total, sparsity);
    let shapes: Vec<&[usize]> = layers.iter().map(|layer| layer.shape.as_slice()).collect();
    let densities = erk::densities(&shapes, wanted as f64 / total.max(1) as f64);
    let exact = layers.iter().zip(densities);
    let exact: Vec<f64> = exact
        .map(|(layer, density)| density * layer.len() as f64)
        .collect();
    rounded(&exact, wanted)
}

/// Whole numbers next to these whose sum is `wanted`: those with the largest remainders are rounded up.
fn rounded(exact: &[f64], wanted: usize) -> Vec<usize> {
    let mut counts: Vec<usize> = exact.iter().map(|value| value.floor() as usize).collect();
    let mut order: Vec<usize> = (0..exact.len()).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let missing = wanted.saturating_sub(counts.iter().sum());
    order
        .into_iter()
        .take(missing)
        .for_each(|index| counts[index] += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(shape: &[usize]) -> Layer {
        Layer {
            parameter: 0,
            name: String::new(),
            shape: shape.to_vec(),
            input_axis: None,
        }
    }

    #[test]
    fn erdos_renyi_shares_are_exact() {
        let layers = [&[16, 3, 3, 3][..], &[64, 64, 3, 3], &[32, 32, 3, 3], &[10, 64]].map(layer);
        let total: usize = layers.iter().map(Layer::len).sum();
        for sparsity in [0.1, 0.5, 0.9, 0.99] {
            let counts = erdos_renyi(&layers, sparsity);
            assert_eq!(counts.iter().sum::<usize>(), kept(total, sparsity), "{sparsity}");
            assert!(
                counts
                    .iter()
                    .zip(&layers)
                    .all(|(count, layer)| *count <= layer.len())
            );
        }
        let counts = erdos_renyi(&layers, 0.9);
        assert_eq!(counts[0], 432, "a small layer stays whole");
        assert_eq!(counts[3], 640, "and so does the other");
        // Of 47,152 weights 4,715 stay, of which the whole layers have 1,072; sums of sizes are 134 and 70.
        assert_eq!(&counts[1..3], [2393, 1250]);
    }
}
