//! Every cell against its formulas, written out element by element.

use super::*;

const STEPS: usize = 4;
const BATCH: usize = 6;
const INPUTS: usize = 2;
const HIDDEN: usize = 3;

/// A number in -1 to 1 that depends on the position.
fn number(seed: usize, index: usize) -> f64 {
    ((index * 37 + seed * 71 + index * index % 13) % 41) as f64 / 20.0 - 1.0
}

fn numbers(seed: usize, count: usize) -> Vec<f64> {
    (0..count).map(|index| number(seed, index)).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// One sequence of one test.
struct Naive<'a> {
    weights: CellWeights<'a, f64>,
    h: Vec<f64>,
    c: Vec<f64>,
}

impl Naive<'_> {
    /// `x W^T + h R^T + b` of one gate element, the two products and biases apart.
    fn products(&self, x: &[f64], h: &[f64], row: usize, gates: usize) -> [f64; 2] {
        let bias = |half: usize| {
            self.weights
                .bias
                .map_or(0.0, |bias| bias[(half * gates) * HIDDEN + row])
        };
        let dot = |weights: &[f64], with: &[f64]| -> f64 {
            with.iter()
                .enumerate()
                .map(|(k, value)| value * weights[row * with.len() + k])
                .sum()
        };
        [
            dot(self.weights.input, x) + bias(0),
            dot(self.weights.recurrent, h) + bias(1),
        ]
    }
}

