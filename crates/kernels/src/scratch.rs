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
elements!(f32, u8, i16, i32, half::bf16);

/// Elements with unspecified values, which go back to the thread's store when they are dropped.
pub(crate) struct Scratch<T: Element> {
    /// At least `start + len`: memory that was used once is not cleared again.
    elements: Vec<T>,
    /// The first element that begins a cache line.
    start: usize,
    len: usize,
}

impl<T: Element> Scratch<T> {
    pub(crate) fn take(len: usize) -> Scratch<T> {
        let spare = T::spare().with_borrow_mut(Vec::pop);
        let mut elements = spare.unwrap_or_default();
        if elements.len() < len + LINE {
            elements.resize(len + LINE, T::default());
        }
        // Where it is not known, nothing but speed is lost.
        let start = elements.as_ptr().align_offset(LINE).min(LINE);
        Scratch { elements, start, len }
    }
}

/// Bytes of a cache line, at least as many as elements of one: whole vectors that cross lines are slow.
const LINE: usize = 64;

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
        &self.elements[self.start..][..self.len]
    }
}

impl<T: Element> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.elements[self.start..][..self.len]
    }
}
