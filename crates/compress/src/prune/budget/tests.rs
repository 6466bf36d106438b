//! Budgets are met, by every scope and structure.

use bantam_graph::{NodeId, ValueId};
use bantam_tensor::SplitMix64;

use super::*;
use crate::quantize::layerwise::Layout;

fn weight(shape: &[usize]) -> Weight {
    let places = shape[2..].iter().product::<usize>();
    Weight {
        value: ValueId::new(0),
        node: NodeId::new(0),
        name: format!("{shape:?}"),
        shape: shape.to_vec(),
        rows: shape[0],
        depth: shape[1] * places,
        places,
        groups: 1,
        input: ValueId::new(0),
        layout: Layout::Rows,
    }
}

fn network() -> (Vec<Weight>, Vec<Vec<f32>>) {
    let weights: Vec<Weight> = [&[16, 3, 3, 3][..], &[33, 16, 3, 3], &[64, 33, 1, 1], &[10, 64]]
        .map(weight)
        .into();
    let mut random = SplitMix64::new(7);
    // Layers differ in size of their saliencies.
    let mut draw = |(index, weight): (usize, &Weight)| {
        (0..weight.len())
            .map(|_| random.unit() * (index + 1) as f32)
            .collect::<Vec<f32>>()
    };
    let saliency = weights.iter().enumerate().map(&mut draw).collect();
    (weights, saliency)
}

fn gone(mask: &[bool]) -> usize {
    mask.iter().filter(|kept| !**kept).count()
}

#[test]
fn budgets_are_met_to_within_a_unit() {
    let (weights, saliency) = network();
    let total: usize = weights.iter().map(Weight::len).sum();
    for (name, scope) in Scope::ALL {
        for sparsity in [0.001, 0.333, 0.5, 0.9, 0.999] {
            for (structure, unit) in [
                (Structure::Unstructured, 1),
                (Structure::Block { rows: 4, columns: 2 }, 8),
            ] {
                let masks = masks(&weights, &saliency, structure, *scope, sparsity);
                let all = masks.iter().map(|mask| gone(mask)).sum::<usize>() as f64;
                assert!(
                    (all - sparsity * total as f64).abs() <= unit as f64,
                    "{name}, {structure}, {sparsity}: {all}"
                );
                for (weight, mask) in weights.iter().zip(&masks) {
                    let off = (gone(mask) as f64 - sparsity * weight.len() as f64).abs();
                    let even = matches!(scope, Scope::Layer | Scope::Row);
                    assert!(
                        !even || off <= unit as f64,
                        "{name}, {structure}, {sparsity}: {off}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_least_salient_go() {
    let (weights, saliency) = network();
    let global = masks(&weights, &saliency, Structure::Unstructured, Scope::Global, 0.6);
    let all = || global.iter().flatten().zip(saliency.iter().flatten());
    let largest = all()
        .filter(|(kept, _)| !**kept)
        .map(|(_, value)| *value)
        .fold(0.0, f32::max);
    assert!(
        all()
            .filter(|(kept, _)| **kept)
            .all(|(_, value)| *value >= largest)
    );
    let rows = masks(&weights, &saliency, Structure::Unstructured, Scope::Row, 0.5);
    for ((weight, mask), saliency) in weights.iter().zip(&rows).zip(&saliency) {
        for (mask, saliency) in mask
            .chunks_exact(weight.depth)
            .zip(saliency.chunks_exact(weight.depth))
        {
            assert!(gone(mask).abs_diff(weight.depth / 2) <= 1);
            let pairs = || mask.iter().zip(saliency);
            let largest = pairs()
                .filter(|(kept, _)| !**kept)
                .map(|(_, value)| *value)
                .fold(0.0, f32::max);
            assert!(
                pairs()
                    .filter(|(kept, _)| **kept)
                    .all(|(_, value)| *value >= largest)
            );
        }
    }
}

#[test]
fn blocks_go_as_a_whole() {
    let (weights, saliency) = network();
    let masks = masks(
        &weights,
        &saliency,
        Structure::Block { rows: 4, columns: 2 },
        Scope::Global,
        0.5,
    );
    for (weight, mask) in weights.iter().zip(&masks) {
        for row in 0..weight.rows {
            for column in 0..weight.depth {
                let first = mask[row / 4 * 4 * weight.depth + column / 2 * 2];
                assert_eq!(
                    mask[row * weight.depth + column],
                    first,
                    "{}: {row}, {column}",
                    weight.name
                );
            }
        }
    }
}

#[test]
fn small_layers_keep_more_by_their_sizes() {
    let (weights, _) = network();
    let shapes: Vec<&[usize]> = weights.iter().map(|weight| weight.shape.as_slice()).collect();
    let densities = erk::densities(&shapes, 0.1);
    let kept: f64 = densities
        .iter()
        .zip(&weights)
        .map(|(density, weight)| density * weight.len() as f64)
        .sum();
    let total: usize = weights.iter().map(Weight::len).sum();
    assert!((kept - 0.1 * total as f64).abs() < 1e-6);
    let raw = |weight: &Weight| weight.shape.iter().sum::<usize>() as f64 / weight.len() as f64;
    let factors: Vec<f64> = densities
        .iter()
        .zip(&weights)
        .map(|(density, weight)| density / raw(weight))
        .collect();
    assert!(
        factors
            .windows(2)
            .all(|pair| (pair[0] / pair[1] - 1.0).abs() < 1e-9),
        "{factors:?}"
    );
    // What would be more than all is all, and the rest is spread over the others.
    let dense = erk::densities(&shapes, 0.6);
    assert_eq!(dense[0], 1.0);
    let kept: f64 = dense
        .iter()
        .zip(&weights)
        .map(|(density, weight)| density * weight.len() as f64)
        .sum();
    assert!((kept - 0.6 * total as f64).abs() < 1e-6 && dense.iter().all(|density| *density <= 1.0));
}
