//! Owned, aligned bytes.

use bytemuck::{Pod, Zeroable};

/// One cache line; the unit of allocation, so that every buffer is aligned for the widest vector loads.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Owned bytes aligned to 64, that can be reused for tensors of other types and sizes.
#[derive(Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    bytes: usize,
}

impl Buffer {
    /// `bytes` zero bytes.
    pub fn zeroed(bytes: usize) -> Buffer {
        Buffer {
            // The system's zeros, which are not touched before they are used.
            lines: bytemuck::zeroed_vec(bytes.div_ceil(64)),
            bytes,
        }
    }

    /// Takes over the memory of `self` for `bytes` bytes; the contents are unspecified (old data or zeros).
    pub fn reuse(mut self, bytes: usize) -> Buffer {
        // Lines beyond the bytes in use stay, so that they need not be written when they are used again.
        let lines = bytes.div_ceil(64).max(self.lines.len());
        self.lines.resize(lines, Line([0; 64]));
        self.bytes = bytes;
        self
    }

    /// Number of bytes in use.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// True when no byte is in use.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Number of bytes allocated.
    pub fn capacity(&self) -> usize {
        self.lines.capacity() * 64
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.bytes]
    }

    /// The bytes, to write.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.bytes]
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} bytes)", self.bytes)
    }
}
