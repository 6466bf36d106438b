//! [`Scratch`]: memory that a thread uses again and again.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::thread::LocalKey;

/// Elements that scratch memory can have.
pub(crate) trait Element: Copy + Default + 'static {
    /// What the thread has at hand.
    fn spare() -> &'static LocalKey<RefCell<Vec<Vec<Self>>>>;
}

macro_rules! elements {
    ($($element:ty),*) => {$(
        impl Element for $element {
            fn spare() -> &'static LocalKey<RefCell<Vec<Vec<$element>>>> {
                thread_local! {
                    static SPARE: RefCell<Vec<Vec<$element>>> = const { RefCell::new(Vec::new()) };
                }
                &SPARE
            }
        }
    )*};
}
elements!(f32, u8);

/// Elements with unspecified values, which go back to the thread's store when they are dropped.
pub(crate) struct Scratch<T: Element> {
    /// At least `len`: memory that was used once is not cleared again.
    elements: Vec<T>,
    len: usize,
}

impl<T: Element> Scratch<T> {
    pub(crate) fn take(len: usize) -> Scratch<T> {
        let spare = T::spare().with_borrow_mut(Vec::pop);
        let mut elements = spare.unwrap_or_default();
        if elements.len() < len {
            elements.resize(len, T::default());
        }
        Scratch { elements, len }
    }
}

/// Pieces that a thread keeps.
const KEPT: usize = 4;

impl<T: Element> Drop for Scratch<T> {
    fn drop(&mut self) {
        let elements = std::mem::take(&mut self.elements);
        // Nothing is kept when the thread ends.
        let _ = T::spare().try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < KEPT {
                spare.push(elements);
            }
        });
    }
}

impl<T: Element> Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.elements[..self.len]
    }
}

impl<T: Element> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.elements[..self.len]
    }
}
