//! How ONNX files are written.

use bantam::compress::target::Target;
use bantam::formats::onnx::{ExternalData, NarrowCodes, SaveOptions};
use clap::Args;

#[derive(Args)]
pub(crate) struct Saving {
    /// Opset of an ONNX file [default: the model's, or the lowest that can say it]
    #[arg(long)]
    pub(crate) opset: Option<i64>,
    /// Write codes of fewer than 8 bits in ONNX's types of 4 and 8, for compilers that read weights themselves [default: packed in as many bits
    /// as they have, with operators that runtimes compute once when they load the file]
    #[arg(long)]
    pub(crate) native_codes: bool,
    /// Write codes of 2 and 3 bits in groups in as many bits too [default: in 4, which are loaded faster]
    #[arg(long, conflicts_with = "native_codes")]
    pub(crate) pack_groups: bool,
}

impl Saving {
    /// For any runtime.
    pub(crate) fn options(&self) -> SaveOptions {
        SaveOptions {
            opset: self.opset,
            external_data: ExternalData::Auto,
            narrow_codes: match (self.native_codes, self.pack_groups) {
                (true, _) => NarrowCodes::Native,
                (false, true) => NarrowCodes::PackedGroups,
                (false, false) => NarrowCodes::Packed,
            },
        }
    }

    /// For a target.
    pub(crate) fn options_for(&self, target: &Target) -> SaveOptions {
        let mut options = self.options();
        if !target.folds_constants {
            options.narrow_codes = NarrowCodes::Native;
        }
        options
    }
}
