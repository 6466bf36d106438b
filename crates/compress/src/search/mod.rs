//! Choosing bits and what is kept, layer by layer, under one budget: how much each choice hurts ([`sensitivities`]), which choices go together
//! ([`allocations`]), and whether a result is within the budget, with no more samples than that takes ([`PairedTest`]).

mod allocate;
pub mod energy;
mod paired_test;
mod sensitivity;

pub use allocate::{Allocation, Choice, allocations};
pub use paired_test::{PairedTest, Verdict};
pub use sensitivity::{Change, SensitivityError, divergence, sensitivities};
