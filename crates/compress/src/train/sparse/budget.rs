//! How many weights of each layer stay.

use super::layers::Layer;

/// Weights of each layer that stay where each layer has the same share of zeros.
pub(super) fn uniform(layers: &[Layer], sparsity: f64) -> Vec<usize> {
    layers.iter().map(|layer| kept(layer.len(), sparsity)).collect()
}

/// Weights that stay of so many.
pub(super) fn kept(count: usize, sparsity: f64) -> usize {
    ((1.0 - sparsity) * count as f64).round() as usize
}

/// Weights of each layer that stay where shares are in proportion to the sum of a layer's sizes over their
/// product (Erdős-Rényi kernel, Evci et al. 2020, section 3); layers whose share would be above 1 stay whole.
/// All together are as many as the share of all.
pub(super) fn erdos_renyi(layers: &[Layer], sparsity: f64) -> Vec<usize> {
    let total: usize = layers.iter().map(Layer::len).sum();
    let wanted = kept(total, sparsity);
    // The share of a layer is its sum of sizes over their product, so that the sum alone says how many stay.
    let sums: Vec<f64> = layers
        .iter()
        .map(|layer| layer.shape.iter().sum::<usize>() as f64)
        .collect();
    let mut whole = vec![false; layers.len()];
    loop {
        let factor = factor(layers, &sums, &whole, wanted);
        let grown = (0..layers.len()).filter(|&index| !whole[index]);
        let grown: Vec<usize> = grown
            .filter(|&index| factor * sums[index] > layers[index].len() as f64)
            .collect();
        if grown.is_empty() {
            let exact = layers.iter().zip(&sums).zip(&whole);
            let exact = exact.map(|((layer, sum), whole)| match whole {
                true => layer.len() as f64,
                false => factor * sum,
            });
            return rounded(&exact.collect::<Vec<f64>>(), wanted);
        }
        grown.into_iter().for_each(|index| whole[index] = true);
    }
}

/// What sums of sizes are multiplied by, so that layers that are not whole have what is left.
fn factor(layers: &[Layer], sums: &[f64], whole: &[bool], wanted: usize) -> f64 {
    let of_whole: usize = layers
        .iter()
        .zip(whole)
        .map(|(layer, whole)| usize::from(*whole) * layer.len())
        .sum();
    let rest: f64 = sums
        .iter()
        .zip(whole)
        .filter(|(_, whole)| !**whole)
        .map(|(sum, _)| sum)
        .sum();
    (wanted as f64 - of_whole as f64).max(0.0) / rest.max(1.0)
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
