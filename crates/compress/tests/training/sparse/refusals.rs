//! What cannot be done is refused before training.

use bantam_compress::train::sparse::SparsitySchedule;

use super::*;

fn refuse(graph: &Graph, sparsity: SparsitySettings, what: &str) {
    let error = run(graph, &Bars::new(32), &with(sparsity))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains(what) && error.contains("hint:"), "{error}");
}

#[test]
fn settings_of_zeros_that_make_no_sense_are_refused() {
    let gradual = || zeros(SparseMethod::Gradual, 0.9);
    let rigl = || zeros(SparseMethod::Rigl, 0.9);
    let pattern = |stay, of| Amount::Pattern { stay, of };
    #[rustfmt::skip]
    let cases = [
        (zeros(SparseMethod::Gradual, 1.0), "below 100%"),
        (zeros(SparseMethod::Rigl, 0.0), "above 0%"),
        (zeros(SparseMethod::Gradual, f64::NAN), "below 100%"),
        (SparsitySettings { amount: pattern(4, 4), ..gradual() }, "above 0%"),
        (SparsitySettings { amount: pattern(0, 0), ..gradual() }, "above 0%"),
        (SparsitySettings { from: 0.6, until: Some(0.5), ..gradual() }, "two shares"),
        (SparsitySettings { scope: Some(Scope::Global), ..rigl() }, "erk or layer"),
        (SparsitySettings { amount: pattern(2, 4), ..rigl() }, "gradual or feedback"),
        (SparsitySettings { mask_decay: 0.1, ..gradual() }, "feedback"),
        (SparsitySettings { exclude: vec!["op:Conv".to_owned(), "op:Gemm".to_owned()], ..gradual() }, "excluded"),
        (SparsitySettings { exclude: vec!["op:Covn".to_owned()], ..gradual() }, "matches no node"),
        (SparsitySettings { amount: pattern(2, 4), ..gradual() }, "`conv_weight`, `hidden_w`"),
        (
            SparsitySettings {
                criterion: Criterion::Movement,
                schedule: Some(SparsitySchedule::OneShot),
                ..gradual()
            },
            "seen nothing",
        ),
    ];
    for (sparsity, what) in cases {
        refuse(&network(), sparsity, what);
    }
}

#[test]
fn zeros_that_are_there_count() {
    refuse(
        &network(),
        SparsitySettings::default(),
        "no trained weight has a zero",
    );
    refuse(
        &pruned(&network(), 0.9),
        zeros(SparseMethod::Gradual, 0.5),
        "zero already",
    );
    let further = with(zeros(SparseMethod::Gradual, 0.9));
    let start = pruned(&network(), 0.5);
    let (trained, _) = run(&start, &Bars::new(64), &further).unwrap();
    let mut pairs = masked(&start)
        .concat()
        .into_iter()
        .zip(masked(&trained.graph).concat());
    assert!(pairs.all(|(before, after)| before != 0.0 || after == 0.0));
}
