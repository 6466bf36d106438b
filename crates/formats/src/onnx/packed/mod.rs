//! Codes of fewer than 8 bits in files that every runtime takes, small there and fast when loaded.
//!
//! ONNX has types of 8, 4 and 2 bits; runtimes have no kernels for those of 4, and most refuse those of 2. Here codes of 2, 3, 5, 6 and 7 bits
//! are written as bit planes, each eight codes' bits in a byte, with ordinary operators that put them together: `Gather` from a table of all
//! bytes, `MatMul` with what each plane is worth, `Cast` to 8 bits. Codes of 4 bits have a `Cast` behind them. All of that is done once, when a
//! runtime loads the file and folds constants: what it then runs are weights of 8 bits, with its kernels for them. Codes in groups, if they are
//! packed, become 4 bits wide again by another `Cast`: ONNX Runtime has a kernel for these.
//!
//! [`pack`] writes this form and [`unpack`] reads it, so that nothing else knows of it.

mod eligible;
mod planes;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(super) use read::unpack;
pub(super) use write::pack;

/// How codes of fewer than 8 bits are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NarrowCodes {
    /// In as many bits as they have, with operators that make 8 of them when the file is loaded.
    #[default]
    Packed,
    /// The same, also those of 2 and 3 bits in groups that share a scale.
    PackedGroups,
    /// In the type that holds them, of 4 or 8 bits: for compilers that read weights themselves.
    Native,
}

/// The key of a constant's metadata that says how many bits a code took in the file that it was read from.
pub const PACKED_BITS: &str = "packed_bits";
