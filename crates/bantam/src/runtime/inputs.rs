//! Checking named inputs against the names that a model has.

use bantam_tensor::Tensor;

use super::RuntimeError;

/// Checks that each of `names` is given exactly once.
pub(super) fn check(names: &[String], given: &[(&str, Tensor)]) -> Result<(), RuntimeError> {
    for (index, &(name, _)) in given.iter().enumerate() {
        if !names.iter().any(|known| known == name) {
            return Err(RuntimeError::UnknownInput {
                name: name.to_string(),
                inputs: names.to_vec(),
            });
        }
        if given[..index].iter().any(|&(earlier, _)| earlier == name) {
            return Err(RuntimeError::RepeatedInput {
                name: name.to_string(),
            });
        }
    }
    let missing = names
        .iter()
        .find(|&name| !given.iter().any(|(given, _)| given == name));
    match missing {
        Some(name) => Err(RuntimeError::MissingInput { name: name.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_input_is_given_once() {
        let cases: &[(&[&str], Option<&str>)] = &[
            (&["a", "b"], None),
            (&["b", "a"], None),
            (&["a"], Some("no value is given for input \"b\" of the model")),
            (&["a", "a", "b"], Some("input \"a\" is given more than once")),
            (
                &["a", "c"],
                Some("the model has no input \"c\"\nhint: its inputs are [\"a\", \"b\"]"),
            ),
        ];
        for (given, expected) in cases {
            let given: Vec<_> = given.iter().map(|&name| (name, Tensor::scalar(0f32))).collect();
            let message = check(&["a".to_string(), "b".to_string()], &given)
                .err()
                .map(|error| error.to_string());
            assert_eq!(message.as_deref(), *expected);
        }
    }
}
