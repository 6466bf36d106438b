//! Any bytes as a safetensors file: tensors within it or an error, no panic, no allocation far larger than the file.

#![no_main]

use bantam_formats::huggingface::parse_safetensors;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    bantam_fuzz::with_allocation_limit(data.len(), || match parse_safetensors(&bytes) {
        Ok(tensors) => assert!(tensors.values().all(|tensor| tensor.as_bytes().len() <= data.len())),
        Err(error) => assert!(!error.is_empty()),
    });
});