/// Runs a cell and the formulas, and compares every output and the last states.
fn check<C: Cell<f64>>(
    cell: &C,
    with_bias: bool,
    lengths: Option<&[usize]>,
    [reverse, batch_first]: [bool; 2],
    step: impl Fn(&mut Naive<'_>, &[f64]),
) {
    let width = C::GATES * HIDDEN;
    let (w, r, b) = (
        numbers(1, width * INPUTS),
        numbers(2, width * HIDDEN),
        numbers(3, 2 * width),
    );
    let weights = CellWeights {
        input: &w,
        recurrent: &r,
        bias: with_bias.then_some(b.as_slice()),
        hidden: HIDDEN,
    };
    let x = numbers(4, STEPS * BATCH * INPUTS);
    let sequences = Sequences {
        x: &x,
        steps: STEPS,
        batch: BATCH,
        inputs: INPUTS,
        batch_first,
        lengths,
        reverse,
    };
    let mut state = CellState {
        h: numbers(5, BATCH * HIDDEN),
        c: numbers(6, BATCH * HIDDEN),
    };
    let first = state.clone();
    let mut outputs = vec![f64::NAN; STEPS * BATCH * HIDDEN];
    let mut projected = vec![f64::NAN; STEPS * BATCH * width];
    run_cell(
        cell,
        &sequences,
        &weights,
        &mut state,
        &mut projected,
        |step, sequence, h| {
            outputs[(step * BATCH + sequence) * HIDDEN..][..HIDDEN].copy_from_slice(h);
        },
    );
    for sequence in 0..BATCH {
        let own = |values: &[f64]| values[sequence * HIDDEN..][..HIDDEN].to_vec();
        let mut naive = Naive {
            weights,
            h: own(&first.h),
            c: own(&first.c),
        };
        let length = lengths.map_or(STEPS, |lengths| lengths[sequence]);
        for i in 0..length {
            let position = if reverse { length - 1 - i } else { i };
            let row = if batch_first {
                sequence * STEPS + position
            } else {
                position * BATCH + sequence
            };
            step(&mut naive, &x[row * INPUTS..][..INPUTS]);
            let got = &outputs[(position * BATCH + sequence) * HIDDEN..][..HIDDEN];
            assert_close(got, &naive.h);
        }
        for position in length..STEPS {
            assert!(
                outputs[(position * BATCH + sequence) * HIDDEN..][..HIDDEN]
                    .iter()
                    .all(|value| value.is_nan())
            );
        }
        assert_close(&own(&state.h), &naive.h);
        assert_close(&own(&state.c), &naive.c);
    }
}

fn assert_close(got: &[f64], expected: &[f64]) {
    let close = got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(close, "{got:?}, expected {expected:?}");
}

/// Every combination of bias, lengths, direction and layout.
fn combinations() -> impl Iterator<Item = (bool, Option<&'static [usize]>, [bool; 2])> {
    const LENGTHS: [Option<&[usize]>; 2] = [None, Some(&[2, 4, 0, 1, 4, 3])];
    [true, false].into_iter().flat_map(|bias| {
        LENGTHS.into_iter().flat_map(move |lengths| {
            [[false, false], [true, false], [false, true], [true, true]].map(|order| (bias, lengths, order))
        })
    })
}

#[test]
fn lstm_matches_its_formulas() {
    let peepholes = numbers(7, 3 * HIDDEN);
    for ((bias, lengths, order), (input_forget, peephole, clip)) in combinations().flat_map(|combination| {
        [(false, false, None), (true, true, None), (false, true, Some(0.5))]
            .map(|options| (combination, options))
    }) {
        let cell = Lstm {
            activations: [
                CellActivation::Sigmoid,
                CellActivation::Tanh,
                CellActivation::Tanh,
            ],
            clip,
            input_forget,
            peepholes: peephole.then_some(peepholes.as_slice()),
        };
        let clipped = |x: f64| clip.map_or(x, |clip| x.clamp(f64::from(-clip), f64::from(clip)));
        let p = |gate: usize, i: usize| {
            if peephole {
                peepholes[gate * HIDDEN + i]
            } else {
                0.0
            }
        };
        check(&cell, bias, lengths, order, |naive, x| {
            let h = naive.h.clone();
            for i in 0..HIDDEN {
                let gate = |gate: usize| naive.products(x, &h, gate * HIDDEN + i, 4).iter().sum::<f64>();
                let input = sigmoid(clipped(gate(0) + p(0, i) * naive.c[i]));
                let forget = sigmoid(clipped(gate(2) + p(2, i) * naive.c[i]));
                let forget = if input_forget { 1.0 - input } else { forget };
                let memory = forget * naive.c[i] + input * clipped(gate(3)).tanh();
                let output = sigmoid(clipped(gate(1) + p(1, i) * memory));
                naive.c[i] = memory;
                naive.h[i] = output * memory.tanh();
            }
        });
    }
}

#[test]
fn gru_matches_its_formulas() {
    for ((bias, lengths, order), linear_before_reset) in
        combinations().flat_map(|combination| [(combination, false), (combination, true)])
    {
        let activations = [CellActivation::Sigmoid, CellActivation::Tanh];
        let cell = Gru {
            activations,
            clip: None,
            linear_before_reset,
        };
        check(&cell, bias, lengths, order, |naive, x| {
            let h = naive.h.clone();
            let gate =
                |gate: usize, i: usize| sigmoid(naive.products(x, &h, gate * HIDDEN + i, 3).iter().sum());
            let reset: Vec<f64> = (0..HIDDEN).map(|i| gate(1, i)).collect();
            let scaled: Vec<f64> = (0..HIDDEN).map(|i| reset[i] * h[i]).collect();
            let next: Vec<f64> = (0..HIDDEN)
                .map(|i| {
                    let row = 2 * HIDDEN + i;
                    let candidate = if linear_before_reset {
                        let [input, recurrent] = naive.products(x, &h, row, 3);
                        input + reset[i] * recurrent
                    } else {
                        naive.products(x, &scaled, row, 3).iter().sum()
                    };
                    let update = gate(0, i);
                    (1.0 - update) * candidate.tanh() + update * h[i]
                })
                .collect();
            naive.h = next;
        });
    }
}

#[test]
fn the_plain_cell_matches_its_formula() {
    for (bias, lengths, order) in combinations() {
        let cell = PlainCell {
            activation: CellActivation::Relu,
            clip: Some(0.75),
        };
        check(&cell, bias, lengths, order, |naive, x| {
            let h = naive.h.clone();
            let next = (0..HIDDEN).map(|i| naive.products(x, &h, i, 1).iter().sum::<f64>().clamp(0.0, 0.75));
            naive.h = next.collect();
        });
    }
}
