//! Attention and recurrent cells.

use crate::check::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![]
}
