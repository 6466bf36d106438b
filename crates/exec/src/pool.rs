//! Reuse of memory between values.

use std::sync::Mutex;

use bantam_tensor::Buffer;

/// Buffers whose values are no longer needed.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    free: Mutex<Vec<Buffer>>,
}

/// Buffers smaller than this are not worth keeping.
const SMALLEST: usize = 4096;

impl Pool {
    /// A buffer of `bytes` bytes with unspecified contents: the smallest free one that is large enough and at most
    /// four times as large, else a new one.
    pub(crate) fn take(&self, bytes: usize) -> Buffer {
        if bytes >= SMALLEST {
            let mut free = self
                .free
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let fits = |buffer: &Buffer| buffer.capacity() >= bytes && buffer.capacity() / 4 <= bytes;
            let best = (0..free.len())
                .filter(|&i| fits(&free[i]))
                .min_by_key(|&i| free[i].capacity());
            if let Some(index) = best {
                return free.swap_remove(index).reuse(bytes);
            }
        }
        Buffer::zeroed(bytes)
    }

    /// Gives a buffer back.
    pub(crate) fn give(&self, buffer: Buffer) {
        if buffer.capacity() >= SMALLEST {
            self.free
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(buffer);
        }
    }

    /// Bytes that wait for a value.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let free = self.free.lock().unwrap();
        free.iter().map(Buffer::capacity).sum()
    }
}
