//! What the fuzz targets share: a limit on single allocations, so that no file makes a reader ask for much more memory
//! than the file itself takes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Allocations may be this many times as large as the input...
const FACTOR: usize = 10;
/// ...plus this.
const SLACK: usize = 64 * 1024;

static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

// SAFETY: every call is passed on to the system allocator unchanged.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn check(size: usize) {
    let limit = LIMIT.load(Ordering::Relaxed);
    if size > limit {
        LIMIT.store(usize::MAX, Ordering::Relaxed);
        eprintln!("an allocation of {size} bytes, {limit} are allowed");
        std::process::abort();
    }
}

/// Runs `read`, which may not allocate more than 10 times `input_length` plus 64 KiB at once.
pub fn with_allocation_limit(input_length: usize, read: impl FnOnce()) {
    LIMIT.store(
        input_length.saturating_mul(FACTOR).saturating_add(SLACK),
        Ordering::Relaxed,
    );
    read();
    LIMIT.store(usize::MAX, Ordering::Relaxed);
}
