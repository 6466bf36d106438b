//! The story model of the data folder.

use bantam::formats::data::read_npy;
use bantam::formats::huggingface::Form;
use bantam::tensor::{DType, Tensor};

use super::{difference, program, run, stories};

/// The first `count` tokens of row 0.
fn tokens(folder: &std::path::Path, count: usize) -> Vec<i64> {
    let rows = read_npy(&folder.join("valid_tokens.npy")).unwrap();
    rows.to_i64().unwrap()[..count].to_vec()
}

#[test]
fn logits_are_those_of_the_reference() {
    let Some(folder) = stories() else { return };
    let program = program(&folder, Form::Whole);
    let ids = Tensor::from_slice(&[1, 64], &tokens(&folder, 64)).unwrap();
    let logits = run(&program, &[("input_ids", ids)]);
    let expected = read_npy(&folder.join("expected_logits_row0_0_64.npy")).unwrap();
    assert_eq!(logits[0].shape(), [1, 64, 512]);
    let error = difference(&logits[0], &expected);
    assert!(error < 1e-4, "{error}");
}

#[test]
fn a_cache_changes_nothing() {
    let Some(folder) = stories() else { return };
    let tokens = tokens(&folder, 24);
    let ids = |range: &[i64]| Tensor::from_slice(&[1, range.len()], range).unwrap();
    let whole = run(&program(&folder, Form::Whole), &[("input_ids", ids(&tokens))]);
    let cached = program(&folder, Form::Cached);
    let names: Vec<String> = (0..5)
        .flat_map(|layer| ["key", "value"].map(|part| format!("past.{layer}.{part}")))
        .collect();
    let mut past = vec![Tensor::zeros(DType::F32, &[1, 4, 0, 8]).unwrap(); names.len()];
    let mut rows = Vec::new();
    for part in [&tokens[..20], &tokens[20..21], &tokens[21..]] {
        let mut inputs = vec![("input_ids", ids(part))];
        inputs.extend(names.iter().map(String::as_str).zip(past));
        let mut outputs = run(&cached, &inputs);
        past = outputs.split_off(1);
        rows.extend(outputs[0].to_f32().unwrap());
    }
    let rows = Tensor::from_slice(&[1, 24, 512], &rows).unwrap();
    let error = difference(&whole[0], &rows);
    assert!(error < 1e-4, "{error}");
}
