//! The equation of an Einsum.

use std::collections::BTreeMap;

use crate::OpError;

/// The name of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    /// A dimension that an ellipsis stands for, counted from the last.
    Ellipsis(usize),
    /// A dimension with a letter.
    Letter(u8),
}

/// The labels of each operand and of the output, with their sizes.
#[derive(Debug)]
pub(super) struct Equation {
    pub(super) operands: Vec<Vec<Label>>,
    pub(super) output: Vec<Label>,
    sizes: BTreeMap<Label, usize>,
}

impl Equation {
    /// Reads an equation for operands of these shapes. A dimension of size 1 is repeated where others are larger.
    pub(super) fn parse(text: &str, shapes: &[&[usize]]) -> Result<Equation, OpError> {
        let wrong = |what: &str| OpError::value(format!("the equation `{text}` {what}"));
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match compact.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (compact.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != shapes.len() {
            return Err(wrong(&format!(
                "has {} operands, not {}",
                terms.len(),
                shapes.len()
            )));
        }
        let (mut operands, mut sizes, mut longest) = (Vec::new(), BTreeMap::new(), 0);
        for (term, shape) in terms.iter().zip(shapes) {
            let letters = term
                .len()
                .saturating_sub(if term.contains("...") { 3 } else { 0 });
            let hidden = shape
                .len()
                .checked_sub(letters)
                .filter(|&n| n == 0 || term.contains("..."));
            let hidden =
                hidden.ok_or_else(|| wrong(&format!("does not fit an operand of shape {shape:?}")))?;
            longest = longest.max(hidden);
            let labels = labels(term, hidden).ok_or_else(|| wrong("has a character that is not a letter"))?;
            for (label, &size) in labels.iter().zip(*shape) {
                let known = sizes.entry(*label).or_insert(size);
                if *known == 1 {
                    *known = size;
                } else if size != 1 && size != *known {
                    return Err(wrong(&format!("has a dimension of sizes {known} and {size}")));
                }
            }
            operands.push(labels);
        }
        let output = match right {
            Some(right) => labels(right, longest).ok_or_else(|| wrong("has no readable output"))?,
            None => implicit_output(&operands, longest),
        };
        for (index, label) in output.iter().enumerate() {
            if !sizes.contains_key(label) || output[..index].contains(label) {
                return Err(wrong(
                    "has an output letter that is repeated or not among the inputs",
                ));
            }
        }
        Ok(Equation {
            operands,
            output,
            sizes,
        })
    }

    /// The size of a dimension.
    pub(super) fn size(&self, label: Label) -> usize {
        self.sizes.get(&label).copied().unwrap_or(1)
    }
}

/// The labels of a term whose ellipsis stands for `hidden` dimensions.
fn labels(term: &str, hidden: usize) -> Option<Vec<Label>> {
    let letters = |part: &str| -> Option<Vec<Label>> {
        part.bytes()
            .map(|byte| byte.is_ascii_alphabetic().then_some(Label::Letter(byte)))
            .collect()
    };
    let Some((before, after)) = term.split_once("...") else {
        return letters(term);
    };
    let mut labels = letters(before)?;
    labels.extend((0..hidden).rev().map(Label::Ellipsis));
    labels.extend(letters(after)?);
    Some(labels)
}

/// What the ellipsis stands for, then the letters that occur once, in alphabetical order.
fn implicit_output(operands: &[Vec<Label>], longest: usize) -> Vec<Label> {
    let mut counts: BTreeMap<Label, usize> = BTreeMap::new();
    for label in operands
        .iter()
        .flatten()
        .filter(|label| matches!(label, Label::Letter(_)))
    {
        *counts.entry(*label).or_default() += 1;
    }
    let once = counts
        .into_iter()
        .filter(|&(_, count)| count == 1)
        .map(|(label, _)| label);
    (0..longest).rev().map(Label::Ellipsis).chain(once).collect()
}
