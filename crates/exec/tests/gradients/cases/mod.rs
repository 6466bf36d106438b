//! The table of cases, by family.

mod attention;
mod convolution;
mod elementwise;
mod indexing;
mod movement;
mod normalization;
mod product;
mod reduce;

use crate::check::Case;

pub(crate) fn all() -> Vec<Case> {
    [
        elementwise::cases(),
        convolution::cases(),
        product::cases(),
        reduce::cases(),
        normalization::cases(),
        movement::cases(),
        indexing::cases(),
        attention::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
