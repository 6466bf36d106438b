//! Nearest spelling of a name that does not exist.

/// The candidate closest to `name`, if it is close enough to be a slip of the keyboard.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let allowed = match name.chars().count() {
        0..=2 => 0,
        characters => (characters / 3).max(1),
    };
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean "x"?`, or the list of what exists.
pub(crate) fn hint(name: &str, candidates: &[&str]) -> String {
    match nearest(name, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean {candidate:?}?"),
        None if candidates.is_empty() => "there is none".to_owned(),
        None => format!("use one of: {}", candidates.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints() {
        let cases: &[(&str, &[&str], &str)] = &[
            ("tran", &["test", "train"], "did you mean \"train\"?"),
            ("Train", &["test", "train"], "did you mean \"train\"?"),
            ("validation", &["test", "train"], "use one of: test, train"),
            ("x", &["a", "b"], "use one of: a, b"),
            ("x", &[], "there is none"),
        ];
        for (name, candidates, expected) in cases {
            assert_eq!(hint(name, candidates), *expected, "{name}");
        }
    }
}
