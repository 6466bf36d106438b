//! Looking at values while a program runs.

use std::collections::HashMap;

use bantam_graph::ValueId;
use bantam_tensor::Tensor;

type Tap<'a> = Box<dyn FnMut(&Tensor) + 'a>;

/// Functions that see chosen values as soon as they exist.
#[derive(Default)]
pub struct Taps<'a> {
    taps: HashMap<ValueId, Tap<'a>>,
}

impl<'a> Taps<'a> {
    /// No taps.
    pub fn none() -> Taps<'a> {
        Taps::default()
    }

    /// Lets `tap` see a value, which must be among [`crate::CompileOptions::observed`] (or an input, a constant or an
    /// output) so that compilation keeps it.
    pub fn add(&mut self, value: ValueId, tap: impl FnMut(&Tensor) + 'a) {
        self.taps.insert(value, Box::new(tap));
    }

    /// Whether nobody looks at anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.taps.is_empty()
    }

    pub(crate) fn see(&mut self, value: ValueId, tensor: &Tensor) {
        if let Some(tap) = self.taps.get_mut(&value) {
            tap(tensor);
        }
    }
}
