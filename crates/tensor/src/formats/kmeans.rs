//! Clusters of numbers.

use crate::SplitMix64;

/// Rounds after which clusters are good enough, should they still move.
const ROUNDS: usize = 100;

/// Values in rising order with the running sums of weights and of weighted values before each.
struct Sorted {
    values: Vec<f32>,
    weights: Vec<f64>,
    weighted: Vec<f64>,
}

/// At most `count` centres of clusters of the finite `values`, rising: seeded far apart (k-means++, Arthur and
/// Vassilvitskii 2007), then moved to the weighted means of what is nearest to them (Lloyd 1982) until nothing moves.
///
/// # Panics
/// When there are not as many weights as values.
pub(super) fn cluster_centres(values: &[f32], weights: Option<&[f32]>, count: usize, seed: u64) -> Vec<f32> {
    let sorted = Sorted::new(values, weights);
    if sorted.values.is_empty() {
        return vec![0.0];
    }
    let mut centres = sorted.seeds(count, seed);
    for _ in 0..ROUNDS {
        let moved = sorted.means(&centres);
        if moved == centres {
            break;
        }
        centres = moved;
    }
    centres.dedup();
    centres
}

impl Sorted {
    fn new(values: &[f32], weights: Option<&[f32]>) -> Sorted {
        assert!(
            weights.is_none_or(|weights| weights.len() == values.len()),
            "a weight for each value"
        );
        let weight = |index: usize| weights.map_or(1.0, |weights| f64::from(weights[index].max(0.0)));
        let mut pairs: Vec<(f32, f64)> = values
            .iter()
            .enumerate()
            .map(|(i, &value)| (value, weight(i)))
            .collect();
        pairs.retain(|pair| pair.0.is_finite() && pair.1.is_finite());
        if pairs.iter().all(|pair| pair.1 == 0.0) {
            pairs.iter_mut().for_each(|pair| pair.1 = 1.0);
        }
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let running = |term: &dyn Fn(&(f32, f64)) -> f64| {
            let mut sum = 0.0;
            let sums = pairs.iter().map(|pair| {
                sum += term(pair);
                sum
            });
            std::iter::once(0.0).chain(sums).collect()
        };
        let weights = running(&|pair| pair.1);
        let weighted = running(&|pair| pair.1 * f64::from(pair.0));
        Sorted {
            values: pairs.into_iter().map(|pair| pair.0).collect(),
            weights,
            weighted,
        }
    }

    /// The weight of one value.
    fn weight(&self, index: usize) -> f64 {
        self.weights[index + 1] - self.weights[index]
    }

    /// Distinct values, each drawn with a chance proportional to its weighted squared distance from those before.
    fn seeds(&self, count: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64::new(seed);
        let mut chances: Vec<f64> = (0..self.values.len()).map(|index| self.weight(index)).collect();
        let mut distances = vec![f64::INFINITY; self.values.len()];
        let mut seeds = Vec::new();
        while seeds.len() < count {
            let total: f64 = chances.iter().sum();
            let Some(drawn) = draw(&chances, f64::from(random.unit()) * total) else {
                break;
            };
            let seed = self.values[drawn];
            seeds.push(seed);
            for (index, chance) in chances.iter_mut().enumerate() {
                let distance = (f64::from(self.values[index]) - f64::from(seed)).powi(2);
                distances[index] = distances[index].min(distance);
                *chance = self.weight(index) * distances[index];
            }
        }
        seeds.sort_by(f32::total_cmp);
        seeds
    }

    /// The weighted mean of the values nearest to each centre; a centre without such stays.
    fn means(&self, centres: &[f32]) -> Vec<f32> {
        let mut first = 0;
        let mean = |(index, &centre): (usize, &f32)| {
            let end = match centres.get(index + 1) {
                Some(next) => {
                    let middle = centre + (next - centre) * 0.5;
                    self.values.partition_point(|&value| value <= middle)
                }
                None => self.values.len(),
            };
            let range = (first, end.max(first));
            first = range.1;
            let weight = self.weights[range.1] - self.weights[range.0];
            let sum = self.weighted[range.1] - self.weighted[range.0];
            if weight > 0.0 {
                (sum / weight) as f32
            } else {
                centre
            }
        };
        let mut means: Vec<f32> = centres.iter().enumerate().map(mean).collect();
        means.sort_by(f32::total_cmp);
        means
    }
}

/// The first index at which the running sum of chances passes `at`, of those with a chance.
fn draw(chances: &[f64], at: f64) -> Option<usize> {
    let mut sum = 0.0;
    let mut last = None;
    for (index, &chance) in chances.iter().enumerate().filter(|(_, chance)| **chance > 0.0) {
        sum += chance;
        last = Some(index);
        if sum > at {
            break;
        }
    }
    last
}
